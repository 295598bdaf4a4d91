"""Every function and operator of the language, one declaration each: its name, what it takes, what it gives, and how
each engine says it. Adding one is adding a declaration to the file of its family.

    function("strlen", "string -> long", duckdb="length({0})")
    function("bin", "datetime timespan -> datetime", duckdb=_bin_time)
    function("coalesce", "T T* -> T", duckdb="coalesce({args})")
    aggregate("sum", "long -> long", duckdb="sum({0})")

A signature is the arguments' types, an arrow, the type of the result. Besides the scalar types: `number` (int, long,
real, decimal; as given), `N` (numbers, all widened to one type; the result may be N), `T` (all of one type, to which
numbers widen; the result may be T), `any` (as given). A type with `?` may be left out, with `*` comes any number of
times at the end, with `!` must be a constant; `(bool T)* T` is a group that comes once or more, before what follows.
Several declarations of one name are its overloads: the one that needs the fewest conversions is taken, the first among
equals.
An operator is declared under its own sign (`+`, `==`, `has_cs`), a negative (`!has`) likewise.

A dynamic argument is converted to what a signature asks for, as `tostring` and its kin do; a number widens, and a
decimal becomes a real where only reals are taken; nothing else is converted by itself.

How an engine says it: a text, where {0} {1} stand for the arguments, {args} for all with commas; or a function of the
arguments' texts and the `plan.Apply` (or `plan.Aggregate`) that gives the text. An engine that a declaration does not
name does not know the function, and says so when the query is emitted. What no engine can say is declared by `worked`:
the binder has it worked out by a function of ours (`binder.worked`).

Source: Kusto Query Language, "Scalar functions", "Aggregation functions", "Operators".
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, TypeAlias, cast

from msgspec import Struct

from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Value
from bartizan.hunt.tree import Scalar
from bartizan.hunt.types import NUMBERS, SCALARS, widest

Say: TypeAlias = str | Callable[[Sequence[str], Any], str]
Work: TypeAlias = Callable[..., Any]
Kind = Literal["scalar", "aggregate", "window"]

FAMILIES = (
    "operators",
    "conversions",
    "conditions",
    "strings",
    "parsing",
    "agents",
    "xml",
    "hashes",
    "numbers",
    "units",
    "times",
    "formats",
    "dynamics",
    "sets",
    "series",
    "seasons",
    "spectra",
    "breaks",
    "packing",
    "networks",
    "places",
    "geo",
    "geo_shapes",
    "geo_crossings",
    "geo_together",
    "geo_points_between",
    "s2",
    "geo_covers",
    "h3",
    "aggregates",
    "statistics",
    "schemas",
    "windows",
)
CONVERT: dict[Scalar, str] = {
    "bool": "tobool",
    "int": "toint",
    "long": "tolong",
    "real": "todouble",
    "decimal": "todecimal",
    "string": "tostring",
    "datetime": "todatetime",
    "timespan": "totimespan",
    "guid": "toguid",
    "dynamic": "as_dynamic",
}  # the function that gives a value of a type

# Texts that are searched as one. APART stands between them: it is no letter or digit, so that a term ends there, and
# what is looked for does not hold it, so that nothing is found across. What depends on where a text begins or ends is
# not among WITHIN. No query can name TOGETHER.
APART = "\x1f"
TOGETHER = "texts together"
# What the first pair of a key holds, in an array of [key, value]. No query can name it either.
VALUE_OF = "value of key"
# The schema that admits all values of an array: what is worked out of the list that buildschema makes.
SCHEMA_OF = "schema of values"
WITHIN = frozenset(f"{name}{cased}" for name in ("has", "hasprefix", "hassuffix", "contains") for cased in ("", "_cs"))


class Take(Struct, frozen=True):
    """One argument of a signature."""

    type: str  # a scalar type, "number", "N", "T" or "any"
    optional: bool = False
    many: bool = False
    constant: bool = False


class Function(Struct, frozen=True):
    name: str
    key: str  # the name and the signature: what a plan holds
    kind: Kind
    takes: tuple[Take, ...]
    gives: str  # a scalar type, "T", "N", or "number": that of the first argument
    say: dict[str, Say]  # by engine
    group: tuple[int, int] = (0, 0)  # which of `takes` come together once or more: from, to (exclusive)
    nondeterministic: bool = False
    work: Work | None = None  # what works it out where no engine does


class Chosen(Struct, frozen=True):
    """An overload, the types that its arguments are to be converted to, and the type of the result."""

    function: Function
    types: list[Scalar]
    type: Scalar


REFUSED: dict[str, str] = {}  # why, by the name in small letters
_functions: dict[tuple[Kind, str], list[Function]] = {}
_by_key: dict[str, Function] = {}
_read: list[bool] = []


def function(name: str, signature: str, *, nondeterministic: bool = False, **say: Say) -> None:
    """Declares a scalar function or operator. `say`: the text, by engine."""
    _declare("scalar", name, signature, say, nondeterministic)


def worked(name: str, signature: str, work: Work) -> None:
    """Declares a scalar function that no engine knows: `work` gets the values of its arguments and gives the result's
    (of dynamic ones JSON values; None: null). It is called once for each combination of values that the data holds, so
    that it may only depend on them, and never with a null: the result then is null."""
    _declare("scalar", name, signature, {}, False, work)


def refused(name: str, signature: str, why: str) -> None:
    """Declares a scalar function whose columns are known and whose values are not: the binder refuses it for this
    reason, and where it asks for columns alone it is an error as soon as there is a value to work out."""
    REFUSED[name.lower()] = why
    reason = f"{name}() is not supported: {why}".replace("'", "''")
    function(name, signature, duckdb=f"(CASE WHEN {{0}}::VARCHAR <> '' THEN error('{reason}')::VARCHAR END)")


def aggregate(name: str, signature: str, **say: Say) -> None:
    """Declares an aggregation function; the engine adds the filter of the `_if` forms where `where` is in the plan."""
    _declare("aggregate", name, signature, say, False)


def window(name: str, signature: str, **say: Say) -> None:
    """Declares a function of a row's place (prev, row_number ...); the text goes before the engine's OVER."""
    _declare("window", name, signature, say, False)


def _declare(
    kind: Kind, name: str, signature: str, say: dict[str, Say], nondeterministic: bool, work: Work | None = None
) -> None:
    left, _, gives = signature.partition("->")
    takes = tuple(_take(each) for each in left.replace("(", " ").replace(")*", " ").split())
    key = f"{name} {left.strip()}" if kind == "scalar" else f"{kind} {name} {left.strip()}"
    if key in _by_key:
        raise ValueError(f"declared twice: {key}")
    made = Function(name, key, kind, takes, gives.strip(), say, _group(left), nondeterministic, work)
    _by_key[key] = made
    _functions.setdefault((kind, name.lower()), []).append(made)


def _group(text: str) -> tuple[int, int]:
    """Where the group of a signature's arguments begins and ends; (0, 0): there is none."""
    if "(" not in text:
        return 0, 0
    before, _, rest = text.partition("(")
    start = len(before.split())
    return start, start + len(rest.partition(")")[0].split())


