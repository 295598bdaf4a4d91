"""The command `bartizan`. Rooms bring their own commands; each is imported when it is called, so that help is there
at once."""

import importlib
import sys
from pathlib import Path
from typing import Any, ClassVar

import click


class Commands(click.Group):
    """Commands by name -> (module:attribute, one line of help); the module is imported on use only."""

    lazy: ClassVar[dict[str, tuple[str, str]]] = {
        "serve": ("bartizan.cli:serve", "Start the server."),
        "demo": ("bartizan.demo.command:demo", "Start a server with a living sample organisation."),
        "ingest": ("bartizan.ingest.command:ingest", "Store records of a source from files."),
        "normalise": ("bartizan.ingest.command:normalise", "Show what becomes of records; stores nothing."),
        "sources": ("bartizan.ingest.command:sources", "List the sources that are understood."),
        "tenant": ("bartizan.auth.commands:tenant", "Tenants: add, list, remove, export, restore, erase."),
        "app": ("bartizan.auth.commands:app", "Applications: add, list, remove, rotate, revoke."),
        "user": ("bartizan.auth.commands:user", "Accounts: add, list, remove, rotate, revoke."),
        "consent": ("bartizan.auth.upkeep:consent", "What apps may do in tenants: add, list, remove."),
        "token": ("bartizan.auth.upkeep:token", "Tokens that deliver records of sources: add, list, remove, rotate."),
        "key": ("bartizan.auth.upkeep:key", "Keys that sign tokens: list, rotate."),
        "ca": ("bartizan.auth.upkeep:ca", "The own certificate authority: export."),
        "audit": ("bartizan.auth.upkeep:audit", "The chain of audit entries: verify."),
        "backup": ("bartizan.auth.upkeep:backup", "Copy the database while serving."),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (target, _) in self.lazy.items() if _exists(target)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = self.lazy.get(cmd_name, ("", ""))[0]
        if not target or not _exists(target):
            return None
        module, _, attribute = target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][1]) for name in self.list_commands(ctx)])


def _exists(target: str) -> bool:
    """By the file, since looking a module up imports the rooms above it."""
    return Path(__file__).parent.joinpath(*target.partition(":")[0].split(".")[1:]).with_suffix(".py").is_file()


class Surroundings:
    """What rooms above hand down to commands: the store's sets and the permissions that resources declare."""

    def collections(self) -> tuple[Any, ...]:
        """Of the whole program: a store that is opened with fewer could not write what the server reads."""
        from bartizan.app.assembly import declared

        return declared()

    def permissions(self) -> tuple[frozenset[str], frozenset[str]]:
        """(application, delegated): every one that some operation asks for."""
        import bartizan.api
        from bartizan.extend import permissions

        bartizan.api.load()
        return permissions()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bartizan")
@click.pass_context
def bartizan(ctx: click.Context) -> None:
    """A self-hosted security graph. Every command takes --data DIR, the server's folder."""
    ctx.obj = Surroundings()


@click.command()
@click.option("--data", metavar="DIR", help="Folder of the server's own files; made if it is not there.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 8443 if not said.")
@click.option("--host", help="Address to listen on; 127.0.0.1 if not said.")
@click.option("--address", metavar="URL", help="Public address, such as https://graph.example.org.")
@click.option("--host-name", "hosts", multiple=True, help="Further name that clients use, such as graph.microsoft.com.")
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--processes", type=int, help="API processes.")
@click.option(
    "--allow-private-notifications", is_flag=True, default=None, help="Notify loopback and private addresses too."
)
def serve(data: str | None, **options: Any) -> None:
    """Start the server. Further settings: bartizan.toml in DIR, or BARTIZAN_* in the environment."""
    from bartizan.settings import BadSettings, load

    options["hosts"] = options["hosts"] or None
    try:
        settings = load(data, **options)
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    app = importlib.import_module("bartizan.app")
    app.serve(settings)


def main() -> None:
    """Exit codes: 0 done, 1 could not be done (why is on stderr), 2 wrongly called."""
    try:
        bartizan(prog_name="bartizan")
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
