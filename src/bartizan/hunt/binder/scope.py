"""What names mean while a query is bound: columns of the rows at hand, and what `let` and parameters have named."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from msgspec import Struct

from bartizan.hunt import tree
from bartizan.hunt.plan import Aggregate, Column, Expression, Id, Plan, Project, Ref, Value, Windowed
from bartizan.hunt.tree import Scalar

UNKNOWN = Value("dynamic", None)  # this one: a column that follows from data of which there is none


class Field(Struct, frozen=True, gc=False):
    """A column as the query calls it."""

    name: str
    id: Id
    type: Scalar

    @property
    def ref(self) -> Ref:
        return Ref(self.type, self.id)


class Relation(Struct, frozen=True):
    """Rows that a query has at some step. The plan may have more columns than `fields`: they are hidden.

    `groups`: hidden columns by which everything is done apart (the rows of mv-apply, the parts of partition).
    `source`: the name that `withsource` and `search` tell. `open`: its columns follow from data of which there is none,
    so that any name may be one of them (a rule is not to fail on the day on which nothing happens)."""

    plan: Plan
    fields: tuple[Field, ...]
    groups: tuple[Ref, ...] = ()
    source: str = ""
    ordered: bool = False
    ingested: "Ref | None" = None  # when the row came in
    graph: "Graph | None" = None  # then the fields are none
    open: bool = False

    def by_name(self) -> dict[str, Field]:
        return {each.name: each for each in self.fields}

    def names(self) -> list[str]:
        return [each.name for each in self.fields]

    def over(self, plan: Plan, fields: Iterable[Field] | None = None, *, ordered: bool | None = None) -> "Relation":
        """The next step: other rows or columns, grouped as before."""
        kept = self.fields if fields is None else tuple(fields)
        kept_order = self.ordered if ordered is None else ordered
        return Relation(plan, kept, self.groups, self.source, kept_order, self.ingested, open=self.open)

    def unnamed(self) -> "Relation":
        """No table by name any more."""
        return Relation(self.plan, self.fields, self.groups, "", self.ordered, self.ingested, open=self.open)

    def hidden(self) -> list[Ref]:
        """Columns that go on unseen."""
        return [*self.groups, *([] if self.ingested is None else [self.ingested])]

    def cut(self) -> Plan:
        """A plan that gives exactly the fields and what is hidden."""
        wanted = [*self.hidden(), *(each.ref for each in self.fields)]
        if [each.id for each in wanted] == [each.id for each in self.plan.columns]:
            return self.plan
        unique = {each.id: Column(each.id, each) for each in wanted}
        return Project(self.plan, list(unique.values()))


class Graph(Struct, frozen=True):
    """Of make-graph. Both are shared plans, to be read by `Work.again`. The first field of the nodes is their key; the
    first three of the edges are the keys of both ends and the edge's number. The fields behind are their properties."""

    nodes: Relation
    edges: Relation
    directed: bool


class ScalarOf(Struct):
    """A scalar of `let` or of a parameter."""

    expression: Expression


class TableOf(Struct):
    """A table of `let` or of a parameter. `make` is called once, when it is first read."""

    relation: Relation


class FunctionOf(Struct):
    """A function of the user's, with the names that its text may use."""

    name: str
    function: tree.Function
    scope: "Names"


class Later(Struct):
    """What a `let` says, not looked at before it is used."""

    value: "tree.Expr | tree.Pipe"
    scope: "Names"
    busy: bool = False


Variable: TypeAlias = "ScalarOf | TableOf | FunctionOf | Later"


class Names(Struct):
    """Variables, each new one in front of those before."""

    names: dict[str, Variable]
    before: "Names | None" = None
    depth: int = 0  # calls of functions around

    def find(self, name: str) -> "Variable | None":
        scope: Names | None = self
        while scope is not None:
            found = scope.names.get(name)
            if found is not None:
                return found
            scope = scope.before
        return None

    def holder(self, name: str) -> "Names | None":
        """The scope whose own the name is."""
        scope: Names | None = self
        while scope is not None and name not in scope.names:
            scope = scope.before
        return scope

    def views(self) -> list[str]:
        """Those that a pattern of names may stand for, in the order in which they were made."""
        found: dict[str, bool] = {}
        scope: Names | None = self
        while scope is not None:
            for name, each in scope.names.items():
                is_view = isinstance(each, FunctionOf) and each.function.view and not each.function.parameters
                found.setdefault(name, is_view)
            scope = scope.before
        return [name for name, is_view in reversed(found.items()) if is_view]

    def with_(self, name: str, variable: Variable) -> "Names":
        return Names({name: variable}, self, self.depth)


class Worked(Struct, frozen=True):
    """A call of a function that no engine works out: `id` stands for its value."""

    id: Id
    type: Scalar
    function: str  # its key
    args: list[Expression]
    at: int


class Rows(Struct):
    """What an expression may read: columns by name, `$left` and `$right` of a join, and whether aggregates and
    functions of a row's place may stand here, which are collected."""

    fields: Mapping[str, Field] = {}
    sides: Mapping[str, Mapping[str, Field]] = {}
    aggregates: list[Aggregate] | None = None
    windows: list[Windowed] | None = None
    groups: tuple[Ref, ...] = ()
    all: tuple[Field, ...] = ()
    ingested: "Ref | None" = None
    open: bool = False  # a name that is none of these is null
    worked: "list[Worked] | None" = None  # calls that no engine works out, collected
    inner: "list[Worked] | None" = None  # where aggregates may stand: those in their arguments

    @staticmethod
    def of(relation: Relation) -> "Rows":
        return Rows(
            relation.by_name(),
            all=relation.fields,
            groups=relation.groups,
            windows=[],
            ingested=relation.ingested,
            open=relation.open,
        )

    @staticmethod
    def collecting(relation: Relation) -> "Rows":
        """Of a step that then has what is collected worked out, by `columns.numbered`."""
        rows = Rows.of(relation)
        rows.worked = []
        return rows
