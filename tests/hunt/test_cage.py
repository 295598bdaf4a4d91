"""A process that has enclosed itself reads its folder and what Python is made of; nothing else happens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json, os, socket, sys
from pathlib import Path
import duckdb
from bartizan.hunt import cage
folder, other = Path(sys.argv[1]), Path(sys.argv[2])
cage.limit(2 << 30)
version = cage.enclose(folder)
db = duckdb.connect(config={"memory_limit": "200MB"})
def tried(what):
    try:
        return ["done", str(what())[:60]]
    except BaseException as problem:
        return [type(problem).__name__, str(problem)[:200]]
print(json.dumps({
    "version": version,
    "own": tried(lambda: db.execute(f"SELECT count(*) FROM read_parquet('{folder}/a.parquet')").fetchall()),
    "late": tried(lambda: (folder / "later").read_text()),
    "other": tried(lambda: (other / "secret").read_text()),
    "database": tried(lambda: db.execute(f"SELECT * FROM read_text('{other}/secret')").fetchall()),
    "write": tried(lambda: (folder / "b").write_text("x")),
    "copy": tried(lambda: db.execute(f"COPY (SELECT 1) TO '{folder}/c.parquet'")),
    "connect": tried(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 2)),
    "signal": tried(lambda: os.kill(os.getppid(), 0)),
    "memory": tried(lambda: db.execute("SELECT list(range) FROM range(100000000)").fetchall()),
}), flush=True)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    import socket

    import duckdb

    root = tmp_path_factory.mktemp("cage")
    folder, other = root / "tenant", root / "other"
    folder.mkdir()
    other.mkdir()
    (other / "secret").write_text("secret")
    (folder / "later").write_text("mine")
    duckdb.connect().execute(f"COPY (SELECT range FROM range(10)) TO '{folder}/a.parquet' (FORMAT parquet)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-c", CODE, str(folder), str(other), port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    if not found["version"]:
        pytest.skip("this kernel has no Landlock")
    assert not (folder / "b").exists() and not (folder / "c.parquet").exists()
    return found


def test_it_reads_its_own_folder(said: dict[str, list[str]]) -> None:
    assert said["own"] == ["done", "[(10,)]"]
    assert said["late"] == ["done", "mine"]


@pytest.mark.parametrize("what", ["other", "database", "write", "copy", "connect", "signal"])
def test_nothing_else_happens(said: dict[str, list[str]], what: str) -> None:
    kind, message = said[what]
    assert kind in ("PermissionError", "IOException"), (kind, message)
    assert "ermi" in message, message


def test_memory_ends_before_the_machine_s(said: dict[str, list[str]]) -> None:
    assert said["memory"][0] in ("OutOfMemoryException", "MemoryError")


def test_the_program_s_own_files_are_read() -> None:
    from bartizan.hunt import cage

    assert any(Path(__file__).resolve().parents[2] / "src" in (each, *each.parents) for each in cage._program())
