"""What can be said of a tree without an object: its height, its kinds, what in it ignores case."""

from bartizan.odata import tree
from bartizan.odata.functions import SIGNATURES
from bartizan.odata.tree import Expr, Kind, Literal, Path

_KEEPS_CASE_OF_ARGUMENT = ("trim", "substring", "concat")


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly below."""
    match expr:
        case tree.Compare(_, left, right) | tree.Arithmetic(_, left, right):
            return left, right
        case tree.And(operands) | tree.Or(operands) | tree.Call(_, operands):
            return operands
        case tree.Not(operand) | tree.Negative(operand) | tree.In(operand, _):
            return (operand,)
        case tree.Any(_, _, body) | tree.All(_, _, body) if body is not None:
            return (body,)
    return ()


def height(expr: Expr) -> int:
    """Levels of nodes; does not recurse."""
    levels, here = 0, [expr]
    while here:
        levels += 1
        here = [below for node in here for below in children(node)]
    return levels


def kind_of(expr: Expr) -> Kind | None:
    """None: of a path whose kind no schema tells, or of a structure."""
    match expr:
        case Literal() | Path():
            return expr.kind
        case tree.Size():
            return "int"
        case tree.Call(name):
            return SIGNATURES[name].result
        case tree.Negative(operand):
            return kind_of(operand)
        case tree.Arithmetic(op, left, right):
            return arithmetic_kind(op, kind_of(left), kind_of(right))
    return "bool"


def arithmetic_kind(op: str, left: Kind | None, right: Kind | None) -> Kind | None:
    """What comes out; None where the operands do not go together. Null counts as a number."""
    if left in ("int", "real", "null") and right in ("int", "real", "null"):
        return "int" if left == right == "int" and op != "divby" else "real"
    if op == "sub" and left == right == "instant":
        return "duration"
    if op in ("add", "sub") and right == "duration" and left in ("instant", "duration"):
        return left
    return "instant" if op == "add" and left == "duration" and right == "instant" else None


def folds(*parts: Expr) -> bool:
    """Whether what compares these ignores case: one of them is the text of a property that does."""
    for part in parts:
        match part:
            case Path(fold=True):
                return True
            case tree.Call(name, args) if name in _KEEPS_CASE_OF_ARGUMENT and folds(*args):
                return True
    return False


def assumed(expr: Expr, kind: Kind | None) -> Expr:
    """A path of which the schema says nothing takes the kind that its neighbour has."""
    if isinstance(expr, Path) and expr.kind is None and expr.edm is None and kind not in (None, "null"):
        return Path(expr.names, expr.variable, expr.edm, "real" if kind == "int" else kind, False, expr.fold)
    return expr


def sides(left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """Both sides of a comparison, the kind of one given to the other where that has none."""
    return assumed(left, kind_of(right)), assumed(right, kind_of(left))
