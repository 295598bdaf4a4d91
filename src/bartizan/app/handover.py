"""What a process that is started as a command is told over its standard input: one line of JSON. Settings hold secrets,
which command lines and environments would show.
"""

from typing import Any

import msgspec
from msgspec import Struct

from bartizan.settings import Secret, Settings


class Handover(Struct):
    settings: Any
    quiet: bool = False


def handover(settings: Settings, *, quiet: bool = False) -> bytes:
    content = msgspec.json.encode(settings, enc_hook=_revealed)
    return msgspec.json.encode(Handover(msgspec.Raw(content), quiet)) + b"\n"


def taken_over(line: bytes) -> tuple[Settings, Handover]:
    handed = msgspec.json.decode(line, type=Handover)
    return msgspec.convert(handed.settings, Settings, dec_hook=_secret, strict=False), handed


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(f"no setting has the type {kind}")


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"no setting has the type {type(value)}")
