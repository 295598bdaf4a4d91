"""Names get their meaning: the tree of `odata.parse` against a type of the schema.

Property names are found in any case; each literal becomes what the property holds (an instant, an enum member as the
schema spells it, a GUID in lower case); a comparison of things that cannot be compared is refused. What is bound here
means the same to every reader of the tree.

Source: OData 4.01 Part 2, section 5.1.1; the leniency is what real clients need.
"""

from typing import NamedTuple

from bartizan.errors import InvalidQuery
from bartizan.model.edm import Edm, EnumType, Navigation, Property
from bartizan.odata import tree
from bartizan.odata.evaluate import value_of
from bartizan.odata.functions import SIGNATURES
from bartizan.odata.literals import NUMBERS, comparable, converted, hint, listed, literal_of, named, short
from bartizan.odata.shape import arithmetic_kind, assumed, kind_of
from bartizan.odata.tree import Expr, Kind, Literal, Order, Path

MAX_NODES = 1_000  # of one bound tree
MAX_ROOTED = 2  # lambdas inside one another that each start from the object: their work multiplies
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
_TESTS = {"lt": (-1,), "le": (-1, 0), "gt": (1,), "ge": (0, 1)}
_FLIPPED: dict[str, tree.CompareOp] = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_ADJECTIVES = {"filter": "filterable", "sort": "sortable", "search": "searchable"}


class _Found(NamedTuple):
    """Where a path leads. `edm` None: the schema does not say the type for sure; `kind` None: nor what it is."""

    names: tuple[str, ...]
    edm: str | None
    kind: Kind | None
    collection: bool


