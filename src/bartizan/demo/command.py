"""`bartizan demo`: a server, and beside it a process that plays the sample organisation."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from bartizan.settings import BadSettings, Settings, load

FILE = "demo.json"  # credentials of the sample, in the data folder, for its owner only
ANALYST = "analyst@northwall.example"


@click.command()
@click.option(
    "--data", metavar="DIR", default="demo-data", show_default=True,
    help="Folder of the server's own files; made if it is not there.",
)  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; 8443 if not said.")
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--days", type=click.IntRange(0, 30), default=7, show_default=True, help="Days of history to begin with.")
def demo(data: str, port: int | None, store: str | None, days: int) -> None:
    """Start a server with a living sample organisation; prints address and credentials. For trying out only.

    Started again on the same folder it goes on with the same data and credentials. It writes no access log.
    """
    try:
        settings = load(data, port=port, store=store, allow_private_notifications=True, access_log=False)
        if settings.tls == "off" and not settings.address:  # no proxy is in front of a sample
            settings = replace(settings, address=f"http://localhost:{settings.port}")
        settings.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = _credentials(settings)
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    except (OSError, ValueError) as error:  # ValueError: a FILE that is not JSON
        raise click.ClickException(f"cannot use the folder {data}: {error}") from None
    command = [sys.executable, "-m", "bartizan.demo", str(known), str(days)]
    from bartizan import app

    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as feed:
        try:
            app.serve(settings)
        finally:
            feed.terminate()


def _credentials(settings: Settings) -> Path:
    """Made at the first start, kept for the next ones."""
    path = settings.folder / FILE
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else _made(settings)
    known["address"] = settings.root
    ca = settings.folder / "ca.pem"
    ca.write_text(_run(settings, "ca", "export"))
    known["ca"] = str(ca.resolve())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(known, file, indent=1)
    return path


def _made(settings: Settings) -> dict[str, Any]:
    redirect = "http://localhost:8400"  # where tools that sign a user in on this machine listen
    app = json.loads(_run(settings, "app", "add", "Sample organisation", "--all", "--redirect-uri", redirect))
    password = secrets.token_urlsafe(12)
    role = ("--role", "SecurityAdministrator", "--password-stdin")
    _run(settings, "user", "add", ANALYST, *role, stdin=password + "\n")
    return {key: app[key] for key in ("tenantId", "clientId", "clientSecret")} | {"user": ANALYST, "password": password}


def _run(settings: Settings, *args: str, stdin: str | None = None) -> str:
    """A command of ours, as an operator would call it."""
    command = [sys.executable, "-m", "bartizan", *args, "--data", str(settings.folder)]
    if settings.store:
        command += ["--store", settings.store]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise click.ClickException(f"`bartizan {' '.join(args[:2])}` failed: {done.stderr.strip()}")
    return done.stdout
