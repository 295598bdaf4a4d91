"""A record as ingest hands it over, and what a source makes of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import bartizan.sources  # noqa: F401 - fills SOURCES
from bartizan.extend import SOURCES, Event, GraphObject, Record
from bartizan.model.alert import Alert


def _record(raw: Any) -> Record:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return Record(raw=text.encode("utf-8", "surrogatepass"), text=text, data=None if isinstance(raw, str) else raw)


@pytest.fixture
def normalise() -> Callable[[str, Any], list[Alert | Event | GraphObject]]:
    """(source, a vendor's object or a line of text) -> alerts, events, Graph objects."""
    return lambda source, raw: list(SOURCES[source].normalise(_record(raw)))
