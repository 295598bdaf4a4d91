"""Short queries that would grow without end, were nothing counted: each ends, in an error or in bounded SQL."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt import KqlError, translate
from bartizan.hunt.duckdb.emit import MOST_TEXT

_TABLE = "Devices"
_HARNESS = Harness(
    {
        _TABLE: {
            "Timestamp": "datetime",
            "DeviceId": "string",
            "FileName": "string",
            "ProcessId": "long",
            "Fields": "dynamic",
            **{f"Text{index}": "string" for index in range(60)},
        }
    }
)


def _lets(count: int, first: str, then: str) -> str:
    """`then` stands `count` times, `@` for the one before it."""
    names = [f"a{index}" for index in range(count + 1)]
    told = [f"let {name} = {then.replace('@', before)};" for before, name in pairwise(names)]
    return f"let a0 = {first};{''.join(told)}"


def _functions(count: int, first: str, then: str) -> str:
    """As `_lets`, of functions f0, f1 ... of `x`."""
    told = [f"let f{index} = {then.replace('@', f'f{index - 1}')};" for index in range(1, count + 1)]
    return f"let f0 = {first};{''.join(told)}"


HOSTILE = {
    "a value doubled": _lets(40, "tostring(rand())", "strcat(@, tostring(rand()), @)") + "print a40",
    "a value as its own key": _lets(40, "parse_json('')", "@[@]") + "print a40",
    "a constant doubled": _lets(40, "'aaaaaaaaaa'", "strcat(@, @)") + "print a40",
    "a long constant": f"let a = '{'x' * 60_000}'; print {', '.join(['strcat(a, rand())'] * 2_000)}",
    "a list in many conditions": f"let a = dynamic([{'1,' * 15_000}1]); {_TABLE} "
    f"| where {' or '.join(['FileName in (a)'] * 1_500)}",
    "a condition in many columns": f"let a = 'a' in ({_TABLE}{'| where ProcessId > 1' * 60} | project FileName); "
    f"print {', '.join(['a'] * 9_000)}",
    "a value tested twice": f"{_TABLE} | extend z = {'tostring(' * 25}FileName"
    + " in (Fields, parse_json(FileName)))" * 25,
    "bins of bins": f"{_TABLE} | extend z = {'bin(' * 80}Timestamp{', 1h)' * 80}",
    "bins of bins in many columns": f"{_TABLE} | project "
    + ", ".join(f"{'bin(' * 12}Timestamp{', 1h)' * 12}" for _ in range(500)),
    "a table joined with itself": _lets(60, _TABLE, "@ | join kind=inner @ on DeviceId") + "a60",
    "a table united with itself": _lets(60, _TABLE, "@ | union @") + "a60",
    "functions": _functions(30, "(x: string) { strcat(x, x) }", "(x: string) { @(@(x)) }")
    + f"{_TABLE} | extend y = f30(FileName)",
    "functions of tables": _functions(
        30, f"(x: long) {{ {_TABLE} | where ProcessId == x }}", "(x: long) { union (@(x)), (@(x + 1)) }"
    )
    + "f30(1)",
    "words in all columns": "search " + " or ".join(f"'a{index}'" for index in range(6_000)),
    "stars": f"union {', '.join(['*'] * 9_000)}",
    "columns upon columns": _TABLE + "".join(f"| extend x{index} = 1" for index in range(5_000)),
    "bags of all columns": _TABLE + "".join(f"| extend p{index} = pack_all()" for index in range(1_000)),
    "one pattern of many columns": f"{_TABLE} | parse FileName with "
    + " ".join(f"'a{index}' x{index}" for index in range(4_000)),
    "many pairs": f"{_TABLE} | parse-kv FileName as ({', '.join(f'x{index}: long' for index in range(4_000))}) "
    "with (pair_delimiter=';', kv_delimiter='=', greedy=true)",
    "names that are taken": f"{_TABLE} | project {', '.join(['1 + ProcessId'] * 6_000)}",
    "percentiles": f"{_TABLE} | summarize percentiles(ProcessId, {', '.join(str(i % 100) for i in range(9_000))})",
}


def _length(query: str, seconds: float | None = None) -> int:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    return len(translate(query, _HARNESS.catalogue, storage=_HARNESS, now=now, seconds=seconds).sql)


@pytest.mark.parametrize("name", HOSTILE)
def test_ends(name: str) -> None:
    try:
        length = _length(HOSTILE[name])
    except KqlError as fault:
        assert fault.phase == "plan"
    else:
        assert length <= MOST_TEXT


def test_what_grows_is_told_at_its_place() -> None:
    with pytest.raises(KqlError, match="too large once all that it names is written out") as caught:
        _length(HOSTILE["a value doubled"])
    assert (caught.value.phase, caught.value.line) == ("plan", 1)
    assert caught.value.column > 1


def test_the_time_counts_before_the_engine_has_the_query() -> None:
    query = f"{_TABLE} | where FileName == 'a'"
    assert _length(query, seconds=60)
    with pytest.raises(KqlError, match="took longer than 0 s") as caught:
        _length(query, seconds=0)
    assert caught.value.phase == "run"
