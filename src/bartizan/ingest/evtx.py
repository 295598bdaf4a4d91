"""A file of the Windows event log (.evtx) as records: the XML of each event.

An event that is damaged, as in a log that was copied while Windows wrote to it, is a record that says so.

Source: Microsoft, [MS-EVEN6] (BinXml); the library evtx.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

from bartizan.errors import BadRequest

MAGIC = b"ElfFile\0"
MAX_DAMAGED = 1_000  # one after another; what comes then is no log any more


def is_evtx(content: bytes) -> bool:
    return content.startswith(MAGIC)


def events(stream: BinaryIO) -> Iterator[bytes]:
    """In the order of the file, which is read as they are asked for. BadRequest where it is no log."""
    import evtx  # a native library, which few servers need

    try:
        found: Iterator[Any] = iter(evtx.PyEvtxParser(stream, number_of_threads=1).records())
    except (OSError, RuntimeError, ValueError) as error:
        raise BadRequest(f"the event log cannot be read: {_said(error)}") from None
    damaged = 0
    while True:
        try:
            event = next(found, None)
        except (OSError, RuntimeError, ValueError) as error:
            damaged += 1
            if damaged >= MAX_DAMAGED:
                raise BadRequest(f"the event log has {damaged} damaged events one after another") from None
            yield f"An event of the log is damaged: {_said(error)}".encode()
            continue
        except BaseException as error:  # what the library calls a panic is no Exception
            if isinstance(error, Exception) or type(error).__name__ != "PanicException":
                raise
            raise BadRequest("the event log is damaged beyond reading") from None
        if event is None:
            return
        damaged = 0
        yield str(event["data"]).encode()


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
