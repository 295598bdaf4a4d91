"""The names that columns get by themselves.

A path is joined by `_`, some functions hand on the name of their first argument, aggregates put their own before it,
all else is Column1, Column2 ... A name that is taken gets the first number behind it that is not.

Source: Kusto Query Language, "project operator", "summarize operator"; behaviour of Microsoft's binder.
"""

from collections.abc import Collection, Iterable

from bartizan.hunt import tree

# Scalar functions whose result is called as their first argument is.
FIRST = frozenset(
    "abs acos asin atan atan2 bin bin_at bin_auto binary_and binary_not binary_or binary_shift_left binary_shift_right "
    "binary_xor bitset_count_ones ceiling cos erf erfc exp exp10 exp2 floor format_bytes format_datetime "
    "format_timespan gamma log log10 log2 loggamma parse_csv parse_json parse_xml parsejson pow rand round "
    "series_fill_backward series_fill_const series_fill_forward series_fill_linear series_fir series_iir "
    "series_outliers sin split sqrt startofday tan tobool toboolean todatetime todecimal todouble todynamic toguid "
    "tohex toint tolong toobject toreal tostring totime totimespan take_anyif binary_all_or binary_all_and "
    "binary_all_xor".split()
)
# Functions that put this before the name of their first argument.
BEFORE = {
    **{each: each for each in (
        "any anyif avg avgif cnt count count_distinct count_distinctif countif covariance covarianceif covariancep "
        "covariancepif dcount dcountif hll hll_if max maxif min minif stdev stdevif stdevp sum sumif tdigest variance "
        "varianceif variancep variancepif dcount_hll percentile_tdigest string_size strlen repeat".split()
    )},
    "gettype": "type", "treepath": "tree", "percentiles_array_tdigest": "percentile_tdigest",
    "buildschema": "schema", "make_bag": "bag", "make_bag_if": "bag", "make_dictionary": "dictionary",
    **dict.fromkeys(("make_list", "make_list_if", "make_list_with_nulls", "makelist"), "list"),
    **dict.fromkeys(("make_set", "make_set_if", "makeset"), "set"),
    **dict.fromkeys(("merge_tdigest", "tdigest_merge"), "merge_tdigests"),
    "hll_merge": "hll_merge", "percentiles_array": "percentiles", "percentilesw_array": "percentiles",
}  # fmt: skip
# Functions of several digests or sketches, which summarize has of one.
MERGED = {
    **dict.fromkeys(("merge_tdigest", "tdigest_merge"), "tdigests_merge_result"),
    "hll_merge": "hll_merged_result",
}
PERCENTILES = {"percentile", "percentilew", "percentiles", "percentilesw"}


def bare(node: "tree.Expr | tree.Pipe") -> "tree.Expr | tree.Pipe":
    """Without brackets around."""
    inner: tree.Expr | tree.Pipe = node
    while isinstance(inner, tree.Bracketed):
        inner = inner.of
    return inner


def names_in(node: object) -> list[str]:
    """All names that stand in a tree."""
    if isinstance(node, tree.Name):
        return [node.name]
    if isinstance(node, list):
        return [name for each in node for name in names_in(each)]
    if isinstance(node, tree.Node):
        return [name for each in node.__struct_fields__ for name in names_in(getattr(node, each))]
    return []


def words_in(node: tree.Node) -> frozenset[str]:
    """All names and constant texts of a tree."""
    found: set[str] = set()
    waiting: list[object] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tree.Name):
            found.add(each.name)
        elif isinstance(each, tree.Constant):
            if isinstance(each.value, str):
                found.add(each.value)
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, tree.Node):
            waiting += [getattr(each, name) for name in each.__struct_fields__]
    return frozenset(found)


def natural(node: "tree.Expr | tree.Pipe") -> str:
    """The name that an expression has by itself; '': none."""
    inner = bare(node)
    match inner:
        case tree.Name():
            return inner.name
        case tree.Member():
            return _joined(inner.of, inner.name)
        case tree.Index():
            return _joined(inner.of, _key(inner.key))
        case tree.Call():
            return _of_call(inner)
    return ""


def _joined(of: tree.Expr, step: str) -> str:
    base = bare(of)
    if isinstance(base, tree.Constant):
        return step
    if isinstance(base, tree.Name) and base.name in ("$left", "$right"):
        return step
    before = natural(base)
    return f"{before}_{step}" if before else step


def _key(key: tree.Expr) -> str:
    inner = bare(key)
    if isinstance(inner, tree.Constant) and isinstance(inner.value, str | int):
        return str(inner.value)
    return ""


def _of_call(node: tree.Call) -> str:
    name = node.name.lower()
    if name == "ingestion_time":
        return "$IngestionTime"
    if not node.args and name not in BEFORE:
        return ""
    if name in FIRST:
        return node.named.get(0) or natural(node.args[0])
    if name in ("make_datetime", "make_timespan"):
        return natural(node.args[0]) if len(node.args) == 1 else ""
    if name in ("column_ifexists", "columnifexists"):
        given = bare(node.args[0])
        return str(given.value) if isinstance(given, tree.Constant) else ""
    if name in MERGED and len(node.args) > 1:
        return MERGED[name]
    if name in BEFORE:
        first = natural(node.args[0]) if node.args else ""
        return f"{BEFORE[name]}_{first}"
    return ""


def number(node: "tree.Expr | tree.Pipe") -> str:
    """A number as a part of a name."""
    node = bare(node)
    text = str(node.value) if isinstance(node, tree.Constant) else ""
    text = text.removesuffix(".0")
    return "".join(each if each.isalnum() else "_" for each in text)


class Taken:
    """Gives names that are not taken yet."""

    def __init__(self, names: Iterable[str] = (), before: Iterable[str] = ()) -> None:
        """`before`: the columns of the rows that are read, which no Column1 is called after."""
        self.names = set(names)
        self.before = frozenset(before)
        self._unnamed = 0
        self._last: dict[str, int] = {}  # number behind a name

    def free(self, name: str) -> str:
        """The name, with a number behind it if it is taken."""
        if name in self.names:
            return self._numbered(name)
        self.names.add(name)
        return name

    def column(self) -> str:
        """The next of Column1, Column2 ..."""
        self._unnamed += 1
        while f"Column{self._unnamed}" in self.before:
            self._unnamed += 1
        return self.free(f"Column{self._unnamed}")

    def _numbered(self, name: str) -> str:
        number = self._last.get(name, 0) + 1
        while f"{name}{number}" in self.names:
            number += 1
        self._last[name] = number
        self.names.add(f"{name}{number}")
        return f"{name}{number}"


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern of `*`."""
    parts = pattern.split("*")
    if len(parts) == 1:
        return name == pattern
    if not name.startswith(parts[0]) or not name[len(parts[0]) :].endswith(parts[-1]):
        return False
    rest = name[len(parts[0]) : len(name) - len(parts[-1]) or None]
    for part in parts[1:-1]:
        at = rest.find(part)
        if at < 0:
            return False
        rest = rest[at + len(part) :]
    return True


def chosen(pattern: str, names: Collection[str]) -> list[str]:
    """The names that fit a pattern, in their order."""
    return [each for each in names if matches(pattern, each)]
