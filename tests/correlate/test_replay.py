"""`bartizan correlate replay`: what it reads, what it writes, and how well it does on the labelled streams."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.correlate.streams import attack, noise

from bartizan.cli import bartizan
from bartizan.correlate.incident import Facts
from bartizan.correlate.rank import score_of

HEADER = "time,name,ip,host,short,time_label,event_label"


def written(folder: Path, alerts: list[Facts], *, zipped: bool = True, label: str = "-") -> Path:
    rows = [HEADER]
    for each in alerts:
        rows.append(f'{each.at},"{each.title}, as told",10.0.0.{each.nodes[0][1][1:]},{each.nodes[0][1]},'
                    f"{each.detector},{label},{label}")  # fmt: skip
    text = ("\n".join(rows) + "\n").encode()
    file = folder / ("stream.csv.gz" if zipped else "stream.csv")
    file.write_bytes(gzip.compress(text) if zipped else text)
    return file


def run(file: Path) -> list[dict[str, Any]]:
    done = CliRunner().invoke(bartizan, ["correlate", "replay", str(file), "--out", "-"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def alerts() -> list[Facts]:
    return sorted(noise(72, 6) + attack("a", 60.2, "h3"), key=lambda each: each.at)


def test_lines_hold_each_row_once(tmp_path: Path, alerts: list[Facts]) -> None:
    lines = run(written(tmp_path, alerts))
    incidents = [line for line in lines if "incident" not in line]
    context = [line for line in lines if "incident" in line]
    assert sorted(row for line in lines for row in line["alerts"]) == list(range(len(alerts)))
    assert [line["rank"] for line in incidents] == list(range(1, len(incidents) + 1))
    assert all(line["incident"] is None for line in context)
    bits = [line["parts"]["bits"] for line in incidents]
    assert bits == sorted(bits, reverse=True)
    first = incidents[0]
    mine = [row for row, each in enumerate(alerts) if each.key.startswith("a-")]
    assert set(mine) <= set(first["alerts"])
    assert first["first"] == "2023-11-17T10:12:00.0000000Z"
    assert "on h3" in first["title"]
    assert "sameTargetedAsset" in first["reasons"]
    for line in incidents:
        parts = line["parts"]
        total = sum(each["bits"] for each in parts["detectors"]) + parts["severity"] + parts["company"]
        assert total == pytest.approx(parts["bits"])
        assert line["priority"] == score_of(parts["bits"])
        assert 0 <= line["priority"] <= 100
        assert 1 <= line["folds"] <= len(line["alerts"])
        assert {link["alert"] for link in line["links"]} <= set(line["alerts"])


def test_order_of_rows_and_labels_do_not_matter(tmp_path: Path, alerts: list[Facts]) -> None:
    """The streams are several sensors' files, one after the other."""
    lines = run(written(tmp_path, alerts))
    split = [each for each in alerts if each.detector != "heartbeat"]
    split += [each for each in alerts if each.detector == "heartbeat"]
    number = {id(each): row for row, each in enumerate(alerts)}
    other = run(written(tmp_path, split, zipped=False, label="attack"))
    as_before = [{**line, "alerts": sorted(number[id(split[row])] for row in line["alerts"])} for line in other]
    for line, again in zip(lines, as_before, strict=True):
        assert (line["alerts"], line.get("priority")) == (again["alerts"], again.get("priority"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must name the columns"),
        ("when,what\n", "must name the columns"),
        (f"{HEADER}\n1,a,b\n", "row 0: 3 fields, of 7"),
        (f"{HEADER}\n1,a,1.1.1.1,h,s,-,-\nnoon,a,1.1.1.1,h,s,-,-\n", "row 1: time must be seconds"),
        (f"{HEADER}\nnan,a,1.1.1.1,h,s,-,-\n", "row 0: time must be seconds"),
        (f"{HEADER}\n1,{'a' * 5000},1.1.1.1,h,s,-,-\n", "row 0: a field of more than"),
    ],
)
def test_a_bad_file_is_refused_with_the_row(tmp_path: Path, text: str, says: str) -> None:
    file, out = tmp_path / "bad.csv", tmp_path / "out.jsonl"
    file.write_text(text)
    done = CliRunner().invoke(bartizan, ["correlate", "replay", str(file), "--out", str(out)])
    assert done.exit_code == 1
    assert says in done.output
    assert not out.exists()


@pytest.mark.parametrize("kept", [10, 40, -8])
def test_a_cut_archive_is_refused(tmp_path: Path, alerts: list[Facts], kept: int) -> None:
    file = written(tmp_path, alerts)
    file.write_bytes(file.read_bytes()[:kept])
    done = CliRunner().invoke(bartizan, ["correlate", "replay", str(file), "--out", str(tmp_path / "o")])
    assert done.exit_code == 1
    assert "cannot be read" in done.output


def test_a_stream_without_alerts_makes_nothing(tmp_path: Path) -> None:
    assert run(written(tmp_path, [])) == []


# -- the labelled streams


def purity(stream: Path, incidents: Path) -> float:
    """Of the alerts in incidents that hold an attack, over the counted time: how many are of an attack."""
    with gzip.open(stream, "rt") as text:
        rows = [line.rstrip("\n").rsplit(",", 1) for line in text][1:]
    times = [float(row[0].split(",", 1)[0]) for row in rows]
    cut = min(times) + 0.3 * (max(times) - min(times))
    of_attack = total = 0
    for line in incidents.read_text().splitlines():
        told = json.loads(line)
        counted = [row for row in told["alerts"] if times[row] >= cut]
        attacks = sum(rows[row][1] != "-" for row in counted)
        if "rank" in told and attacks:
            of_attack, total = of_attack + attacks, total + len(counted)
    return of_attack / total


@pytest.mark.shared
def test_the_labelled_networks_beat_the_plain_method(shared: Path, tmp_path: Path) -> None:
    """Better than 271 incidents, 12 attacks and 13 steps in the top tens; nothing lost, nothing swallowed."""
    streams = sorted((shared / "alerts" / "ait_ads").glob("*_alerts.csv.gz"))
    assert len(streams) == 2
    pairs = []
    for stream in streams:
        out = tmp_path / f"{stream.name}.jsonl"
        done = CliRunner().invoke(bartizan, ["correlate", "replay", str(stream), "--out", str(out)])
        assert done.exit_code == 0, done.output
        pairs += [str(stream), str(out)]
        assert purity(stream, out) >= 0.8
    scorer = shared / "alerts" / "ait_ads" / "score.py"
    said = subprocess.run([sys.executable, str(scorer), *pairs], check=True, capture_output=True, text=True).stdout
    score = json.loads(said.splitlines()[-1])
    assert score["incidents"] < 271, said
    assert score["reach"] == score["steps"] == 17, said
    assert score["firsts"] == [1, 1], said
    assert score["top10_attack"] > 12, said
    assert score["top10_steps"] > 13, said
    assert score["largest"] <= 0.05, said
    assert score["twice"] == 0, said
