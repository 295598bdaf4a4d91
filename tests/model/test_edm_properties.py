"""Rules that hold for every object of every served type."""

from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bartizan.errors import BadRequest
from bartizan.model import times
from bartizan.model.edm import Edm, Version, edm

VERSIONS: list[Version] = ["v1.0", "beta"]
FEW = settings(max_examples=150, deadline=None)

INSTANTS = st.integers(-(10**17), 10**17).map(times.from_ticks)
PRIMITIVES: dict[str, SearchStrategy[Any]] = {
    "Edm.String": st.text(max_size=20),
    "Edm.Boolean": st.booleans(),
    "Edm.Byte": st.integers(0, 255),
    "Edm.Int16": st.integers(-(2**15), 2**15 - 1),
    "Edm.Int32": st.integers(-(2**31), 2**31 - 1),
    "Edm.Int64": st.integers(-(2**63), 2**63 - 1),
    "Edm.Double": st.floats(allow_nan=False, allow_infinity=False),
    "Edm.Single": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "Edm.DateTimeOffset": INSTANTS,
    "Edm.Date": st.dates().map(str),
    "Edm.TimeOfDay": st.times().map(lambda at: at.isoformat(timespec="microseconds") + "0"),
    "Edm.Duration": st.integers(0, 10**6).map(lambda n: f"P{n}DT{n}H{n}.5S"),
    "Edm.Guid": st.uuids().map(str),
    "Edm.Binary": st.binary(max_size=9).map(lambda data: b64encode(data).decode()),
    "Edm.Stream": st.text(max_size=5),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=9), inside, max_size=3),
    max_leaves=8,
)
OWN_NAMES = st.text(alphabet="abcxyz", min_size=12, max_size=14)  # longer than any word that Graph makes of these


@st.composite
def inner_objects(draw: DrawFn, version: Edm, name: str, depth: int = 3) -> dict[str, Any]:
    """Of the type or one below it, in inner form; each property set or not."""
    lower = [each for each in version.structured(name).derived if not version.structured(each).abstract]
    kind = version.structured(draw(st.sampled_from([name, *lower])))
    made: dict[str, Any] = {}
    if kind.family or kind.name != name:
        made["@odata.type"] = "#" + kind.name
    for prop in draw(st.lists(st.sampled_from([*kind.properties.values()]), max_size=6)) if kind.properties else []:
        if depth == 0 and not prop.type.startswith("Edm."):
            continue
        one = values(version, prop.type, depth - 1)
        made[prop.name] = draw(st.none() | (st.lists(one, max_size=2) if prop.collection else one))
    if kind.open:
        made |= draw(st.dictionaries(OWN_NAMES, JSON, max_size=2))
    return made


def values(version: Edm, name: str, depth: int) -> SearchStrategy[Any]:
    enum = version.enum(name)
    if enum is not None:
        one = st.sampled_from(list(enum.members))
        return st.lists(one, min_size=1, max_size=3, unique=True).map(",".join) if enum.flags else one
    return PRIMITIVES[name] if name in PRIMITIVES else inner_objects(version, name, depth)


@st.composite
def objects(draw: DrawFn, of: list[Version] | None = None) -> tuple[Edm, str, dict[str, Any]]:
    version = edm(draw(st.sampled_from(of or VERSIONS)))
    name = draw(st.sampled_from(version.type_names()))
    return version, name, draw(inner_objects(version, name))


def faults(version: Edm, declared: str, wire: Any, at: str = "") -> list[str]:
    """What a rendered value has that the contract of the version does not."""
    if not isinstance(wire, dict):
        return [f"{at}: {wire!r} is not an object"]
    mark = wire.get("@odata.type", declared)
    name = version.type_name(mark)
    if name is None or (name != declared and name not in version.structured(declared).derived):
        return [f"{at}: {mark} in place of {declared}"]
    kind, found = version.structured(name), []
    if kind.dictionary:
        return []
    found += [f"{at}.{p.name} is missing" for p in kind.properties.values() if p.name not in wire and not p.input]
    for key, value in wire.items():
        what = kind.properties.get(key) or kind.navigation.get(key)
        where = f"{at}.{key}"
        if what is None:
            found += [] if kind.open or "@odata." in key else [f"{where} is not in {name}"]
        elif what.collection and not isinstance(value, list):
            found.append(f"{where}: {value!r} is not a list")
        elif value is not None:
            for item in value if what.collection else [value]:
                found += value_faults(version, what.type, item, where)
    return found


