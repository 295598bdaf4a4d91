"""The catalogue of tables."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bartizan.lake.tables import KUSTO_TYPES, TABLES, declare, table

ROOT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schema_tables", ROOT / "schema" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_table_is_found_in_any_case() -> None:
    found = table("signinlogs")
    assert found is not None and found is TABLES["SigninLogs"] is table("SIGNINLOGS")
    assert found.column("ipaddress") == "IPAddress" and found.column("nothing") is None
    assert table("NoSuchTable") is None and "NoSuchTable" not in TABLES


def test_columns_that_differ_only_in_case_stay_two() -> None:
    found = TABLES["IdentityInfo"]
    assert {name for name in found.columns if name.lower() == "accountupn"} == {"AccountUPN", "AccountUpn"}
    assert found.column("AccountUpn") == "AccountUpn" and found.column("AccountUPN") == "AccountUPN"


def test_the_time_column() -> None:
    assert TABLES["DeviceEvents"].time == "Timestamp"
    assert TABLES["SigninLogs"].time == "TimeGenerated"
    assert TABLES["ExposureGraphNodes"].time is None


def test_what_takes_the_rest() -> None:
    """AdditionalFields only where it is dynamic: in Defender's device tables it is a text."""
    assert TABLES["CloudAppEvents"].rest == "AdditionalFields"
    assert TABLES["DeviceProcessEvents"].rest == "_Extra"
    assert TABLES["SigninLogs"].rest == "_Extra"


def test_a_declared_table_is_a_table() -> None:
    columns = {"Timestamp": "datetime", "Lasted": "timespan", "AdditionalFields": "dynamic"}
    made = declare("LakeTestEvents", columns)
    assert declare("LakeTestEvents", dict(columns)) is made is table("laketestevents")
    assert made.time == "Timestamp" and made.rest == "AdditionalFields" and "LakeTestEvents" in TABLES


@pytest.mark.parametrize(
    ("name", "columns", "why"),
    [
        ("LakeTestOther", {"A": "text"}, "has type 'text'"),
        ("LakeTestOther", {"A b": "string"}, "cannot have a column"),
        ("LakeTestOther", {"_Extra": "dynamic"}, "cannot have a column"),
        ("LakeTestOther", {}, "has 0 columns"),
        ("Lake Test", {"A": "string"}, "cannot be a table"),
        ("../x", {"A": "string"}, "cannot be a table"),
        ("SigninLogs", {"A": "string"}, "there is a table SigninLogs"),
        ("signinlogs", {"A": "string"}, "there is a table SigninLogs"),
    ],
)
def test_what_cannot_be_declared(name: str, columns: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        declare(name, columns)
    assert table("LakeTestOther") is None


def test_the_package_gives_what_it_names() -> None:
    import bartizan.lake as lake

    assert [name for name in lake.__all__ if not hasattr(lake, name)] == []
    with pytest.raises(AttributeError, match="nothing"):
        _ = lake.nothing


def test_the_catalogue_is_read_when_it_is_asked_for() -> None:
    code = (
        "import bartizan.lake.tables as t; assert t._CATALOGUE._tables is None; "
        "assert t.table('SigninLogs'); assert t._CATALOGUE._tables is not None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.shared
def test_the_cut_holds_every_table(shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Cutting the facts again gives the committed file."""
    cut = script()
    facts = shared / "hunting" / "tables.json"
    monkeypatch.setattr(cut, "OUT", tmp_path / "tables.json")
    monkeypatch.setattr(sys, "argv", ["tables.py", str(facts)])
    cut.main()
    assert (tmp_path / "tables.json").read_bytes() == (ROOT / "src/bartizan/lake/tables.json").read_bytes()
    for name, fact in json.loads(facts.read_text())["tables"].items():
        assert dict(TABLES[name].columns) == fact["columns"]


def test_a_type_that_is_unknown_stops_the_cut() -> None:
    assert frozenset(KUSTO_TYPES) == script().TYPES
    with pytest.raises(SystemExit, match="decimal"):
        script().text({"T": {"A": "decimal"}})
