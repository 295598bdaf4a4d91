"""Network intelligence at the command line."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from tests.intel.conftest import Writer

from bartizan.cli import bartizan


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(bartizan, ["intel", *arguments, "--data", str(data)], prog_name="bartizan")


def done(data: Path, *arguments: str) -> Any:
    result = run(data, *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def refused(data: Path, *arguments: str) -> str:
    result = run(data, *arguments)
    assert result.exit_code == 1, result.output
    return result.output


def test_from_import_to_removal(tmp_path: Path, written: Writer) -> None:
    """What was imported is listed with its provenance, looked up with its source, replaced and removed."""
    data = tmp_path / "data"
    exits = str(written("exits.txt", "192.0.2.1\n192.0.2.2,2090-01-01\n"))
    made = done(data, "import", "tor", exits, "--expires", "30")
    assert (made["kind"], made["source"], made["tenantId"], made["rows"]) == ("tor", "exits.txt", None, 2)
    assert made["expirationDateTime"] > made["importedDateTime"] and len(made["sha256"]) == 64
    done(data, "import", "asn", str(written("asn.csv", "192.0.2.0/24,64500,Example\n")), "--source", "routes")
    found = done(data, "look-up", "192.0.2.1:443")
    assert (found["asn"], found["organisation"], found["kinds"]) == (64500, "Example", ["tor"])
    assert found["sources"] == ["tor: exits.txt"]
    assert done(data, "look-up", "192.0.2.1", "--at", "2099-01-01")["kinds"] == []
    assert {each["source"] for each in done(data, "list")} == {"exits.txt", "routes"}
    done(data, "import", "tor", str(written("new.txt", "192.0.2.9\n")), "--source", "exits.txt")
    assert done(data, "look-up", "192.0.2.1")["kinds"] == []
    assert [each["kind"] for each in done(data, "remove", "exits.txt")] == ["tor"]
    assert [each["source"] for each in done(data, "list")] == ["routes"]
    assert "no table of exits.txt" in refused(data, "remove", "exits.txt")


def test_what_is_refused(tmp_path: Path, written: Writer) -> None:
    """With line and reason; nothing is imported then."""
    data = tmp_path / "data"
    bad = str(written("bad.txt", "192.0.2.1\nnope\n"))
    assert "bad.txt, line 2: not an IP address; nothing is imported" in refused(data, "import", "tor", bad)
    assert done(data, "list") == []
    made = done(data, "import", "tor", bad, "--skip-bad")
    assert (made["rows"], made["skipped"], made["reasons"]) == (1, 1, ["line 2: not an IP address"])
    assert "lies in the past" in refused(data, "import", "tor", bad, "--skip-bad", "--expires", "2020-01-01")
    assert "not a date" in refused(data, "import", "tor", bad, "--skip-bad", "--expires", "soon")
    assert "not an IP address" in refused(data, "look-up", "nope")
    assert run(data, "import", "nonsense", bad).exit_code == 2


def test_of_one_tenant(tmp_path: Path, written: Writer) -> None:
    """Leaked credentials and named locations are of the first tenant if none is said; secrets are in no output."""
    data = tmp_path / "data"
    line = {"foundDateTime": "2026-01-01", "userPrincipalName": "a@b.example", "password": "hunter2"}
    leaks = str(written("leaks.jsonl", json.dumps(line)))
    made = run(data, "import", "leaked-credentials", leaks)
    tenant = json.loads(made.output)["tenantId"]
    assert tenant and "hunter2" not in made.output
    offices = str(written("o.json", json.dumps([{"displayName": "hq", "isTrusted": True, "ipRanges": ["192.0.2.1"]}])))
    assert done(data, "import", "named-locations", offices, "--tenant", tenant)["tenantId"] == tenant
    assert "do not expire" in refused(data, "import", "named-locations", offices, "--expires", "3")
    assert done(data, "look-up", "192.0.2.1")["sources"] == ["named location: hq"]
    vpn = str(written("v.txt", "192.0.2.1\n"))
    assert done(data, "import", "vpn", vpn, "--tenant", tenant)["tenantId"] == tenant
    assert done(data, "look-up", "192.0.2.1")["kinds"] == ["vpn", "trusted", "named"]
    assert len(done(data, "list", "--tenant", tenant)) == 3
    assert "no tenant nobody" in refused(data, "list", "--tenant", "nobody")
    for source in ("leaks.jsonl", "o.json", "v.txt"):
        assert [each["tenantId"] for each in done(data, "remove", source)] == [tenant]
    assert done(data, "look-up", "192.0.2.1")["kinds"] == []
    assert b"hunter2" not in b"".join(path.read_bytes() for path in data.glob("state.db*"))
