"""What a renderer writes where the store puts what only the writing transaction knows: whole JSON texts, same width.

They are drawn when the program starts, so that no client's text is taken for one. A process that renders for another
(`ingest.makers`) adopts that one's before it imports anything that reads them.
"""

import secrets
from datetime import UTC, datetime, timedelta


def _never() -> str:
    """An instant of the year 1 that nobody knows beforehand, up to the microsecond."""
    at = datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=secrets.randbelow(364 * 86_400 * 10**6))
    return f"0001-{at:%m-%dT%H:%M:%S.%f}"


# They differ in the last digit alone, so that one search finds both.
_INSTANT = _never()
CREATED = f"{_INSTANT}1Z"  # the instant at which the document was first stored
UPDATED = f"{_INSTANT}2Z"  # the instant of this change
ETAG = secrets.token_hex(8)  # 16 hex digits of the change number, inside W/"..."


def adopt(created: str, updated: str, etag: str) -> None:
    global CREATED, UPDATED, ETAG
    CREATED, UPDATED, ETAG = created, updated, etag
