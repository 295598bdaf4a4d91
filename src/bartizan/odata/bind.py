"""Names get their meaning: the tree of `odata.parse` against a type of the schema.

Property names are found in any case; each literal becomes what the property holds (an instant, an enum member as the
schema spells it, a GUID in lower case); a comparison of things that cannot be compared is refused. What is bound here
means the same to every reader of the tree.

Source: OData 4.01 Part 2, section 5.1.1; the leniency is what real clients need.
"""

import re
from collections.abc import Iterable

from bartizan.errors import InvalidQuery
from bartizan.model import times
from bartizan.model.edm import Edm, EnumType, Navigation, Property, StructuredType
from bartizan.odata import tree
from bartizan.odata.parse import FUNCTIONS
from bartizan.odata.tree import Expr, Kind, Literal, Order, Path

MAX_NODES = 1_000  # of one bound tree
MAX_LISTED = 40  # names in an error
_EDM_KINDS: dict[str, Kind] = {
    "Edm.String": "text",
    "Edm.Binary": "text",
    "Edm.Stream": "text",
    "Edm.Boolean": "bool",
    "Edm.Date": "date",
    "Edm.DateTimeOffset": "instant",
    "Edm.TimeOfDay": "time",
    "Edm.Duration": "duration",
    "Edm.Guid": "guid",
    "Edm.Decimal": "real",
    "Edm.Double": "real",
    "Edm.Single": "real",
    "Edm.Byte": "int",
    "Edm.SByte": "int",
    "Edm.Int16": "int",
    "Edm.Int32": "int",
    "Edm.Int64": "int",
}
_NUMBERS = ("int", "real")
_BOOLEAN = ("contains", "startswith", "endswith")
_RESULTS: dict[str, Kind] = {
    **dict.fromkeys(_BOOLEAN, "bool"),
    **dict.fromkeys(("tolower", "toupper", "trim", "concat", "substring"), "text"),
    **dict.fromkeys(
        ("indexof", "length", "year", "month", "day", "hour", "minute", "second", "totaloffsetminutes"), "int"
    ),
    **dict.fromkeys(("fractionalseconds", "round", "floor", "ceiling"), "real"),
    **dict.fromkeys(("now", "mindatetime", "maxdatetime"), "instant"),
    "date": "date",
    "time": "time",
}
# function -> kinds that each argument may have
_TEXTS: tuple[Kind, ...] = ("text", "enum", "guid")
_ARGUMENTS: dict[str, tuple[tuple[Kind, ...], ...]] = {
    **dict.fromkeys((*_BOOLEAN, "indexof", "concat"), (_TEXTS, _TEXTS)),
    **dict.fromkeys(("tolower", "toupper", "trim", "length"), (_TEXTS,)),
    "substring": (_TEXTS, ("int",), ("int",)),
    **dict.fromkeys(("year", "month", "day"), (("instant", "date"),)),
    **dict.fromkeys(("hour", "minute", "second", "fractionalseconds"), (("instant", "time"),)),
    **dict.fromkeys(("date", "time", "totaloffsetminutes"), (("instant",),)),
    **dict.fromkeys(("round", "floor", "ceiling"), (("int", "real"),)),
}
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_DURATION = re.compile(r"-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,12})?)?", re.ASCII)


