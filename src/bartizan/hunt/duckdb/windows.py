"""Functions of a row's place: a number of the row in the order is made first, then all is said of that number, so that
rows which are equal in the order stay in one order for all of them.

A run is what lies between two rows where `restart` holds; it is the partition of the window.

Source: Kusto Query Language, "Window functions overview" and the page of each; DuckDB manual, "Window functions".
"""

from re import compile as pattern
from typing import TYPE_CHECKING

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.select import OrderKey, Select, name, subquery
from bartizan.hunt.duckdb.sessions import session
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions.aggregates import decimal_sum

if TYPE_CHECKING:
    from bartizan.hunt.duckdb.emit import Emitter


_PLACE = pattern(r"n\d+")
SO_FAR = "ROWS UNBOUNDED PRECEDING"
RANKS = ("row_rank_dense", "row_rank_min")


def windows(emitter: "Emitter", node: p.Number) -> Select:
    base, place = numbered(emitter, emitter.plan(node.input))
    for one in node.made:
        if one.function == "row_window_session":
            base = session(emitter, one, base, place)
    node = p.Number(node.input, [one for one in node.made if one.function != "row_window_session"])
    base = _level(emitter, base, place, {f"g{index}": _changed(emitter, one, base, place)
                                         for index, one in enumerate(node.made) if one.function in RANKS})  # fmt: skip
    runs = {f"r{index}": _run(emitter, one, base, place) for index, one in enumerate(node.made) if one.restart}
    places = {f"h{index}": f"count(*) FILTER (WHERE g{index}) {_over(emitter, one, base, place, frame=SO_FAR)}"
              for index, one in enumerate(node.made) if one.function in RANKS}  # fmt: skip
    base = _level(emitter, base, place, {**runs, **places})
    made = dict(base.columns)
    for index, one in enumerate(node.made):
        run = f"r{index}" if one.restart else ""
        made[one.id] = _window(emitter, one, base, place, run, f"h{index}")
    text = Select(base.source, made).text({place: place})
    names = {id_: name(id_) for id_ in made}
    return Select(f"({text}) AS s{emitter.number()}", names, order=[OrderKey(place)])


def _level(emitter: "Emitter", base: Select, place: str, hidden: dict[str, str]) -> Select:
    """The same rows with more hidden columns."""
    if not hidden:
        return base
    text = Select(base.source, base.columns).text({**hidden, place: place})
    return Select(f"({text}) AS s{emitter.number()}", {id_: name(id_) for id_ in base.columns})


def numbered(emitter: "Emitter", inner: Select) -> tuple[Select, str]:
    """The rows with their number in the order, by its name."""
    if len(inner.order) == 1 and _PLACE.fullmatch(inner.order[0].sql) and not inner.where and not inner.limit:
        return inner, inner.order[0].sql
    if inner.limit:
        inner = subquery(inner, emitter.number())
    place = f"n{emitter.number()}"
    over = f"ORDER BY {inner.order_text()}" if inner.order else ""
    text = Select(inner.source, inner.columns, inner.where).text({place: f"row_number() OVER ({over})"})
    names = {id_: name(id_) for id_ in inner.columns}
    return Select(f"({text}) AS s{emitter.number()}", names, order=[OrderKey(place)]), place


def _over(emitter: "Emitter", one: p.Windowed, base: Select, place: str, run: str = "", frame: str = "") -> str:
    partition = [emitter.expr(each, base.columns) for each in one.partition] + ([run] if run else [])
    by = f"PARTITION BY {', '.join(partition)} " if partition else ""
    return f"OVER ({by}ORDER BY {place}{' ' + frame if frame else ''})"


def _changed(emitter: "Emitter", one: p.Windowed, base: Select, place: str) -> str:
    """Whether the ranked value is another than the row's before (in the first row it is)."""
    of, over = emitter.expr(one.args[0], base.columns), _over(emitter, one, base, place)
    return f"({of} IS DISTINCT FROM lag({of}) {over} OR lag({place}) {over} IS NULL)"


def _run(emitter: "Emitter", one: p.Windowed, base: Select, place: str) -> str:
    """The number of the run that a row belongs to."""
    assert one.restart is not None
    begins = emitter.true(one.restart, base.columns)
    return f"count(*) FILTER (WHERE {begins}) {_over(emitter, one, base, place, frame=SO_FAR)}"


def _window(emitter: "Emitter", one: p.Windowed, base: Select, place: str, run: str, value: str) -> str:
    args = [emitter.expr(each, base.columns) for each in one.args]
    over = _over(emitter, one, base, place, run)
    match one.function:
        case "row_number":
            return f"kql_wrap((row_number() {over} - 1)::HUGEINT + {args[0]})" if args else f"(row_number() {over})"
        case "row_cumsum":
            so_far = _over(emitter, one, base, place, run, SO_FAR)
            if one.type == "decimal":
                return decimal_sum(args[0], f" {so_far}")
            total = f"sum({args[0]}) {so_far}"
            if one.type in ("long", "timespan"):
                return f"kql_wrap(coalesce({total}, 0::HUGEINT)::HUGEINT)"
            if one.type == "int":
                return f"(((coalesce({total}, 0) + {2**31}) & {2**32 - 1}) - {2**31})::INTEGER"
            return f"coalesce({total}, 0)::DOUBLE"
        case "prev" | "next":
            return _neighbour(one, args, over)
        case "row_rank_dense" | "row_rank_min":
            function = "dense_rank" if one.function == "row_rank_dense" else "rank"
            return f"{function}() {_over(emitter, one, base, value, run)}"
        case _:
            raise KqlError("plan", f"{one.function}() is not supported")


def _neighbour(one: p.Windowed, args: list[str], over: str) -> str:
    absent = "''" if one.type == "string" else "NULL"
    offset = args[1] if len(args) > 1 else "1"
    default = args[2] if len(args) > 2 else absent
    return f"{'lag' if one.function == 'prev' else 'lead'}({args[0]}, {offset}, {default}) {over}"
