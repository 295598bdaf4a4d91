"""externaldata: what files become of which formats, and what is refused, where."""

import gzip
import io
import re
import zipfile
from typing import Any

import pytest
from tests.hunt.beside import Bench

from bartizan.hunt import lent as module
from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Known

AT = "https://lists.example/"


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


FILES = {
    "a.csv": b'\xef\xbb\xbfip,seen,n,more\n"1,1",2026-01-02T03:04:05Z,7,"{""k"": [1]}"\n\n2,x,y\n3,,,,beyond\n',
    "a.tsv": b"a\t1\nb\t2\n",
    "a.psv": b"a|1\n",
    "a.scsv": b"a;1\n",
    "a.txt": b"# first\r\none\r\n\r\ntwo,three\r\n",
    "a.json": b'{"s": "x", "n": 12345678901234567, "d": {"k": 1}, "b": true}\n\n{"n": null, "d": "text", "S": 1}\n',
    "m.json": b' {"s": "x",\n "n": 1}\n{"s":"y"} ',
    "array.json": b'[{"s": "x", "n": 1}, {"s": "[,]", "d": [1, 2]}]',
    "bad.json": b'{"s": 1}\n[1]\n',
    "list": b"a,1\n",
    "a.csv.gz": gzip.compress(b"a,1\n") + gzip.compress(b"b,2\n"),
    "cut.csv.gz": gzip.compress(b"a,1\n" * 100)[:-9],
    "no.csv.gz": b"a,1\n",
    "a.csv.zip": zipped(a=b"a,1\n"),
    "two.zip": zipped(a=b"a", b=b"b"),
    "latin.csv": b"caf\xe9,1\n",
    "quotes.csv": b'"a\n',
}
PAIR = "externaldata(s: string, n: long)"


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench({("external", AT + name): content for name, content in FILES.items()}, Known(external=True))


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (f"externaldata(ip: string, seen: datetime, n: int, more: dynamic)['{AT}a.csv'] with (ignoreFirstRecord=true)",
         [["1,1", "2026-01-02T03:04:05Z", 7, {"k": [1]}], ["2", None, None, None], ["3", None, None, None]]),
        (f"{PAIR}['{AT}a.tsv']", [["a", 1], ["b", 2]]),
        (f"{PAIR}[@'{AT}a.psv']", [["a", 1]]),
        (f"{PAIR}['{AT}a.scsv'] with (format='scsv')", [["a", 1]]),
        (f"externaldata(l: string)['{AT}a.txt'] with (format=txt, ignorefirstrecord=True)", [["one"], ["two,three"]]),
        (f"externaldata(all: string)['{AT}a.tsv'] with (format='raw')", [["a\t1\nb\t2\n"]]),
        (f"externaldata(s: string, n: long, d: dynamic, b: bool)['{AT}a.json']",
         [["x", 12345678901234567, {"k": 1}, True], ["", None, "text", None]]),
        (f"{PAIR}['{AT}m.json'] with (format='multijson')", [["x", 1], ["y", None]]),
        (f"externaldata(s: string, d: dynamic)['{AT}array.json'] with (format='multijson')",
         [["x", None], ["[,]", [1, 2]]]),
        (f"{PAIR}['{AT}list']", [["a", 1]]),
        (f"{PAIR}['{AT}a.csv.gz']", [["a", 1], ["b", 2]]),
        (f"{PAIR}['{AT}a.csv.zip']", [["a", 1]]),
        (f"{PAIR}['{AT}a.tsv', '{AT}list'] | summarize sum(n)", [[4]]),
        (f"let at = '{AT}'; {PAIR}[strcat(at, 'list')] | extend n = n + 1", [["a", 2]]),
        (f"{PAIR}[@'{AT}' h'list']", [["a", 1]]),
        (f"datatable(u: string)['a', 'q'] | where u in ((externaldata(s: string)['{AT}list']))", [["a"]]),
    ],
)  # fmt: skip
def test_formats(bench: Bench, query: str, rows: list[Any]) -> None:
    assert bench.rows(query) == rows


@pytest.mark.parametrize(
    ("query", "says", "column"),
    [
        (f"{PAIR}['{AT}a.csv'] with (format='parquet')", "the format 'parquet' is not supported; csv, tsv", 1),
        (f"{PAIR}['{AT}a.csv'] with (ingestionMapping='[]')", "the option 'ingestionMapping' is not supported", 1),
        (f"{PAIR}['{AT}list', '{AT}gone']", "is not to be had", 42 + len(AT)),
        (f"{PAIR}['{AT}bad.json']", "record 2 is no JSON object", 34),
        (f"{PAIR}['{AT}array.json']", "has the format multijson", 34),
        (f"{PAIR}['{AT}a.csv'] with (format='multijson')", "no JSON", 34),
        (f"{PAIR}['{AT}cut.csv.gz']", "it ends early", 34),
        (f"{PAIR}['{AT}no.csv.gz']", "no gz file", 34),
        (f"{PAIR}['{AT}two.zip']", "holds 2 files; one is taken", 34),
        (f"{PAIR}['{AT}latin.csv']", "not UTF-8 (byte 4)", 34),
    ],
)
def test_what_is_no_such_file(bench: Bench, query: str, says: str, column: int) -> None:
    with pytest.raises(KqlError, match=re.escape(says)) as caught:
        bench.rows(query)
    assert caught.value.column == column


def test_without_leave_it_says_which_setting(bench: Bench) -> None:
    with pytest.raises(KqlError, match="externaldata_allowed") as caught:
        bench.rows(f"print 1 | union ({PAIR}['{AT}list'])", Known())
    assert caught.value.column == 18 and caught.value.phase == "plan"


def test_bounds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all files of a query together; what is packed counts as it is unpacked."""
    monkeypatch.setattr(module, "MAX_EXTERNAL_ROWS", 3)
    assert len(bench.rows(f"{PAIR}['{AT}a.tsv', '{AT}list']")) == 3
    with pytest.raises(KqlError, match="more than 3 rows"):
        bench.rows(f"{PAIR}['{AT}a.tsv'] | union ({PAIR}['{AT}a.tsv'])")
    monkeypatch.setattr(module, "MAX_EXTERNAL_BYTES", 100)
    bomb = Bench({("external", f"{AT}b.csv.gz"): gzip.compress(b"a,1\n" * 10**6),
                  ("external", f"{AT}b.zip"): zipped(b=b"a,1\n" * 10**6)}, Known(external=True))  # fmt: skip
    for name in ("b.csv.gz", "b.zip"):
        with pytest.raises(KqlError, match="larger, unpacked"):
            bomb.rows(f"{PAIR}['{AT}{name}']")
