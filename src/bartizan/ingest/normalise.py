"""`bartizan normalise`: what a source makes of records, as JSON lines; stores nothing.

Source: JSON Lines (jsonlines.org).
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

import msgspec

from bartizan.extend import Record, Source
from bartizan.ingest import records
from bartizan.ingest.made import Items, all_observed, described, normalised
from bartizan.model import faces
from bartizan.model.edm import edm

NO_TENANT = "00000000-0000-0000-0000-000000000000"  # normalise stores nothing, so nobody owns what it shows

_encode = msgspec.json.Encoder().encode


def normalise(
    source: Source,
    raws: Iterable[bytes],
    *,
    field: str | None = None,
    tenant: str = NO_TENANT,
    start: int = 1,
    detect: Callable[[Record], str | None] | None = None,
) -> Iterator[bytes]:
    """One line of JSON a record, numbered from `start`, without line ends:

        {"record": n, "raw_sha256", "alerts": [{"v2", "legacy"}], "events": [{"table", "row"}],
         "entities": [[kind, value, role]]}
        {"record": n, "error"}
        {"record": n, "source"}    with `detect`

    The faces are those of v1.0; what the store would stamp is null, and so is a time that only the time of receipt
    could give. Graph objects (sign-ins) stand under `events`, with the name of their set as table. Same input, same
    bytes.
    """
    read = records.reader(field)
    for number, line in enumerate(raws, start=start):
        try:
            if detect is not None:
                yield _encode({"record": number, "source": detect(records.record(records.checked(read(line))))})
            else:
                yield _encode({"record": number, **_shown(source, read(line), tenant)})
        except Exception as error:  # noqa: BLE001 - the error is the answer for this record
            yield _encode({"record": number, "error": described(error)})


def _shown(source: Source, raw: bytes, tenant: str) -> dict[str, Any]:
    record = records.record(records.checked(raw))
    digest = sha256(record.raw).hexdigest()
    items = normalised(source, record)
    states = [faces.provider_faces(alert, tenant, None, raw_sha256=digest) for alert in items.alerts]
    return {
        "raw_sha256": digest,
        "alerts": [_faces(state) for state in states],
        "events": _events(items),
        "entities": [[one.kind, one.value, one.role] for one in all_observed(items, states)],
    }


def _faces(state: faces.AlertState) -> dict[str, Any]:
    return {
        "v2": edm("v1.0").render(faces.TODAY, faces.today(state)),
        "legacy": edm("v1.0").render(faces.LEGACY, faces.of_old(state)),
    }


def _events(items: Items) -> list[dict[str, Any]]:
    rows = [{"table": event.table, "row": event.row} for event in items.events]
    return rows + [{"table": one.collection, "row": edm("v1.0").render(one.type, one.body)} for one in items.objects]