class Binder:
    """Binds trees of one type; see `bind`."""

    def __init__(
        self,
        edm: Edm,
        type_name: str,
        allowed: frozenset[str] | None,
        fold: frozenset[str],
        verb: str,
        counted: frozenset[str] = frozenset(),
    ) -> None:
        self.edm = edm
        self.counted = counted
        self.type_name = type_name
        self.allowed = None if allowed is None else {name.lower(): name for name in allowed}
        self.fold = fold
        self.verb = verb  # "filter", "sort", "search": what errors say
        self.nodes = 0
        self.rooted = 0  # lambdas around this place that start from the object
        self.scopes: dict[
            str, tuple[str | None, Kind | None, str]
        ] = {}  # variable -> type, kind, path of its collection
        self.casts: list[Expr] = []  # tests of the type that the paths of the condition at hand ask for

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
            case tree.Any(path, None, _) | tree.Any(path, _, None):
                cast = self._cast_elements(path)
                if cast is None:
                    return tree.Any(self._collection(path))
                over, test, _ = self._quantified(path, "x", Literal(True, "bool"))
                return tree.Any(over, "x", test)
            case tree.Any(path, str() as variable, body) if body is not None:
                over, test, inside = self._quantified(path, variable, body)
                return tree.Any(over, variable, inside if test is None else tree.And((test, inside)))
            case tree.All(path, variable, body):
                over, test, inside = self._quantified(path, variable, body)
                return tree.All(over, variable, inside if test is None else tree.Or((tree.Not(test), inside)))
            case tree.Compare(op, left, right):
                return self._compare(op, left, right)
            case tree.In(left, values):
                return self._in(left, values)
            case tree.Call("isof", (Path() as at, Literal(str() as name))):
                return self._is_of(at, name)
        bound = assumed(self.scalar(expr), "bool")
        if kind_of(bound) not in ("bool", "null"):
            raise InvalidQuery(f"{named(bound)} is not a condition; compare it with something.")
        return bound

    def _cast_elements(self, path: Path) -> str | None:
        """The type that `evidence/microsoft.graph.security.userEvidence` narrows the elements of evidence to."""
        return self._type(path.names[-1]) if len(path.names) > 1 and "." in path.names[-1] else None

    def _quantified(self, path: Path, variable: str, body: Expr) -> tuple[Path, Expr | None, Expr]:
        """The collection; what an element must be, if the path ends in a cast; and the body."""
        cast = self._cast_elements(path)
        if cast is not None:
            path = Path(path.names[:-1], path.variable)
        bound = self._collection(path)
        self.rooted += path.variable is None
        if self.rooted > MAX_ROOTED:
            raise InvalidQuery(
                f"more than {MAX_ROOTED} lambdas inside one another start from the object; start them from a variable."
            )
        before = self.scopes.get(variable)
        outer = "" if path.variable is None else self.scopes[path.variable][2]
        test = None if cast is None or bound.edm is None else self._element_test(bound.edm, cast, variable)
        self.scopes[variable] = (cast or bound.edm, bound.kind, "/".join(filter(None, (outer, *bound.names))))
        inside = self.condition(body)
        self.rooted -= path.variable is None
        if before is None:
            del self.scopes[variable]
        else:
            self.scopes[variable] = before
        return Path(bound.names, bound.variable, bound.edm, None, True), test, inside

    def _element_test(self, of: str, cast: str, variable: str) -> Expr | None:
        if cast in self._line(of):
            return None
        if not self._has_properties(of) or cast not in self.edm.structured(of).derived:
            raise InvalidQuery(f"{cast} is not a kind of {of}.")
        return self._typed((), variable, (cast, *self.edm.structured(cast).derived))

    def _collection(self, path: Path) -> Path:
        """Its `kind` is that of the elements."""
        self._count()
        found, full = self._follow(path, True)
        if not found.collection and not (found.edm is None and found.kind is None):
            raise InvalidQuery(f"'{short(full)}' is not a collection; any, all and $count need one.")
        return Path(found.names, path.variable, found.edm, found.kind, True)

    def _related(self, path: Path) -> Path | None:
        """A relationship whose `$count` may be asked for."""
        if path.variable is not None or len(path.names) != 1:
            return None
        member = self.edm.structured(self.type_name).find(path.names[0])
        return Path((member.name,), collection=True) if member is not None and member.name in self.counted else None

    def _is_of(self, path: Path, name: str) -> Expr:
        """A comparison of @odata.type; true where the schema alone says so."""
        wanted = self._type(name)
        if wanted is None:
            raise InvalidQuery(f"isof knows no type '{short(name)}'.")
        if path.names:
            found, _ = self._follow(path, False)
            here, names = found.edm, found.names
        else:
            here, names = (self.type_name if path.variable is None else self.scopes[path.variable][0]), ()
        if here is not None and wanted in self._line(here):
            there = tree.Compare("ne", Path(names, path.variable, here), Literal(None, "null"))
            return there if names else Literal(True, "bool")
        derived = self.edm.structured(here).derived if here is not None and self._has_properties(here) else None
        if derived is not None and wanted not in derived:
            hint = ""
            if not path.names and path.variable is None and self.scopes:
                hint = f"; of the element it is isof({next(reversed(self.scopes))},'{wanted}')"
            raise InvalidQuery(f"isof: {wanted} is not a kind of {here}{hint}.")
        kinds = (wanted, *self.edm.structured(wanted).derived)
        return self._typed(names, path.variable, kinds)

    @staticmethod
    def _typed(names: tuple[str, ...], variable: str | None, kinds: tuple[str, ...]) -> Expr:
        at = Path((*names, "@odata.type"), variable, "Edm.String", "text")
        return tree.In(at, tuple(Literal(f"#{kind}", "text") for kind in kinds))

    def _type(self, name: str) -> str | None:
        """The type that a segment names; None for what is no name of a type of Graph. `graph` is Graph's own alias."""
        low = name.lower()
        known = self.edm.type_name(f"microsoft.{name}" if low.startswith("graph.") else name)
        if known is None and low.startswith(("graph.", "microsoft.graph.")):
            raise InvalidQuery(f"there is no type '{short(name)}'.")
        return known

    def _line(self, name: str) -> list[str]:
        """A type and those above it."""
        found: list[str] = []
        here: str | None = name
        while here is not None:
            found.append(here)
            try:
                here = self.edm.structured(here).base
            except KeyError:
                break
        return found

    # ------------------------------------------------------------ comparisons

    def _compare(self, op: tree.CompareOp, left: Expr, right: Expr) -> Expr:
        one, other = self._operand(left), self._operand(right)
        if isinstance(one, Literal) and not isinstance(other, Literal) and op != "has":
            one, other, op = other, one, _FLIPPED[op]
        if isinstance(other, Literal):
            other = self._literal(other, one)
        one, other = assumed(one, kind_of(other)), assumed(other, kind_of(one))
        kinds = kind_of(one), kind_of(other)
        if op == "has":
            return self._has(one, other)
        if None in kinds and not (op in ("eq", "ne") and "null" in kinds):
            raise InvalidQuery(f"{named(one if kinds[0] is None else other)} is not a single value of a known type.")
        if None not in kinds and not comparable(*kinds):
            raise InvalidQuery(f"cannot compare {named(one)} with {named(other)}{hint(one, other)}.")
        if op in ("eq", "ne") or "null" in kinds:
            return tree.Compare(op, one, other)
        if "bool" in kinds:
            raise InvalidQuery(f"{named(one)} has no order; use eq or ne.")
        return self._ordered_members(op, one, other) if "enum" in kinds else tree.Compare(op, one, other)

    def _ordered_members(self, op: str, one: Expr, other: Expr) -> Expr:
        """Members are ordered by their numbers: those beyond the given one, as a list."""
        enum = self._enum(one)
        if enum is None or enum.flags or not isinstance(other, Literal):
            raise InvalidQuery(f"{named(one)} has no order; use eq, ne, in or has.")
        at = enum.members[str(other.value)]
        found: list[Literal] = []
        for member, number in enum.members.items():
            if at is None or number is None:
                raise InvalidQuery(f"{enum.name} has no order; use eq, ne or in.")
            if (number > at) - (number < at) in _TESTS[op] and member != enum.late_mark:
                found.append(Literal(member, "enum"))
        return tree.In(one, tuple(found))

    def _has(self, one: Expr, other: Expr) -> Expr:
        member = isinstance(other, Literal) and other.kind in ("enum", "text")
        if not member or kind_of(one) not in ("enum", "text"):
            raise InvalidQuery("has takes an enum property and one of its members.")
        return tree.Compare("has", one, other)

    def _in(self, left: Expr, values: tuple[Literal, ...]) -> Expr:
        one = self._operand(left)
        given = tuple(literal_of(v.kind, v.value) if isinstance(v.value, str) else v for v in values)
        bound = tuple(self._literal(value, one) for value in given)
        for value in bound:
            one = assumed(one, value.kind)
            kind = kind_of(one)
            if value.value is not None and (kind is None or not comparable(kind, value.kind)):
                raise InvalidQuery(f"cannot compare {named(one)} with {named(value)}{hint(one, value)}.")
        return tree.In(one, bound)

    def _operand(self, expr: Expr) -> Expr:
        """One side of a comparison: a scalar, a structure (for null), or a condition in brackets."""
        match expr:
            case tree.And() | tree.Or() | tree.Not() | tree.Any() | tree.All() | tree.Compare() | tree.In():
                return self.condition(expr)
            case tree.Call("isof"):
                return self.condition(expr)
            case Path():
                self._count()
                return self._path(expr)
        return self.scalar(expr)

    # ------------------------------------------------------------ scalars

    def scalar(self, expr: Expr) -> Expr:
        self._count()
        match expr:
            case Path():
                bound = self._path(expr)
                if bound.kind is None and bound.edm is not None:
                    raise InvalidQuery(f"{named(bound)} is not a single value: name a property of it.")
                return bound
            case Literal(str() as value, kind):
                return literal_of(kind, value)
            case Literal():
                return expr
            case tree.Size(path):
                over = self._related(path) or self._collection(path)
                return tree.Size(Path(over.names, over.variable, over.edm, None, True))
            case tree.Call(name, args):
                return self._call(name, args)
            case tree.Arithmetic(op, left, right):
                return self._arithmetic(op, left, right)
            case tree.Negative(operand):
                number = self._number(operand, ("duration",))
                return _folded(tree.Negative(number), number)
        raise InvalidQuery("a condition stands where a value is needed.")

    def _arithmetic(self, op: tree.ArithmeticOp, left: Expr, right: Expr) -> Expr:
        one = self._number(left, ("duration", "instant"))
        other = self._number(right, ("duration", "instant"))
        if arithmetic_kind(op, kind_of(one), kind_of(other)) is None:
            raise InvalidQuery(f"{named(one)} and {named(other)} cannot be put together by {op}.")
        return _folded(tree.Arithmetic(op, one, other), one, other)

    def _number(self, expr: Expr, more: tuple[Kind, ...]) -> Expr:
        bound = assumed(self.scalar(expr), "real")
        if kind_of(bound) not in (*NUMBERS, "null", *more):
            raise InvalidQuery(f"{named(bound)} is not a number.")
        return bound

    def _call(self, name: str, given: tuple[Expr, ...]) -> Expr:
        if name not in SIGNATURES:
            raise InvalidQuery(f"{name} cannot stand here.")
        args: list[Expr] = []
        for arg, kinds in zip(given, SIGNATURES[name].arguments, strict=False):
            wanted: Kind = "text" if "text" in kinds else "instant" if "instant" in kinds else "real"
            bound = assumed(self.scalar(arg), wanted)
            if isinstance(bound, Literal) and bound.kind in ("text", "date") and "instant" in kinds:
                bound = converted(bound, "instant", bound)
            if kind_of(bound) not in kinds and kind_of(bound) != "null":
                raise InvalidQuery(f"{name} takes {' or '.join(sorted(kinds))}, not {named(bound)}.")
            args.append(bound)
        call = tree.Call(name, tuple(args))
        return call if name == "now" else _folded(call, *args)

    def _literal(self, literal: Literal, other: Expr) -> Literal:
        """The literal as the other side holds its values."""
        if literal.value is None:
            return literal
        enum = self._enum(other)
        if enum is not None:
            member = enum.find(literal.value) if isinstance(literal.value, str) else None
            if member is None:
                given = short(str(literal.value))
                raise InvalidQuery(f"'{given}' is no member of {enum.name}; members: {listed(enum.members)}.")
            return Literal(member, "enum")
        return converted(literal, kind_of(other), other)

    def _enum(self, expr: Expr) -> EnumType | None:
        return self.edm.enum(expr.edm) if isinstance(expr, Path) and expr.edm is not None else None

    # ------------------------------------------------------------ paths

    def _path(self, path: Path) -> Path:
        if not path.names:
            if path.variable is None:
                raise InvalidQuery(f"cannot {self.verb} by $it, the object itself; name one of its properties.")
            of, kind, outer = self.scopes[path.variable]
            return Path((), path.variable, of, kind, False, outer in self.fold)
        found, full = self._follow(path, False)
        if found.collection:
            raise InvalidQuery(f"'{short(full)}' is a collection: use {found.names[-1]}/any(x: ...).")
        return Path(found.names, path.variable, found.edm, found.kind, False, full in self.fold)

    def _follow(self, path: Path, collection: bool) -> tuple[_Found, str]:
        """Where a path leads, and its whole name from the object down. `collection`: what is preferred at its end."""
        here, _, outer = (self.type_name, None, "") if path.variable is None else self.scopes[path.variable]
        if not path.names:
            raise InvalidQuery("a collection is named by a path such as hostStates.")
        found = self._walk(path, here, collection)
        full = "/".join(filter(None, (outer, *found.names)))
        self._allow(full)
        return found, full

    def _walk(self, path: Path, start: str | None, collection: bool) -> _Found:
        """Spelling and type; casts on the way become tests. A name of several types leads on to all."""
        names: list[str] = []
        types = [] if start is None else [start]
        loose = start is None  # the schema says nothing (more) about what stands here
        members: list[Property | Navigation] = []
        for name in path.names:
            if members and not types and not loose:
                raise self._no_way(members, names, name)
            kind = self._type(name) if "." in name and name.lower() != "@odata.type" else None
            if name.lower() == "@odata.type":
                names.append("@odata.type")
                members, types = [Property("@odata.type", "Edm.String")], []
            elif kind is not None and types:
                self._cast(path, names, types, kind)
                types = [kind]
            elif loose:
                names.append(self._open_name(name))
            else:
                members = self._members(types, name)
                self._check_kept(members, "/".join((*names, name)))
                if not members:
                    loose, types = self._is_open(types, "/".join((*names, name))), []
                    names.append(self._open_name(name))
                    continue
                names.append(members[0].name)
                types = [m.type for m in members if not m.collection and self._has_properties(m.type)]
        if loose:
            return _Found(tuple(names), None, None, False)
        if not members:
            return _Found(tuple(names), types[0], None, False)  # a cast at the end
        return self._end(tuple(names), members, collection)

    def _end(self, names: tuple[str, ...], members: list[Property | Navigation], collection: bool) -> _Found:
        fitting = [member for member in members if member.collection == collection] or members
        if not collection and len(fitting) > 1:
            fitting = [member for member in fitting if not self._has_properties(member.type)] or fitting
        of, many = fitting[0].type, fitting[0].collection
        if len(members) == 1:
            return _Found(names, of, self._kind_of(of), many)
        kinds = {self._kind_of(member.type) for member in fitting}
        if many and len(fitting) == 1:
            return _Found(names, of, self._kind_of(of), True)
        return _Found(names, None, kinds.pop() if len(kinds) == 1 else None, many)

    def _members(self, types: list[str], name: str) -> list[Property | Navigation]:
        """What the types declare by a name, else what those below them do (evidence of all types is in one list)."""
        found: dict[tuple[str, bool], Property | Navigation] = {}
        for of in types:
            declared = self.edm.structured(of)
            member = declared.find(name)
            each = [member] if member is not None else [self.edm.structured(t).find(name) for t in declared.derived]
            for one in each:
                if one is not None:
                    found.setdefault((one.type, one.collection), one)
        return list(found.values())

    def _check_kept(self, members: list[Property | Navigation], name: str) -> None:
        """What is related stands in documents of its own; a filter that looked for it here would find nothing."""
        listed_one = self.allowed is not None and name.lower() in self.allowed
        if members and not listed_one and all(isinstance(member, Navigation) for member in members):
            raise InvalidQuery(f"'{short(name)}' is a relationship, not a property; it cannot be used to {self.verb}.")

    def _no_way(self, members: list[Property | Navigation], names: list[str], name: str) -> InvalidQuery:
        full = short("/".join(names))
        if any(member.collection for member in members):
            return InvalidQuery(f"'{full}' is a collection: use {names[-1]}/any(x: x/{short(name)} ...).")
        return InvalidQuery(f"'{full}' ({members[0].type}) has no property '{short(name)}'.")

    def _has_properties(self, type_name: str) -> bool:
        return not type_name.startswith("Edm.") and self.edm.enum(type_name) is None

    def _is_open(self, types: list[str], full: str) -> bool:
        """True, if what is asked for may stand there though no schema names it: an extension, or a key of a dictionary.

        Extensions have an underscore in their name (contoso_courses, extension_1234_level); without one it is a slip.
        """
        for of in types:
            declared = self.edm.structured(of)
            if declared.dictionary or (declared.open and "_" in full.rpartition("/")[2].strip("_")):
                return True
        raise self._unknown(full, types[0])

    @staticmethod
    def _open_name(name: str) -> str:
        if name.startswith(("$", "@")):
            raise InvalidQuery(f"'{short(name)}' is not a property.")
        return name

    def _cast(self, path: Path, names: list[str], types: list[str], kind: str) -> None:
        if any(kind in self._line(here) for here in types):
            return
        if not any(kind in self.edm.structured(here).derived for here in types):
            raise InvalidQuery(f"{kind} is not a kind of {types[0]}.")
        self.casts.append(self._typed(tuple(names), path.variable, (kind, *self.edm.structured(kind).derived)))

    def _kind_of(self, type_name: str) -> Kind | None:
        if self.edm.enum(type_name) is not None:
            return "enum"
        return _EDM_KINDS.get(type_name)

    def _allow(self, full: str) -> None:
        """A listed path opens what lies below it; of what stands above it, whether it is there may be asked."""
        if self.allowed is None:
            return
        low = full.lower()
        steps = low.split("/")
        if steps[-1] == "@odata.type" or any(name.startswith(low + "/") for name in self.allowed):
            return
        if any("/".join(steps[: n + 1]) in self.allowed for n in range(len(steps))):
            return
        names = listed(self.allowed.values()) or "nothing"
        raise InvalidQuery(f"cannot {self.verb} by '{short(full)}'; {_ADJECTIVES[self.verb]}: {names}.")

    def _unknown(self, name: str, type_name: str) -> InvalidQuery:
        if self.allowed is not None and type_name == self.type_name:
            names = f"{_ADJECTIVES[self.verb]}: {listed(self.allowed.values()) or 'nothing'}"
        else:
            names = f"it has: {listed(self.edm.structured(type_name).properties)}"
        return InvalidQuery(f"Could not find a property named '{short(name)}' on type '{type_name}'; {names}.")

    def _count(self) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise InvalidQuery(f"the expression has more than {MAX_NODES} parts.")


