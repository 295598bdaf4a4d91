"""The log may lie on the disk that is full: nobody's request fails for it."""

import os
from pathlib import Path

from bartizan.app.logs import Out


def test_a_log_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    """What is lost is counted and told as soon as there is room."""
    path = tmp_path / "log"
    full, log = os.open("/dev/full", os.O_WRONLY), os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        out = Out(full)
        for _ in range(3):
            assert out.write(b"one\n") == 4
        os.dup2(log, full)
        out.write(b"two\n")
        out.write(b"three\n")
    finally:
        os.close(full)
        os.close(log)
    assert path.read_bytes() == b'\n{"event":"log lines lost","count":3}\ntwo\nthree\n'
