"""The whole extension surface: source, resource, connector (detection and action join with their rooms).

Each extension is one file plus its cases; it registers by subclass or by calling `resource(...)`, and nothing else is
edited.

**An area of the Graph API** is one file in `api/`, found by being there. In it, each set of objects is a declaration:

    risky = resource(
        "identityProtection/riskyUsers",  # the path behind /v1.0 and /beta
        "microsoft.graph.riskyUser",  # its type in schema/
        can=Can.READ | Can.CREATE,  # verbs; what is not named answers 405
        read="IdentityRiskyUser.Read.All",  # scopes, least privileged first; those of `write` may read too
        write="IdentityRiskyUser.ReadWrite.All",  # PATCH, actions, and POST and DELETE unless create=, delete= say
        create="Bartizan.Ingest.All",  # POST of one object, or of an array (atomic)
        columns="riskLevel riskState",  # filtered and sorted fast; kinds come from the schema
        fold="userPrincipalName",  # a column that ignores case; unique= a column for keys=
        order="riskLastUpdatedDateTime desc",  # of a list without $orderby
        filter="riskLevel riskState",  # what $filter takes; left out: every property. orderby=, search= alike
        patch="",  # what PATCH takes
        max_top=500,  # more is refused with 400
        throttle="identityProtection",  # a key of api.wire.limits.GRAPH
    )

    @risky.action("dismiss", on="set", parameters={"userIds": "Collection(Edm.String)!"})
    async def dismiss(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
        return Answer(204)

    risky.navigation("history", HISTORY, column="userId")  # riskyUsers/{id}/history, by a column of the target
    users.navigation("memberOf", groups, roles, relation="members", reverse=True)  # by edges of the store
    groups.navigation("members", users, relation="members", link="Bartizan.Ingest.All")  # POST .../members/$ref

Parameters and bodies arrive checked, as **inner form** (`model.edm`); `parameters=None` hands the JSON over as it came.
What a declaration cannot say is a small hook:

- `@r.prepare` (ctx, inner) -> inner: fill in defaults, check, refuse, before a POST is stored.
- `@r.complete` (ctx, inners) -> inners: what else is stored of the new objects of one POST, found out by asking others;
  what a client sends again is compared with what `prepare` made of it.
- `@r.merge` (ctx, before, given) -> after: what a PATCH makes of an object, in the writer; pure. Default: the named
  fields replace. Whoever returns `before` unchanged changes nothing.
- `@r.on_create`, `@r.on_patch`, `@r.on_delete`, `@r.on_get`: take the verb over where the state has a room of its own.
  `@r.on_list` (ctx, query) -> page: as `TenantStore.page`, of a set whose objects are made when they are asked for; it
  refuses what of the query it cannot answer.
- `@r.reshape` (item) -> item: another shape that clients may send, before it is checked.
- `rows=` an expression, or a function of the context that gives one: which rows exist for this caller (OwnedBy, the
  kinds of one set). It holds for lists, counts, GET, PATCH, DELETE and navigation alike.
- `ctx.part(Kind)`: an object of another room that `app.build` lends to areas.

An operation that is known and not served says why, and shows on the coverage page: `unserved={"DELETE": never("...")}`
of a resource, or `unserved("security/cases/**", not_yet("..."))`; `not_yet` answers 501, `never` 405. An own write
calls `api.wire.note.note` in its transaction, so that it is in the audit log; the default verbs do. Errors are raised
from `errors`.
"""

from bartizan.auth.caller import Access
from bartizan.extend.declared import Relation, collections, permissions, relations
from bartizan.extend.resources import (
    BOTH,
    RESOURCES,
    UNSERVED,
    Action,
    ActionCode,
    Answer,
    Can,
    Context,
    Fetch,
    Merge,
    Navigation,
    OnCreate,
    OnDelete,
    OnGet,
    OnList,
    OnPatch,
    Prepare,
    Reshape,
    Resource,
    Rows,
    Unserved,
    Verb,
    collection,
    never,
    not_yet,
    resource,
    scopes,
    unserved,
)
from bartizan.extend.sources import SOURCES, Event, GraphObject, Record, Said, Source

__all__ = [
    "BOTH",
    "RESOURCES",
    "SOURCES",
    "UNSERVED",
    "Access",
    "Action",
    "ActionCode",
    "Answer",
    "Can",
    "Context",
    "Event",
    "Fetch",
    "GraphObject",
    "Merge",
    "Navigation",
    "OnCreate",
    "OnDelete",
    "OnGet",
    "OnList",
    "OnPatch",
    "Prepare",
    "Record",
    "Relation",
    "Reshape",
    "Resource",
    "Rows",
    "Said",
    "Source",
    "Unserved",
    "Verb",
    "collection",
    "collections",
    "never",
    "not_yet",
    "permissions",
    "relations",
    "resource",
    "scopes",
    "unserved",
]