def value_faults(version: Edm, name: str, value: Any, at: str) -> list[str]:
    enum = version.enum(name)
    if enum is None:
        return [] if name.startswith("Edm.") else faults(version, name, value, at)
    parts = value.split(",") if enum.flags else [value]
    return [f"{at}: {part} is not a member of {name}" for part in parts if part not in enum.members]


@FEW
@given(objects())
def test_what_goes_out_is_what_the_contract_says(made: tuple[Edm, str, dict[str, Any]]) -> None:
    version, name, inner = made
    assert faults(version, name, version.render(name, inner)) == []


@FEW
@given(objects(["beta"]))
def test_what_is_stored_by_beta_goes_out_on_v1_by_v1s_contract(made: tuple[Edm, str, dict[str, Any]]) -> None:
    """The inner form is beta's; v1.0 shows no property, type or member that it lacks."""
    _, name, inner = made
    v1 = edm("v1.0")
    if name in v1.type_names():
        assert faults(v1, name, v1.render(name, inner)) == []


@FEW
@given(objects())
def test_reading_back_what_went_out_changes_nothing(made: tuple[Edm, str, dict[str, Any]]) -> None:
    version, name, inner = made
    wire = version.render(name, inner)
    again = version.accept(name, wire)
    assert version.render(name, again) == wire
    assert version.accept(name, inner) == inner


@FEW
@given(objects(), st.data())
def test_names_are_read_in_any_case(made: tuple[Edm, str, dict[str, Any]], data: st.DataObject) -> None:
    version, name, inner = made
    declared = version.structured(name).properties
    swap = {key: key.swapcase() if key in declared and data.draw(st.booleans()) else key for key in inner}
    assert version.accept(name, {swap[key]: value for key, value in inner.items()}) == inner


@FEW
@given(objects())
def test_masking_leaves_nothing_late_and_touches_nothing_else(made: tuple[Edm, str, dict[str, Any]]) -> None:
    version, name, inner = made
    wire = version.render(name, inner)
    before = repr(wire)
    masked = version.mask(name, wire)
    assert repr(wire) == before
    assert not version.evolvable(name, masked)
    assert (masked is wire) == (not version.evolvable(name, wire))
    assert faults(version, name, masked) == []
    assert masked.keys() == wire.keys()


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(VERSIONS), st.data())
def test_any_json_is_accepted_or_refused_with_a_reason(of: Version, data: st.DataObject) -> None:
    """Whatever a client sends: an object, or BadRequest; never another error."""
    version = edm(of)
    name = data.draw(st.sampled_from(version.type_names()))
    kind = version.structured(name)
    names = st.sampled_from([*kind.properties, *kind.navigation, "@odata.type", "x@odata.bind", "none"])
    marks = st.sampled_from(["", "#", "#none", "#" + name, *kind.derived])
    enums = [enum for prop in kind.properties.values() if (enum := version.enum(prop.type)) is not None]
    members = st.sampled_from([*(member for enum in enums for member in enum.members), ""])
    inside = JSON | marks | members | INSTANTS
    inside = inside | st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5) | names, inside, max_size=3)
    body = data.draw(st.dictionaries(names, inside, max_size=5) | JSON)
    try:
        got = version.accept(name, body, partial=data.draw(st.booleans()))
    except BadRequest as error:
        assert error.message
    else:
        version.render(name, got)
        version.mask(name, got)
        assert version.accept(name, got, partial=True).items() <= got.items()