@lru_cache(maxsize=256)
def _take(text: str) -> Take:
    name = text.rstrip("?*!")
    if name not in (*SCALARS, "number", "N", "T", "any"):
        raise ValueError(f"no type of a signature: {text}")
    marks = text[len(name) :]
    return Take(name, "?" in marks, "*" in marks, "!" in marks)


def _load() -> None:
    if not _read:
        for family in FAMILIES:
            import_module(f"{__name__}.{family}")
        _read.append(True)


def signature(one: Function) -> str:
    """What it takes and gives, as it was declared: `string long? -> string`."""
    texts = [take.type + "?" * take.optional + "*" * take.many + "!" * take.constant for take in one.takes]
    start, stop = one.group
    if stop:
        texts[start:stop] = [f"({' '.join(texts[start:stop])})*"]
    return " ".join([*texts, "->", one.gives])


def of_key(key: str) -> Function:
    _load()
    return _by_key[key]


def known(kind: Kind, name: str) -> list[Function]:
    """The overloads of a name, in any case; none: there is no such function."""
    _load()
    return _functions.get((kind, name.lower()), [])


def names(kind: Kind) -> list[str]:
    """Those that a query can say."""
    _load()
    return sorted(name for each, name in _functions if each == kind and name not in (TOGETHER, VALUE_OF, SCHEMA_OF))


