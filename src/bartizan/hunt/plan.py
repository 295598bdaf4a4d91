"""The logical plan: what a query means, once names and types are known. The binder makes it, an emitter of an engine
writes it as SQL. No word of an engine is in it.

Columns are numbers (`Id`), each made once in a plan, so that names which differ only in case, or come twice in a join,
are no trouble; the names come back at the very end (`Answer.columns`). A node says which columns it gives, in order.

What every engine must keep: strings are never null; a comparison with a null is null but for `==` and `!=` of a null
and a value (false, true); rows of a filter are those for which it is true; `Sort` alone makes an order, which `Limit`,
`Number` and the answer keep; the order of rows is lost by every other node but `Filter`, `Project`, `Expand`
and `Scan`.
"""

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from bartizan.hunt.tree import Scalar

Id: TypeAlias = int


class Out(Struct, frozen=True, gc=False):
    """A column that a node gives."""

    id: Id
    type: Scalar


# ------------------------------------------------------------------ expressions: each knows its type


class Value(Struct, frozen=True, gc=False):
    """As `tree.Constant` holds it."""

    type: Scalar
    value: Any


class Ref(Struct, frozen=True, gc=False):
    """A column of the input."""

    type: Scalar
    id: Id


class Apply(Struct, frozen=True, gc=False):
    """A function or operator of `functions` (its key: `strcat any any*`, `+ datetime timespan`) on arguments that the
    binder has converted to the types of its signature. Constant arguments that steer it (the parts of datetime_add, a
    regular expression) are `Value`s among them."""

    type: Scalar
    function: str
    args: "list[Expression]"
    size: int = 1  # as `size` counts


class Path(Struct, frozen=True, gc=False):
    """A step chain into a dynamic value: `of.a['b'][0]`; an `Expression` step is a key known only with the row."""

    type: Scalar  # dynamic
    of: "Expression"
    steps: "list[str | int | Expression]"
    size: int = 1


class Lookup(Struct, frozen=True, gc=False):
    """Whether `of` is among the first column of `plan` (`in (T)`), `fold` without regard to case; never null."""

    type: Scalar  # bool
    of: "Expression"
    plan: "Plan"
    fold: bool = False
    size: int = 1


class Single(Struct, frozen=True, gc=False):
    """toscalar: the first column of the first row of `plan`; null where there is none."""

    type: Scalar
    plan: "Plan"


Expression: TypeAlias = "Value | Ref | Apply | Path | Lookup | Single"


def size(*expressions: Expression) -> int:
    """Of how many expressions these are made, one that stands in several places counted in each, plans left out."""
    return sum(each.size if isinstance(each, Apply | Path | Lookup) else 1 for each in expressions)


class Column(Struct, frozen=True, gc=False):
    """A column that is made."""

    id: Id
    expression: Expression

    @property
    def type(self) -> Scalar:
        return self.expression.type


class Aggregate(Struct, frozen=True):
    """`function` of `functions` over the rows of a group; `where` is the predicate of the `_if` forms; `distinct`."""

    id: Id
    type: Scalar
    function: str
    args: list[Expression]
    where: "Expression | None" = None


class SortKey(Struct, frozen=True):
    expression: Expression
    descending: bool
    nulls_first: bool


# ------------------------------------------------------------------ nodes


class Rows(Struct, frozen=True):
    """Values: of datatable, print, and what a fetched external table held. Each row in the order of `columns`."""

    columns: list[Out]
    rows: list[list[Expression]]


class Table(Struct, frozen=True):
    """A stored table. `names`: the stored column of each output (only those that are used)."""

    columns: list[Out]
    table: str
    names: list[str]


class Numbers(Struct, frozen=True):
    """range: from `start` to `stop` by `step`, all Values or expressions without columns."""

    columns: list[Out]
    start: Expression
    stop: Expression
    step: Expression


class Filter(Struct, frozen=True):
    input: "Plan"
    condition: Expression

    @property
    def columns(self) -> list[Out]:
        return self.input.columns


class Project(Struct, frozen=True):
    """Exactly these columns; each may read only the input's."""

    input: "Plan"
    made: list[Column]

    @property
    def columns(self) -> list[Out]:
        return [Out(each.id, each.type) for each in self.made]


class Summarize(Struct, frozen=True):
    """Groups by `keys` (nulls are equal), one row each; without keys exactly one row (`keyless`), or, where distinct
    asks, no aggregates."""

    input: "Plan"
    keys: list[Column]
    aggregates: list[Aggregate]

    @property
    def columns(self) -> list[Out]:
        return [
            *(Out(each.id, each.type) for each in self.keys),
            *(Out(each.id, each.type) for each in self.aggregates),
        ]


class Best(Struct, frozen=True):
    """The whole row with the greatest (or least) `by` of each group: arg_max and arg_min where they take many columns.
    Null `by` loses against all; a group of only nulls still gives a row. `keep`: id of the output -> the input's."""

    input: "Plan"
    keys: list[Column]
    by: Expression
    least: bool
    value: Column  # `by` as it is given back
    keep: list[Column]

    @property
    def columns(self) -> list[Out]:
        made = [*self.keys, self.value, *self.keep]
        return [Out(each.id, each.type) for each in made]


