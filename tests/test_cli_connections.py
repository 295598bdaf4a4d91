"""Connections at the command line: secrets over standard input alone, and in no output."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from click.testing import CliRunner, Result
from msgspec import Meta, Struct

from bartizan.cli import bartizan
from bartizan.extend.connectors import CONNECTORS, Batch, Connector, Denied, Secret, Stream

TOKEN = "very-secret-token"


class GateSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="address of the system")]
    token: Annotated[Secret, Meta(description="lets one in")]
    days: Annotated[int, Meta(description="how far back", ge=1)] = 30
    kinds: Annotated[list[str], Meta(description="which ones")] = []
    deep: Annotated[bool, Meta(description="look twice")] = False


class Gate(Connector):
    name: ClassVar[str] = "gate_test"
    vendor: ClassVar[str] = "Acme"
    product: ClassVar[str] = "Gate"
    doc: ClassVar[str] = "A system of these tests."
    settings: ClassVar[type[Struct]] = GateSettings
    streams: ClassVar[dict[str, Stream]] = {"alerts": Stream("All alerts."), "users": Stream("All users.")}

    async def check(self) -> str:
        if self.set.token != TOKEN:
            raise Denied("GET https://gate.example/me: 401")
        return "let in"

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        return
        yield


CONNECTORS.pop("gate_test")  # of these tests only


@pytest.fixture(autouse=True)
def gate() -> Iterator[None]:
    CONNECTORS["gate_test"] = Gate
    yield
    del CONNECTORS["gate_test"]


def run(data: Path, *arguments: str, given: str = "") -> Result:
    command = [*arguments, "--data", str(data)]
    return CliRunner().invoke(bartizan, command, prog_name="bartizan", input=given)


def done(data: Path, *arguments: str, given: str = "") -> Any:
    result = run(data, *arguments, given=given)
    assert result.exit_code == 0, result.output
    assert TOKEN not in result.output
    return json.loads(result.stdout)


ADD = ("connection", "add", "gate-1", "gate_test", "--set", "url=https://gate.example")


def test_from_add_to_remove(tmp_path: Path) -> None:
    more = ("--set", "days=7", "--set", "kinds=a, b", "--set", "deep=true", "--stream", "alerts", "--no-write-back")
    made = done(tmp_path, *ADD, *more, "--federate", "--secrets-stdin", given=f"# a note\ntoken={TOKEN}\n")
    assert made == {
        "connection": "gate-1",
        "connector": "gate_test",
        "enabled": True,
        "settings": {"url": "https://gate.example", "days": 7, "kinds": ["a", "b"], "deep": True},
        "streams": ["alerts"],
        "writeBack": False,
        "act": True,
        "federate": True,
    }
    assert done(tmp_path, "connection", "check", "gate-1") == {"connection": "gate-1", "found": "let in"}
    (listed,) = done(tmp_path, "connection", "list")
    assert listed["streams"] == {"alerts": {}}
    changed = done(tmp_path, "connection", "change", "gate-1", "--disable", "--set", "days=9", "--write-back")
    assert (changed["enabled"], changed["writeBack"], changed["settings"]["days"]) == (False, True, 9)
    rotated = done(tmp_path, "connection", "rotate", "gate-1", given='{"token": "another-one"}')
    assert rotated == {"connection": "gate-1", "rotated": ["token"]}
    failed = run(tmp_path, "connection", "check", "gate-1")
    assert failed.exit_code == 1 and "Denied: GET https://gate.example/me: 401" in failed.output
    assert done(tmp_path, "connection", "remove", "gate-1")["removed"]
    assert done(tmp_path, "connection", "list") == []
    assert run(tmp_path, "audit", "verify").exit_code == 0


def test_streams_that_are_not_named_are_all(tmp_path: Path) -> None:
    made = done(tmp_path, *ADD, "--secrets-stdin", given=json.dumps({"token": TOKEN, "days": 3}))
    assert made["streams"] == ["alerts", "users"] and made["settings"]["days"] == 3


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (("--set", f"token={TOKEN}"), "", "token is secret"),
        (("--set", "tokne=x"), "", "has no setting 'tokne'"),
        (("--set", "days"), "", "key=value"),
        (("--set", "days=many"), f"token={TOKEN}", "$.days"),
        ((), None, "token"),
        ((), "", "no text"),
        ((), TOKEN, "line 1 of standard input is not key=value"),
        ((), f"{TOKEN}=x", "settings that there are not"),
        ((), f'{{"token": "{TOKEN}"', "not a JSON object"),
        (("--stream", "mail"), f"token={TOKEN}", "it has: alerts, users"),
    ],
)
def test_what_is_refused(tmp_path: Path, arguments: tuple[str, ...], given: str | None, says: str) -> None:
    stdin = () if given is None else ("--secrets-stdin",)
    result = run(tmp_path, *ADD, *arguments, *stdin, given=given or "")
    assert result.exit_code == 1 and says in result.output, result.output
    assert TOKEN not in result.output
    assert done(tmp_path, "connection", "list") == []


def test_rotate_takes_secrets_alone(tmp_path: Path) -> None:
    done(tmp_path, *ADD, "--secrets-stdin", given=f"token={TOKEN}")
    result = run(tmp_path, "connection", "rotate", "gate-1", given="url=https://x.example")
    assert result.exit_code == 1 and "url: no secret" in result.output
    for arguments in (("rotate", "none"), ("check", "none"), ("remove", "none"), ("change", "none", "--disable")):
        result = run(tmp_path, "connection", *arguments, given="token=x")
        assert result.exit_code == 1 and "there is no connection 'none'" in result.output


def test_connectors_are_listed_and_described() -> None:
    listed = CliRunner().invoke(bartizan, ["connectors"])
    assert listed.exit_code == 0 and "gate_test" in listed.output
    one = CliRunner().invoke(bartizan, ["connectors", "gate_test"])
    for words in ("secret, required. lets one in", "default 30. how far back", "All alerts. Every 60 s."):
        assert words in one.output, one.output
    assert CliRunner().invoke(bartizan, ["connectors", "none"]).exit_code == 2
