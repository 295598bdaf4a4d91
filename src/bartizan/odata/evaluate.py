"""The tree over one object in memory: closures made once, run on inner objects. The meaning is that of `odata.tree`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import ge, gt, le, lt
from typing import Any

from bartizan.odata import tree
from bartizan.odata.functions import CALLS, arithmetic, duration, lower, shifted, span, utc_now, word_starts
from bartizan.odata.shape import folds, kind_of, sides
from bartizan.odata.tree import Expr, Literal, Order, Path

Scope = Mapping[str, Any]  # "" -> the object, a lambda's variable -> its element
Read = Callable[[Scope], Any]

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {"lt": lt, "le": le, "gt": gt, "ge": ge}
_PASSES_CASE = ("trim", "substring", "concat")  # lower case of the whole is that of the parts
_COMPARES = ("contains", "startswith", "endswith", "indexof")


# ------------------------------------------------------------ paths


def _raw(path: Path) -> Read:
    """What stands at a path, of whatever type; None where there is nothing."""
    root, names = path.variable or "", path.names
    if not names:
        return lambda scope: scope[root]
    if len(names) == 1:
        only = names[0]

        def one(scope: Scope) -> Any:
            value = scope[root]
            return value.get(only) if isinstance(value, dict) else None

        return one

    def many(scope: Scope) -> Any:
        value = scope[root]
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return many


def _path(path: Path, fold: bool) -> Read:
    """The value if it is of the path's kind, None otherwise."""
    raw, kind = _raw(path), path.kind
    if kind is None:
        return raw

    def text(scope: Scope) -> Any:
        value = raw(scope)
        return value if type(value) is str else None

    def lowered(scope: Scope) -> Any:
        value = raw(scope)
        return value.lower() if type(value) is str else None

    def number(scope: Scope) -> Any:
        value = raw(scope)
        return value if type(value) in (int, float) else None

    def truth(scope: Scope) -> Any:
        value = raw(scope)
        return value if type(value) is bool else None

    if kind == "bool":
        return truth
    if kind in ("int", "real"):
        return number
    if kind == "duration":
        return lambda scope: duration(text(scope))
    return lowered if fold else text


def _elements(path: Path) -> Callable[[Scope], list[Any]]:
    raw = _raw(path)

    def run(scope: Scope) -> list[Any]:
        value = raw(scope)
        return value if isinstance(value, list) else []

    return run


# ------------------------------------------------------------ scalars


def _scalar(expr: Expr, fold: bool) -> Read:
    """`fold`: texts in lower case, since what they are compared with ignores case."""
    match expr:
        case Literal(value):
            constant = value.lower() if fold and isinstance(value, str) else value
            return lambda scope: constant
        case Path():
            return _path(expr, fold or expr.fold)
        case tree.Size(path):
            elements = _elements(path)
            return lambda scope: len(elements(scope))
        case tree.Call("now"):
            return lambda scope: utc_now()
        case tree.Call(name, args):
            return _call(name, args, fold)
        case tree.Arithmetic(op, left, right):
            return _arithmetic(op, left, right)
        case tree.Negative(operand):
            read = _scalar(operand, False)
            return lambda scope: None if (value := read(scope)) is None else -value
    return _condition(expr)


def _call(name: str, args: Sequence[Expr], fold: bool) -> Read:
    function = CALLS[name]
    within = (fold and name in _PASSES_CASE) or (name in (*_COMPARES, *_PASSES_CASE) and folds(*args))
    reads = [_scalar(arg, within) for arg in args]
    if fold and name in ("tolower", "toupper"):
        inner = function
        function = lambda text: lower(inner(text))  # noqa: E731
    if len(reads) == 1:
        (only,) = reads
        return lambda scope: function(only(scope))
    if len(reads) == 2:
        one, other = reads
        return lambda scope: function(one(scope), other(scope))
    return lambda scope: function(*[read(scope) for read in reads])


def _arithmetic(op: tree.ArithmeticOp, left: Expr, right: Expr) -> Read:
    one, other = _scalar(left, False), _scalar(right, False)
    kinds = kind_of(left), kind_of(right)
    if kinds == ("instant", "instant"):
        return lambda scope: span(one(scope), other(scope))
    if kinds[0] == "instant":
        sign = -1 if op == "sub" else 1
        return lambda scope: None if (by := other(scope)) is None else shifted(one(scope), sign * by)
    if kinds[1] == "instant":
        return lambda scope: shifted(other(scope), one(scope))
    if kinds[0] == "duration":
        sign = -1 if op == "sub" else 1
        return lambda scope: None if None in (a := (one(scope), other(scope))) else a[0] + sign * a[1]
    function = partial(arithmetic, op, kinds == ("int", "int"))
    return lambda scope: function(one(scope), other(scope))


