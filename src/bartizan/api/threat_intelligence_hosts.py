"""Hosts of threat intelligence: what this tenant knows of a name or an address, made when it is asked for.

It comes from what was told of the host and from records that name it, from alerts, sign-ins and risk detections that
the token may read on their own paths, from indicators in force, and of an address from imported tables of networks.
What is told stands before what is worked out; the times are the outermost.

Source: Microsoft Graph, resources microsoft.graph.security.host, hostname, ipAddress and hostReputation.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

from bartizan.api import threat_intelligence as told
from bartizan.api.context import reader
from bartizan.api.threat_intelligence import ADDRESS, HOST_NAME, OF, OF_HOSTS, PATH, TOLD, behind, host_of
from bartizan.api.threat_intelligence_reputation import Facts, Indicator, Mention, reputation
from bartizan.api.wire.find import both
from bartizan.api.wire.made import listed, made, narrowed, no_list
from bartizan.correlate.incident import Node
from bartizan.correlate.known import Observations
from bartizan.correlate.portrait import Portrait, portrait
from bartizan.detect.indicators import counts
from bartizan.detect.marks import INDICATORS, asked_of
from bartizan.errors import BadRequest, InvalidQuery
from bartizan.extend import Can, Context, Resource, collection, resource
from bartizan.extend.resources import OnRelated, OnRelatedOne
from bartizan.intel import Kind, Network, intel_of
from bartizan.model.ids import stable_id
from bartizan.model.times import instant
from bartizan.odata.tree import Order, Path
from bartizan.store.draft import inner
from bartizan.store.interface import Page, Query, Stored

MAX_PAGE = 20  # hosts of a page: each is a look at up to 250 observations
MAX_INDICATORS = 50  # in force or not, of one mark, the last told
MAX_URLS = 20  # of a host, that indicators name
MAX_MENTIONS = 20  # indicators of articles, and of profiles, that are read of a host
MAX_RELATED = 1_000  # records behind one list of hosts
ALERT_AGE = timedelta(days=90)  # older alerts say nothing of a host today: names and addresses change hands
CHUNK = 500  # names of the index that one step of a list looks at
_RECORDS = tuple(each.collection.name for each in OF_HOSTS)
_HOSTS = "tiHosts"
_NAMED = (*_RECORDS, _HOSTS)

hosts = resource(
    f"{PATH}/hosts",
    f"{OF}.host",
    can=Can.READ | Can.CREATE,
    read=told.READ,
    create=told.INGEST,
    collection=collection(_HOSTS, f"{OF}.host", columns="firstSeenDateTime lastSeenDateTime", entities={"id": TOLD}),
    required="id",
    any_case="id",
    default_top=MAX_PAGE,
    max_top=MAX_PAGE,
    unserved=told.UNWRITABLE,
)


@hosts.reshape
def typed(item: Any) -> Any:
    """Its id says whether it is a name or an address; clients may leave out the type."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return item
    id, type = host_of(item["id"])
    if item.get("@odata.type") not in (None, type, f"#{OF}.host"):
        raise BadRequest(f"'{id}' is a {type.rpartition('.')[2]}, not what its @odata.type says.")
    return {**item, "@odata.type": type, "id": id}


# ---------------------------------------------------------------- what is known of one


def _nodes(read: Observations, id: str, type: str) -> list[Node]:
    kinds = ("address",) if type == ADDRESS else ("domain", "host")
    return list(dict.fromkeys(read.known.node(kind, id) for kind in kinds))


async def _portraits(read: Observations, id: str, type: str) -> list[Portrait]:
    found = [await portrait(read, node) for node in _nodes(read, id, type)]
    return [each for each in found if each.documents]


async def _network(ctx: Context, id: str, type: str) -> Network | None:
    """What imported tables, named locations and indicators say of an address now."""
    if type != ADDRESS:
        return None
    return (await intel_of(ctx.engine, ctx.caller.tenant)).of(id, ctx.clock().timestamp())


async def _is_told(ctx: Context, id: str) -> bool:
    return bool(await ctx.store.there([(TOLD, id)], collections=_NAMED))


