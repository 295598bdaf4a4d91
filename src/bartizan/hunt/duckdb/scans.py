"""scan: one row after another, as a recursion over their numbers; each step of the query is a few levels of the select
that goes on from one row to the next.

What a step remembers is a struct, null while it has no sequence: `m`, the number of the match; `e`, the row with which
the series of matches of this step began; `s0`, `s1` ..., for it and the steps before it what is held of their rows.

Source: Kusto Query Language, "scan operator", section "Scan logic".
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.literal import NATIVE
from bartizan.hunt.duckdb.select import OrderKey, Select, name
from bartizan.hunt.duckdb.windows import numbered
from bartizan.hunt.plan import Id

if TYPE_CHECKING:
    from bartizan.hunt.duckdb.emit import Emitter


def scan(emitter: "Emitter", node: p.Scan) -> Select:
    base, place = numbered(emitter, emitter.plan(node.input))
    groups = ", ".join(emitter.expr(each, base.columns) for each in node.partition)
    group = f"dense_rank() OVER (ORDER BY {groups})" if groups else "1::BIGINT"
    row = f"row_number() OVER (PARTITION BY {groups} ORDER BY {place})" if groups else place
    number = emitter.number()
    rows, gone = f"w{number}_rows", f"w{number}_gone"
    given = [name(id_) for id_ in base.columns]
    own = Select(base.source, base.columns).text({place: place, "kg": group, "kn": row})
    emitter.add_table(f"{rows} AS MATERIALIZED ({own})")
    levels = _Levels(emitter, node, base.columns)
    memories = [f"k{index}" for index in range(len(node.stages))]
    begun = ", ".join(f"NULL::{levels.memory} AS {each}" for each in memories)
    none = f"[]::{levels.shown}[]"
    now = ", ".join(f"r.{each}" for each in memories)
    level = (
        f"SELECT b.*, {now}, r.km, {none} AS ko FROM {gone} AS r JOIN {rows} AS b ON b.kg = r.kg AND b.kn = r.kn + 1"
    )
    for index in reversed(range(len(node.stages))):
        level = levels.step(index, level)
    kept = ", ".join(["kg", "kn", "km", *memories, "ko"])
    emitter.add_table(
        f"{gone} AS (SELECT kg, 0::BIGINT AS kn, 0::BIGINT AS km, {begun}, {none} AS ko FROM {rows} GROUP BY kg "
        f"UNION ALL SELECT {kept} FROM ({level}) AS s{emitter.number()})"
    )
    shown = f"SELECT kg, kn, unnest(ko) AS u, generate_subscripts(ko, 1) AS ki FROM {gone}"
    made = {out.id: f"s.u.x.{name(out.id)}" for out in node.declared} | {node.match: "s.u.m"}
    texts = [*(f"b.{each}" for each in given), *(f"{sql} AS {name(id_)}" for id_, sql in made.items())]
    joined = f"({shown}) AS s JOIN {rows} AS b ON b.kg = s.kg AND b.kn = s.kn"
    text = f"SELECT {', '.join(texts)}, b.{place}, s.ki FROM {joined}"
    lasts = ", ".join(str(index) for index, each in enumerate(node.stages) if each.output == "last")
    if lasts:
        text += f" QUALIFY s.u.k NOT IN ({lasts}) OR s.kn = max(s.kn) OVER (PARTITION BY s.kg, s.u.k, s.u.e)"
    columns = {id_: name(id_) for id_ in (*base.columns, *made)}
    return Select(f"({text}) AS s{emitter.number()}", columns, order=[OrderKey(place), OrderKey("ki")])


class _Levels:
    """What a row does to the memories, one step of the query after another, the last first."""

    def __init__(self, emitter: "Emitter", node: p.Scan, columns: Mapping[Id, str]) -> None:
        self.emitter, self.node = emitter, node
        self.columns = {id_: name(id_) for id_ in columns}
        steps = range(len(node.stages))
        self.held = [[each for each in node.held if each.step == index] for index in steps]
        parts = [", ".join(f"{name(each.id)} {NATIVE[each.type]}" for each in own) for own in self.held]
        inner = ", ".join(f"s{index} STRUCT({part or 'nothing BOOLEAN'})" for index, part in enumerate(parts))
        self.memory = f"STRUCT(m BIGINT, e BIGINT, {inner})"
        made = ", ".join(f"{name(each.id)} {NATIVE[each.type]}" for each in node.declared)
        self.made = f"STRUCT({made or 'nothing BOOLEAN'})"
        self.shown = f"STRUCT(k INTEGER, m BIGINT, e BIGINT, x {self.made})"

    def step(self, index: int, level: str) -> str:
        stage, own, before = self.node.stages[index], f"k{index}", f"k{index - 1}"
        goes = f"coalesce({before} IS NOT NULL AND {self._true(stage, before)}, FALSE)" if index else "FALSE"
        level = self._over(f"*, {goes} AS ka", level)
        active = f"{own} IS NOT NULL AND " if index else ""
        level = self._over(f"*, coalesce(NOT ka AND {active}{self._true(stage, own)}, FALSE) AS kb", level)
        stays = own if index else f"coalesce({own}, {self._memory('km')})"
        promoted = self._memory(f"{before}.m", before) if index else "NULL"
        level = self._over(f"*, CASE WHEN ka THEN {promoted} WHEN kb THEN {stays} END AS kp", level)
        known = self._known("kp")
        made = [self.emitter.expr(each, known) for each in stage.made]
        packed = ", ".join(f"{name(out.id)} := {sql}" for out, sql in zip(self.node.declared, made, strict=True))
        level = self._over(f"*, struct_pack({packed or 'nothing := NULL'})::{self.made} AS kx", level)
        replaced = [f"CASE WHEN ka OR kb THEN {self._memory('kp.m', 'kp', index)} ELSE {own} END AS {own}"]
        if index:
            replaced.append(f"CASE WHEN ka THEN NULL ELSE {before} END AS {before}")
        else:
            replaced.append(f"CASE WHEN kb AND {own} IS NULL THEN km + 1 ELSE km END AS km")
        if stage.output != "none":
            shown = f"struct_pack(k := {index}, m := kp.m, e := kp.e, x := kx)::{self.shown}"
            replaced.append(f"CASE WHEN ka OR kb THEN list_append(ko, {shown}) ELSE ko END AS ko")
        return self._over(f"* EXCLUDE (ka, kb, kp, kx) REPLACE ({', '.join(replaced)})", level)

    def _over(self, given: str, level: str) -> str:
        return f"SELECT {given} FROM ({level}) AS s{self.emitter.number()}"

    def _true(self, stage: p.Stage, memory: str) -> str:
        return self.emitter.true(stage.condition, self._known(memory))

    def _known(self, memory: str) -> dict[Id, str]:
        """What expressions may read: the row, and what is remembered."""
        known = dict(self.columns)
        for each in self.node.held:
            part = f"{memory}.s{each.step}"
            value = f"{part}.{name(each.id)}"
            empty = self.emitter.expr(each.empty, self.columns)
            known[each.id] = f"(CASE WHEN {part} IS NULL THEN {empty} ELSE {value} END)"
        return known

    def _memory(self, match: str, of: str = "", row: int = -1) -> str:
        """A memory of this match: that of another, with the row at hand as that of a step."""
        parts = [f"m := {match}", f"e := {of}.e" if row >= 0 else "e := kn"]
        parts += [f"s{index} := {self._row(index) if index == row else f'{of}.s{index}' if of else 'NULL'}"
                  for index in range(len(self.held))]  # fmt: skip
        return f"struct_pack({', '.join(parts)})::{self.memory}"

    def _row(self, index: int) -> str:
        values = self.columns | {each.id: f"kx.{name(each.id)}" for each in self.node.declared}
        parts = [f"{name(each.id)} := {values[each.column]}" for each in self.held[index]]
        return f"struct_pack({', '.join(parts) or 'nothing := TRUE'})"
