"""The syntax tree of a query: what the parser makes, the printer writes and the binder reads.

Every node knows where it stands in the text: `at` and `end` are offsets of characters, `end` exclusive. Nothing here
knows types, tables or an engine. Names keep the spelling of the text, without brackets or quotes.

Source: Kusto Query Language, "Query statements", "Tabular expression statements", "Scalar data types".
"""

from typing import Any, Literal, TypeAlias

from msgspec import Struct

Scalar: TypeAlias = Literal[
    "bool", "datetime", "decimal", "dynamic", "guid", "int", "long", "real", "string", "timespan"
]


class Node(Struct, kw_only=True, gc=False):
    at: int = -1
    end: int = -1


# ------------------------------------------------------------------ scalar expressions


class Constant(Node):
    """A literal. `value`: bool, int (int, long; ticks of 100 ns for timespan; ticks since 0001-01-01 for datetime),
    float (real), str (string, guid in its canonical form, decimal as digits), plain JSON values (dynamic), or None for
    a typed null such as `int(null)`."""

    type: Scalar
    value: Any


class Name(Node):
    """A column, a variable of `let`, a table: who it is the binder finds. `$left` and `$right` are names too."""

    name: str


class Star(Node):
    """`*` where a list of columns or `count(*)`, `arg_max(t, *)` takes it."""


class Wildcard(Node):
    """`Device*`, `*Id`, `a*b` where names may be patterns: project-away, -keep, -reorder, union, find."""

    pattern: str


class Member(Node):
    """`of.name`, a step into a dynamic value (or a column of `$left`)."""

    of: "Expr"
    name: str


class Index(Node):
    """`of[key]`: a member or an element."""

    of: "Expr"
    key: "Expr"


class Unary(Node):
    op: Literal["-", "+"]
    of: "Expr"


class Binary(Node):
    """`op` in lower case as Kusto spells it: `and or == != < <= > >= + - * / % =~ !~`, and the string operators
    `contains !contains contains_cs !contains_cs has !has has_cs !has_cs hasprefix ... hassuffix ... startswith ...
    endswith ... matches regex`, `:` (has, of search). Old spellings (`notcontains`, `<>`) are given in today's."""

    op: str
    left: "Expr"
    right: "Expr"


class Between(Node):
    of: "Expr"
    low: "Expr"
    high: "Expr"
    negated: bool = False


class In(Node):
    """`of in (a, b)`, `!in`, `in~`, `!in~`, `has_any`, `has_all`. `items` may be one tabular expression."""

    op: str
    of: "Expr"
    items: "list[Expr | Pipe]"


class Call(Node):
    """`name(args)`. `named` holds `name = value` arguments beside positional ones, in order of the text: the position
    of the argument -> its name. A tabular argument, which Kusto wants in brackets, is a Pipe; so is that of toscalar,
    materialize and totable, even if it is a name alone. `of` stands before a dot: `a.b(1)`."""

    name: str
    args: "list[Expr | Pipe]"
    named: dict[int, str] = {}
    of: "Expr | None" = None


class Typed(Node):
    """`typeof(string)` or `typeof(a: int, b: string)`: an argument that is a type; `open` where a `*` is among the
    columns. In find's project a column with its type is told as `typeof(name, type)`."""

    type: "Scalar | None"
    columns: "list[Column]" = []
    open: bool = False


class Sub(Node):
    """A tabular expression in brackets, or a datatable, where a scalar stands: `x == (T | count)`. Among the arguments
    of a call and the items of `in` the pipe stands itself."""

    pipe: "Pipe"


class Named(Node):
    """`name = expr` in a list of columns; `(a, b) = expr` has several names. No names: the bare expression."""

    expr: "Expr"
    names: list[str] = []


class Bracketed(Node):
    """`(expr)`: kept, so that printing gives the same text back."""

    of: "Expr"


_Leaf: TypeAlias = "Constant | Name | Star | Wildcard | Typed | Sub"
Expr: TypeAlias = "_Leaf | Member | Index | Unary | Binary | Between | In | Call | Bracketed"


# ------------------------------------------------------------------ tabular expressions


class Column(Node):
    """`name: type` of a datatable, externaldata or parameter; None: no type is told (parse: string)."""

    name: str
    type: Scalar | None


class Datatable(Node):
    """Values in the order of the text, row after row."""

    columns: list[Column]
    values: "list[Expr]"


class Externaldata(Node):
    """`externaldata (columns) [uris] with (options)`."""

    columns: list[Column]
    uris: "list[Expr]"
    options: "dict[str, Expr]" = {}


class Range(Node):
    name: str
    start: "Expr"
    stop: "Expr"
    step: "Expr"


class Print(Node):
    columns: list[Named]


