"""What a process that is started as a command is told over its standard input: one line of JSON. Settings hold secrets,
which command lines and environments would show.
"""

from typing import Any

import msgspec

from bartizan.settings import Secret, Settings


def handover(settings: Settings) -> bytes:
    return msgspec.json.encode(settings, enc_hook=_revealed) + b"\n"


def taken_over(line: bytes) -> Settings:
    return msgspec.json.decode(line, type=Settings, dec_hook=_secret, strict=False)


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(f"no setting has the type {kind}")


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"no setting has the type {type(value)}")
