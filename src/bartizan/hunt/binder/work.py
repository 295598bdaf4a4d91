"""One query while it is bound: what it may see, its clock, the ids it has given out, and how much it may still take."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from re import compile as pattern
from typing import Any, Protocol, TypeAlias

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder.constants import fold
from bartizan.hunt.binder.naming import words_in
from bartizan.hunt.binder.scope import Field, FunctionOf, Names, Relation, Rows
from bartizan.hunt.catalogue import Catalogue, Stored
from bartizan.hunt.deadline import Deadline
from bartizan.hunt.enrichments import ENRICHMENTS
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import CONVERT, choose, known
from bartizan.hunt.plan import Apply, Column, Expression, Id, Out, Plan, Project, Ref, Shared, Single, Value, size
from bartizan.hunt.tree import Scalar

MOST_NODES = 200_000  # of all expressions, and of columns at all steps, what is named written out at each use
MOST_CALLS = 32  # of functions within functions
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)

Ask: TypeAlias = Callable[[Plan], Sequence[Sequence[Any]]]
Fetch: TypeAlias = Callable[[Sequence[tuple[str, Scalar]], dict[str, Any]], "Loading"]
Bound: TypeAlias = "Expression | Relation"


class Loading(Protocol):
    """External data on its way: `add` takes the address of a file, `stored` has its records, texts all of them, in the
    columns' order. KqlError where a file cannot be had."""

    @property
    def add(self) -> Callable[[str], None]: ...

    @property
    def stored(self) -> Stored: ...


class UnknownTable(KqlError):
    """A table that is not there: what a fuzzy union leaves out."""


_ASIM = pattern(r"_?(?:[Ii]m|vim|ASim)_?[A-Z]\w+")  # unifying, of one product, without filters


def of_asim(name: str) -> str:
    """What to do about a parser of Sentinel's information model, which a workspace has as functions."""
    return "; parsers of ASIM are not built in: save a function of this name" if _ASIM.match(name) else ""


def ticks(instant: datetime) -> int:
    """100 ns since the year 1."""
    return (instant - YEAR_1) // timedelta(microseconds=1) * 10