class Source(Node):
    """A table, view, variable or function without parentheses by name: `T`, `['a b']`; `database('x').T`,
    `cluster('c').database('d').T` with the calls in `within`; `Device*` as a `Wildcard` where union and find may."""

    name: "Name | Wildcard"
    within: "list[Call]" = []


class Invocation(Node):
    """A call where a table stands: a function of the user's, `table('x')`, `materialize(...)`, `view () {...}` ..."""

    call: Call
    within: "list[Call]" = []


class Find(Node):
    """`find withsource=N in (T, ...) where ... project ...`. `project` None: the operator's own choice."""

    options: "dict[str, Expr]"
    tables: "list[Source | Invocation | Pipe]"
    where: "Expr"
    project: "list[Named] | None" = None
    pack: bool = False


class Pipe(Node):
    """A source and what is done to it in turn. `source` None: an operator that begins (`search`, `union`, `find`) is
    the first of `operators`; or a sub-pipe of mv-apply, fork, partition, facet, which begins with the current rows."""

    source: "Source | Invocation | Datatable | Externaldata | Range | Print | Find | Pipe | None"
    operators: "list[Operator]" = []
    bracketed: bool = False


class Operator(Node):
    """One step of a pipe. `name` is today's spelling in lower case: where, project, project-away, project-keep,
    project-rename, project-reorder, project-smart, extend, summarize, distinct, take, top, top-nested, top-hitters,
    sort, count, join, lookup, union, mv-expand, mv-apply, make-series, parse, parse-where, parse-kv, render, search,
    serialize, sample, sample-distinct, evaluate, invoke, scan, partition, fork, facet, as, consume, getschema,
    reduce, make-graph, graph-match, graph-shortest-paths, graph-to-table, graph-mark-components, macro-expand,
    assert-schema, find.

    `options` are the parameters before the arguments by name (`kind`, `hint.strategy`, `isfuzzy`,
    `withsource`, `decodeblocks`, `with_itemindex` ...). What else an operator has stands in `body`, one of the structs
    below where its shape is its own.
    """

    name: str
    options: "dict[str, Expr]" = {}
    body: "Body | None" = None


class Condition(Node):
    """where, search (then `tables` of `in (...)`)."""

    expr: "Expr"
    tables: "list[Source | Invocation | Pipe]" = []


class Columns(Node):
    """project and its kin, extend, distinct, serialize, print; `orders` of project-reorder by position: asc, desc,
    granny-asc, granny-desc."""

    columns: list[Named]
    orders: dict[int, str] = {}


class Summary(Node):
    """summarize. `by` None: no `by` at all."""

    aggregates: list[Named]
    by: "list[Named] | None" = None


class Key(Node):
    """A key of an order: as the text says it; None where it leaves the default."""

    expr: "Expr"
    descending: bool | None = None
    nulls_first: bool | None = None


class Order(Node):
    """sort; top (`count by keys`), take, sample (`count` alone); sample-distinct and top-hitters (`count of columns by
    keys`)."""

    keys: list[Key] = []
    count: "Expr | None" = None
    of: list[Named] = []


class Nested(Node):
    """A level of top-nested: `top-nested N of COLUMN with others = X by AGGREGATE`."""

    count: "Expr | None"
    of: Named
    others: "Expr | None"
    by: Named
    descending: bool | None = None
    nulls_first: bool | None = None


class Levels(Node):
    levels: list[Nested]


class Join(Node):
    """join, lookup. `on`: conditions, each a name of both sides or `$left.a == $right.b`."""

    right: "Pipe"
    on: "list[Expr]"


class Union(Node):
    tables: "list[Source | Invocation | Pipe]"


class Expansion(Node):
    """A column of mv-expand or mv-apply: `name = expr to typeof(type)`."""

    column: Named
    type: Scalar | None = None


class Expand(Node):
    """mv-expand; mv-apply, where `pipe` is what is done to each group."""

    columns: list[Expansion]
    limit: "Expr | None" = None
    pipe: "Pipe | None" = None


class Series(Node):
    """make-series: `aggregates` with their `default`s by position; axis `on` from `start` to `stop` by `step`.
    `inclusive`: the older `in range(start, stop, step)`, which keeps its stop and bins without an origin."""

    aggregates: list[Named]
    defaults: "dict[int, Expr]"
    on: Named
    start: "Expr | None"
    stop: "Expr | None"
    step: "Expr"
    by: list[Named] = []
    inclusive: bool = False


class Piece(Node):
    """Of a parse pattern: text (`str`), a column with its type (string if none is told), or `*`."""

    text: "str | None" = None
    column: Column | None = None
    star: bool = False


class Parse(Node):
    """parse, parse-where. `flags` of kind=regex."""

    of: "Expr"
    pieces: list[Piece]
    flags: "str | None" = None


