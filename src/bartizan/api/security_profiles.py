"""The six sets of security profiles that the metadata has had since 2018, and the switches of providers per tenant.

A profile is answered from the graph of entities, together with what providers said: their statements come in by POST
and are kept apart, one of each provider. Where both know a property, the provider's stands; lists are joined, the times
are the outermost. A profile has the id of its entity, such as `host:pc1.example.org`, and is read by the id of any of
its statements too.

Source: Microsoft Graph beta metadata (never documented as pages).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.api.context import id_of, named, node_of, reader
from bartizan.api.wire.made import listed, made, narrowed
from bartizan.correlate.incident import Node
from bartizan.correlate.known import Document, Observations
from bartizan.correlate.portrait import Portrait, portrait
from bartizan.errors import BadRequest
from bartizan.extend import Can, Context, Resource, resource
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.store.draft import inner as inner_of
from bartizan.store.draft import values_at
from bartizan.store.interface import Page, Query, Stored

_READ = "SecurityEvents.Read.All SecurityEvents.ReadWrite.All"
_INGEST = "Bartizan.Ingest.All"
MAX_ID = 256  # characters; longer names of what a statement is about are hashed
_OURS = {"vendor": "Bartizan", "provider": "Entity graph"}
MAX_PAGE = 20  # as of entities: each is a look at up to 250 observations
MAX_STATEMENTS = 20  # of one entity, the last ones
MAX_EVIDENCE = 10  # alerts whose evidence is looked into, the last ones
MAX_LISTED = 50  # users of a host, names of a file
_FIRST = ("firstSeenDateTime", "createdDateTime")
_LAST = ("lastSeenDateTime", "lastModifiedDateTime")
_HASHES = {32: "md5", 40: "sha1", 64: "sha256"}

Evidence = Mapping[str, Any]
Facts = Callable[[Portrait, list[Evidence]], dict[str, Any] | None]  # None: the entity does not belong into the set


# ---------------------------------------------------------------- what the graph says


def _seen(found: Portrait) -> dict[str, Any]:
    return {"firstSeenDateTime": found.first or None, "lastSeenDateTime": found.last or None}


def _names(found: Portrait, kind: str) -> list[str]:
    return [value for each, value in found.names if each == kind]


def _host(found: Portrait, evidence: list[Evidence]) -> dict[str, Any]:
    names = _names(found, "host")
    mine = [each for each in evidence if _named(each, ("deviceDnsName", "hostName"), names)]
    addresses = dict.fromkeys(str(each["lastIpAddress"]) for each in mine if each.get("lastIpAddress"))
    return {
        **_seen(found),
        "fqdn": next((each for each in names if "." in each), None),
        "netBiosName": next((each for each in names if "." not in each), None),
        "os": next((each["osPlatform"] for each in mine if each.get("osPlatform")), None),
        "osVersion": next((each["version"] for each in mine if each.get("version")), None),
        "logonUsers": [_logon(found, user) for user in found.beside("user")[:MAX_LISTED]],
        "networkInterfaces": [{"ipV6Address" if ":" in each else "ipV4Address": each} for each in addresses],
    }


def _logon(found: Portrait, user: Node) -> dict[str, Any]:
    times = [seen.at for seen in found.documents if any(node == user for node, _ in seen.named)]
    domain, _, account = user[1].rpartition("\\")
    return {
        "accountName": account,
        "accountDomain": domain or None,
        "firstSeenDateTime": min(times),
        "lastSeenDateTime": max(times),
    }


def _user(found: Portrait, evidence: list[Evidence]) -> dict[str, Any]:
    names = _names(found, "user")
    upn = next((each for each in names if "@" in each), None)
    accounts = [each for each in names if each != upn] or ([] if upn else names)
    return {
        "createdDateTime": found.first or None,
        "lastModifiedDateTime": found.last or None,
        "userPrincipalName": upn,
        "accounts": [{"signinName": each, "lastSeenDateTime": found.last or None} for each in accounts],
    }


def _ip(found: Portrait, evidence: list[Evidence]) -> dict[str, Any]:
    return {**_seen(found), "address": found.node[1], "countHits": found.total, "countHosts": len(found.beside("host"))}


def _domain(found: Portrait, evidence: list[Evidence]) -> dict[str, Any]:
    return {**_seen(found), "name": found.node[1], "countHits": found.total, "countInOrg": len(found.beside("host"))}


def _file(found: Portrait, evidence: list[Evidence]) -> dict[str, Any]:
    mine = [each for each in evidence if _named(each, ("sha256", "sha1", "md5"), [found.node[1]])]
    hashes = dict.fromkeys(
        [found.node[1], *(str(each[n]).lower() for each in mine for n in _HASHES.values() if each.get(n))]
    )
    names = list(dict.fromkeys(str(each["fileName"]) for each in mine if each.get("fileName")))[:MAX_LISTED]
    return {
        **_seen(found),
        "hashes": [{"hashType": _HASHES.get(len(each), "unknown"), "hashValue": each} for each in hashes],
        "names": names,
        "extensions": sorted({each.rpartition(".")[2].lower() for each in names if "." in each}),
        "size": next((each["fileSize"] for each in mine if each.get("fileSize")), None),
    }


def _app(found: Portrait, evidence: list[Evidence]) -> dict[str, Any] | None:
    """A resource of any kind is an application where an alert says so."""
    kinds = ("cloudApplicationEvidence", "oauthApplicationEvidence")
    apps = [each for each in evidence if str(each.get("@odata.type")).endswith(kinds)]
    if not any(_named(each, ("displayName", "appId", "objectId"), [found.node[1]]) for each in apps):
        return None
    return {"createdDateTime": found.first or None, "lastModifiedDateTime": found.last or None, "name": found.node[1]}


def _named(item: Evidence, properties: tuple[str, ...], values: list[str]) -> bool:
    return any(str(item.get(each) or "").lower() in values for each in properties)


# ---------------------------------------------------------------- with what providers said


class _Profiles(Struct):
    """One of the six sets."""

    set: Resource
    kind: str  # of its entities
    identity: tuple[str, ...]  # paths of the names that a statement gives, the one that it is listed under first
    facts: Facts

    async def made(self, ctx: Context, read: Observations, node: Node) -> Stored | None:
        """None where nobody knows it, or it is known under another name alone."""
        statements = await self._statements(read, node)
        found = await portrait(read, node)
        if not found.documents and not any(self._node(read, each) == node for each in statements):
            return None
        facts = self.facts(found, await _evidence(read, found.documents)) if found.documents else {}
        if facts is None and not statements:
            return None
        ours = {**(facts or {}), "azureTenantId": ctx.caller.tenant}
        if found.documents:
            ours |= {"riskScore": str(found.risk), "vendorInformation": _OURS}
        return made(ctx, self.set.type, self.set.collection.name, id_of(node), _merged(ours, statements))

    async def _statements(self, read: Observations, node: Node) -> list[dict[str, Any]]:
        """Of providers, the last changed first."""
        name, ids = self.set.collection.name, dict[str, None]()
        for kind, value in read.known.names(node):
            if kind == self.kind:
                rows = await read.store.entity(kind, value, collection=name, limit=MAX_STATEMENTS)
                ids.update(dict.fromkeys(id for _, id, _, _ in rows))
        page = await read.store.page(name, Query(MAX_STATEMENTS, ids=tuple(ids), version="beta")) if ids else None
        rows_ = sorted(page.rows, key=lambda row: row.updated, reverse=True) if page is not None else []
        return [msgspec.json.decode(row.wire("beta")) for row in rows_]

    def value(self, given: Mapping[str, Any]) -> str | None:
        """The name of what a statement is about."""
        found = (
            str(value).strip().lower() for path in self.identity for value in values_at(given, path.split("/")) if value
        )
        return next(filter(None, found), None)

    def _node(self, read: Observations, statement: Mapping[str, Any]) -> Node | None:
        value = self.value(statement)
        return None if value is None else read.known.node(self.kind, value)

    async def get(self, ctx: Context, id: str) -> Stored | None:
        read = await reader(ctx)
        if id.partition(":")[0].lower() == self.kind:
            found = await self.made(ctx, read, read.known.node(*node_of(id)))
            if found is not None:
                return found
        row = await ctx.store.get(self.set.collection.name, id)
        node = None if row is None else self._node(read, inner_of(row))
        return row if node is None else await self.made(ctx, read, node)

    async def page(self, ctx: Context, query: Query) -> Page:
        read = await reader(ctx)
        values, prefix = narrowed(query.filter, self.identity)
        ids, _ = narrowed(query.filter, ["id"])
        if ids is not None:
            values = [each.partition(":")[2] for each in ids if each.startswith(f"{self.kind}:")]
        if prefix and len(self.identity) > 1:
            prefix = ""  # each has several names, of which one is what the list goes by
        also = (self.set.collection.name,)
        return await listed(
            query,
            self.set.path,
            lambda after: named(read, self.kind, values, prefix, after, also),
            lambda node: self.made(ctx, read, node),
        )

    def stamp(self, ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
        """A statement is about something that has a name. One of a provider replaces its last one, with merging."""
        value = self.value(given)
        if value is None:
            raise BadRequest(f"{self.set.path}: what the profile is about is said by {' or '.join(self.identity)}.")
        who = given.get("vendorInformation") or {}
        source = f"#{who.get('vendor') or ''}/{who.get('provider') or ''}" if who else ""
        id = f"{self.kind}:{value}{source}"
        if len(id) > MAX_ID or not id.isprintable():
            id = stable_id(self.set.type, id)
        return {"id": id, **{k: v for k, v in given.items() if v is not None}, "azureTenantId": ctx.caller.tenant}


async def _evidence(read: Observations, documents: list[Document]) -> list[Evidence]:
    """What the last alerts hold in evidence, and inside it."""
    ids = [each.key.id for each in reversed(documents) if each.key.collection == "alerts_v2"][:MAX_EVIDENCE]
    if not ids:
        return []
    page = await read.store.page("alerts_v2", Query(len(ids), ids=tuple(ids), version="beta"))
    return [each for row in page.rows for each in _objects(_alert(row.wire("beta")).evidence)]


class _Alert(Struct):
    evidence: list[Any] = []


_alert = msgspec.json.Decoder(_Alert).decode


def _objects(value: Any, depth: int = 8) -> Iterator[Evidence]:
    if isinstance(value, dict):
        yield value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside if depth else ():
        yield from _objects(each, depth - 1)


def _merged(ours: dict[str, Any], statements: list[dict[str, Any]]) -> dict[str, Any]:
    """The last statement first, the graph last; lists of all of them, times the outermost."""
    whole: dict[str, Any] = {}
    for said in (*statements, ours):
        for name, value in said.items():
            if value is None or value == [] or name == "id" or name.startswith("@"):
                continue
            known = whole.get(name)
            if known is None:
                whole[name] = value
            elif isinstance(value, list):
                there = {_same(each) for each in known}
                whole[name] = [*known, *(each for each in value if _same(each) not in there)]
            elif name in (*_FIRST, *_LAST):
                whole[name] = min(known, value) if name in _FIRST else max(known, value)
    return whole


def _same(item: Any) -> str:
    """What tells one entry of a list from another."""
    if isinstance(item, dict):
        keys = ("hashValue", "accountName", "signinName", "ipV4Address", "ipV6Address", "name")
        item = next((item[key] for key in keys if item.get(key)), None) or msgspec.json.encode(item).decode()
    return str(item).lower()


def _profiles(name: str, kind: str, identity: str, columns: str, facts: Facts) -> None:
    """Declares one set."""
    fold = " ".join(path for path in identity.split() if "/" not in path)
    made_ = resource(
        f"security/{name}s",
        f"microsoft.graph.{name}",
        can=Can.READ | Can.CREATE,
        columns=columns,
        fold=fold,
        entities=dict.fromkeys(identity.split(), kind),
        versions=("beta",),
        default_top=MAX_PAGE,
        max_top=MAX_PAGE,
        read=_READ,
        create=_INGEST,
    )
    profiles = _Profiles(made_, kind, tuple(identity.split()), facts)
    made_.prepare(profiles.stamp)
    made_.on_get(profiles.get)
    made_.on_list(profiles.page)


_TIMES = "riskScore firstSeenDateTime lastSeenDateTime"
_MADE = "riskScore createdDateTime lastModifiedDateTime"
_profiles("fileSecurityProfile", "hash", "hashes/hashValue", f"fileType {_TIMES}", _file)
_profiles("hostSecurityProfile", "host", "fqdn netBiosName", f"os {_TIMES}", _host)
_profiles("ipSecurityProfile", "address", "address", _TIMES, _ip)
_profiles("userSecurityProfile", "user", "userPrincipalName accounts/signinName", f"displayName {_MADE}", _user)
_profiles("domainSecurityProfile", "domain", "name", _TIMES, _domain)
_profiles("cloudAppSecurityProfile", "resource", "name", f"publisher {_MADE}", _app)

settings = resource(
    "security/providerTenantSettings",
    "microsoft.graph.providerTenantSetting",
    can=Can.READ | Can.CREATE | Can.PATCH,
    read="SecurityEvents.Read.All",
    write="SecurityEvents.ReadWrite.All",
    create=_INGEST,
    columns="provider vendor enabled",
    patch="enabled",
    patch_status=204,
    versions=("beta",),
    required="provider vendor",
)


@settings.prepare
def stamp_setting(ctx: Context, inner: dict[str, Any]) -> dict[str, Any]:
    return {"enabled": True, **inner, "azureTenantId": ctx.caller.tenant, "lastModifiedDateTime": instant(ctx.clock())}


@settings.merge
def switch(ctx: Context, before: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    if all(before.get(name) == value for name, value in given.items()):
        return before
    return {**before, **given, "lastModifiedDateTime": instant(ctx.clock())}