class Binder:
    """Binds trees of one type; see `bind`."""

    def __init__(
        self, edm: Edm, type_name: str, allowed: frozenset[str] | None, fold: frozenset[str], verb: str
    ) -> None:
        self.edm = edm
        self.type_name = type_name
        self.allowed = None if allowed is None else {name.lower(): name for name in allowed}
        self.fold = fold
        self.verb = verb  # "filter", "sort", "search": what errors say
        self.nodes = 0
        self.scopes: dict[str, tuple[str, str]] = {}  # variable -> (type of the element, path of its collection)
        self.casts: list[Expr] = []  # tests of the kind that the paths of the condition at hand ask for

    # ------------------------------------------------------------ booleans

    def condition(self, expr: Expr) -> Expr:
        """A tree that is true or false."""
        self._count()
        match expr:
            case tree.And(operands):
                return tree.And(tuple(self.condition(part) for part in operands))
            case tree.Or(operands):
                return tree.Or(tuple(self.condition(part) for part in operands))
            case tree.Not(operand):
                return tree.Not(self.condition(operand))
        outer, self.casts = self.casts, []
        bound = self._leaf(expr)
        tests, self.casts = self.casts, outer
        return tree.And((*tests, bound)) if tests else bound

    def _leaf(self, expr: Expr) -> Expr:
        match expr:
            case tree.Any(path, variable, body):
                return self._any(path, variable, body)
            case tree.All(path, name, every):
                over, inside = self._quantified(path, name, every)
                return tree.All(over, name, inside)
            case tree.Compare(op, left, right):
                return self._compare(op, left, right)
            case tree.In(left, values):
                return self._in(left, values)
            case tree.Call("isof", (Literal(str() as name),)):
                return self._is_of(name)
        bound = self.scalar(expr)
        if _kind(bound) not in ("bool", "null"):
            raise InvalidQuery(f"{_named(bound)} is not a condition; compare it with something.")
        return bound

    def _any(self, path: Path, variable: str | None, body: Expr | None) -> Expr:
        if variable is None or body is None:
            return tree.Any(self._collection(path))
        found, inside = self._quantified(path, variable, body)
        return tree.Any(found, variable, inside)

    def _quantified(self, path: Path, variable: str, body: Expr) -> tuple[Path, Expr]:
        bound = self._collection(path)
        assert bound.edm is not None
        before = self.scopes.get(variable)
        outer = self.scopes[path.variable][1] if path.variable is not None else ""
        self.scopes[variable] = (bound.edm, "/".join(filter(None, (outer, *bound.names))))
        inside = self.condition(body)
        if before is None:
            del self.scopes[variable]
        else:
            self.scopes[variable] = before
        return bound, inside

    def _collection(self, path: Path) -> Path:
        bound = self._path(path)
        if not bound.collection:
            raise InvalidQuery(f"{_named(bound)} is not a collection; any and all need one.")
        return bound

    def _is_of(self, name: str) -> Expr:
        full = self.edm.type_name(name)
        if full is None:
            raise InvalidQuery(f"isof knows no type '{name}'.")
        kinds = (full, *self.edm.structured(full).derived)
        values = tuple(Literal(f"#{kind}", "text") for kind in kinds)
        return tree.In(Path(("@odata.type",), None, "Edm.String", "text"), values)

    # ------------------------------------------------------------ comparisons

    def _compare(self, op: tree.CompareOp, left: Expr, right: Expr) -> Expr:
        one, other = self.operand(left), self.operand(right)
        if isinstance(one, Literal) and not isinstance(other, Literal):
            one = self._literal(one, other)
        elif isinstance(other, Literal):
            other = self._literal(other, one)
        kinds = _kind(one), _kind(other)
        if op == "has":
            return self._has(one, other)
        if not _comparable(*kinds):
            raise InvalidQuery(f"cannot compare {_named(one)} with {_named(other)}.")
        if op not in ("eq", "ne") and "bool" in kinds:
            raise InvalidQuery(f"{_named(one)} has no order; use eq or ne.")
        return tree.Compare(op, one, other)

    def _has(self, one: Expr, other: Expr) -> Expr:
        if not isinstance(other, Literal) or _kind(one) not in ("enum", "text"):
            raise InvalidQuery("has takes an enum property and one of its members.")
        return tree.Compare("has", one, other)

    def _in(self, left: Expr, values: tuple[Literal, ...]) -> Expr:
        one = self.operand(left)
        bound = tuple(self._literal(value, one) for value in values)
        for value in bound:
            self._count()
            if not _comparable(_kind(one), value.kind):
                raise InvalidQuery(f"cannot compare {_named(one)} with {_named(value)}.")
        return tree.In(one, bound)

    def operand(self, expr: Expr) -> Expr:
        """One side of a comparison: a scalar, or a condition in brackets."""
        if isinstance(expr, tree.And | tree.Or | tree.Not | tree.Any | tree.All | tree.Compare | tree.In):
            return self.condition(expr)
        return self.scalar(expr)

    # ------------------------------------------------------------ scalars

    def scalar(self, expr: Expr) -> Expr:
        self._count()
        match expr:
            case Path():
                bound = self._path(expr)
                if bound.collection or bound.kind is None:
                    what = (
                        "a collection: use any(...)"
                        if bound.collection
                        else "not a single value: name a property of it"
                    )
                    raise InvalidQuery(f"{_named(bound)} is {what}.")
                return bound
            case Literal(str() as value, kind):
                return _literal_of(kind, value)
            case Literal():
                return expr
            case tree.Size(path):
                return tree.Size(self._collection(path))
            case tree.Call():
                return self._call(expr)
            case tree.Arithmetic(op, left, right):
                return tree.Arithmetic(op, self._number(left), self._number(right))
            case tree.Negative(operand):
                return tree.Negative(self._number(operand))
        raise InvalidQuery("a condition stands where a value is needed.")

    def _number(self, expr: Expr) -> Expr:
        bound = self.scalar(expr)
        if _kind(bound) not in (*_NUMBERS, "null"):
            raise InvalidQuery(f"{_named(bound)} is not a number.")
        return bound

    def _call(self, call: tree.Call) -> Expr:
        if call.name not in FUNCTIONS:
            raise InvalidQuery(f"{call.name} cannot stand here.")
        args = tuple(self.scalar(arg) for arg in call.args)
        for arg, kinds in zip(args, _ARGUMENTS.get(call.name, ()), strict=False):
            if _kind(arg) not in (*kinds, "null"):
                raise InvalidQuery(f"{call.name} takes {' or '.join(kinds)}, not {_named(arg)}.")
        return tree.Call(call.name, args)

    def _literal(self, literal: Literal, other: Expr) -> Literal:
        """The literal as the other side holds its values."""
        if literal.value is None:
            return literal
        kind = _kind(other)
        enum = self._enum(other)
        if enum is not None:
            member = enum.find(str(literal.value)) if isinstance(literal.value, str) else None
            if member is None:
                raise InvalidQuery(f"'{literal.value}' is no member of {enum.name}; members: {_listed(enum.members)}.")
            return Literal(member, "enum")
        if isinstance(literal.value, str):
            return _converted(literal, kind, other)
        return literal

    def _enum(self, expr: Expr) -> EnumType | None:
        return self.edm.enum(expr.edm) if isinstance(expr, Path) and expr.edm is not None else None

    # ------------------------------------------------------------ paths

    def _path(self, path: Path) -> Path:
        self._count()
        type_name, outer = (self.type_name, "") if path.variable is None else self.scopes[path.variable]
        if not path.names:
            if path.variable is None:
                raise InvalidQuery(f"Cannot {self.verb} by $it, the object itself; name one of its properties.")
            return Path((), path.variable, type_name, self._kind_of(type_name), False, outer in self.fold)
        names, of, collection = self._walk(path, type_name)
        full = "/".join(filter(None, (outer, *names)))
        self._allow(full)
        return Path(names, path.variable, of, None if collection else self._kind_of(of), collection, full in self.fold)

    def _walk(self, path: Path, here: str) -> tuple[tuple[str, ...], str, bool]:
        """Spelling, type, and whether it is a collection; casts on the way become tests of the kind."""
        found: list[str] = []
        collection = False
        for name in path.names:
            if collection:
                raise InvalidQuery(f"'{'/'.join(found)}' is a collection: use any(x: x/{name} ...).")
            if name.lower() == "@odata.type":
                found.append("@odata.type")
                here = "Edm.String"
                continue
            kind = self.edm.type_name(name) if "." in name else None
            if kind is not None:
                self._cast(path, found, here, kind)
                here = kind
                continue
            member = self._member(here, name)
            if member is None:
                raise self._unknown("/".join((*found, name)), here)
            found.append(member.name)
            here, collection = member.type, member.collection
        return tuple(found), here, collection

    def _cast(self, path: Path, found: list[str], here: str, kind: str) -> None:
        if kind == here:
            return
        if kind not in self._structured(here).derived:
            raise InvalidQuery(f"{kind} is not a kind of {here}.")
        values = tuple(Literal(f"#{each}", "text") for each in (kind, *self._structured(kind).derived))
        self.casts.append(tree.In(Path((*found, "@odata.type"), path.variable, "Edm.String", "text"), values))

    def _structured(self, name: str) -> StructuredType:
        try:
            return self.edm.structured(name)
        except KeyError:
            raise InvalidQuery(f"A value of {name} has no properties to {self.verb} by.") from None

    def _member(self, type_name: str, name: str) -> Property | Navigation | None:
        """A property of the type, or of one of its kinds (evidence of all kinds stands in one list)."""
        declared = self._structured(type_name)
        found = declared.find(name)
        for kind in declared.derived if found is None else ():
            found = found or self._structured(kind).find(name)
        return found

    def _kind_of(self, type_name: str) -> Kind | None:
        if self.edm.enum(type_name) is not None:
            return "enum"
        return _EDM_KINDS.get(type_name)

    def _allow(self, full: str) -> None:
        """A listed path opens what lies below it."""
        if self.allowed is None:
            return
        steps = full.lower().split("/")
        if any("/".join(steps[: n + 1]) in self.allowed for n in range(len(steps))) or steps[-1] == "@odata.type":
            return
        names = _listed(self.allowed.values())
        raise InvalidQuery(f"Cannot {self.verb} by '{full}'; what can be used: {names or 'nothing'}.")

    def _unknown(self, name: str, type_name: str) -> InvalidQuery:
        declared = self._structured(type_name)
        names = (
            self.allowed.values() if self.allowed is not None and type_name == self.type_name else declared.properties
        )
        return InvalidQuery(f"Could not find a property named '{name}' on {type_name}; it has: {_listed(names)}.")

    def _count(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidQuery(f"The expression has more than {MAX_NODES} parts.")


def _kind(expr: Expr) -> Kind | None:
    match expr:
        case Path() | Literal():
            return expr.kind
        case tree.Call(name):
            return _RESULTS[name]
        case tree.Size():
            return "int"
        case tree.Arithmetic() | tree.Negative():
            return "real"
    return "bool"


def _comparable(one: Kind | None, other: Kind | None) -> bool:
    if one is None or other is None:
        return False
    if "null" in (one, other) or one == other:
        return True
    return any(one in group and other in group for group in (_NUMBERS, ("text", "enum", "guid")))


def _literal_of(kind: Kind, value: str) -> Literal:
    """A literal by itself, in its one spelling."""
    if "\0" in value:
        raise InvalidQuery("A text with a NUL character matches nothing.")
    if kind == "instant":
        return Literal(_instant(value), "instant")
    if kind == "guid":
        return Literal(value.lower(), "guid")
    return Literal(value, "text" if kind == "enum" else kind)


def _converted(literal: Literal, kind: Kind | None, other: Expr) -> Literal:
    """A literal of text or of a date as the kind that stands on the other side."""
    value = str(literal.value)
    if kind == "instant" and literal.kind in ("text", "date", "instant"):
        return Literal(_instant(value), "instant")
    if literal.kind in ("text", "enum") and kind in ("guid", "date", "time", "duration"):
        return Literal(_checked(value, kind), kind)
    if literal.kind == "enum":
        return Literal(value, "text")
    if kind in ("text", "enum") and literal.kind in ("date", "time", "instant", "duration"):
        raise InvalidQuery(f"{_named(other)} is a text; write its value in quotes: '{value}'.")
    return literal


def _instant(text: str) -> str:
    """A raw `+` of the offset may have been decoded to a space."""
    whole = text.strip()
    if len(whole) == len("2026-11-23"):
        whole += "T00:00:00Z"
    if whole[-6:-5] == " " and whole[-3:-2] == ":":
        whole = f"{whole[:-6]}+{whole[-5:]}"
    try:
        return times.parse(whole)
    except ValueError as error:
        raise InvalidQuery(f"{error}.") from None


def _checked(text: str, kind: Kind) -> str:
    if kind == "guid" and _GUID.fullmatch(text.lower()):
        return text.lower()
    if kind == "duration" and _DURATION.fullmatch(text):
        return text
    if kind == "time" and _CLOCK.fullmatch(text):
        return text
    if kind == "date":
        return _instant(text)[:10]
    raise InvalidQuery(f"'{text[:60]}' is not a {kind}.")


def _named(expr: Expr) -> str:
    """How errors call a part of a query."""
    match expr:
        case Path():
            kind = expr.edm.rpartition(".")[2] if expr.edm else "?"
            return f"'{'/'.join(expr.names) or expr.variable}' ({kind})"
        case Literal(value, kind):
            return f"'{value}' ({kind})" if isinstance(value, str) else f"{value} ({kind})"
        case tree.Call(name):
            return f"{name}(...) ({_RESULTS[name]})"
        case tree.Arithmetic() | tree.Negative() | tree.Size():
            return "a number"
    return "a condition"


def _listed(names: Iterable[str]) -> str:
    each = sorted(names)
    more = f" and {len(each) - MAX_LISTED} more" if len(each) > MAX_LISTED else ""
    return ", ".join(each[:MAX_LISTED]) + more


def bind(
    expr: Expr,
    edm: Edm,
    type_name: str,
    *,
    filterable: frozenset[str] | None = None,
    fold: frozenset[str] = frozenset(),
) -> Expr:
    """A filter bound to a type.

    `filterable` are the property paths that may be used (a path opens what lies below it; None: every property), `fold`
    those whose comparisons ignore case. InvalidQuery says what cannot be used and what can.
    """
    try:
        return Binder(edm, type_name, filterable, fold, "filter").condition(expr)
    except InvalidQuery as problem:
        raise _prefixed(problem, "Invalid filter clause") from None


def bind_order(
    keys: tuple[Order, ...],
    edm: Edm,
    type_name: str,
    *,
    sortable: frozenset[str] | None = None,
    fold: frozenset[str] = frozenset(),
) -> tuple[Order, ...]:
    """Sort keys bound to a type; InvalidQuery for what is no single value."""
    binder = Binder(edm, type_name, sortable, fold, "sort")
    made: list[Order] = []
    try:
        for key in keys:
            path = binder.scalar(key.path)
            assert isinstance(path, Path)
            if binder.casts:
                raise InvalidQuery("a cast cannot be sorted by.")
            made.append(Order(path, key.descending))
    except InvalidQuery as problem:
        raise _prefixed(problem, "Invalid $orderby") from None
    return tuple(made)


def bind_search(expr: Expr, edm: Edm, type_name: str, *, searchable: tuple[str, ...]) -> Expr:
    """A tree of Search nodes: a term without a property looks into every searchable one."""
    binder = Binder(edm, type_name, frozenset(searchable), frozenset(), "search")

    def bound(part: Expr) -> Expr:
        match part:
            case tree.And(operands):
                return tree.And(tuple(map(bound, operands)))
            case tree.Or(operands):
                return tree.Or(tuple(map(bound, operands)))
            case tree.Not(operand):
                return tree.Not(bound(operand))
            case tree.Search(path, prefix):
                names = ["/".join(path.names)] if path.names else list(searchable)
                each = [tree.Search(_text(binder, name), prefix.lower()) for name in names]
                return each[0] if len(each) == 1 else tree.Or(tuple(each))
        raise InvalidQuery("cannot be searched for.")

    try:
        return bound(expr)
    except InvalidQuery as problem:
        raise _prefixed(problem, "Invalid $search") from None


def _text(binder: Binder, name: str) -> Path:
    path = binder.scalar(Path(tuple(name.split("/"))))
    if not isinstance(path, Path) or path.kind not in ("text", "enum", "guid"):
        raise InvalidQuery(f"'{name}' is not a text.")
    return path


def _prefixed(problem: InvalidQuery, what: str) -> InvalidQuery:
    message = problem.message if problem.message.startswith(what) else f"{what}: {problem.message}"
    return type(problem)(message, code=problem.code)
