"""What a request for an action asks: its name and parameters, the connections that can do it, and the targets.

Everything here is said before anything is stored or asked outside; BadRequest says what is wrong and what is expected.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.extend.actions import NAMED, STANDARD, offered, standard_name, undo_of, usable
from bartizan.extend.connections import Connection
from bartizan.extend.connectors import CONNECTORS, Connector, Offer, Target
from bartizan.model.edm import edm
from bartizan.model.ids import stable_id
from bartizan.respond.orders import MAX_ORDERS

MAX_PARAMETERS = 200


class Choice(Struct, frozen=True):
    """A connection that can do it."""

    connection: Connection
    kind: type[Connector]
    name: str  # as the connector spells it
    offer: Offer


class To(Struct, frozen=True):
    choice: Choice
    target: str
    parameters: dict[str, Any]


def read_request(given: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """The name may be missing, as in Graph, whose providers knew what was meant: nobody performs that here."""
    name = str(given.get("name") or "").strip()
    parameters = pairs(given.get("parameters") or [])
    if not parameters:
        raise BadRequest("parameters: expected at least one {name, value}.")
    if len(parameters) > MAX_PARAMETERS:
        raise BadRequest(f"parameters: at most {MAX_PARAMETERS}; got {len(parameters)}.")
    return name, parameters


def pairs(parameters: Sequence[Any]) -> list[tuple[str, str]]:
    if not all(isinstance(each, Mapping) and each.get("name") for each in parameters):
        raise BadRequest("parameters: expected at least one {name, value}, each with a name.")
    return [(str(each["name"]).strip(), str(each.get("value") or "")) for each in parameters]


def targets_of(
    kind: Target, parameters: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Those that name targets of this kind, and the others."""
    names = {name.lower() for name in NAMED[kind]}
    return (
        [each for each in parameters if each[0].lower() in names],
        [each for each in parameters if each[0].lower() not in names],
    )


def check_standard(name: str, parameters: Sequence[tuple[str, str]]) -> None:
    """Also of an action that nobody here performs it is said what is wrong with its target."""
    standard = STANDARD.get(standard_name(name))
    if standard is None:
        return
    targets = targets_of(standard.target, parameters)[0]
    if not targets:
        raise BadRequest(
            f"parameters: {name} needs its target, a {standard.target}, as one of: {', '.join(NAMED[standard.target])}."
        )
    for parameter, value in targets:
        usable(standard.target, parameter, value)


def choice_of(connection: Connection, name: str) -> Choice | None:
    kind = CONNECTORS.get(connection.connector)
    found = None if kind is None else offered(kind, name)
    return None if kind is None or found is None else Choice(connection, kind, *found)


def meant(choices: Sequence[Choice], vendor: Mapping[str, Any]) -> list[Choice]:
    """`provider` names a connection, or else the connector or product of some; `vendor` their maker."""
    provider, maker = str(vendor.get("provider") or "").strip(), _word(vendor.get("vendor"))
    of_maker = [each for each in choices if not maker or maker == _word(each.kind.vendor)]
    named = [each for each in of_maker if each.connection.id == provider.lower()]
    if named or not provider:
        return named or of_maker
    return [each for each in of_maker if _word(provider) in (_word(each.kind.name), _word(each.kind.product))]


def _word(value: Any) -> str:
    return "".join(char for char in str(value or "").casefold() if char.isalnum())


def listed(choices: Sequence[Choice]) -> str:
    return ", ".join(f"'{each.connection.id}' ({each.kind.vendor} {each.kind.product})" for each in choices)


def nobody(name: str, vendor: Mapping[str, Any], connections: Sequence[Connection]) -> str:
    if not name:
        return f"The action is not performed: its name says what to do, such as: {', '.join(STANDARD)}."
    said = " ".join(str(vendor[each]) for each in ("vendor", "provider") if vendor.get(each))
    others = [choice for each in connections if (choice := choice_of(each, name))]
    if others:
        return f"{name} is not performed: no connection is '{said}'; it is offered by {listed(others)}."
    whose = f" of {said}" if said else ""
    return f"{name} is not performed: no connection{whose} offers it. {offering(name)}".strip()


def offering(name: str) -> str:
    """Which connectors would do it, if one were set up."""
    names = sorted(kind.name for kind in CONNECTORS.values() if offered(kind, name))
    if not names:
        return "No connector offers it."
    return f"Connectors that offer it: {', '.join(names)}; set up a connection that may act."


def orders_to(
    chosen: Sequence[Choice], parameters: Sequence[tuple[str, str]], owners: Mapping[str, str] | None
) -> list[To]:
    """Each target over each connection, or over the one that `owners` names for it."""
    kind = chosen[0].offer.target
    targets, rest = targets_of(kind, parameters)
    values = list(dict.fromkeys(usable(kind, parameter, value) for parameter, value in targets))
    found = []
    for choice in chosen:
        own = [each for each in values if owners is None or owners[each] == choice.connection.id]
        more = typed(choice, rest) if own else {}
        found += [To(choice, each, more) for each in own]
    if len(found) > MAX_ORDERS:
        raise BadRequest(f"an action has at most {MAX_ORDERS} targets over all connections; this has {len(found)}.")
    return found


def typed(choice: Choice, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The parameters beside the target, as the offer declares them."""
    declared = {name.lower(): name for name in choice.offer.parameters}
    accepts = ", ".join([*NAMED[choice.offer.target], *choice.offer.parameters])
    found: dict[str, Any] = {}
    for name, value in given:
        own = declared.get(name.lower())
        if own is None:
            raise BadRequest(
                f"parameters: {choice.name} of '{choice.connection.id}' has no '{name}'; it takes: {accepts}."
            )
        if own in found:
            raise BadRequest(f"parameters: {name} is there twice.")
        found[own] = _value(own, choice.offer.parameters[own].removesuffix("!"), value)
    missing = [own for own, kind in choice.offer.parameters.items() if kind.endswith("!") and own not in found]
    if missing:
        raise BadRequest(f"parameters: {choice.name} of '{choice.connection.id}' needs {', '.join(missing)}.")
    return found


_READERS: Mapping[str, Any] = {
    "Edm.Boolean": lambda text: {"true": True, "false": False}[text.lower()],
    "Edm.Double": float,
    **dict.fromkeys(("Edm.Byte", "Edm.Int16", "Edm.Int32", "Edm.Int64"), int),
}


def _value(name: str, kind: str, text: str) -> Any:
    """Values of a keyValuePair are text: read as the type that the offer declares."""
    try:
        read = _READERS[kind](text.strip()) if kind in _READERS else text
    except (KeyError, ValueError):
        raise BadRequest(f"parameters: {name} is '{text[:100]}'; expected {kind.removeprefix('Edm.')}.") from None
    return edm("beta").accept_value(kind, read, path=f"parameters: {name}")


def undo_by(to: Sequence[To]) -> str | None:
    """What takes all of it back."""
    found = {undo_of(each.choice.kind, each.choice.name) for each in to}
    return found.pop() if len(found) == 1 else None


def fingerprint(app: str, user: str | None, asked: Mapping[str, Any]) -> str:
    """The same for the same request of the same caller: name, parameters in any order, and who is to do it."""
    parameters = sorted(f"{name.lower()}={value}" for name, value in pairs(asked.get("parameters") or []))
    vendor = msgspec.json.encode(asked.get("vendorInformation"), order="deterministic").decode()
    return stable_id(
        "request", app, user or "", standard_name(str(asked.get("name") or "")).lower(), vendor, *parameters
    )
