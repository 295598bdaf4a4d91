"""Private files: written whole, durable, readable by the owner alone.

Source: rename(2), link(2), fsync(2).
"""

import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO


def _written_aside(file: Path, content: BinaryIO) -> Path:
    """A new file of mode 0600 beside `file`, durable."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            shutil.copyfileobj(content, out)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _name_kept(file: Path) -> None:
    """The name of a file is as durable as its content only when its folder is."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_once(file: Path, content: bytes) -> None:
    """Makes a private file whole and durable; where another process was first, its file stays."""
    aside = _written_aside(file, io.BytesIO(content))
    try:
        file.hardlink_to(aside)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    _name_kept(file)


def copy_once(source: Path, file: Path) -> None:
    """The same with another file's content. FileExistsError where it is there."""
    with source.open("rb") as content:
        aside = _written_aside(file, content)
    try:
        file.hardlink_to(aside)
    finally:
        aside.unlink()
    _name_kept(file)


def write_over(file: Path, content: bytes) -> None:
    """Replaces a private file whole."""
    _written_aside(file, io.BytesIO(content)).replace(file)
    _name_kept(file)
