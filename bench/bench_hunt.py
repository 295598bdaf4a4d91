"""Hunting against SQL written by hand: eight queries on two tables of Parquet, each as KQL and as what one would write
for DuckDB; the time that translation takes, over the shared hunting queries where they are; the import of the front
end.

`python -m bench.bench_hunt [--rows N] [--folder PATH] [--show]`
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import duckdb
from msgspec import Struct

from bartizan.hunt import translate
from bartizan.hunt.catalogue import Catalogue, of_columns
from bartizan.hunt.duckdb.literal import identifier, text
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.fault import KqlError
from bartizan.hunt.tree import Scalar

ROUNDS = 3
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SHARED = Path(os.environ.get("BARTIZAN_SHARED", Path(__file__).resolve().parents[2] / "shared"))

TABLES: dict[str, dict[str, Scalar]] = {
    "DeviceProcessEvents": {
        "Timestamp": "datetime",
        "DeviceId": "string",
        "DeviceName": "string",
        "AccountName": "string",
        "FileName": "string",
        "FolderPath": "string",
        "SHA256": "string",
        "ProcessId": "long",
        "ProcessCommandLine": "string",
        "InitiatingProcessFileName": "string",
        "InitiatingProcessCommandLine": "string",
        "ReportId": "long",
        "AdditionalFields": "dynamic",
    },
    "SigninLogs": {
        "TimeGenerated": "datetime",
        "UserPrincipalName": "string",
        "IPAddress": "string",
        "ResultType": "string",
        "AppDisplayName": "string",
        "Location": "string",
        "CorrelationId": "string",
        "Details": "dynamic",
    },
}

# Thirty days of time in order, as a store that takes in what happens has it.
EVENTS = """
SELECT TIMESTAMP '2026-10-02' + to_microseconds(i * (2592000000000 // $rows)) AS "Timestamp",
  'd' || lpad((h % 20000)::VARCHAR, 8, '0') AS "DeviceId", 'host-' || (h % 20000) || '.example.com' AS "DeviceName",
  'user' || (h // 7 % 5000) AS "AccountName",
  ['cmd.exe', 'PowerShell.exe', 'svchost.exe', 'chrome.exe', 'rundll32.exe', 'explorer.exe'][(h // 11 % 6 + 1)::INT]
    AS "FileName",
  'C:\\Windows\\System32\\' || (h % 97) AS "FolderPath",
  md5((CASE WHEN h % 50 = 0 THEN h // 50 ELSE h % 2000 END)::VARCHAR) AS "SHA256",
  (h // 3 % 60000)::BIGINT AS "ProcessId",
  CASE WHEN h % 1009 = 0 THEN 'powershell -EncodedCommand ' || md5(h::VARCHAR)
    WHEN h % 5003 = 0 THEN 'tool.exe sekurlsa::logonpasswords'
    WHEN h % 211 = 0 THEN 'curl -s http://cdn' || (h % 50) || '.example.net/' || (h % 9000) || '.ps1 -o x'
    ELSE 'C:\\Program Files\\App\\run.exe --id ' || (h % 100000) || ' --mode service' END AS "ProcessCommandLine",
  'services.exe' AS "InitiatingProcessFileName", 'services.exe -k ' || (h % 31) AS "InitiatingProcessCommandLine",
  i AS "ReportId", '{"Session":' || (h % 7) || ',"Tags":["a","b"]}' AS "AdditionalFields"
FROM (SELECT i, (hash(i) >> 1)::BIGINT AS h FROM range($rows) AS r(i))
"""
SIGNINS = """
SELECT TIMESTAMP '2026-10-02' + to_microseconds(i * (2592000000000 // $rows)) AS "TimeGenerated",
  'user' || (h % 50000) || '@example.com' AS "UserPrincipalName",
  '10.0.' || (h // 3 % 4) || '.' || (h // 17 % 60) AS "IPAddress",
  CASE WHEN h % 13 = 0 THEN '50126' WHEN h % 101 = 0 THEN '50053' ELSE '0' END AS "ResultType",
  ['Office 365', 'Azure Portal', 'Teams'][(h // 5 % 3 + 1)::INT] AS "AppDisplayName",
  ['DE', 'NL', 'US', 'BR'][(h // 9 % 4 + 1)::INT] AS "Location", md5(i::VARCHAR) AS "CorrelationId",
  '{"Risk":"' || ['none', 'low', 'high'][(CASE WHEN h % 41 = 0 THEN 3 WHEN h % 3 = 0 THEN 2 ELSE 1 END)::INT]
    || '","Country":"' || ['DE', 'NL', 'US', 'BR'][(h // 9 % 4 + 1)::INT] || '","Device":{"Os":"Windows","Trust":'
    || (h % 2) || '}}' AS "Details"
FROM (SELECT i, (hash(i + 7) >> 1)::BIGINT AS h FROM range($rows) AS r(i))
"""

QUERIES: list[tuple[str, str, str]] = [
    (
        "last day, =~, has",
        """DeviceProcessEvents | where Timestamp > ago(1d)
        | where FileName =~ "powershell.exe" and ProcessCommandLine has "encodedcommand"
        | project Timestamp, DeviceName, AccountName, ProcessCommandLine""",
        r"""SELECT "Timestamp", "DeviceName", "AccountName", "ProcessCommandLine" FROM DeviceProcessEvents
        WHERE "Timestamp" > TIMESTAMP '2026-10-31' AND lower("FileName") = 'powershell.exe'
        AND "ProcessCommandLine" ILIKE '%encodedcommand%'
        AND regexp_matches("ProcessCommandLine", '(?i)(^|[^\p{L}\p{N}])encodedcommand($|[^\p{L}\p{N}])')""",
    ),
    (
        "has_any, top",
        """DeviceProcessEvents | where ProcessCommandLine has_any ("mimikatz", "sekurlsa", "lsass")
        | top 20 by Timestamp desc | project Timestamp, DeviceName, ProcessCommandLine""",
        r"""SELECT "Timestamp", "DeviceName", "ProcessCommandLine" FROM DeviceProcessEvents
        WHERE ("ProcessCommandLine" ILIKE '%mimikatz%' OR "ProcessCommandLine" ILIKE '%sekurlsa%'
          OR "ProcessCommandLine" ILIKE '%lsass%')
        AND regexp_matches("ProcessCommandLine", '(?i)(^|[^\p{L}\p{N}])(mimikatz|sekurlsa|lsass)($|[^\p{L}\p{N}])')
        ORDER BY "Timestamp" DESC LIMIT 20""",
    ),
    (
        "failures by address and hour",
        """SigninLogs | where ResultType != "0"
        | summarize Failures = count(), Users = dcount(UserPrincipalName) by IPAddress, bin(TimeGenerated, 1h)
        | where Failures > 5""",
        """SELECT "IPAddress", time_bucket(INTERVAL 1 HOUR, "TimeGenerated") AS h, count(*) AS n,
        count(DISTINCT "UserPrincipalName") AS u FROM SigninLogs WHERE "ResultType" <> '0'
        GROUP BY 1, 2 HAVING count(*) > 5""",
    ),
    (
        "join of failures and successes",
        """let failed = SigninLogs | where ResultType == "50126"
          | summarize Failed = count() by UserPrincipalName, IPAddress | where Failed > 1;
        SigninLogs | where ResultType == "0" | summarize Ok = count() by UserPrincipalName, IPAddress
        | join kind=inner failed on UserPrincipalName, IPAddress | project UserPrincipalName, IPAddress, Failed, Ok""",
        """WITH f AS (SELECT "UserPrincipalName" AS u, "IPAddress" AS a, count(*) AS n FROM SigninLogs
          WHERE "ResultType" = '50126' GROUP BY 1, 2 HAVING count(*) > 1)
        SELECT s.u, s.a, f.n, s.n FROM (SELECT "UserPrincipalName" AS u, "IPAddress" AS a, count(*) AS n
          FROM SigninLogs WHERE "ResultType" = '0' GROUP BY 1, 2) AS s JOIN f ON s.u = f.u AND s.a = f.a""",
    ),
    (
        "arg_max(t, *) by user",
        "SigninLogs | summarize arg_max(TimeGenerated, *) by UserPrincipalName",
        """SELECT "UserPrincipalName", unnest(arg_max(struct_pack(a := "TimeGenerated", b := "IPAddress",
        c := "ResultType", d := "AppDisplayName", e := "Location", f := "CorrelationId", g := "Details"),
        "TimeGenerated")) FROM SigninLogs GROUP BY 1""",
    ),
    (
        "dynamic field",
        """SigninLogs | where tostring(Details.Risk) == "high"
        | summarize count() by Country = tostring(Details.Country), Trust = toint(Details.Device.Trust)""",
        """SELECT "Details" ->> '$.Country', try_cast("Details" ->> '$.Device.Trust' AS INTEGER), count(*)
        FROM SigninLogs WHERE "Details" ->> '$.Risk' = 'high' GROUP BY 1, 2""",
    ),
    (
        "rare hashes",
        """DeviceProcessEvents | summarize Devices = dcount(DeviceId), First = min(Timestamp) by SHA256
        | where Devices < 3 | top 100 by First asc""",
        """SELECT "SHA256", count(DISTINCT "DeviceId") AS d, min("Timestamp") AS t FROM DeviceProcessEvents
        GROUP BY 1 HAVING count(DISTINCT "DeviceId") < 3 ORDER BY t LIMIT 100""",
    ),
    (
        "regex and extract",
        r"""DeviceProcessEvents | where ProcessCommandLine matches regex @"https?://[a-z0-9.]+/\d+\.ps1"
        | extend Host = extract(@"https?://([a-z0-9.]+)/", 1, ProcessCommandLine) | summarize count() by Host""",
        r"""SELECT regexp_extract("ProcessCommandLine", 'https?://([a-z0-9.]+)/', 1) AS h, count(*)
        FROM DeviceProcessEvents WHERE regexp_matches("ProcessCommandLine", 'https?://[a-z0-9.]+/\d+\.ps1')
        GROUP BY 1""",
    ),
]


class Views:
    """The tables by their names, the columns by theirs."""

    def source(self, table: str) -> str:
        return identifier(table)

    def column(self, table: str, name: str) -> str:
        return identifier(name)


def made(folder: Path, rows: int) -> None:
    for name, sql in (("DeviceProcessEvents", EVENTS), ("SigninLogs", SIGNINS)):
        path = folder / f"{name}-{rows}.parquet"
        if not path.exists():
            begun = time.perf_counter()
            select = sql.replace("$rows", str(rows)).replace("\\\\", "\\")
            duckdb.connect().execute(f"COPY ({select}) TO {text(str(path))} (FORMAT parquet, COMPRESSION zstd)")
            print(f"{name}: {rows:,} rows, {path.stat().st_size / 2**20:.0f} MiB, {time.perf_counter() - begun:.1f} s")


class Took(Struct):
    wall: float = inf
    cpu: float = inf
    rows: int = 0


def best(connection: duckdb.DuckDBPyConnection, statements: list[str]) -> list[Took]:
    """Seconds of each, the best of some rounds; by turns, so that what else the machine does falls on all alike."""
    took = [Took() for _ in statements]
    for _ in range(ROUNDS):
        for one, sql in zip(took, statements, strict=True):
            begun, worked = time.perf_counter(), time.process_time()
            one.rows = len(connection.cursor().execute(sql).fetchall())
            one.wall = min(one.wall, time.perf_counter() - begun)
            one.cpu = min(one.cpu, time.process_time() - worked)
    return took


def queries(folder: Path, rows: int, catalogue: Catalogue, show: bool) -> None:
    views = [f"CREATE VIEW {name} AS FROM {text(str(folder / f'{name}-{rows}.parquet'))}" for name in TABLES]
    connection = connect(folders=[folder], setup=views, memory_mb=8192)
    for name, kql, sql in QUERIES:
        ours = translate(kql, catalogue, storage=Views(), now=NOW).sql
        if show:
            print(ours)
        kept, by_hand = best(connection, [ours, sql])
        print(f"{name:32} KQL {kept.wall:7.3f} s (CPU {kept.cpu:7.3f})   by hand {by_hand.wall:7.3f} s "
              f"(CPU {by_hand.cpu:7.3f})   ratio {kept.wall / by_hand.wall:5.2f} (CPU {kept.cpu / by_hand.cpu:5.2f})   "
              f"{kept.rows:,} rows{'' if kept.rows == by_hand.rows else f', by hand {by_hand.rows:,}'}")  # fmt: skip


def translation() -> None:
    path = SHARED / "hunting"
    if not path.is_dir():
        print(f"translation: no shared queries at {path}")
        return
    tables: dict[str, Any] = json.loads((path / "tables.json").read_text())["tables"]
    catalogue = of_columns({name: each["columns"] for name, each in tables.items()})
    texts = [each for line in (path / "hunting-examples.jsonl").read_text().splitlines()
             if (each := json.loads(line))["class"] == "run"]  # fmt: skip
    times, refused = [], 0
    for each in texts:
        begun = time.process_time()
        try:
            translate(each["query"], catalogue, storage=Views(), now=NOW)
        except KqlError:
            refused += 1
            continue
        times.append((time.process_time() - begun) * 1e3)
    print(f"translation of {len(times)} queries (refused: {refused}): p50 {median(times):.1f} ms, "
          f"p95 {quantiles(times, n=20)[-1]:.1f} ms, most {max(times):.1f} ms of CPU")  # fmt: skip


def imported() -> None:
    code = "import time; b = time.perf_counter(); from bartizan.hunt import translate; print(time.perf_counter() - b)"
    took = min(float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
               for _ in range(ROUNDS))  # fmt: skip
    print(f"import of the front end {took * 1e3:.0f} ms")


def main(rows: int, folder: Path, show: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made(folder, rows)
    queries(folder, rows, of_columns(TABLES), show)
    translation()
    imported()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the tables are made, and found again")
    parser.add_argument("--show", action="store_true", help="prints the SQL")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made_folder:
        main(asked.rows, asked.folder or Path(made_folder), asked.show)
