"""What can be said of a tree without an object: its kinds, what ignores case, which parts are constant."""

from collections.abc import Iterator

from msgspec.structs import replace

from bartizan.odata.functions import SIGNATURES
from bartizan.odata.tree import (
    All,
    And,
    Any,
    Arithmetic,
    Call,
    Compare,
    Expr,
    In,
    Kind,
    Literal,
    Negative,
    Not,
    Or,
    Path,
    Size,
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The nodes directly below, without the paths of Any, All, Size and the like."""
    if isinstance(expr, Compare | Arithmetic):
        return (expr.left, expr.right)
    if isinstance(expr, And | Or):
        return expr.operands
    if isinstance(expr, Not | Negative):
        return (expr.operand,)
    if isinstance(expr, Call):
        return expr.args
    if isinstance(expr, In):
        return (expr.left,)
    if isinstance(expr, Any | All):
        return () if expr.body is None else (expr.body,)
    return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """Every node, each before what is below it; does not recurse."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(children(node))


def height(expr: Expr) -> int:
    found, level = 0, [expr]
    while level:
        found += 1
        level = [below for node in level for below in children(node)]
    return found


def constant(expr: Expr) -> bool:
    """Whether it has one value for all objects and at any time."""
    return all(
        isinstance(node, Literal | Arithmetic | Negative | Compare | In | Not | And | Or)
        or (isinstance(node, Call) and node.name != "now")
        for node in walk(expr)
    )


def kind_of(expr: Expr) -> Kind | None:
    """None: the kind of a path that no schema tells, or of a structure."""
    if isinstance(expr, Literal | Path):
        return expr.kind
    if isinstance(expr, Size):
        return "int"
    if isinstance(expr, Call):
        return SIGNATURES[expr.name].result
    if isinstance(expr, Negative):
        return kind_of(expr.operand)
    if isinstance(expr, Arithmetic):
        return _arithmetic_kind(expr)
    return "bool"


def _arithmetic_kind(expr: Arithmetic) -> Kind:
    left, right = kind_of(expr.left), kind_of(expr.right)
    if left == "instant":
        return "duration" if right == "instant" else "instant"
    if right == "instant":
        return "instant"
    if left == "duration":
        return "duration"
    return "int" if left == "int" and right == "int" and expr.op != "divby" else "real"


def folded(expr: Expr) -> bool:
    """Whether its text is that of a property which ignores case."""
    if isinstance(expr, Path):
        return expr.fold
    if isinstance(expr, Call) and expr.name in ("trim", "substring"):
        return folded(expr.args[0])
    return isinstance(expr, Call) and expr.name == "concat" and any(map(folded, expr.args))


def leveled(*sides: Expr) -> tuple[Expr, ...]:
    """The same sides, all in lower case where one of them ignores case."""
    return tuple(map(_lowered, sides)) if any(map(folded, sides)) else sides


def _lowered(side: Expr) -> Expr:
    if isinstance(side, Literal):
        return replace(side, value=side.value.lower()) if isinstance(side.value, str) else side
    if isinstance(side, Path):
        return replace(side, fold=True) if side.kind in ("text", "guid", "enum") else side
    if kind_of(side) != "text" or folded(side):
        return side
    return Call("tolower", (side,))


def leveled_in(expr: In) -> In:
    if not folded(expr.left):
        return expr
    return In(expr.left, tuple(_lowered(value) for value in expr.values))  # type: ignore[misc]


def advanced(expr: Expr) -> str | None:
    """What directory sets answer only to a request with `ConsistencyLevel: eventual` and `$count=true`; None: nothing."""
    for node in walk(expr):
        if isinstance(node, Not):
            return "not"
        if isinstance(node, Compare) and node.op == "ne":
            return "ne"
        if isinstance(node, Call) and node.name == "endswith":
            return "endswith"
        if isinstance(node, Size):
            return "$count"
    return None