class Pairs(Node):
    """parse-kv: `of as (columns) with (...)`, the options in `Operator.options`; those that come again in `again`."""

    of: "Expr"
    columns: list[Column]
    again: "list[tuple[str, Expr]]" = []


class Plugin(Node):
    """evaluate, invoke: the call; `schema` where `: (a: int, *)` is told; `open` where that has a `*`."""

    call: Call
    schema: "list[Column] | None" = None
    open: bool = False


class Schema(Node):
    """assert-schema."""

    columns: list[Column]


class Macro(Node):
    """macro-expand: a query over each database of a group, which it calls `scope`. `listed`: the group is written out
    as `entity_group [...]`, else `groups` is its name alone."""

    groups: "list[Expr]"
    listed: bool
    scope: "str | None"
    query: "Query"


class Step(Node):
    """A step of scan: `step NAME optional output=X: condition => a = ..., b = ...;`."""

    name: str
    condition: "Expr"
    assignments: list[Named]
    optional: bool = False
    output: "str | None" = None


class Scan(Node):
    steps: list[Step]
    declared: "list[tuple[Column, Expr | None]]" = []
    keys: list[Key] = []  # order by
    partition: "list[Expr]" = []


class Branch(Node):
    """partition by a column, fork, facet: the sub-pipes with the names of fork's branches. A sub-pipe in round brackets
    is `bracketed` and begins with the current rows; partition's `{...}` is not, and may name any source."""

    by: "list[Expr]"
    pipes: "list[Pipe]"
    names: dict[int, str] = {}


class Edge(Node):
    """An element of a graph pattern: a node `(a)`, or an edge `-[e*1..5]->`, `<-[e]-`, `-[e]-`, `-->`."""

    name: "str | None"
    kind: Literal["node", "out", "in", "any"]
    least: "int | None" = None
    most: "int | None" = None


class Graph(Node):
    """make-graph: `source --> target with T on key, ...`; graph-match and graph-shortest-paths: patterns, where and
    project; graph-to-table: `nodes as N, edges as E` by `outputs`; graph-mark-components: all in options."""

    source: "Expr | None" = None
    target: "Expr | None" = None
    directed: bool = True
    nodes: "list[tuple[Pipe, Expr]]" = []
    node_id: "str | None" = None
    partition: "tuple[Expr, Pipe] | None" = None  # partitioned-by column (query)
    patterns: list[list[Edge]] = []
    where: "Expr | None" = None
    project: list[Named] = []
    outputs: "list[tuple[str, str | None]]" = []


class Label(Node):
    """as; render (the kind of chart; its properties are in `options`, lists of columns as a dynamic constant)."""

    name: str


Body: TypeAlias = (
    "Condition | Columns | Summary | Order | Levels | Join | Union | Expand | Series | Parse | Pairs | Plugin | Scan | "
    "Branch | Graph | Label | Find | Schema | Macro"
)


# ------------------------------------------------------------------ statements


class Parameter(Node):
    """Of a function: a scalar (`name: type = default`) or a table (`name: (a: int, *)`)."""

    name: str
    type: Scalar | None = None
    default: "Constant | None" = None
    columns: "list[Column] | None" = None
    open: bool = False


class Function(Node):
    """`(parameters) { body }`, or `view (parameters) { body }`."""

    parameters: list[Parameter]
    statements: "list[Let]"
    body: "Expr | Pipe"
    view: bool = False


class Let(Node):
    """`let name = value;`. A bare name as value may be a column's, a table's or a scalar's: it is a `Pipe` with a
    `Source`, and the binder looks who it is. A call is an `Invocation` in a `Pipe` likewise."""

    name: str
    value: "Expr | Pipe | Function"


class Declare(Node):
    """`declare query_parameters (name: type = default, ...)`."""

    parameters: list[Parameter]


class Match(Node):
    """What a pattern gives for these values (and this path)."""

    values: "list[Expr]"
    path: "Constant | None"
    statements: "list[Let]"
    body: "Expr | Pipe"


class Pattern(Node):
    """`declare pattern name = (parameters) [path] { (values).[path] = { ... }; ... }`"""

    parameters: list[Column]
    path: "Column | None"
    matches: list[Match]


class Setting(Node):
    """`set name = value;`, `restrict access to (...)`, `alias database ...`, `declare pattern ...`: kept as told."""

    kind: str
    name: str
    value: "Expr | None" = None
    tables: "list[Source | Invocation]" = []
    pattern: "Pattern | None" = None


class Query(Node):
    """A whole text: statements, and the tabular (or scalar) expressions that answer; most have one."""

    statements: "list[Let | Declare | Setting]"
    results: "list[Pipe]"
