"""The command line: what operators do, as a process of its own beside a running server."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from tests.auth.conftest import key_pair

from bartizan.auth.authority import Authority
from bartizan.cli import Surroundings, bartizan
from bartizan.settings import Settings
from bartizan.store import Query, open_store


class Cli:
    """In this process, which is ten times as fast; `apart` starts the command as people do."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def run(self, *args: str, stdin: str | None = None, code: int = 0) -> Result:
        done = CliRunner().invoke(bartizan, [*args, "--data", str(self.data)], input=stdin, prog_name="bartizan")
        assert done.exit_code == code, f"{args}\n{done.output}\n{done.exception!r}"
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done

    def apart(self, *args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bartizan", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code and "Traceback" not in done.stderr, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def __call__(self, *args: str, stdin: str | None = None) -> Any:
        return json.loads(self.run(*args, stdin=stdin).stdout)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    yield Cli(tmp_path / "data")
    structlog.reset_defaults()


def test_help_is_whole_and_loads_nothing(cli: Cli) -> None:
    text = cli.apart("--help").stdout
    for name in ("serve", "tenant", "app", "user", "consent", "token", "key", "ca", "audit", "backup", "restore"):
        assert f"  {name} " in text
    loaded = "import sys, bartizan.cli; print([m for m in ('cryptography', 'starlette', 'apsw') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_apps(cli: Cli, tmp_path: Path) -> None:
    (tenant,) = cli("tenant", "list")
    _, certificate = key_pair()
    pem = tmp_path / "app.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made = cli("app", "add", "sample", "--redirect-uri", "http://localhost:5000/x", "--certificate", str(pem))
    assert made["tenantId"] == tenant["tenantId"] and len(made["clientSecret"]) >= 40 and len(made["certificates"]) == 1
    (listed,) = cli("app", "list")
    assert listed["clientId"] == made["clientId"] and made["clientSecret"] not in json.dumps(listed)
    fresh = cli("app", "rotate", "sample")
    assert fresh["clientSecret"] != made["clientSecret"]
    assert len(cli("app", "list")[0]["secrets"]) == 1
    cli("app", "rotate", made["clientId"], "--overlap-hours", "1")
    assert len(cli("app", "list")[0]["secrets"]) == 2
    assert made["authority"] == f"https://localhost:8443/{tenant['tenantId']}"
    settings = Settings(data=str(cli.data), port=9000)
    asyncio.run(_prepared(settings))
    second = cli("app", "add", "second")
    assert second["authority"] == f"https://localhost:9000/{tenant['tenantId']}"  # where a server was started last
    cli("app", "remove", "second")
    assert cli("app", "revoke", "sample")["revoked"]
    assert cli("app", "remove", "sample")["removed"] and cli("app", "list") == []
    assert "there is no app sample" in cli.run("app", "remove", "sample", code=1).stderr
    assert "cannot be a redirect URI" in cli.run("app", "add", "x", "--redirect-uri", "http://a.b/c", code=1).stderr
    kept = "99999999-aaaa-bbbb-cccc-000000000000"
    taken = cli("app", "add", "moved", "--client-id", kept, "--secret-stdin", stdin="a secret that is known already\n")
    assert (taken["clientId"], taken["clientSecret"]) == (kept, None)
    assert "already" in cli.run("app", "add", "again", "--client-id", kept, code=1).stderr


async def _prepared(settings: Settings) -> None:
    store = open_store(settings.folder, Surroundings().collections())
    await store.start()
    await Authority(settings, store).prepare()
    await store.close()


def test_users(cli: Cli) -> None:
    made = cli(
        "user", "add", "Ann@example.org", "--role", "securityreader", "--password-stdin", stdin="correct horse\n"
    )
    assert "password" not in made and list(made["roles"].values()) == [["SecurityReader"]]
    assert "already a user" in cli.run("user", "add", "ann@EXAMPLE.org", code=1).stderr
    assert "at least 8" in cli.run("user", "add", "bob@example.org", "--password-stdin", stdin="short\n", code=1).stderr
    assert "not a user principal name" in cli.run("user", "add", "bob", code=1).stderr
    assert "'King' is not one of SecurityReader" in cli.run("user", "add", "b@c.d", "--role", "King", code=2).stderr
    assert len(cli("user", "add", "bob@example.org")["password"]) >= 16
    other = cli("tenant", "add", "Other")
    both = cli("user", "add", "ann@example.org", "--tenant", "other", "--role", "SecurityAdministrator")
    assert len(both["roles"]) == 2 and both["roles"][other["tenantId"]] == ["SecurityAdministrator"]
    assert len(cli("user", "remove", "ann@example.org", "--tenant", "other")["roles"]) == 1
    assert cli("user", "rotate", "ann@example.org")["password"]
    assert cli("user", "revoke", "ann@example.org")["revoked"] and cli("user", "remove", "ANN@example.org")["removed"]
    assert [u["userPrincipalName"] for u in cli("user", "list")] == ["bob@example.org"]


def test_consents_and_tokens(cli: Cli) -> None:
    app = cli("app", "add", "sample")
    granted = cli(
        "consent", "add", "sample", "--permission", "SecurityAlert.Read.All", "--delegated", "SecurityAlert.Read.All"
    )
    assert [(c["kind"], c["user"]) for c in granted] == [("application", None), ("delegated", "everyone")]
    assert len(cli("consent", "list")) == 2
    withdrawn = cli("consent", "remove", app["clientId"], "--permission", "SecurityAlert.Read.All")
    assert withdrawn[0]["permissions"] == []
    cli("consent", "add", "sample", "--delegated", "User.Read")
    (left,) = cli("consent", "rotate", "sample", "--delegated", "SecurityEvents.Read.All")
    assert left["permissions"] == ["SecurityEvents.Read.All"]
    assert "nothing to do" in cli.run("consent", "add", "sample", code=1).stderr
    (asked,) = cli("consent", "add", "sample", "--provider", "edr-emea")
    assert (asked["kind"], asked["user"], asked["permissions"]) == ("providers", None, ["edr-emea"])
    (asked,) = cli("consent", "remove", "sample", "--provider", "edr-emea")
    assert asked["permissions"] == []
    made = cli("token", "add", "--source", "okta", "--source", "falco", "--days", "3")
    assert made["token"].startswith("bzs_") and made["sources"] == ["falco", "okta"]
    fresh = cli("token", "rotate", made["tokenId"])
    assert fresh["token"] != made["token"] and [t["tokenId"] for t in cli("token", "list")] == [fresh["tokenId"]]
    assert made["token"] not in cli.run("token", "list").stdout
    assert cli("token", "remove", fresh["tokenId"])["removed"]


def test_permissions_are_checked(cli: Cli) -> None:
    """One that no operation asks for is a typing error; --all takes them all."""
    if Surroundings().permissions() is None:
        pytest.skip("no resources are declared yet")
    assert "did you mean" in cli.run("app", "add", "x", "--permission", "SecurityAlert.Raed.All", code=1).stderr
    made = cli("app", "add", "x", "--all")
    assert {"SecurityAlert.Read.All", "SecurityIncident.Read.All"} <= set(made["permissions"])
    lower = cli("app", "add", "y", "--permission", "securityalert.read.all")
    assert lower["permissions"] == ["SecurityAlert.Read.All"]


def test_tenants_leave_and_come_back(cli: Cli, tmp_path: Path) -> None:
    """Exported, erased and restored, a tenant has its documents, apps, accounts and an unbroken chain again."""
    made = cli("tenant", "add", "Customer", "--domain", "customer.example")
    app = cli("app", "add", "theirs", "--tenant", "customer.example")
    cli("user", "add", "joe@customer.example", "--role", "SecurityReader", "--tenant", "Customer")
    file = tmp_path / "customer.jsonl"
    assert cli("tenant", "export", "Customer", str(file))["lines"] > 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert cli.run("tenant", "export", "Customer").stdout == file.read_text()
    assert "here already" in cli.run("tenant", "restore", str(file), code=1).stderr
    assert "--yes" in cli.run("tenant", "erase", "Customer", code=1).stderr
    cli("user", "add", "both@customer.example", "--tenant", "Customer")
    cli("user", "add", "both@customer.example", "--tenant", "default")
    assert cli("tenant", "rotate", "Customer")["rotated"]
    assert cli("tenant", "export", "Customer", str(file))["lines"] > 1
    erased = cli("tenant", "erase", "Customer", "--yes")
    assert erased["documents"] >= 2 and (erased["users"], erased["apps"]) == (1, 1)
    assert [u["userPrincipalName"] for u in cli("user", "list")] == ["both@customer.example"]
    assert cli("app", "list") == []
    assert "no tenant" in cli.run("tenant", "remove", "Customer", code=1).stderr
    back = cli("tenant", "restore", str(file))
    assert back == {"tenantId": made["tenantId"], "documents": erased["documents"], "events": 0, "skippedUsers": []}
    assert {t["name"] for t in cli("tenant", "list")} == {"default", "Customer"}
    assert [c["clientId"] for c in cli("consent", "list", "--tenant", "Customer")] == [app["clientId"]]
    roles = {u["userPrincipalName"]: u["roles"] for u in cli("user", "list")}
    assert roles["joe@customer.example"] == {made["tenantId"]: ["SecurityReader"]}
    assert len(roles["both@customer.example"]) == 2
    assert cli("audit", "verify")["ok"]
    for bad in ("", "x", '{"format":"y","tenant":{},"consents":[],"apps":[],"users":[]}'):
        file.write_text(bad)
        assert "tenant export" in cli.run("tenant", "restore", str(file), code=1).stderr
    for name in ("common", "a/b", made["tenantId"], "customer"):
        assert cli.run("tenant", "add", name, code=1).stderr
    assert cli("tenant", "remove", "Customer")["removed"]


def test_keys_certificates_and_backup(cli: Cli, tmp_path: Path) -> None:
    pem = cli.run("ca", "export").stdout
    assert pem.startswith("-----BEGIN CERTIFICATE-----\n") and pem == cli.run("ca", "export").stdout
    (first,) = cli("key", "list")
    fresh = cli("key", "rotate")
    assert [k["kid"] for k in cli("key", "list")] == [first["kid"], fresh["kid"]]
    last = cli("key", "rotate", "--withdraw")
    assert [k["kid"] for k in cli("key", "list")] == [last["kid"]]
    made = cli("backup", str(tmp_path / "copy.db"))
    assert (tmp_path / "copy.db").stat().st_size > 10_000 and str(cli.data / "master.key") in made["keepWithIt"]


def test_wrong_settings_are_wrong_calls(cli: Cli) -> None:
    cli.data.mkdir()
    (cli.data / "bartizan.toml").write_text("prot = 1")
    for command in (["tenant", "list"], ["ca", "export"], ["serve"]):
        assert "did you mean port" in cli.run(*command, code=2).stderr


def test_commands_that_need_a_server_make_none(cli: Cli) -> None:
    """A folder with a typing error in its name is no whole chain."""
    for command in (["audit", "verify"], ["backup", "x.db"], ["tenant", "export", "default"]):
        assert "no data of a server" in cli.run(*command, code=1).stderr
    assert not cli.data.exists()


def test_a_chain_that_was_made_anew(cli: Cli, tmp_path: Path) -> None:
    """With a report from before, kept elsewhere, the chain of another server, or a shorter one, is found out."""
    for name in ("one", "two"):
        cli("app", "add", name)
    kept = tmp_path / "kept.json"
    kept.write_text(cli.run("audit", "verify").stdout)
    cli("app", "add", "three")
    assert cli("audit", "verify", "--since", str(kept))["ok"]
    for tenant in json.loads(kept.read_text())["tenants"]:
        assert len(tenant["hash"]) == 64
    for edit, kind in (({"hash": "0" * 64}, "rewritten"), ({"head": 99}, "truncated")):
        report = json.loads(kept.read_text())
        report["tenants"][0] |= edit
        (tmp_path / "other.json").write_text(json.dumps(report))
        found = json.loads(cli.run("audit", "verify", "--since", str(tmp_path / "other.json"), code=1).stdout)
        assert found["tenants"][0]["problems"][0]["kind"] == kind
    kept.write_text("{}")
    assert "not what" in cli.run("audit", "verify", "--since", str(kept), code=1).stderr


def test_audit_verify_says_so(cli: Cli) -> None:
    cli("app", "add", "sample")
    assert cli("audit", "verify", "--tenant", "default")["tenants"][0]["entries"] == 1
    with sqlite3.connect(cli.data / "state.db") as database:
        database.execute("DELETE FROM c_directoryAudits WHERE tenant = 'system'")
    database.close()
    report = json.loads(cli.run("audit", "verify", code=1).stdout)
    assert not report["ok"] and report["tenants"][0]["problems"][0]["kind"] == "truncated"


@pytest.mark.anyio
async def test_beside_a_running_server(cli: Cli) -> None:
    """What the command changes, a server that runs sees at the next request."""
    run = asyncio.to_thread
    app = json.loads((await run(cli.apart, "app", "add", "sample", "--data", str(cli.data))).stdout)
    store = open_store(cli.data, Surroundings().collections())
    await store.start()
    authority = Authority(Settings(data=str(cli.data), revocation_check_ms=0), store)
    await authority.start()
    assert await authority.accounts.consented(app["tenantId"], app["clientId"]) == frozenset()
    before = await authority.verifier.generation()
    await run(cli.apart, "app", "revoke", "sample", "--data", str(cli.data))
    assert await authority.verifier.generation() == before + 1
    page = await store.tenant(app["tenantId"]).page("directoryAudits", Query(top=5))
    assert len(page.rows) == 2
    await store.close()
