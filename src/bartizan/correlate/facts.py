"""What correlation looks at in an alert: its detector, times, tactics and entities, aliases resolved.

Source: microsoft.graph.security.alert and its evidence, in the form that is served; ATT&CK tactics.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from bartizan.correlate.aliases import SIGN_INS, Aliases, Token, device, person
from bartizan.correlate.incident import Facts, Node
from bartizan.correlate.rank import TACTICS
from bartizan.model import entities, faces
from bartizan.model.times import TICKS_A_SECOND, from_ticks, parse, to_datetime

LEASE_S = 43_200.0  # how long an address may be taken to be a host's after it was seen there: half a common lease
CLOCKS_S = 300.0  # how far ahead of ours a source's clock may be: one alert of next year must not age all others
MAX_LEASES = 100_000
MAX_HOLDERS = 4
MAX_OF_A_KIND = 12  # entities of one alert; a worm's list of victims links everything with everything

_TYPE = "@odata.type"
_NAMESPACE = "#microsoft.graph.security."
_ARTEFACTS = frozenset({"address", "hash", "url", "domain", "resource"})
_NO_ARTEFACTS = frozenset({"user", "process", "mailbox"})  # nor become one as they are read, as a host may


class Named(Struct, frozen=True, tag=True):
    """These names were told to be of one thing: what `Names` has to hear again to know what it knows."""

    of: Literal["people", "hosts"]
    tokens: list[Token]
    at: float


class Held(Struct, frozen=True, tag=True):
    """A host told that an address was its own."""

    address: str
    host: str
    at: float


class Names:
    """Who is who in one tenant."""

    def __init__(self) -> None:
        self.people = Aliases()
        self.hosts = Aliases()
        self.heard: list[Named | Held] = []  # since somebody took it away, to write it down
        self._leases: dict[str, list[tuple[float, str]]] = {}  # address -> (when, host) as devices told

    def hear(self, told: "Named | Held") -> None:
        """Once more, after a restart."""
        if isinstance(told, Held):
            self.held(told.address, told.host, told.at)
        else:
            (self.people if told.of == "people" else self.hosts).learn(told.tokens, told.at)

    def resolve(self, of: Literal["people", "hosts"], tokens: list[Token], at: float) -> list[str]:
        if tokens:
            self.heard.append(Named(of, tokens, at))
        return (self.people if of == "people" else self.hosts).resolve(tokens, at)

    def directory(self, collection: str, body: Mapping[str, Any], at: float) -> None:
        """A user or device of the directory."""
        of: Literal["people", "hosts"] = "people"
        tokens: list[Token] = []
        if collection == "users":
            mails = [body.get("userPrincipalName"), body.get("mail"), *_listed(body.get("otherMails"))]
            mails += [str(each).partition(":")[2] for each in _listed(body.get("proxyAddresses"))]
            tokens = person(
                object_id=_text(body.get("id")),
                sid=_text(body.get("onPremisesSecurityIdentifier")),
                addresses=[_text(each) for each in mails],
                account=_text(body.get("onPremisesSamAccountName")),
                domain=_text(body.get("onPremisesDomainName")),
            )
        elif collection == "devices":
            of = "hosts"
            names = [_text(each) for each in (body.get("displayName"), *_listed(body.get("hostnames")))]
            tokens = device(ids=[_text(body.get("deviceId"))], names=names, domain=_text(body.get("domainName")))
        self.resolve(of, tokens, at)

    def account(self, object_id: Any, principal_name: Any, at: float) -> None:
        """Who signed in; most sign-ins tell nothing new, and nothing is written down of those."""
        tokens = person(object_id=_text(object_id), addresses=[_text(principal_name)], product=SIGN_INS)
        if len(tokens) > 1 and not self.people.joined(tokens, at):
            self.resolve("people", tokens, at)

    def held(self, address: str, host: str, at: float) -> None:
        self.heard.append(Held(address, host, at))
        leases = self._leases.pop(address, [])
        leases = [each for each in leases if each[1] != host or at - each[0] > LEASE_S] + [(at, host)]
        if len(self._leases) >= MAX_LEASES:
            del self._leases[next(iter(self._leases))]
        self._leases[address] = sorted(leases)[-MAX_HOLDERS:]

    def holder(self, address: str, at: float) -> str | None:
        """The host that had the address then; None where nobody, or more than one, may have had it."""
        near = {host for seen, host in self._leases.get(address, ()) if abs(seen - at) <= LEASE_S}
        before = [host for seen, host in self._leases.get(address, ()) if 0 <= at - seen <= LEASE_S]
        return near.pop() if len(near) == 1 else before[-1] if before and len(set(before)) == 1 else None

    def dump(self) -> list[Any]:
        return [self.people.dump(), self.hosts.dump(), self._leases]

    def load(self, kept: list[Any]) -> None:
        people, hosts, leases = kept
        self.people.load(people)
        self.hosts.load(hosts)
        self._leases = {address: [(at, host) for at, host in its] for address, its in leases.items()}


def facts_of(alert: Mapping[str, Any], names: Names) -> Facts:
    """Of an alert as it is served (beta). Learns the names that it brings together."""
    stored = seconds(alert["createdDateTime"])
    at = min(seconds(alert.get("lastActivityDateTime") or alert["createdDateTime"]), stored + CLOCKS_S)
    evidence = [item for item in alert.get("evidence") or () if isinstance(item, dict)]
    product = str(alert.get("productName") or "")
    return Facts(
        key=str(alert["id"]),
        at=at,
        detector=f"{product}/{alert.get('detectorId') or alert.get('title')}",
        nodes=tuple(_capped(_nodes(evidence, names, at, product))),
        title=str(alert.get("title") or ""),
        severity=str(alert.get("severity") or "unknown"),
        tactics=tuple(each for each in _categories(alert) if each in TACTICS),
        product=product,
        group=group_of(alert.get("additionalData")),
    )


def group_of(additional: Any) -> str:
    """The incident of its source that an alert names; "" where it names none."""
    named = additional.get(faces.SOURCE_INCIDENT) if isinstance(additional, dict) else None
    return named if isinstance(named, str) else ""


def _categories(alert: Mapping[str, Any]) -> list[str]:
    many = alert.get("categories")
    return [str(each) for each in (many if isinstance(many, list) and many else [alert.get("category")]) if each]


def seconds(text: str) -> float:
    """Since 1970, of an instant on the wire."""
    return to_datetime(parse(text)).timestamp()


def instant_of(at: float) -> str:
    """On the wire, of seconds since 1970."""
    return from_ticks(round(at * TICKS_A_SECOND))


def _capped(nodes: Iterable[Node]) -> Iterator[Node]:
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node[0]] = counts.get(node[0], 0) + 1
        if counts[node[0]] <= MAX_OF_A_KIND:
            yield node


def _nodes(evidence: list[dict[str, Any]], names: Names, at: float, product: str) -> dict[Node, None]:
    """Each once, in the order of the evidence."""
    hosts: list[str] = []
    found: dict[Node, None] = {}
    before: list[Token] = []
    for kind, item in _walked(evidence):
        if kind == "deviceEvidence":
            named = names.resolve("hosts", _device(item), at)
            hosts += named[:1]
            for each in named:
                found["host", each] = None
            for address in _addresses(item) if named else ():
                names.held(address, named[0], at)
        for tokens in _accounts(kind, item, product):
            if not tokens or tokens == before:  # a process names the user that the alert has named
                continue
            before = tokens
            for each in names.resolve("people", tokens, at):
                found["user", each] = None
        if kind == "analyzedMessageEvidence":
            for sender in ("p1Sender", "p2Sender"):
                given = item.get(sender)
                mail = _text(given.get("emailAddress")) if isinstance(given, dict) else None
                if mail:
                    found["sender", mail.lower()] = None
        for one in _artefacts(item):
            found[one] = None
            holder = names.holder(one[1], at) if one[0] == "address" and not hosts else None
            if holder is not None:
                found["host", holder] = None
    return found


def _artefacts(item: Mapping[str, Any]) -> dict[Node, None]:
    """What it names beside people and hosts, each once."""
    found: dict[Node, None] = {}
    for each in entities.of_evidence(item, depth=0, without=_NO_ARTEFACTS):
        for one in entities.read(each):
            if one.kind in _ARTEFACTS and not (one.kind == "address" and _local(one.value)):
                found[one.kind, one.value.lower()] = None
    return found


def _walked(evidence: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Evidence, and evidence inside it, with the names of their types."""
    found: list[tuple[str, dict[str, Any]]] = []
    _walk(evidence, found, 6)
    return found


