"""`bartizan risk replay`: what it reads and writes, that neither order nor the number of processes counts, and how well
it does on the labelled streams."""

import gzip
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.identity.streams import START, quiet, sign_in, spray, written

from bartizan.cli import bartizan
from bartizan.identity.events import VALID, seconds

_by_time = {"key": lambda each: each["createdDateTime"]}


def run(folder: Path, *more: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(bartizan, ["risk", "replay", str(folder), "--out", "-", *more])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    return sorted([*quiet(30, 24), *spray(30, 22.1)], key=lambda each: str(each["createdDateTime"]))


def test_an_attack_is_high_and_the_rest_is_quiet(tmp_path: Path, documents: list[dict[str, Any]]) -> None:
    lines = run(written(tmp_path, documents), "--processes", "1")
    assert [line["id"] for line in lines] == [each["id"] for each in documents]
    by_id = {line["id"]: line for line in lines}
    assert by_id["a-right"]["level"] == "high"
    assert "passwordSpray" in by_id["a-right"]["types"]
    followed = [by_id[f"a-then-{n}"] for n in range(4)]
    assert all(line["level"] == "high" and "passwordSpray" in line["types"] for line in followed)
    assert all(line["level"] in ("none", "low") for line in lines if line["id"].startswith("q-"))
    assert all(line["level"] == "none" for line in lines if line["id"][:2] == "a-" and line["id"][2:].isdigit())
    assert by_id["a-20"]["score"] > max(line["score"] for line in lines if line["id"].startswith("q-20"))
    assert all(0 < line["score"] < 1 for line in lines)


def test_processes_share_without_a_difference(tmp_path: Path, documents: list[dict[str, Any]]) -> None:
    folder = written(tmp_path, documents)
    assert run(folder, "--processes", "3") == run(folder, "--processes", "1")


def test_late_records_change_nothing_of_the_end(tmp_path: Path, documents: list[dict[str, Any]]) -> None:
    chance = random.Random(5)
    arrives = {
        each["id"]: seconds(each["createdDateTime"]) + (chance.random() * 47 * 3600 if chance.random() < 0.1 else 0)
        for each in documents
    }
    shuffled = sorted(documents, key=lambda each: arrives[each["id"]])
    assert [each["id"] for each in shuffled] != [each["id"] for each in documents]
    ordered = run(written(tmp_path / "ordered", documents), "--processes", "1")
    late = run(written(tmp_path / "late", shuffled), "--processes", "1")
    assert sorted(late, key=lambda each: each["id"]) == sorted(ordered, key=lambda each: each["id"])


def test_what_comes_twice_counts_once(tmp_path: Path, documents: list[dict[str, Any]]) -> None:
    doubled = [each for document in documents for each in (document, document)]
    assert run(written(tmp_path / "twice", doubled)) == run(written(tmp_path / "once", documents))


def test_zipped_and_plain_files_are_read(tmp_path: Path) -> None:
    folder = written(tmp_path, [sign_in("one", START, "u1")])
    plain = run(folder)
    file = folder / "signins.jsonl"
    (folder / "signins.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert run(folder) == plain


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("signins.jsonl", "{", "signins.jsonl, line 1"),
        ("signins.jsonl", '{"id":"a","createdDateTime":"2026-03-02T00:00:00Z"}', "a sign-in of nobody"),
        ("signins.jsonl", '{"id":"a","createdDateTime":"yesterday","userId":"u"}', "signins.jsonl, line 1"),
        ("signins.jsonl", '{"createdDateTime":"2026-03-02T00:00:00Z"}', "`id`"),
        ("audits.jsonl", '{"id":"a"}', "audits.jsonl, line 1: activityDateTime is missing"),
        ("graphactivity.jsonl", "[]", "graphactivity.jsonl, line 1: not an object"),
        ("users.json", "{}", "users.json"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, name: str, text: str, says: str) -> None:
    folder = written(tmp_path, [sign_in("one", START, "u1")])
    (folder / name).write_text(text + "\n")
    done = CliRunner().invoke(bartizan, ["risk", "replay", str(folder), "--out", "-", "--processes", "1"])
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_folder_without_sign_ins_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(bartizan, ["risk", "replay", str(tmp_path), "--out", "-"])
    assert done.exit_code == 1
    assert "has no signins.jsonl" in done.output


# ------------------------------------------------------------ the labelled streams


def test_the_labelled_stream_is_ranked_well(shared: Path) -> None:
    """Average precision, compromises found and the types that are named: what the figures of the documents are."""
    folder = shared / "identity" / "dev"
    scores = {line["id"]: line for line in run(folder)}
    labels = {each["id"]: each for each in _lines(folder / "labels.jsonl.gz") if each["attack"] != "background"}
    since = seconds(json.loads((folder / "meta.json").read_text())["scoredFrom"])
    scored = [
        each["id"]
        for each in _lines(folder / "signins.jsonl.gz")
        if seconds(each["createdDateTime"]) >= since and each["status"]["errorCode"] in VALID
    ]
    ranked = sorted(scored, key=lambda id: -scores[id]["score"])
    found, precision = 0, 0.0
    for rank, id in enumerate(ranked, 1):
        if id in labels:
            found += 1
            precision += found / rank
    assert precision / found >= 0.95
    top = set(ranked[: len(ranked) // 100])
    units: dict[tuple[str, str, str], bool] = defaultdict(bool)
    for id in scored:
        if id in labels:
            label = labels[id]
            units[label["attack"], label["campaign"], label["userId"]] |= id in top
    assert all(units.values())
    high = [id for id in scored if scores[id]["level"] == "high"]
    assert sum(id not in labels for id in high) <= 0.0002 * len(scored)
    medium = [id for id in scored if scores[id]["level"] in ("medium", "high")]
    assert sum(id not in labels for id in medium) <= 0.0012 * len(scored)
    assert sum(id in labels for id in medium) >= 0.85 * found


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]
