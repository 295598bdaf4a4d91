"""A connector: a system outside that Bartizan pulls from, writes status back to, lets act, and asks live.

One file of `connectors/` with one subclass of `Connector`; how to: see `bartizan.extend`. An operator makes
connections from it: settings for one tenant (`extend.connections`). The stages do the rest: `ingest.pull` keeps the
cursors, `respond.writeback` the queue of what is to be written back, `respond.carry` the actions. A connector keeps no
state of its own, and may be asked by several processes, one after another.

What goes wrong is one of three errors, and nothing else: `Away` (try again), `Denied` (an operator must see to the
credentials), `Rejected` (this one thing will never work).
"""

import random
import traceback
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta, Struct

from bartizan.extend.sources import GraphObject, Said

Secret: TypeAlias = Annotated[str, Meta(min_length=1, max_length=16_384, extra={"secret": True})]
"""A setting that is sealed at rest, never shown again, and never in a log."""

LOCAL: Mapping[str, Any] = {"local": True}
"""`Meta(extra=LOCAL)`: the setting names a file of the server, or lends the server's own identity. Whoever runs the
server may set it, at the command line; over the API of a tenant it is refused: tenants do not see one another."""

Subject = Literal["alert", "incident", "riskyUser", "riskDetection"]
Target = Literal["user", "device", "address", "file", "domain", "url", "mail", "alert"]


