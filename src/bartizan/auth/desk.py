"""How a command of an operator runs: an authority that is open for it, JSON out, errors with their reason."""

import asyncio
import contextlib
import difflib
import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar, cast

import click
import msgspec

from bartizan.auth import accounts
from bartizan.auth.accounts import App, Tenant, User
from bartizan.auth.authority import Authority
from bartizan.errors import BadRequest, BartizanError, NotFound
from bartizan.model.times import from_ticks
from bartizan.settings import BadSettings, Settings, load
from bartizan.store import Collection, open_store

D = TypeVar("D", bound=accounts.Document)


class Around(Protocol):
    """What rooms above tell the commands (`cli.Surroundings`)."""

    def collections(self) -> tuple[Collection, ...]: ...

    def permissions(self) -> tuple[frozenset[str], frozenset[str]] | None: ...


class Desk:
    """An authority that is open for one command."""

    def __init__(self, authority: Authority, permissions: tuple[frozenset[str], frozenset[str]] | None) -> None:
        self.authority = authority
        self.accounts = authority.accounts
        self.permissions = permissions
        self.now = int(authority.clock())

    async def tenant(self, reference: str | None) -> Tenant:
        """The one that is named; the first one where none is."""
        return await self.accounts.chosen(reference)

    async def app(self, reference: str) -> App:
        """By client id, or by a name that only one has."""
        found = await self.accounts.get(App, reference.lower())
        if found is not None:
            return found
        named = [a for a in await self.accounts.every(App) if a.name.lower() == reference.lower()]
        if len(named) != 1:
            raise NotFound(f"there {'are several apps' if named else 'is no app'} {reference}; see: bartizan app list")
        return named[0]

    async def user(self, upn: str) -> User:
        found = await self.accounts.user_by_upn(upn)
        if found is None:
            raise NotFound(f"there is no user {upn}; see: bartizan user list")
        return found

    def checked(self, names: Iterable[str], kind: int) -> list[str]:
        """The names as resources declare them (`kind` 0: application, 1: delegated). BadRequest for one that none
        declares."""
        if self.permissions is None:
            return list(names)
        known = {name.lower(): name for name in self.permissions[kind]}
        found = []
        for name in names:
            if name.lower() not in known:
                near = difflib.get_close_matches(name, known.values(), n=3)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                raise BadRequest(
                    f"no operation asks for the {'delegated scope' if kind else 'permission'} {name}{hint}"
                )
            found.append(known[name.lower()])
        return found


@contextlib.asynccontextmanager
async def _opened(settings: Settings, around: Around) -> AsyncIterator[Desk]:
    store = open_store(settings.store or settings.folder, around.collections())
    await store.start()
    try:
        permissions = around.permissions()
        authority = Authority(settings, store, permissions=(lambda: permissions) if permissions else None)
        await authority.start()
        yield Desk(authority, permissions)
    finally:
        await store.close()


def _quiet() -> None:
    """Standard output is for answers."""
    import structlog

    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr), wrapper_class=structlog.make_filtering_bound_logger(30)
    )


def say(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def command(
    group: click.Group | None, name: str, *, existing: bool = False
) -> Callable[[Callable[..., Coroutine[Any, Any, Any]]], click.Command]:
    """A command with --data and --store whose function gets a Desk and gives what is printed (None: nothing).

    `existing`: only where a server's data are already. Others begin them, so that a tenant is there from the start.
    """

    def make(work: Callable[..., Coroutine[Any, Any, Any]]) -> click.Command:
        def run(around: Around, data: str | None, store: str | None, **options: Any) -> None:
            _quiet()

            async def main() -> Any:
                settings = load(data, store=store)
                if existing and not settings.store and not (settings.folder / "state.db").is_file():
                    raise NotFound(f"there are no data of a server in {settings.folder}; see --data")
                async with _opened(settings, around) as desk:
                    return await work(desk, **options)

            try:
                answer = asyncio.run(main())
            except BadSettings as error:
                raise click.UsageError(str(error)) from None
            except BartizanError as error:
                raise click.ClickException(error.message) from None
            except (OSError, ValueError) as error:
                raise click.ClickException(str(error)) from None
            if answer is not None:
                say(answer)

        # `wraps` also carries over the options and the help text that stand at `work`.
        made = click.command(name)(click.pass_obj(functools.update_wrapper(cast("Any", run), work)))
        made.params += [
            click.Option(["--data"], metavar="DIR", help="Folder of the server's own files."),
            click.Option(["--store"], metavar="DSN", help="postgresql:// address of the database; SQLite if not said."),
        ]
        if group is not None:
            group.add_command(made)
        return made

    return make


tenant_option = click.option(
    "--tenant", "tenant_reference", metavar="TENANT", help="Id, domain or name; the first one if not said."
)


def shown_time(seconds: int) -> str | None:
    return from_ticks(seconds * 10_000_000) if seconds else None
