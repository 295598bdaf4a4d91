"""Rules that come in files: which files a folder holds, what becomes of each rule, and whose licence they have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

MAX_FILE_BYTES = 2**20
MAX_REASON_CHARS = 300
_SUFFIXES = (".yml", ".yaml")


class Left(Struct, frozen=True):
    """A rule that did not become one here, and why."""

    file: str
    rule: str | None
    reason: str


class Brought(Struct, frozen=True):
    """A rule as it may be stored, without stamps."""

    id: str
    rule: dict[str, Any]


def files(folder: Path) -> Iterator[tuple[str, str | Left]]:
    """Name and text of each file of the folder and those below, in order; why not, of one that is not read."""
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        name = str(path.relative_to(folder)) if folder.is_dir() else path.name
        if path.stat().st_size > MAX_FILE_BYTES:
            yield name, Left(name, None, f"the file is larger than {MAX_FILE_BYTES} bytes")
            continue
        try:
            yield name, path.read_text("utf-8")
        except UnicodeDecodeError as error:
            yield name, Left(name, None, said(error))


def licence_of(folder: Path) -> str | None:
    """What the collection says where a rule says nothing: the first line of its licence."""
    for path in sorted(folder.glob("LICENSE*")) if folder.is_dir() else ():
        lines = path.read_text("utf-8", errors="replace")[:10_000].splitlines()
        if (first := next((line.strip(" #*") for line in lines if line.strip(" #*=-")), None)) is not None:
            return first[:200]
    return None


def said(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}"[:MAX_REASON_CHARS]