def _folded(expr: Expr, *operands: Expr) -> Expr:
    """A literal where all operands are, and null where one of them is."""
    if any(isinstance(operand, Literal) and operand.value is None for operand in operands):
        return Literal(None, "null")
    if not all(isinstance(operand, Literal) for operand in operands):
        return expr
    value, kind = value_of(expr), kind_of(expr)
    if kind == "int" and isinstance(value, float):
        value, kind = (int(value), "int") if value.is_integer() and abs(value) < 2**53 else (value, "real")
    return Literal(value, "null" if value is None else kind or "text")


def bind(
    expr: Expr,
    edm: Edm,
    type_name: str,
    *,
    filterable: frozenset[str] | None = None,
    fold: frozenset[str] = frozenset(),
    counted: frozenset[str] = frozenset(),
) -> Expr:
    """A filter bound to a type.

    `filterable` are the property paths that may be used (a path opens what lies below it; None: every property), `fold`
    those whose comparisons ignore case, `counted` relationships whose number may be compared. InvalidQuery says what
    cannot be used and what can.
    """
    try:
        return Binder(edm, type_name, filterable, fold, "filter", counted).condition(expr)
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
            if not isinstance(path, Path) or path.kind is None:
                raise InvalidQuery(f"{named(path)} has no declared type; it cannot be sorted by.")
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