def _walk(items: Iterable[dict[str, Any]], found: list[tuple[str, dict[str, Any]]], depth: int) -> None:
    for item in items:
        named = item.get(_TYPE)
        if isinstance(named, str) and named.startswith(_NAMESPACE):
            found.append((named.removeprefix(_NAMESPACE), item))
        if not depth:
            continue
        for value in item.values():
            if not value:  # most are unset
                continue
            kind = type(value)
            if kind is dict:
                if _TYPE in value:
                    _walk((value,), found, depth - 1)
            elif kind is list:
                typed = [each for each in value if type(each) is dict and _TYPE in each]
                if typed:
                    _walk(typed, found, depth - 1)


def _device(item: Mapping[str, Any]) -> list[Token]:
    return device(
        ids=[_text(item.get("mdeDeviceId")), _text(item.get("azureAdDeviceId"))],
        names=[_text(item.get("deviceDnsName")), _text(item.get("hostName"))],
        domain=_text(item.get("dnsDomain")) or _text(item.get("ntDomain")),
    )


def _addresses(item: Mapping[str, Any]) -> list[str]:
    """Its own ones; the external one is that of the network that it is in."""
    given = [item.get("lastIpAddress"), *_listed(item.get("ipInterfaces"))]
    return [found for each in given if isinstance(each, str) and (found := entities.address(each))]


def _accounts(kind: str, item: Mapping[str, Any], product: str) -> Iterator[list[Token]]:
    account = item.get("userAccount")
    if isinstance(account, dict):
        yield person(
            object_id=_text(account.get("azureAdUserId")),
            sid=_text(account.get("userSid")),
            addresses=[_text(account.get("userPrincipalName"))],
            account=_text(account.get("accountName")),
            domain=_text(account.get("domainName")),
            product=product,
        )
    if kind in ("mailboxEvidence", "mailboxConfigurationEvidence"):
        mails = [_text(item.get(each)) for each in ("upn", "primaryAddress", "mailboxPrimaryAddress")]
        yield person(addresses=mails)
    elif kind == "analyzedMessageEvidence":
        yield person(addresses=[_text(item.get("recipientEmailAddress"))])
    elif kind == "deviceEvidence":
        for each in _listed(item.get("loggedOnUsers"))[:MAX_OF_A_KIND]:
            if isinstance(each, dict):
                yield person(account=_text(each.get("accountName")), domain=_text(each.get("domainName")))


def _local(address: str) -> bool:
    """One that is everybody's."""
    return address.startswith(("127.", "169.254.", "fe80:")) or address == "::1"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