class Sort(Struct, frozen=True):
    input: "Plan"
    keys: list[SortKey]

    @property
    def columns(self) -> list[Out]:
        return self.input.columns


class Limit(Struct, frozen=True):
    """The first `count` rows of an order, or any; `random` of sample."""

    input: "Plan"
    count: Expression
    random: bool = False

    @property
    def columns(self) -> list[Out]:
        return self.input.columns


JoinKind = Literal[
    "innerunique", "inner", "leftouter", "rightouter", "fullouter", "leftsemi", "leftanti", "rightsemi", "rightanti"
]


class Join(Struct, frozen=True):
    """Where all `on` pairs are equal (nulls equal each other). innerunique takes one row of the left a key. Strings of
    the side without a match are '', the rest null. A semi or anti join gives one side's columns, all others both's,
    left first."""

    left: "Plan"
    right: "Plan"
    kind: JoinKind
    on: list[tuple[Expression, Expression]]

    @property
    def columns(self) -> list[Out]:
        if self.kind in ("leftsemi", "leftanti"):
            return self.left.columns
        if self.kind in ("rightsemi", "rightanti"):
            return self.right.columns
        return [*self.left.columns, *self.right.columns]


class Union(Struct, frozen=True):
    """All rows of all inputs; the outputs have ids of their own. `places` tells for each input where its columns go, id
    of the output -> of the input: what an input has not is null, or ''. An engine gets it without `places`: there each
    input is a `Project` that gives the columns in the same order and of the same type. Among hundreds of tables most
    columns are of few, so that only those which are read are written out (`binder.prune`)."""

    columns: list[Out]
    inputs: "list[Plan]"
    places: list[dict[Id, Id]] | None = None


class Unnested(Struct, frozen=True):
    """`source` (dynamic) in parts, converted to `type`. An object gives one-member objects (`pairs`: arrays of key and
    value)."""

    id: Id
    type: Scalar
    source: Expression
    pairs: bool = False


class Expand(Struct, frozen=True):
    """mv-expand: a row becomes as many as its longest array has elements, at least one; shorter ones give nulls. The
    order of elements is kept. `index` gives their number from 0. `limit` rows at most of one. `drop`: arrays that are
    empty give no row (mv-apply)."""

    input: "Plan"
    made: list[Unnested]
    index: Id | None = None
    limit: "Expression | None" = None
    drop: bool = False

    @property
    def columns(self) -> list[Out]:
        made = [Out(each.id, each.type) for each in self.made]
        index = [] if self.index is None else [Out(self.index, "long")]
        return [*self.input.columns, *made, *index]


class Number(Struct, frozen=True):
    """Columns that depend on a row's place in the order of `order` (none: as the input stands): row_number, row_cumsum,
    row_rank_dense, row_rank_min, prev, next, row_window_session. `restart`: where it is true a new run begins."""

    input: "Plan"
    made: "list[Windowed]"

    @property
    def columns(self) -> list[Out]:
        return [*self.input.columns, *(Out(each.id, each.type) for each in self.made)]


class Windowed(Struct, frozen=True):
    id: Id
    type: Scalar
    function: str
    args: list[Expression]
    restart: "Expression | None" = None
    partition: list[Expression] = []  # the groups of partition and mv-apply


class Held(Struct, frozen=True):
    """What a step of `Scan` remembers of the last row that matched it: `id` in expressions; `column` of the input, or
    of those that are declared; `empty` is its value while there is no such row."""

    id: Id
    type: Scalar
    step: int
    column: Id
    empty: Expression


class Stage(Struct, frozen=True):
    """A step of `Scan`: `made` gives the declared columns, in their order."""

    condition: Expression
    made: list[Expression]
    output: Literal["all", "last", "none"]


class Scan(Struct, frozen=True):
    """Goes over the rows in their order, step by step as Kusto's scan does; a row comes out once for each step that it
    matches. `match` numbers the sequences from 0; `partition`: the groups that are gone over apart."""

    input: "Plan"
    stages: list[Stage]
    held: list[Held]
    declared: list[Out]
    match: Id
    partition: list[Expression] = []

    @property
    def columns(self) -> list[Out]:
        return [*self.input.columns, *self.declared, Out(self.match, "long")]


class Shared(Struct, frozen=True):
    """A plan that is read several times (a let of a table, materialize): emitted once. All uses have the same `name`;
    each maps the ids of `plan` to its own."""

    name: str
    plan: "Plan"
    columns: list[Out]
    once: bool = False  # materialize: must not be worked out twice


_Source: TypeAlias = "Rows | Table | Numbers | Shared"
_Step: TypeAlias = "Filter | Project | Summarize | Best | Sort | Limit | Join | Union | Expand | Number | Scan"
Plan: TypeAlias = "_Source | _Step"


class Answer(Struct, frozen=True):
    """What a query gives: the plan's columns, in their order, under these names (which may differ only in case), and
    what a reader must know of their values."""

    plan: Plan
    names: list[str]
    notes: list[str] = []

    @property
    def columns(self) -> list[tuple[str, Scalar]]:
        return [(name, each.type) for name, each in zip(self.names, self.plan.columns, strict=True)]
