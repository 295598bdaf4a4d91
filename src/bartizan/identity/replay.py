"""Recorded sign-ins through the engine, in the order of their file, as if they came now: what the risk would have been.

A folder holds signins.jsonl (signIn documents), audits.jsonl (directoryAudit), graphactivity.jsonl (requests by
principal and hour), users.json (what the directory says), intel/ (what is known of networks); all but the first may be
missing, each .jsonl may be gzipped. Nothing else of it is read. Several processes share the work by principal: each
reads all, and scores its own; the outcome does not depend on their number.
"""

import gzip
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import exp, inf
from pathlib import Path
from typing import Any

import msgspec

from bartizan.errors import BadRequest
from bartizan.identity.engine import Result, State
from bartizan.identity.events import Event, activity, audit, decode_sign_in, of_raw, seconds
from bartizan.identity.levels import Levels
from bartizan.identity.view import Account
from bartizan.identity.waiting import SETTLED_S, Waiting
from bartizan.intel import Intel

MAX_RECORDS = 20_000_000  # a longer stream is cut by whoever has it
MAX_LINE = 1_048_576  # bytes
MAX_PROCESSES = 16
PRIOR = 5.0  # log-odds of evidence at which an attack is as likely as not: about one sign-in in 150 is one
_GZIP = b"\x1f\x8b"


class Scored(msgspec.Struct):
    """One line of the outcome. `score` is how likely it was an attack, 0 to 1; `level` is "none" for what is no sign-in
    with right credentials."""

    id: str
    score: float
    types: list[str]
    detectedDateTime: str
    level: str


class _Shown(msgspec.Struct, array_like=True):
    """What the parent needs of a result."""

    order: int  # of its event, in which it was settled
    result: Result


def replay(folder: Path, processes: int = 0) -> Iterator[Scored]:
    """A line for each sign-in, audit and activity record, in the order of the files. BadRequest names the file and the
    line that cannot be read."""
    shards = min(MAX_PROCESSES, processes or os.cpu_count() or 1)
    _file(folder, "signins.jsonl")
    if shards == 1:
        parts = [_run(folder, 0, 1)]
    else:
        context = multiprocessing.get_context("spawn")
        with context.Pool(shards) as pool:
            parts = pool.starmap(_run, [(folder, shard, shards) for shard in range(shards)])
    ids = parts[0][0]
    results: list[tuple[int, Result]] = []
    for _, raw in parts:
        results += [(each.order, each.result) for each in msgspec.msgpack.decode(raw, type=list[_Shown])]
    return _merged(ids, results)


def _merged(ids: list[str], results: list[tuple[int, Result]]) -> Iterator[Scored]:
    """Levels are given in the one order of all."""
    results.sort(key=lambda each: each[0])
    levels, final = Levels(), dict[str, Result]()
    for _, result in results:
        before = final.get(result.id)
        if before is None:
            final[result.id] = result
            if result.kind == "signIn":
                levels.count(result)
        else:
            before.score = max(before.score, result.score)
            before.findings += result.findings
            before.raised = result.raised
        levels.thresholds(int(result.at // 86_400))  # of its day, before the day counts
    for id in ids:
        found = final.get(id)
        if found is None:
            continue
        yield Scored(
            id,
            round(1 / (1 + exp(PRIOR - found.score)), 9),
            list(dict.fromkeys(each.type for each in found.findings)),
            _instant(found.raised),
            levels.of(found) if found.kind == "signIn" else "none",
        )


def _run(folder: Path, shard: int, shards: int) -> tuple[list[str], bytes]:
    """One process's: the ids in the order of the files, and its results."""
    intel = Intel.of_folder(folder / "intel") if (folder / "intel").is_dir() else Intel()
    state, waiting, newest = State(intel, accounts_of(folder), shard, shards), Waiting(), 0.0
    ids: list[str] = []
    shown: list[_Shown] = []

    def settle(until: float) -> None:
        for event in waiting.due(until):
            results = state.step(event)
            shown.extend(_Shown(state.steps, result) for result in results)

    seen: set[str] = set()
    for event in _in_order(folder):
        if event.id in seen:
            continue
        seen.add(event.id)
        if len(seen) > MAX_RECORDS:
            raise BadRequest(f"more than {MAX_RECORDS} records")
        if shard == 0:
            ids.append(event.id)
        waiting.push(event)
        newest = max(newest, event.at)
        if len(seen) % 256 == 0:
            settle(newest - SETTLED_S)
    settle(inf)
    return ids, msgspec.msgpack.encode(shown)


def _in_order(folder: Path) -> Iterator[Event]:
    """The sign-ins as they are in their file, with audits and activity at the time that they have reached."""
    aside = [*_records(folder, "audits.jsonl", audit), *_records(folder, "graphactivity.jsonl", activity)]
    aside.sort(key=lambda each: (each.at, each.id), reverse=True)
    newest = 0.0
    for number, line in _lines(folder, "signins.jsonl"):
        try:
            event = of_raw(decode_sign_in(line))
        except (msgspec.DecodeError, ValueError) as error:
            raise BadRequest(f"signins.jsonl, line {number}: {error}") from None
        newest = max(newest, event.at)
        while aside and aside[-1].at <= newest:
            yield aside.pop()
        yield event
    while aside:
        yield aside.pop()


def _records(folder: Path, name: str, read: Any) -> Iterator[Event]:
    for number, line in _lines(folder, name):
        try:
            body = msgspec.json.decode(line)
            if not isinstance(body, dict):
                raise ValueError("not an object")
            yield read(body)
        except KeyError as error:
            raise BadRequest(f"{name}, line {number}: {error.args[0]} is missing") from None
        except (msgspec.DecodeError, ValueError, TypeError, AttributeError) as error:
            raise BadRequest(f"{name}, line {number}: {error}") from None


def _file(folder: Path, name: str) -> Path:
    for each in (folder / name, folder / f"{name}.gz"):
        if each.is_file():
            return each
    raise BadRequest(f"{folder} has no {name}, nor {name}.gz")


def _lines(folder: Path, name: str) -> Iterator[tuple[int, bytes]]:
    try:
        path = _file(folder, name)
    except BadRequest:
        return
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
        with gzip.open(path, "rb") if zipped else path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 1), b""), 1):
                if len(line) > MAX_LINE:
                    raise BadRequest(f"{path.name}, line {number}: more than {MAX_LINE} bytes")
                if line.strip():
                    yield number, line
    except (EOFError, gzip.BadGzipFile) as error:
        raise BadRequest(f"{path.name} cannot be read: {error}") from None


def accounts_of(folder: Path) -> Mapping[str, Account]:
    """Of users.json: a list of objects with userId, createdDateTime, lastSignInBeforeStream, isAdmin.
    BadRequest."""
    path = folder / "users.json"
    if not path.is_file():
        return {}
    try:
        users = msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
        return {str(each["userId"]): _account(each) for each in users}
    except (msgspec.DecodeError, ValueError, KeyError) as error:
        raise BadRequest(f"users.json: {error}") from None


def _account(user: Mapping[str, Any]) -> Account:
    def at(name: str) -> float:
        return seconds(str(user[name])) if user.get(name) else 0.0

    return Account(
        created=at("createdDateTime"),
        last=at("lastSignInBeforeStream"),
        administrator=bool(user.get("isAdmin")),
    )


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