def _of_network(network: Network) -> dict[str, Any]:
    system = None
    if network.asn:
        name = network.organisation or f"AS{network.asn}"
        value = f"AS{network.asn} - {network.organisation}" if network.organisation else name
        system = {"number": network.asn, "name": name, "organization": name, "value": value}
    hosting = network.organisation if network.kinds & Kind.HOSTING else ""
    return {
        "autonomousSystem": system,
        "countryOrRegion": network.country or None,
        "hostingProvider": hosting or None,
    }


def _joined(said: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**ours, **{name: value for name, value in said.items() if value is not None}}
    for name, outer in (("firstSeenDateTime", min), ("lastSeenDateTime", max)):
        times = [each for each in (said.get(name), ours.get(name)) if each]
        whole[name] = outer(times) if times else None
    return whole


async def host(ctx: Context, text: str) -> Stored | None:
    """None where nothing here knows it. BadRequest where it is no host."""
    id, type = host_of(text)
    read = await reader(ctx)
    seen = await _portraits(read, id, type)
    network = await _network(ctx, id, type)
    row = await ctx.store.get(_HOSTS, id)
    known = row is not None or seen or (network is not None and network != Network())
    if not known and not await _is_told(ctx, id) and not await _indicators(ctx, id, type):
        return None
    ours: dict[str, Any] = {"@odata.type": type} | ({} if network is None else _of_network(network))
    if seen:
        ours["firstSeenDateTime"] = min(each.first for each in seen)
        ours["lastSeenDateTime"] = max(each.last for each in seen)
    said = {} if row is None else inner(row)
    return made(ctx, hosts.type, _HOSTS, id, _joined(said, ours))


@hosts.on_get
async def get_host(ctx: Context, id: str) -> Stored | None:
    return await host(ctx, id)


async def named_host(ctx: Context, text: str) -> Stored | None:
    """The host that a path names, for what stands behind it: that may be known where the host is not."""
    id, type = host_of(text)
    return made(ctx, hosts.type, _HOSTS, id, {"@odata.type": type})


# ---------------------------------------------------------------- lists


async def _names(ctx: Context, read: Observations, after: str, kinds: tuple[str, ...]) -> AsyncIterator[str]:
    """What the index calls hosts, in order of bytes, each once."""
    among = {TOLD: _NAMED, **dict.fromkeys(kinds, read.collections)}
    while True:
        found, end = set[str](), None
        for kind, collections in among.items():
            values = await ctx.store.values(kind, collections=collections, after=after, limit=CHUNK)
            found.update(values)
            if len(values) == CHUNK:
                end = values[-1] if end is None else min(end, values[-1], key=str.encode)
        for value in sorted(found, key=str.encode):
            if end is None or value.encode() <= end.encode():
                yield value
        if end is None:
            return
        after = end


def _host_id(value: str) -> str | None:
    try:
        return host_of(value)[0]
    except BadRequest:
        return None  # a machine by its short name, and such: no host of the internet


@hosts.on_list
async def list_hosts(ctx: Context, query: Query) -> Page:
    """In order of their names: those that were told, and those that something names which the token may read. Whom
    indicators alone name is not listed: each application sees its own."""
    read = await reader(ctx)
    ids, _ = narrowed(query.filter, ["id"])

    async def names(after: str) -> AsyncIterator[tuple[str, str]]:
        if ids is not None:
            for each in sorted(set(ids), key=str.encode):
                if each.encode() > after.encode() and (id := _host_id(each)) is not None:
                    yield each, id
            return
        async for value in _names(ctx, read, after, ("address", "domain", "host")):
            if (id := _host_id(value)) is not None:
                yield value, id

    return await listed(query, "hosts", names, lambda id: host(ctx, id))


# ---------------------------------------------------------------- reputation

REPUTATIONS = collection("hostReputations", f"{OF}.hostReputation")


