"""row_window_session: the instant at which the session of a row began.

A session ends where a row is too far from the one before it, which a window can say, or too far from its first, which
depends on where the session before it ended: the first rows are found one after the other, in as many steps as the run
with the most sessions has.

Source: Kusto Query Language, "row_window_session()".
"""

from typing import TYPE_CHECKING

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.literal import TICKS_A_MICROSECOND
from bartizan.hunt.duckdb.select import OrderKey, Select, name

if TYPE_CHECKING:
    from bartizan.hunt.duckdb.emit import Emitter


def session(emitter: "Emitter", one: p.Windowed, base: Select, place: str) -> Select:
    """The same rows, numbered by `place`, with one more column."""
    of, furthest, apart = (emitter.expr(each, base.columns) for each in one.args[:3])
    at = f"epoch_us({of})"
    partition = [emitter.expr(each, base.columns) for each in one.partition]
    over = f"OVER ({f'PARTITION BY {chr(44).join(partition)} ' if partition else ''}ORDER BY {place})"
    begins = f"lag({place}) {over} IS NULL OR {at} - lag({at}) {over} > {apart} // {TICKS_A_MICROSECOND}"
    if one.restart is not None:
        begins = f"{emitter.true(one.restart, base.columns)} OR {begins}"
    hidden = {"begins": begins, "t": at, "most": f"{furthest} // {TICKS_A_MICROSECOND}", place: place,
              **{f"g{index}": each for index, each in enumerate(partition)}}  # fmt: skip
    flagged = base.text(hidden)
    groups = ", ".join(f"g{index}" for index in range(len(partition)))
    run = f"count(*) FILTER (WHERE begins) OVER ({f'PARTITION BY {groups} ' if groups else ''}ORDER BY {place} " \
          f"ROWS UNBOUNDED PRECEDING)"  # fmt: skip
    keyed = f"SELECT *, {run} AS run FROM ({flagged}) AS s{emitter.number()}"
    key = ", ".join([*(f"g{index}" for index in range(len(partition))), "run"])
    rows, firsts = f"w{emitter.number()}_rows", f"w{emitter.number()}_firsts"
    same = " AND ".join(f"b.{each} IS NOT DISTINCT FROM s.{each}" for each in key.split(", "))
    chosen = ", ".join(f"b.{each}" for each in key.split(", "))
    emitter.add_table(f"{rows} AS MATERIALIZED ({keyed})")
    emitter.add_table(
        f"{firsts} AS (SELECT {key}, min({place}) AS begun, arg_min(t, {place}) AS t FROM {rows} GROUP BY {key} "
        f"UNION ALL SELECT {chosen}, min(b.{place}), arg_min(b.t, b.{place}) FROM {firsts} AS s JOIN {rows} AS b "
        f"ON {same} AND b.{place} > s.begun AND b.t - s.t > b.most GROUP BY {chosen})"
    )
    names = [name(id_) for id_ in base.columns]
    given = ", ".join([*(f"b.{each}" for each in names), f"b.{place}", f"make_timestamp(s.t) AS {name(one.id)}"])
    # Of the firsts up to a row the last counts.
    text = f"SELECT {given} FROM {rows} AS b ASOF LEFT JOIN {firsts} AS s ON {same} AND b.{place} >= s.begun"
    columns = {id_: name(id_) for id_ in (*base.columns, one.id)}
    return Select(f"({text}) AS s{emitter.number()}", columns, order=[OrderKey(place)])
