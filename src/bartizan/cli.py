"""The command `bartizan`. Rooms bring their own commands; each is imported when it is called, so that help is there
at once."""

import difflib
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
        "tail": ("bartizan.ingest.command:tail", "Follow growing files and store their records."),
        "normalise": ("bartizan.ingest.command:normalise", "Show what becomes of records; stores nothing."),
        "sources": ("bartizan.ingest.command:sources", "List the sources; status says how they arrive."),
        "correlate": ("bartizan.correlate.command:correlate", "Make incidents of a recorded stream of alerts."),
        "hunt": ("bartizan.hunt.command:hunt", "Search events in the Kusto query language."),
        "risk": ("bartizan.identity.command:risk", "Find risky sign-ins in a recorded stream."),
        "connection": (
            "bartizan.app.connect:connection",
            "Connect systems: add, list, check, change, rotate, remove.",
        ),
        "connectors": ("bartizan.app.connect:connectors", "List the kinds of systems that can be connected."),
        "tenant": (
            "bartizan.auth.commands:tenant",
            "Tenants: add, list, remove, rotate, export, restore, erase.",
        ),
        "app": ("bartizan.auth.commands:app", "Manage applications: add, list, remove, rotate, revoke."),
        "user": ("bartizan.auth.commands:user", "Manage accounts of people: add, list, remove, rotate, revoke."),
        "consent": ("bartizan.auth.upkeep:consent", "Manage what apps may do in tenants: add, list, remove, rotate."),
        "token": ("bartizan.auth.upkeep:token", "Manage tokens that deliver records: add, list, remove, rotate."),
        "subscription": ("bartizan.respond.commands:subscription", "See subscriptions: list, dead-letters."),
        "writeback": (
            "bartizan.respond.commands:writeback",
            "Changes on their way back: list, retry, drop.",
        ),
        "intel": ("bartizan.intel.commands:intel", "Network intelligence: import, list, remove, look-up."),
        "watchlist": ("bartizan.hunt.desk:watchlist", "Watchlists for queries: import, list, remove."),
        "rules": ("bartizan.detect.command:rules", "Detection rules: import those of Sigma."),
        "key": ("bartizan.auth.upkeep:key", "Manage the keys that sign tokens: list, rotate."),
        "ca": ("bartizan.auth.upkeep:ca", "Export the own certificate authority."),
        "audit": ("bartizan.auth.upkeep:audit", "Verify the chain of audit entries."),
        "backup": ("bartizan.auth.upkeep:backup", "Copy the database, also while the server runs."),
        "restore": ("bartizan.auth.upkeep:restore", "Put a copy of the database into an empty folder."),
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.lazy:
            near = difflib.get_close_matches(args[0], self.lazy, n=1)
            ctx.fail(f"there is no command {args[0]!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

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

    def lake(self, settings: Any) -> Any:
        """Of the settings, not started; it knows every table that sources fill."""
        from bartizan.app.assembly import lake_of

        return lake_of(settings)

    def files(self, settings: Any) -> Any:
        """What queries may read at the addresses that are allowed."""
        from bartizan.app.assembly import files_of

        return files_of(settings)

    def maker(self) -> tuple[str, ...]:
        """The command of a process that reads records for another."""
        from bartizan.app.make import COMMAND

        return COMMAND

    def permissions(self) -> tuple[frozenset[str], frozenset[str]]:
        """(application, delegated): every one that some operation asks for."""
        import bartizan.api
        from bartizan.extend import permissions

        bartizan.api.load()
        return permissions()


_EXAMPLES = """\b
Examples:
  bartizan demo                                     try it out with a sample organisation
  bartizan serve --data /srv/bartizan --port 8443   run it
  bartizan app add "My SIEM" --permission SecurityAlert.Read.All --data /srv/bartizan
  bartizan ingest suricata_eve eve.json --data /srv/bartizan
"""


@click.group(
    cls=Commands,
    epilog=_EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="bartizan")
@click.pass_context
def bartizan(ctx: click.Context) -> None:
    """A self-hosted security graph: a server that speaks the Microsoft Graph security APIs.

    Commands that read or change a server's state take --data DIR, its folder (bartizan-data if not said); they work
    while it runs. COMMAND --help says more.
    """
    ctx.obj = Surroundings()


@click.command()
@click.option("--data", metavar="DIR", help="Folder of the server's own files; bartizan-data if not said.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 8443 if not said, 0 for any free one.")
@click.option("--host", metavar="ADDRESS", help="Network address to listen on; 127.0.0.1 if not said.")
@click.option("--address", metavar="URL", help="Public address, such as https://graph.example.org.")
@click.option(
    "--host-name", "hosts", metavar="NAME", multiple=True,
    help="Further name that clients use, such as graph.microsoft.com; may be repeated.",
)  # fmt: skip
@click.option("--store", metavar="DSN", help="postgresql:// address of the database; SQLite if not said.")
@click.option("--processes", type=click.IntRange(1), help="API processes; 1 if not said.")
@click.option(
    "--allow-private-notifications", is_flag=True, default=None, help="Notify loopback and private addresses too."
)
def serve(data: str | None, **options: Any) -> None:
    """Start the server, with its own database, keys and certificate authority at the first start.

    It prints its address when it answers; SIGTERM or Ctrl-C stops it. Further settings come from bartizan.toml in DIR
    or from BARTIZAN_* in the environment; all of them are in docs/reference/settings.md.
    """
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
    except ImportError as error:
        if error.__cause__ is None:  # a fault of ours; else an extra package that a setting needs
            raise
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
