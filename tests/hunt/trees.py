"""Trees of queries by chance, as the parser would make them, and trees without their positions."""

from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from bartizan.hunt import tree
from bartizan.hunt.parser.expressions import junction

NAMES = [
    "a",
    "b",
    "T",
    "where",
    "limit",
    "kind",
    "count_",
    "it's",
    'x"y',
    "a b",
    "ü",
    "1d",
    "true",
    "$left",
    "\n",
    "by",
]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
TICKS_END = 3_155_378_976_000_000_000  # of datetime: 10000-01-01


def bare(node: Any) -> Any:
    """The tree as plain values: no positions, NaN equal to itself."""
    if isinstance(node, Struct):
        fields = [name for name in node.__struct_fields__ if name not in ("at", "end")]
        return (type(node).__name__, *((name, bare(getattr(node, name))) for name in fields))
    if isinstance(node, list | tuple):
        return tuple(map(bare, node))
    if isinstance(node, dict):
        return tuple(sorted(((key, bare(value)) for key, value in node.items()), key=repr))
    return repr(node) if isinstance(node, float) else node


names = st.sampled_from(NAMES)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
_longs = st.integers(-(2**63), 2**63 - 1)
constants = st.one_of(
    st.builds(tree.Constant, type=st.just("string"), value=TEXTS),
    st.builds(tree.Constant, type=st.sampled_from(["long", "timespan"]), value=_longs | st.none()),
    st.builds(tree.Constant, type=st.just("int"), value=st.integers(-(2**31), 2**31 - 1) | st.none()),
    st.builds(tree.Constant, type=st.just("real"), value=st.floats() | st.none()),
    st.builds(tree.Constant, type=st.just("bool"), value=st.booleans() | st.none()),
    st.builds(tree.Constant, type=st.just("datetime"), value=st.integers(0, TICKS_END - 1) | st.none()),
    st.builds(tree.Constant, type=st.just("guid"), value=st.uuids().map(str) | st.none()),
    st.builds(tree.Constant, type=st.just("decimal"), value=st.decimals(-(10**9), 10**9, places=4).map("{:f}".format)),
    st.builds(tree.Constant, type=st.just("dynamic"), value=json),
)
_name = st.builds(tree.Name, name=names)
_OPS = ["==", "!=", "<", ">=", "+", "-", "*", "/", "%", "=~", "has", "!contains_cs", "matches regex", ":", "startswith"]


def _atoms(inner: st.SearchStrategy[tree.Expr]) -> st.SearchStrategy[tree.Expr]:
    """What may stand on either side of any operator."""
    return inner.map(lambda of: of if isinstance(of, tree.Name | tree.Constant | tree.Call) else tree.Bracketed(of=of))


def _grow(inner: st.SearchStrategy[tree.Expr]) -> st.SearchStrategy[tree.Expr]:
    atom = _atoms(inner)
    functions = st.sampled_from(["f", "bin", "count", "tostring", "a b"])
    return st.one_of(
        st.builds(tree.Binary, op=st.sampled_from(_OPS), left=atom, right=atom),
        st.builds(junction, st.sampled_from(["and", "or"]), st.lists(atom, min_size=2, max_size=9)),
        st.builds(tree.Unary, op=st.sampled_from(["-", "+"]), of=atom),
        st.builds(tree.Between, of=atom, low=inner, high=inner, negated=st.booleans()),
        st.builds(
            tree.In,
            op=st.sampled_from(["in", "!in~", "has_any", "has_all"]),
            of=atom,
            items=st.lists(inner, min_size=1, max_size=3),
        ),
        st.builds(tree.Call, name=functions, args=st.lists(inner, max_size=3), named=st.just({})),
        st.builds(lambda arg, name: tree.Call(name="f", args=[arg], named={0: name}), inner, names),
        st.builds(tree.Member, of=atom, name=names),
        st.builds(tree.Index, of=atom, key=inner),
    )


expressions = st.recursive(_name | constants, _grow, max_leaves=12)
_named = st.builds(tree.Named, expr=expressions, names=st.lists(names, max_size=2))
_some = st.lists(_named, min_size=1, max_size=3)
_bare = st.builds(tree.Named, expr=_name)
_nulls = st.none() | st.booleans()
_keys = st.lists(st.builds(tree.Key, expr=expressions, descending=_nulls, nulls_first=_nulls), min_size=1, max_size=2)


def _operator(name: str, body: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[tree.Operator]:
    return st.builds(tree.Operator, name=st.just(name), body=body, options=st.fixed_dictionaries({}, optional=options))


def _steps(pipes: st.SearchStrategy[tree.Pipe]) -> st.SearchStrategy[tree.Operator]:
    tables = st.lists(st.builds(tree.Source, name=_name) | pipes, min_size=1, max_size=2)
    kinds = st.sampled_from(["inner", "leftanti"]).map(lambda kind: tree.Name(name=kind))
    return st.one_of(
        _operator("where", st.builds(tree.Condition, expr=expressions)),
        _operator("extend", st.builds(tree.Columns, columns=_some)),
        _operator("project", st.builds(tree.Columns, columns=st.lists(_named, max_size=2))),
        _operator("project-away", st.builds(tree.Columns, columns=st.lists(_bare, max_size=2))),
        _operator("summarize", st.builds(tree.Summary, aggregates=_some, by=st.none() | _some)),
        _operator("sort", st.builds(tree.Order, keys=_keys)),
        _operator("top", st.builds(tree.Order, count=expressions, keys=_keys.map(lambda keys: keys[:1]))),
        _operator("take", st.builds(tree.Order, count=expressions)),
        _operator("join", st.builds(tree.Join, right=pipes, on=st.lists(expressions, max_size=2)), kind=kinds),
        _operator("union", st.builds(tree.Union, tables=tables), isfuzzy=constants),
        _operator("mv-expand", st.builds(tree.Expand, columns=st.lists(_expansions, min_size=1, max_size=2))),
        _operator("count", st.none()),
    )


_expansions = st.builds(tree.Expansion, column=_named, type=st.none() | st.sampled_from(["long", "string", "dynamic"]))
_sources = st.builds(tree.Source, name=_name)
_bracketed = st.recursive(
    st.builds(tree.Pipe, source=_sources, bracketed=st.just(True)),
    lambda inner: st.builds(
        tree.Pipe, source=_sources | inner, operators=st.lists(_steps(inner), max_size=3), bracketed=st.just(True)
    ),
    max_leaves=3,
)
pipes = st.builds(
    tree.Pipe, source=_sources | _bracketed, operators=st.lists(_steps(_bracketed), min_size=1, max_size=4)
)
queries = st.builds(tree.Query, statements=st.just([]), results=st.lists(pipes, min_size=1, max_size=2))
