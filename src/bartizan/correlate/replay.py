"""A recorded stream of alerts through the engine, as if it came now: what the incidents would have been.

Source: columns of the AIT Alert Data Set (Landauer, Skopik, Wurzenberger 2024): time, name, ip, host, short, and labels
that are never read.
"""

import csv
import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from bartizan.correlate.engine import Engine
from bartizan.correlate.facts import instant_of
from bartizan.correlate.incident import Facts, Incident, Node, Opened, Placed
from bartizan.correlate.rank import Telling, priority
from bartizan.correlate.rules import Rules
from bartizan.errors import BadRequest

COLUMNS = ("time", "name", "ip", "host", "short")
MAX_ROWS = 5_000_000  # about 2 GB; a longer stream is cut by whoever has it
MAX_FIELD = 4_096  # characters of one field
_GZIP = b"\x1f\x8b"


def read(path: Path) -> list[Facts]:
    """The alerts of a file (CSV, gzip or not), in the order of their rows, whose numbers are the keys.

    BadRequest says which row is wrong and why.
    """
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == _GZIP
        with (
            gzip.open(path, "rt", encoding="utf-8", newline="")
            if zipped
            else path.open(encoding="utf-8", newline="") as text
        ):
            return list(_facts(text))
    except (EOFError, gzip.BadGzipFile, UnicodeDecodeError, csv.Error) as error:
        raise BadRequest(f"{path.name} cannot be read: {error}") from None


def _facts(text: TextIO) -> Iterator[Facts]:
    rows = csv.reader(text)
    header = next(rows, None)
    if header is None or not set(COLUMNS) <= set(header):
        raise BadRequest(f"the first line must name the columns {', '.join(COLUMNS)}; it is {header}")
    at, name, address, host, short = (header.index(each) for each in COLUMNS)
    needed = max(at, name, address, host, short)
    for number, row in enumerate(rows):
        if number >= MAX_ROWS:
            raise BadRequest(f"more than {MAX_ROWS} rows")
        if len(row) <= needed:
            raise BadRequest(f"row {number}: {len(row)} fields, of {len(header)}")
        if max(len(row[each]) for each in (name, address, host, short)) > MAX_FIELD:
            raise BadRequest(f"row {number}: a field of more than {MAX_FIELD} characters")
        yield Facts(str(number), _time(row[at], number), row[short], _nodes(row[host], row[address]), title=row[name])


def _time(text: str, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e11:
        raise BadRequest(f"row {number}: time must be seconds since 1970, not {text[:40]!r}")
    return value


def _nodes(host: str, address: str) -> tuple[Node, ...]:
    """The sensor says which of its own hosts an alert is about, by name and by address."""
    return tuple((kind, value.lower()) for kind, value in (("host", host), ("address", address)) if value)


def replay(alerts: list[Facts], rules: Rules | None = None) -> list[dict[str, Any]]:
    """Incidents in order of rank, then the alerts that were held back, by detector; each alert is in one of them."""
    engine = Engine(rules)
    opened: list[Incident] = []
    where: list[Incident | None] = [None] * len(alerts)
    links: dict[str, list[dict[str, Any]]] = {}
    for facts in sorted(alerts, key=lambda each: each.at):
        for step in engine.take(facts):
            if isinstance(step, Opened):
                opened.append(step.incident)
            elif isinstance(step, Placed):
                where[int(step.key)] = step.incident
                if step.link is not None:
                    links.setdefault(step.incident.key, []).append(_link(step))
    engine.advance(engine.memory.now + engine.rules.settle_s)
    members: dict[str, list[int]] = {}
    held: dict[tuple[str, str], list[int]] = {}
    for number, incident in enumerate(where):
        if incident is not None and incident.root().state == "open":
            members.setdefault(incident.root().key, []).append(number)
        else:
            why = "commonDetector" if incident is None else "notRareEnough"
            held.setdefault((alerts[number].detector, why), []).append(number)
    stand = [each for each in opened if each.state == "open"]
    stand.sort(key=lambda each: (-(each.bits + engine.company(each)), each.first, each.key))
    lines = [_line(rank, each, engine, members[each.key], links) for rank, each in enumerate(stand, 1)]
    lines += [
        {"incident": None, "alerts": rows, "title": alerts[rows[0]].title, "why": why}
        for (_, why), rows in sorted(held.items())
    ]
    return lines


def _line(
    rank: int, incident: Incident, engine: Engine, rows: list[int], links: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    score, parts = priority(incident, engine.company(incident))
    its = links.get(incident.key, [])
    return {
        "rank": rank,
        "priority": score,
        "alerts": rows,
        "folds": incident.folds,
        "first": instant_of(incident.first),
        "last": instant_of(incident.last),
        "title": Telling(incident).title(),
        "reasons": sorted(incident.reasons),
        "parts": parts,
        "links": its,
    }


def _link(step: Placed) -> dict[str, Any]:
    link = step.link
    assert link is not None
    return {
        "alert": int(step.key),
        **link.figures(),
        "reasons": list(link.reasons),
    }