def choose(kind: Kind, name: str, given: Sequence[Scalar]) -> Chosen | None:
    """The overload for arguments of these types; None where none fits (or the name is unknown)."""
    return _choose(kind, name.lower(), tuple(given))


@lru_cache(maxsize=4096)
def _choose(kind: Kind, name: str, given: tuple[Scalar, ...]) -> Chosen | None:
    best: tuple[int, Chosen] | None = None
    for each in known(kind, name):
        fit = _fit(each, given)
        if fit is not None and (best is None or fit[0] < best[0]):
            best = fit
    return None if best is None else best[1]


def _fit(one: Function, given: Sequence[Scalar]) -> tuple[int, Chosen] | None:
    takes = _spread(one, len(given))
    if takes is None:
        return None
    common: dict[str, Scalar | None] = {}
    for letter in ("N", "T"):
        common[letter] = _common([type_ for take, type_ in zip(takes, given, strict=True) if take.type == letter])
        if common[letter] is None and any(take.type == letter for take in takes):
            return None
    if common["N"] == "dynamic":
        common["N"] = "real"
    cost, types = 0, []
    for take, type_ in zip(takes, given, strict=True):
        wanted = cast(Scalar, type_ if take.type in ("any", "number") else common.get(take.type) or take.type)
        price = _price(type_, wanted, take.type)
        if price is None:
            return None
        cost += price
        types.append("long" if take.type == "number" and type_ == "dynamic" else wanted)
    gives = common.get(one.gives) or (types[0] if one.gives in ("number", "any") else one.gives)
    return cost, Chosen(one, types, cast(Scalar, gives))


def _spread(one: Function, count: int) -> list[Take] | None:
    """A take for each argument."""
    takes, (start, stop) = one.takes, one.group
    if stop:
        times, rest = divmod(count - start - (len(takes) - stop), stop - start)
        fits = times >= 1 and rest == 0
        return [*takes[:start], *takes[start:stop] * times, *takes[stop:]] if fits else None
    least = sum(not (take.optional or take.many) for take in takes)
    many = bool(takes) and takes[-1].many
    if count < least or (count > len(takes) and not many):
        return None
    spread = list(takes[:count])
    return spread + [takes[-1]] * (count - len(spread)) if many else spread


def _common(types: Sequence[Scalar]) -> Scalar | None:
    """What T or N stands for: dynamics give way to what the others are."""
    firm: list[Scalar] = [each for each in types if each != "dynamic"] or list(types)
    found: Scalar | None = firm[0] if firm else None
    for each in firm[1:]:
        found = None if found is None else widest(found, each)
    return found


def _price(given: Scalar, wanted: Scalar, take: str) -> int | None:
    if take == "any":
        return 2
    if take == "number":
        return 1 if given in NUMBERS else 12 if given == "dynamic" else None
    if take == "N" and given not in (*NUMBERS, "dynamic"):
        return None
    if given == wanted:
        return 0
    if given in NUMBERS and wanted in NUMBERS and NUMBERS.index(given) < NUMBERS.index(wanted):
        return NUMBERS.index(wanted) - NUMBERS.index(given)
    if given == "decimal" and wanted == "real" and take == "real":
        return 5  # where nothing takes the decimal itself
    return 10 if given == "dynamic" else None


def constant(apply: Any, index: int, what: str) -> Any:
    """The value of an argument that must be a constant; `what` names it in the error."""
    found = apply.args[index]
    if not isinstance(found, Value):
        name = _by_key[apply.function].name
        raise KqlError("bind", f"{name}(): {what} must be a constant")
    return found.value