async def _indicators(ctx: Context, id: str, type: str) -> list[Indicator]:
    """Those in force that speak of the host or of what is around it."""
    pairs: dict[tuple[str, str], bool] = {}  # whether of the host itself
    if type == ADDRESS:
        pairs["address", id] = True
        block = ip_network(id)
        for length in range(block.max_prefixlen + 1):
            pairs["network", str(block.supernet(new_prefix=length))] = length == block.max_prefixlen
    else:
        pairs |= {pair: pair[1] == id for pair in asked_of(("domain", id, ""))}
        pairs["sender", id] = True
    for prefix in (f"{id}/", f"{id}:"):
        urls = await ctx.store.values("url", collections=(INDICATORS,), prefix=prefix, limit=MAX_URLS)
        pairs |= dict.fromkeys((("url", each) for each in urls), False)
    pairs["url", id] = False
    there = await ctx.store.there(list(pairs), collections=(INDICATORS,))
    now, found = instant(ctx.clock()), list[Indicator]()
    for kind, value in (pair for pair in pairs if pair in there):
        rows = await ctx.store.entity(kind, value, collection=INDICATORS, limit=MAX_INDICATORS)
        ids = tuple(dict.fromkeys(row[1] for row in rows))
        page = await ctx.store.page(INDICATORS, Query(len(ids), ids=ids, version="beta"))
        bodies = [{**inner(row), "id": row.id} for row in page.rows]
        found += [Indicator(body, kind, value, pairs[kind, value]) for body in bodies if counts(body, now)]
    return found


async def _mentions(ctx: Context, id: str) -> list[Mention]:
    """Articles and profiles whose indicators name the host, each once."""
    found: dict[str, Mention] = {}
    for of, said_by, whole, rule in (
        (told.profile_indicators, "intelligenceProfileId", told.profiles, "profiled"),
        (told.article_indicators, "articleId", told.articles, "written"),
    ):
        rows = await ctx.store.entity(TOLD, id, collection=of.collection.name, limit=MAX_MENTIONS)
        for _, each, _, _ in rows:
            row = await ctx.store.get(of.collection.name, each)
            by = "" if row is None else str(told.said(row, said_by))
            about = await ctx.store.get(whole.collection.name, by) if by else None
            title = by if about is None else str(told.said(about, "title"))
            if by:
                found[f"{rule} {by}"] = Mention(rule, title, f"{whole.path}/{quote(by, safe='')}")
    return list(found.values())


async def _reputation(ctx: Context, parent: Stored, _: str) -> Stored:
    """Also of a host that nobody has seen: unknown, 0."""
    id, type = host_of(parent.id)
    read = await reader(ctx)
    seen = await _portraits(read, id, type)
    network = await _network(ctx, id, type)
    # A host as a machine of one's own is the victim of what names it: its alerts say nothing of it as a host of others.
    observed = [each for found in seen if found.node[0] != "host" for each in found.documents]
    facts = Facts(
        id,
        await _indicators(ctx, id, type),
        await _mentions(ctx, id),
        network,
        observed,
        instant(ctx.clock() - ALERT_AGE),
        known=bool(seen) or (network is not None and network != Network()) or await _is_told(ctx, id),
    )
    body = reputation(facts, f"{ctx.root.rpartition('/')[0]}/beta")
    return made(ctx, REPUTATIONS.type or "", REPUTATIONS.name, stable_id("hostReputation", id), body)


hosts.navigation("reputation", REPUTATIONS, many=False, made=(no_list, _reputation), parent=named_host)


# ---------------------------------------------------------------- subdomains


async def _subdomain(ctx: Context, read: Observations, name: str) -> Stored | None:
    """As it was told, else when it was seen first."""
    rows = await ctx.store.entity(TOLD, name, collection=told.subdomains.collection.name, limit=1)
    row = await ctx.store.get(rows[0][0], rows[0][1]) if rows else None
    if row is not None:
        return row
    seen = await _portraits(read, name, HOST_NAME)
    first = min((each.first for each in seen), default=None)
    of = {"host": {"@odata.type": HOST_NAME, "id": name}, "firstSeenDateTime": first}
    return made(ctx, told.subdomains.type, told.subdomains.collection.name, name, of)


async def _list_subdomains(ctx: Context, parent: Stored, query: Query) -> Page:
    """In order of their names. A page ends where many names were looked at, and leads on."""
    read = await reader(ctx)
    end = f".{parent.id}"

    async def names(after: str) -> AsyncIterator[tuple[str, str]]:
        looked = 0
        async for value in _names(ctx, read, after, ("domain", "host")):
            looked += 1
            if value.endswith(end) and _host_id(value) == value:
                yield value, value
            elif looked % CHUNK == 0:
                yield value, ""  # a place to go on from

    async def build(name: str) -> Stored | None:
        return await _subdomain(ctx, read, name) if name else None

    return await listed(query, "subdomains", names, build)


