"""Settings: where they come from, which wins, what is refused; nothing secret shows."""

from pathlib import Path
from typing import Any

import pytest

from bartizan.settings import BadSettings, Issuer, Secret, Settings, describe, load


def test_later_wins(tmp_path: Path) -> None:
    (tmp_path / "bartizan.toml").write_text('port = 1111\nhost = "::1"\nprocesses = 2\nhosts = ["a.example"]\n')
    environ = {
        "BARTIZAN_PORT": "2222",
        "BARTIZAN_HOST": "0.0.0.0",
        "BARTIZAN_HOSTS": "b.example, c.example",
        "OTHER": "x",
    }
    found = load(str(tmp_path), environ=environ, port=3333, store=None)
    assert (found.port, found.host, found.processes, found.hosts) == (3333, "0.0.0.0", 2, ("b.example", "c.example"))
    assert load(environ={"BARTIZAN_DATA": str(tmp_path)}).port == 1111
    assert load(str(tmp_path / "none"), environ={}) == Settings(data=str(tmp_path / "none"))


FOREIGN = {"issuer": "i", "audiences": ["a"]}


@pytest.mark.parametrize(
    ("file", "environ", "options", "text"),
    [
        ("prot = 1", {}, {}, r"unknown setting prot in .*bartizan\.toml; did you mean port\?"),
        ("", {"BARTIZAN_PROT": "1"}, {}, "unknown setting prot in the environment; did you mean port"),
        ("", {}, {"zzz": 1}, "unknown setting zzz in the command line; known: data,"),
        ('port = "high"', {}, {}, r"setting port \(from .*bartizan\.toml\): Expected `int`"),
        ("port = 70000", {}, {}, "setting port .*<= 65535"),
        ("port = ", {}, {}, r"bartizan\.toml: Invalid value"),
        ('data = "x"', {}, {}, "data cannot be set here"),
        ("", {"BARTIZAN_ALLOW_PRIVATE_NOTIFICATIONS": "maybe"}, {}, "expected true or false"),
        ("", {"BARTIZAN_ISSUERS": "[{"}, {}, "BARTIZAN_ISSUERS is not JSON"),
        ("", {"BARTIZAN_MASTER_KEY": "short"}, {}, "master_key is not 64 hex digits"),
        ("", {"BARTIZAN_HOSTS": "ok.example,*.example"}, {}, "hosts has .*expected names"),
        ("", {"BARTIZAN_HOSTS": "https://x"}, {}, "hosts has"),
        ("", {"BARTIZAN_TLS": "files"}, {}, "needs tls_certificate_file"),
        ("", {"BARTIZAN_ADDRESS": "graph.example.org"}, {}, "expected such as https://"),
        ("", {}, {"issuers": [FOREIGN | {"tenants": {}}]}, "issuers"),
        ("", {}, {"issuers": [FOREIGN | {"tenants": {"*": "a", "b": "c"}}]}, "beside other keys"),
        ("", {}, {"issuers": [FOREIGN | {"tenants": {"b": "c"}, "algorithms": ["HS256"]}]}, "HS256; allowed"),
        ("", {}, {"issuers": [{"issuer": "i", "audience": "a", "tenants": {"b": "c"}}]}, "issuers"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, file: str, environ: dict[str, str], options: dict[str, Any], text: str) -> None:
    (tmp_path / "bartizan.toml").write_text(file)
    with pytest.raises(BadSettings, match=text):
        load(str(tmp_path), environ=environ, **options)


def test_what_others_put_into_the_environment() -> None:
    environ = {
        "BARTIZAN_TEST_DSN": "x",
        "BARTIZAN_SHARED": "y",
        "BARTIZAN_PORT_8443_TCP": "tcp://1",
        "BARTIZAN_SERVICE_HOST": "z",
    }
    assert load(environ=environ) == Settings()


def test_values_of_the_environment() -> None:
    environ = {
        "BARTIZAN_ALLOW_PRIVATE_NOTIFICATIONS": "Yes",
        "BARTIZAN_ISSUERS": '[{"issuer": "https://i", "audiences": ["a"], "tenants": {"t": "default"}}]',
        "BARTIZAN_MASTER_KEY": "0f" * 32,
    }
    found = load(environ=environ)
    assert found.allow_private_notifications and found.issuers == (Issuer("https://i", ("a",), {"t": "default"}),)
    assert found.master_key.reveal() == "0f" * 32


def test_secrets_do_not_show() -> None:
    made = Settings(master_key=Secret("ab" * 32), store="postgresql://bart:geheim@db/x?password=geheim2")
    assert "abab" not in repr(made) and "geheim" not in repr(made) and "bart" in repr(made)
    assert "abab" not in f"{made.master_key} {made.master_key!r} {made}" and not Secret()


def test_every_setting_is_described() -> None:
    rows = describe()
    assert len(rows) == len(Settings.__struct_fields__)
    for row in rows:
        assert row["description"].endswith(".") and row["environment"].startswith("BARTIZAN_"), row


def test_base() -> None:
    """A Host that is not listed never gets into links."""
    found = Settings(port=9443, address="https://graph.example.org", hosts=("graph.microsoft.com", "Alias:8080"))
    for host, base in (
        ("graph.example.org", "https://graph.example.org"),
        ("GRAPH.example.org:443", "https://graph.example.org"),
        ("graph.microsoft.com", "https://graph.microsoft.com"),
        ("localhost:9443", "https://localhost:9443"),
        ("[::1]:9443", "https://[::1]:9443"),
        ("alias:8080", "https://alias:8080"),
        ("localhost:1", "https://graph.example.org"),
        ("evil.example", "https://graph.example.org"),
        ("graph.example.org.evil", "https://graph.example.org"),
        ("", "https://graph.example.org"),
        (None, "https://graph.example.org"),
    ):
        assert found.base(host) == base, host
        assert base in found.bases
    assert Settings().root == "https://localhost:8443" and Settings(port=443).root == "https://localhost"