class ConnectorError(Exception):
    """`message` names what was asked of whom; it holds no secret and is shown to analysts."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status  # of HTTP, where it was HTTP


class Away(ConnectorError):
    """Not reached, timed out, throttled or failing: the same may work later."""

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after_s = retry_after_s  # as the system asks for


class Denied(ConnectorError):
    """The credentials or permissions of the connection do not suffice."""


class Rejected(ConnectorError):
    """The system understood and refuses; asking again cannot help."""


class Fault(ConnectorError):
    """Said of a connector that raised none of the three; no connector raises it itself."""


def backed_off(failures: int, first_s: float, most_s: float) -> float:
    """Seconds to leave a system alone after one more failure than so many in a row: twice as long each time up to
    `most_s`, and up to half of it less, so that not everything comes back at once."""
    spread = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    return min(most_s, first_s * 2.0 ** min(failures, 30)) * spread


def fault(problem: Exception) -> dict[str, str]:
    """What a log may say of an error that is none of the three: kind and places, since its text may hold anything."""
    return {"kind": type(problem).__name__, "at": "".join(traceback.format_tb(problem.__traceback__))}


# ---------------------------------------------------------------- pull


class Stream(Struct, frozen=True):
    """Something that is pulled by itself, with a cursor of its own."""

    doc: str  # one sentence
    every_s: float = 60.0  # between two looks, once all has been read


class Pulled(Struct, frozen=True):
    """One raw record, for a source of `sources/`."""

    source: str
    raw: bytes
    said: Said | None = None


class Edge(Struct, frozen=True):
    """An edge of the directory, such as ("members", group id, "users", user id)."""

    relation: str
    source: str
    target_collection: str
    target: str


class Batch(Struct, frozen=True, kw_only=True):
    """What one page of the system gave. Everything in it is durable before `cursor` is; after a crash the pull goes on
    from the last cursor, so a page may come twice."""

    cursor: str  # on the system's own order: where the next look begins, this batch behind it
    records: Sequence[Pulled] = ()
    objects: Sequence[GraphObject] = ()  # directory: put, or put anew where they differ from what is stored
    edges: Sequence[Edge] = ()  # those that hold; of a relation to one object (manager) the newest replaces
    cut: Sequence[Edge] = ()  # those that hold no longer, where the system says so one by one
    gone: Sequence[tuple[str, str]] = ()  # (collection, id) that the system has deleted; with its edges
    # Collections of which everything that exists, with the edges that lead from it, has now been named in this stream
    # since the last `whole`: what the stream had brought of them and has not named since is removed.
    whole: Sequence[str] = ()


# ---------------------------------------------------------------- write back


class Push(Struct, frozen=True, kw_only=True):
    """A change to one thing that the system owns. Several of one subject come in the order in which they were made."""

    subject: Subject
    id: str  # the system's own id: providerAlertId of an alert, the id of a user
    words: Mapping[str, Any]  # what changed, as it became: status classification determination assignedTo comments tags
    #                           ("comments" only the new ones, each {"comment", "createdByDisplayName", ...});
    #                           of an incident also resolvingComment;
    #                           of a riskyUser or riskDetection riskState and riskDetail
    now: Mapping[str, Any]  # the whole object as it is here (beta wire form, an alert's today face)
    by: str  # who changed it, as shown
    at: str  # when, wire instant
    key: str  # the same for the same change, however often it is tried
    known: str | None = None  # the version of the system's object that we had seen (its own update time), if known


class Pushed(Struct, frozen=True):
    """It has arrived. Where somebody had changed the object there since `known`, who and what is told."""

    overwrote: Mapping[str, Any] | None = None  # words as they were there, spelt as in `Push.words`
    last_writer: str | None = None
    left_out: tuple[str, ...] = ()  # words that the system has no place for


# ---------------------------------------------------------------- act


class Offer(Struct, frozen=True):
    """An action that the system can carry out."""

    target: Target
    doc: str  # one sentence
    undo: str | None = None  # name of the action that takes it back
    parameters: Mapping[str, str] = {}  # beside the target: name -> Edm type as in resources, `!` for required


class Order(Struct, frozen=True, kw_only=True):
    """One action on one target."""

    name: str
    target: str  # value of the target: a UPN or object id, a host name, an address, a hash ...
    parameters: Mapping[str, Any]
    by: str
    reason: str | None
    key: str  # the same for the same order, however often it is tried


class Done(Struct, frozen=True):
    """Where an order stands. `running` with a `handle` is asked about again with `follow`."""

    state: Literal["completed", "failed", "running"]
    detail: str = ""
    handle: str | None = None


# ---------------------------------------------------------------- ask live


class Read(Struct, frozen=True, kw_only=True):
    """A federated read of alerts: what the system can narrow down; the server filters what comes back again. Where
    there are more than `top`, the newest by when the system made them, within `since` (included) and `until`."""

    id: str | None = None  # only the one with this id of the system
    since: str | None = None  # wire instants
    until: str | None = None
    top: int = 100


# ---------------------------------------------------------------- the connector


class Reply(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    data: Any  # of JSON; None otherwise


class Outside(ABC):
    """HTTP to the system of one connection: bounded in time and size, TLS checked, redirects not followed, no secret in
    a message. `connectors/http.py` makes it."""

    @abstractmethod
    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | Sequence[tuple[str, str]] | None = None,
        json: Any = None,
        data: bytes | None = None,
        form: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
        timeout_s: float = 30.0,
    ) -> Reply:
        """2xx or a status of `allow`; otherwise Away (408, 425, 429, 5xx, no answer), Denied (401, 403), Rejected."""

    @abstractmethod
    async def close(self) -> None:
        """Gives its connections back."""


class Connector:
    """Subclass it in a file of `connectors/`. An object serves one connection and is made anew when settings change.
    What a subclass leaves out is Rejected."""

    name: ClassVar[str]
    vendor: ClassVar[str]
    product: ClassVar[str]
    doc: ClassVar[str]  # one sentence: what it connects
    settings: ClassVar[type[Struct]]  # frozen, forbid_unknown_fields; each field with a Meta(description=...)
    streams: ClassVar[Mapping[str, Stream]] = {}
    # (vendor, product) of the alerts that are this system's, beside those that the connection pulled itself: what came
    # by another way (a webhook, a file) is written back too.
    owns: ClassVar[tuple[tuple[str, str], ...]] = ()
    pushes: ClassVar[Mapping[Subject, frozenset[str]]] = {}  # which words of which subject can be written back
    offers: ClassVar[Mapping[str, Offer]] = {}
    reads: ClassVar[bool] = False  # whether it answers federated reads of alerts

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            CONNECTORS[cls.name] = cls

    def __init__(self, settings: Any, outside: Outside) -> None:
        self.set = settings
        self.outside = outside

    @classmethod
    def streams_of(cls, settings: Any) -> Mapping[str, Stream]:
        """Those that a connection with these settings has; more than `streams` where settings describe some."""
        return cls.streams

    async def close(self) -> None:
        """Gives back what it holds open."""

    async def check(self) -> str:
        """Asks the system something harmless with the credentials; one sentence of what was found."""
        raise Rejected(f"{self.name} has no check")

    def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        """Everything behind the cursor in the system's own order, page by page, then ends. None: from the beginning, or
        as far back as a setting says."""
        raise Rejected(f"{self.name} has nothing to pull")

    async def push(self, change: Push) -> Pushed:
        """Idempotent by `key` as far as the system allows: it may be asked again after a crash."""
        raise Rejected(f"{self.name} takes no changes")

    async def act(self, order: Order) -> Done:
        raise Rejected(f"{self.name} carries out no actions")

    async def follow(self, handle: str) -> Done:
        """How an action that was `running` stands now."""
        raise Rejected(f"{self.name} cannot say how an action stands")

    async def cancel(self, handle: str) -> Done:
        """Where the order stands then: `failed` once it is cancelled, `running` while it is being cancelled,
        `completed` where it was too late. Rejected where the system cannot."""
        raise Rejected(f"{self.name} cannot cancel what runs")

    async def read(self, asked: Read) -> Sequence[Pulled]:
        raise Rejected(f"{self.name} answers no reads")


CONNECTORS: dict[str, type[Connector]] = {}
