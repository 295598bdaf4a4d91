"""The commands `bartizan ingest`, `bartizan normalise` and `bartizan sources`.

Formats stand beside this room and are found by name: whoever calls has imported them, or they are imported here when first needed.
"""

import asyncio
import contextlib
import importlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import click
import msgspec

from bartizan.auth.accounts import Accounts
from bartizan.errors import BartizanError, NotFound
from bartizan.extend import SOURCES, Source
from bartizan.ingest.files import FilesReceipt, ingest_files, opened, raws_of
from bartizan.ingest.normalise import normalise as shown
from bartizan.ingest.pipeline import MARKS, EventSink, Pipeline, find_source
from bartizan.settings import BadSettings, Settings, load
from bartizan.store import open_store
from bartizan.store.alerts import COLLECTIONS
from bartizan.store.interface import Collection, Store
