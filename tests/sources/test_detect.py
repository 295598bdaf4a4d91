"""Which source a record is of, by its content: the cases of every source that says what marks its records."""

import json
from pathlib import Path

import pytest

import bartizan.sources  # noqa: F401 - fills SOURCES
from bartizan.extend import SOURCES, Record
from bartizan.sources.detect import detect, of_sourcetype

HERE = Path(__file__).parent
CASES = sorted(
    path
    for path in HERE.glob("*/*.json")
    if not path.stem.startswith("odd")
    and (source := SOURCES[path.parent.name]) is not None
    and (source.marks or source.pattern)
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_case_is_recognised(path: Path) -> None:
    """A record as its vendor writes it shows whose it is."""
    case = json.loads(path.read_text(encoding="utf-8"))
    text = case["text"] if "text" in case else json.dumps(case["payload"])
    assert detect(Record(text.encode(), text, case.get("payload"))) == path.parent.name


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("XmlWinEventLog:Microsoft-Windows-Sysmon/Operational", "sysmon"),
        ("WinEventLog:Security", "windows_event"),
        ("cp_log", "checkpoint"),
        ("cef", "cef_generic"),
        ("bitdefender:gz", "bitdefender"),
    ],
)
def test_a_name_of_splunk(word: str, source: str) -> None:
    """What Splunk's add-ons call a format is the source that reads it."""
    assert of_sourcetype(word) == source