class Work:
    """`now` is aware. `ask` runs a plan to look at data that decides over columns; `fetch` gets the rows of external
    data; `places` makes ready what says where addresses are, or raises KqlError."""

    def __init__(
        self,
        catalogue: Catalogue,
        now: datetime,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        ask: Ask | None = None,
        fetch: Fetch | None = None,
        places: Callable[[], None] | None = None,
        empty: bool = False,
        deadline: Deadline | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.now = Value("datetime", ticks(now))
        self.since = since
        self.until = until
        self.ask = ask
        self.fetch = fetch
        self.places = places
        self.empty = empty  # data that is not here has no rows: columns alone are asked for
        self.tables: dict[str, None] = {}  # that are read, in order
        self.saved: dict[str, FunctionOf] = {}  # functions and views of the catalogue, read
        self.globals = Names({})
        self.opening: list[str] = []  # views that are being bound
        self.settings: dict[str, tree.Expr | None] = {}  # of `set`, by name
        self.notes: list[tuple[Id, str]] = []  # of columns, what a reader must know of their values
        self.guessed = False  # whether a column was taken to be one that follows from data of which there is none
        self._trees: list[tree.Node] = []
        self._words: frozenset[str] = frozenset()
        self._ids = count(1)
        self._shares = count(1)
        self._left = MOST_NODES
        self.deadline = deadline or Deadline()

    # Set where all parts are at hand (binder/__init__): they need one another.
    pipe: Callable[[tree.Pipe, Names, Relation | None], Relation]
    whole: Callable[["tree.Expr | tree.Pipe", Names, Rows], Bound]
    bind: Callable[["tree.Expr", Names, Rows], Expression]

    def id(self) -> Id:
        return next(self._ids)

    def function(self, name: str) -> str | None:
        """The text of a saved function, or of one that is built in."""
        saved = self.catalogue.functions.get(name)
        return ENRICHMENTS[name].text if saved is None and name in ENRICHMENTS else saved

    def spend(self, at: int, nodes: int = 1) -> None:
        """Notes that the plan grows by so much. KqlError: it may not, or the time is over."""
        self.deadline.check(at)
        self._left -= nodes
        if self._left < 0:
            raise _too_large(at)

    def reads(self, node: tree.Node) -> None:
        """Notes a text that is bound."""
        self._trees.append(node)

    def says(self, word: str) -> bool:
        """Whether a text that is bound has this name, or this constant text."""
        while self._trees:
            self._words |= words_in(self._trees.pop())
        return word in self._words

    def field(self, name: str, type_: Scalar) -> Field:
        """A new column."""
        return Field(name, self.id(), type_)

    def share(self, relation: Relation, *, once: bool = False) -> Relation:
        """The same rows, to be read more than once: give each reader its own by `again`."""
        plan = relation.cut()
        name = f"shared{next(self._shares)}"
        return relation.over(Shared(name, plan, plan.columns, once))

    def again(self, relation: Relation) -> Relation:
        """A relation made by `share`, with ids of its own."""
        plan = relation.plan
        if not isinstance(plan, Shared) or relation.graph is not None:
            return relation
        self.spend(-1, len(plan.columns))
        new = {each.id: self.id() for each in plan.columns}
        outs = [Out(new[each.id], each.type) for each in plan.columns]
        fields = tuple(Field(each.name, new[each.id], each.type) for each in relation.fields)
        ingested = None if relation.ingested is None else Ref("datetime", new[relation.ingested.id])
        groups = tuple(Ref(each.type, new[each.id]) for each in relation.groups)
        shared = Shared(plan.name, plan.plan, outs, plan.once)
        return Relation(shared, fields, groups, relation.source, relation.ordered, ingested, open=relation.open)


def apply(name: str, args: Sequence[Expression], at: int, what: str = "") -> Expression:
    """A call of a declared function, its arguments converted; folded where all is constant. KqlError, bind: there is
    no such function, or not of these types."""
    folded = fold(name, args)
    if folded is not None:
        return folded
    chosen = choose("scalar", name, [each.type for each in args])
    if chosen is None:
        raise unfit("scalar", name, args, at, what)
    given = [convert(each, type_, at) for each, type_ in zip(args, chosen.types, strict=True)]
    return _applied(chosen.type, chosen.function.key, given, at)


def _applied(type_: Scalar, function: str, args: list[Expression], at: int) -> Apply:
    """However few objects its arguments are: those after it walk all that they stand for."""
    written = 1 + size(*args)
    if written > MOST_NODES:
        raise _too_large(at)
    return Apply(type_, function, args, written)


def _too_large(at: int) -> KqlError:
    return KqlError("plan", "the query is too large once all that it names is written out", at)


def unfit(kind: Any, name: str, args: Sequence[Expression], at: int, what: str = "") -> KqlError:
    """The error of a call that cannot be."""
    types = ", ".join(each.type for each in args)
    if not known(kind, name):
        return KqlError("plan", f"{what or name + '()'} is not supported", at)
    if what:
        return KqlError("bind", f"{what} cannot be applied to {types}; convert one of them first", at)
    return KqlError("bind", f"{name}() does not take ({types})", at)


def convert(one: Expression, wanted: Scalar, at: int) -> Expression:
    """The value as another type. Null, of whatever type, is null of any other."""
    if one.type == wanted:
        return one
    if isinstance(one, Value):
        simple = _converted(one, wanted)
        if simple is not None:
            return simple
    chosen = choose("scalar", CONVERT[wanted], [one.type])
    if chosen is None:
        raise KqlError("bind", f"a value of type {one.type} cannot be taken as {wanted}", at)
    return _applied(wanted, chosen.function.key, [convert(one, chosen.types[0], at)], at)


def _converted(one: Value, wanted: Scalar) -> Value | None:
    """Conversions of constants that lose nothing."""
    if one.value is None:
        return Value(wanted, "" if wanted == "string" else None)
    if wanted == "dynamic" and one.type in ("bool", "int", "long", "string"):
        return Value("dynamic", one.value)
    if one.type in ("int", "long") and wanted in ("int", "long"):
        return Value(wanted, one.value) if wanted == "long" or -(2**31) <= one.value < 2**31 else None
    if one.type in ("int", "long") and wanted == "real":
        return Value("real", float(one.value))
    if one.type in ("int", "long") and wanted == "decimal":
        return Value("decimal", str(one.value))
    return None


def constant(one: Expression, what: str, at: int) -> Value:
    """An expression that must be constant."""
    if not isinstance(one, Value):
        raise KqlError("bind", f"{what} must be a constant", at)
    return one


def project(relation: Relation, made: Sequence[tuple[Field, Expression]]) -> Relation:
    """The relation with just these columns."""
    columns = [Column(each.id, each) for each in relation.hidden()]
    columns += [Column(field.id, expression) for field, expression in made]
    return relation.over(Project(relation.plan, columns), [field for field, _ in made])


def parted(work: Work, relation: Relation, values: Sequence[Expression]) -> Relation:
    """The same rows, of which those of equal values go apart from the others."""
    keys = [Column(work.id(), each) for each in values]
    kept = {each.id: Column(each.id, each) for each in (*relation.hidden(), *(each.ref for each in relation.fields))}
    groups = (*relation.groups, *(Ref(each.expression.type, each.id) for each in keys))
    plan = Project(relation.plan, [*kept.values(), *keys])
    return replace(relation, plan=plan, groups=groups)


def single(work: Work, found: Relation, at: int) -> Expression:
    """The first column of the first row."""
    if not found.fields:
        raise KqlError("bind", "a table without columns has no value", at)
    first = found.fields[0]
    narrow = Project(found.plan, [Column(first.id, first.ref)])
    return Single(first.type, work.share(Relation(narrow, (first,)), once=True).plan)