async def _one_subdomain(ctx: Context, parent: Stored, id: str) -> Stored | None:
    row = await ctx.store.get(told.subdomains.collection.name, id)
    name = str(told.said(row, "host/id")) if row is not None else _host_id(id)
    if not name or not name.endswith(f".{parent.id}"):
        return None
    read = await reader(ctx)
    known = row is not None or await _is_told(ctx, name) or await _portraits(read, name, HOST_NAME)
    return (row or await _subdomain(ctx, read, name)) if known else None


hosts.navigation("subdomains", told.subdomains, made=(_list_subdomains, _one_subdomain), parent=named_host)


# ---------------------------------------------------------------- records, both ways

for _name, _set, _paths in (
    ("components", told.components, ("host/id",)),
    ("cookies", told.cookies, ("host/id",)),
    ("hostPairs", told.pairs, ("parentHost/id", "childHost/id")),
    ("childHostPairs", told.pairs, ("parentHost/id",)),  # those in which the host is the parent
    ("parentHostPairs", told.pairs, ("childHost/id",)),
    ("passiveDns", told.passive_dns, ("parentHost/id",)),
    ("passiveDnsReverse", told.passive_dns, ("artifact/id",)),
    ("ports", told.ports, ("host/id",)),
    ("sslCertificates", told.host_certificates, ("host/id",)),
    ("trackers", told.trackers, ("host/id",)),
):
    hosts.navigation(_name, _set, made=behind(_set, *_paths), parent=named_host)


async def _last_whois(ctx: Context, parent: Stored, _: str) -> Stored | None:
    query = Query(1, told.equal("host/id", parent.id), version=ctx.version)
    page = await ctx.store.page(told.whois.collection.name, query)
    return page.rows[0] if page.rows else None


hosts.navigation("whois", told.whois, many=False, made=(no_list, _last_whois), parent=named_host)


def _to_host(property: str) -> tuple[OnRelated, OnRelatedOne]:
    """The host that a record names; what is none (a file, an address of mail) as the record tells it."""

    async def one(ctx: Context, parent: Stored, _: str) -> Stored | None:
        given = inner(parent).get(property) or {}
        if given.get("@odata.type") in (HOST_NAME, ADDRESS):
            return await host(ctx, str(given["id"]))
        return made(ctx, f"{OF}.artifact", _HOSTS, str(given["id"]), given) if given.get("id") else None

    return no_list, one


def _each_way() -> None:
    ways: list[tuple[Resource, str]] = [
        (of, name) for of in OF_HOSTS for name in ("host", "parentHost", "childHost", "artifact") if name in of.inline
    ]
    for of, name in ways:
        of.navigation(name, hosts, many=False, made=_to_host(name))


_each_way()


async def _list_bearers(ctx: Context, parent: Stored, query: Query) -> Page:
    """Hosts on which a certificate was seen, in order of their names."""
    by_host = (Order(Path(("host", "id"), kind="text")),)
    wanted = Query(MAX_RELATED, told.equal("sslCertificate/id", parent.id), by_host, version=ctx.version)
    page = await ctx.store.page(told.host_certificates.collection.name, wanted)
    if page.more:
        raise InvalidQuery(
            f"More than {MAX_RELATED} records name the certificate: ask hostSslCertificates with $filter."
        )
    ids = sorted({str(told.said(row, "host/id")) for row in page.rows}, key=str.encode)

    async def names(after: str) -> AsyncIterator[tuple[str, str]]:
        for id in ids:
            if id.encode() > after.encode():
                yield id, id

    return await listed(query, "relatedHosts", names, lambda id: host(ctx, id))


async def _one_bearer(ctx: Context, parent: Stored, text: str) -> Stored | None:
    id, _ = host_of(text)
    wanted = both(told.equal("sslCertificate/id", parent.id), told.equal("host/id", id))
    page = await ctx.store.page(told.host_certificates.collection.name, Query(1, wanted, version=ctx.version))
    return await host(ctx, id) if page.rows else None


told.certificates.navigation("relatedHosts", hosts, made=(_list_bearers, _one_bearer))
