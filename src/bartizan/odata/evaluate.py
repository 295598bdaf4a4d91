"""The tree over one object in memory: closures made once, run on inner objects. The meaning is that of `odata.tree`.

The scalar functions here are also what SQLite is given by name, so that both agree by construction.
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bartizan.model.times import instant
from bartizan.odata import tree
from bartizan.odata.tree import Expr, Literal, Path

Scope = Mapping[str, Any]  # "" -> the object, a lambda's variable -> its element
Read = Callable[[Scope], Any]
SPACES = " \t\n\r\f\v"
MIN_INSTANT, MAX_INSTANT = "0001-01-01T00:00:00.0000000Z", "9999-12-31T23:59:59.9999999Z"


# ------------------------------------------------------------ functions of scalars


def substring(text: str, start: int, length: int | None = None) -> str:
    begin = max(int(start), 0)
    return text[begin:] if length is None else text[begin : begin + max(int(length), 0)]


def rounded(value: float) -> float:
    """Halves away from zero, as OData says."""
    return math.copysign(math.floor(abs(value) + 0.5), value) if math.isfinite(value) else value


def divided(one: float, other: float, *, whole: bool = True) -> float | None:
    """`div` of two integers is whole (towards zero); nothing by zero."""
    if other == 0:
        return None
    if whole and isinstance(one, int) and isinstance(other, int):
        quotient = abs(one) // abs(other)
        return quotient if (one < 0) == (other < 0) else -quotient
    return one / other


def remainder(one: float, other: float) -> float | None:
    """With the sign of the dividend."""
    if other == 0:
        return None
    if isinstance(one, int) and isinstance(other, int):
        return int(math.copysign(abs(one) % abs(other), one)) if abs(one) % abs(other) else 0
    return math.fmod(one, other)


def word_starts(text: str, prefix: str) -> bool:
    """Whether `prefix` stands where no letter or digit precedes it; both in lower case already."""
    at = text.find(prefix)
    while at >= 0:
        if at == 0 or not text[at - 1].isalnum():
            return True
        at = text.find(prefix, at + 1)
    return False


def _fraction(text: str) -> float:
    return float("0" + text[-9:-1]) if "." in text else 0.0


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": lambda text, part: part in text,
    "startswith": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.endswith(part),
    "indexof": lambda text, part: text.find(part),
    "length": len,
    "substring": substring,
    "tolower": str.lower,
    "toupper": str.upper,
    "trim": lambda text: text.strip(SPACES),
    "concat": lambda one, other: one + other,
    "year": lambda text: int(text[:4]),
    "month": lambda text: int(text[5:7]),
    "day": lambda text: int(text[8:10]),
    "hour": lambda text: int(text[-17:-15]) if "T" in text else int(text[:2]),
    "minute": lambda text: int(text[-14:-12]) if "T" in text else int(text[3:5]),
    "second": lambda text: int(text[-11:-9]) if "T" in text else int(text[6:8] or 0),
    "fractionalseconds": _fraction,
    "date": lambda text: text[:10],
    "time": lambda text: text[11:27],
    "totaloffsetminutes": lambda text: 0,
    "round": rounded,
    "floor": math.floor,
    "ceiling": math.ceil,
}
_CONSTANTS: dict[str, Callable[[], str]] = {
    "now": lambda: instant(datetime.now(UTC)),
    "mindatetime": lambda: MIN_INSTANT,
    "maxdatetime": lambda: MAX_INSTANT,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda one, other: one + other,
    "sub": lambda one, other: one - other,
    "mul": lambda one, other: one * other,
    "div": divided,
    "divby": lambda one, other: divided(one, other, whole=False),
    "mod": remainder,
}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda one, other: one < other,
    "le": lambda one, other: one <= other,
    "gt": lambda one, other: one > other,
    "ge": lambda one, other: one >= other,
}


# ------------------------------------------------------------ closures


def folds(*parts: Expr) -> bool:
    """Whether a comparison or a call ignores case: some property in it does."""
    for part in parts:
        match part:
            case Path(fold=True):
                return True
            case tree.Call(_, args) if folds(*args):
                return True
    return False


def _path(path: Path) -> Read:
    root, names = path.variable or "", path.names
    if not names:
        return lambda scope: scope[root]
    if len(names) == 1:
        only = names[0]

        def one(scope: Scope) -> Any:
            value = scope[root]
            return value.get(only) if isinstance(value, Mapping) else None

        return one

    def many(scope: Scope) -> Any:
        value = scope[root]
        for name in names:
            if not isinstance(value, Mapping):
                return None
            value = value.get(name)
        return value

    return many


def _scalar(expr: Expr, fold: bool) -> Read:
    match expr:
        case Literal(str() as text):
            constant = text.lower() if fold else text
            return lambda scope: constant
        case Literal(value):
            return lambda scope: value
        case Path():
            read = _path(expr)
            return _folded(read) if fold else read
        case tree.Size(path):
            return _size(_path(path))
        case tree.Call(name, ()):
            make = _CONSTANTS[name]
            return lambda scope: make()
        case tree.Call(name, args):
            return _strict(_FUNCTIONS[name], [_scalar(arg, fold or folds(*args)) for arg in args])
        case tree.Arithmetic(op, left, right):
            return _strict(_ARITHMETIC[op], [_scalar(left, fold), _scalar(right, fold)])
        case tree.Negative(operand):
            return _strict(lambda value: -value, [_scalar(operand, fold)])
    return _condition(expr)


def _folded(read: Read) -> Read:
    def run(scope: Scope) -> Any:
        value = read(scope)
        return value.lower() if isinstance(value, str) else value

    return run


def _size(read: Read) -> Read:
    def run(scope: Scope) -> int:
        value = read(scope)
        return len(value) if isinstance(value, list) else 0

    return run


def _strict(function: Callable[..., Any], reads: list[Read]) -> Read:
    """Null in, null out."""

    def call(scope: Scope) -> Any:
        args = [read(scope) for read in reads]
        return None if None in args else function(*args)

    return call


def _condition(expr: Expr) -> Read:
    """True, False or None."""
    match expr:
        case tree.And(operands):
            return _all_of([_condition(part) for part in operands], True)
        case tree.Or(operands):
            return _all_of([_condition(part) for part in operands], False)
        case tree.Not(operand):
            inside = _condition(operand)
            return lambda scope: None if (value := inside(scope)) is None else not value
        case tree.Compare(op, left, right):
            return _compare(op, left, right)
        case tree.In(left, values):
            fold = folds(left)
            read = _scalar(left, fold)
            wanted = [v.value.lower() if fold and isinstance(v.value, str) else v.value for v in values]
            return lambda scope: read(scope) in wanted
        case tree.Any(path, variable, body):
            return _any(path, variable, body)
        case tree.All(path, variable, body):
            some = _some(path, variable, _condition(body), False)
            return lambda scope: not some(scope)
        case tree.Search(path, prefix):
            text = _path(path)
            return lambda scope: isinstance(value := text(scope), str) and word_starts(value.lower(), prefix)
    return _scalar(expr, folds(expr))


def _all_of(parts: list[Read], wanted: bool) -> Read:
    """And (`wanted` True) and or (False), three-valued."""

    def run(scope: Scope) -> bool | None:
        unknown = False
        for part in parts:
            value = part(scope)
            if value is None:
                unknown = True
            elif bool(value) != wanted:
                return not wanted
        return None if unknown else wanted

    return run


def _compare(op: str, left: Expr, right: Expr) -> Read:
    fold = folds(left, right)
    one, other = _scalar(left, fold), _scalar(right, fold)
    if op == "eq":
        return lambda scope: bool(one(scope) == other(scope))
    if op == "ne":
        return lambda scope: bool(one(scope) != other(scope))
    if op == "has":
        return lambda scope: _has(one(scope), other(scope))
    test = _ORDER[op]

    def ordered(scope: Scope) -> bool:
        a, b = one(scope), other(scope)
        return a is not None and b is not None and test(a, b)

    return ordered


def _has(value: Any, members: Any) -> bool:
    if not isinstance(value, str) or not isinstance(members, str):
        return False
    have = {part.strip() for part in value.split(",")}
    return all(part.strip() in have for part in members.split(","))


def _any(path: Path, variable: str | None, body: Expr | None) -> Read:
    if variable is None or body is None:
        counted = _scalar(tree.Size(path), False)
        return lambda scope: counted(scope) > 0
    return _some(path, variable, _condition(body), True)


def _some(path: Path, variable: str, body: Read, wanted: bool) -> Read:
    """Whether some element makes the body true (or, with `wanted` False, anything but true)."""
    read = _path(path)

    def run(scope: Scope) -> bool:
        elements = read(scope)
        if not isinstance(elements, list):
            return False
        return any((body({**scope, variable: element}) is True) == wanted for element in elements)

    return run


def compile_predicate(expr: Expr) -> Callable[[Mapping[str, Any]], bool]:
    """A bound tree as a function of an inner object."""
    run = _condition(expr)
    return lambda item: run({"": item}) is True


def matches(expr: Expr, item: Mapping[str, Any]) -> bool:
    return compile_predicate(expr)(item)