# ------------------------------------------------------------ conditions


def _condition(expr: Expr) -> Read:
    """True, False or None."""
    match expr:
        case tree.And(operands):
            return _joined([_condition(part) for part in operands], True)
        case tree.Or(operands):
            return _joined([_condition(part) for part in operands], False)
        case tree.Not(operand):
            inside = _condition(operand)
            return lambda scope: None if (value := inside(scope)) is None else not value
        case tree.Compare(op, left, right):
            return _compare(op, left, right)
        case tree.In(left, values):
            return _in(left, values)
        case tree.Any(path, variable, body):
            return _any(path, variable, body)
        case tree.All(path, variable, body):
            some = _some(path, variable, _condition(body), False)
            return lambda scope: not some(scope)
        case tree.Search(path, prefix):
            text = (
                _path(path, False)
                if path.kind is not None
                else _path(Path(path.names, path.variable, kind="text"), False)
            )
            return lambda scope: word_starts(text(scope), prefix)
        case Path(kind=None):
            return _path(Path(expr.names, expr.variable, expr.edm, "bool"), False)
    return _scalar(expr, False)


def _joined(parts: list[Read], wanted: bool) -> Read:
    """And (`wanted` True) and or (False), three-valued."""

    def run(scope: Scope) -> bool | None:
        unknown = False
        for part in parts:
            value = part(scope)
            if value is None:
                unknown = True
            elif value is not wanted:
                return not wanted
        return None if unknown else wanted

    return run


def _compare(op: str, left: Expr, right: Expr) -> Read:
    left, right = sides(left, right)
    fold = folds(left, right)
    one, other = _scalar(left, fold), _scalar(right, fold)
    if op == "has":
        return lambda scope: _has(one(scope), other(scope))
    if op == "eq" or op == "ne":
        if isinstance(right, Literal):
            constant = other({})
            if op == "eq":
                return lambda scope: bool(one(scope) == constant)
            return lambda scope: bool(one(scope) != constant)
        if op == "eq":
            return lambda scope: bool(one(scope) == other(scope))
        return lambda scope: bool(one(scope) != other(scope))
    test = _ORDER[op]

    def ordered(scope: Scope) -> bool:
        a, b = one(scope), other(scope)
        return a is not None and b is not None and test(a, b)

    return ordered


def _has(value: Any, members: Any) -> bool:
    if not isinstance(value, str) or not isinstance(members, str):
        return False
    have = value.split(",")
    return all(part.strip() in have for part in members.split(","))


def _in(left: Expr, values: Sequence[Literal]) -> Read:
    for value in values:
        left, _ = sides(left, value)
    fold = folds(left)
    read = _scalar(left, fold)
    wanted = frozenset(v.value.lower() if fold and isinstance(v.value, str) else v.value for v in values)
    if kind_of(left) is not None:
        return lambda scope: read(scope) in wanted
    return lambda scope: read(scope) is None and None in wanted


def _any(path: Path, variable: str | None, body: Expr | None) -> Read:
    if variable is None or body is None:
        elements = _elements(path)
        return lambda scope: bool(elements(scope))
    return _some(path, variable, _condition(body), True)


def _some(path: Path, variable: str, body: Read, wanted: bool) -> Read:
    """Whether some element makes the body true (or, with `wanted` False, anything but true)."""
    elements = _elements(path)

    def run(scope: Scope) -> bool:
        inside = {**scope}
        for element in elements(scope):
            inside[variable] = element
            if (body(inside) is True) is wanted:
                return True
        return False

    return run


# ------------------------------------------------------------ what others call


def value_of(expr: Expr) -> Any:
    """Of a tree without properties."""
    return _scalar(expr, False)({})


def compile_predicate(expr: Expr) -> Callable[[Mapping[str, Any]], bool]:
    """A bound tree as a function of an inner object."""
    run = _condition(expr)
    return lambda item: run({"": item if isinstance(item, dict) else dict(item)}) is True


def matches(expr: Expr, item: Mapping[str, Any]) -> bool:
    return compile_predicate(expr)(item)


class _Reversed:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: "_Reversed") -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.value == other.value)


def sort_key(order: Sequence[Order]) -> Callable[[Mapping[str, Any]], Any]:
    """A key for `sorted`, of bound order: nulls first when ascending, last when descending."""
    reads = [(_path(item.path, item.path.fold), item.descending) for item in order]

    def key(item: Mapping[str, Any]) -> tuple[Any, ...]:
        made: list[Any] = []
        for read, descending in reads:
            value = read({"": item if isinstance(item, dict) else dict(item)})
            one = (value is not None, 0 if value is None else value)
            made.append(_Reversed(one) if descending else one)
        return tuple(made)

    return key
