"""Threat intelligence as it is told: articles, profiles of actors and tools, vulnerabilities, and what was recorded of
hosts. Documents that come in by POST; `api.threat_intelligence_hosts` has the hosts themselves.

A record says inside itself which host it is of, as Graph's answers show it: `"host": {"id": "www.example.com"}`. An
indicator says of which article or profile it is by `articleId` or `intelligenceProfileId`, a vulnerability by
`articleIds` which articles write of it.

Source: Microsoft Graph, resources of microsoft.graph.security.threatIntelligence; the answers in their pages.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from msgspec.structs import replace

from bartizan.api.wire.find import both, stored_page
from bartizan.api.wire.made import made, no_list, paged
from bartizan.errors import BadRequest
from bartizan.extend import BOTH, Can, Context, Resource, collection, never, resource
from bartizan.extend.resources import OnRelated, OnRelatedOne
from bartizan.model import entities
from bartizan.odata.tree import Compare, Expr, Literal, Or, Path
from bartizan.store.draft import inner, values_at
from bartizan.store.interface import Page, Query, Stored

PATH = "security/threatIntelligence"
READ = "ThreatIntelligence.Read.All"
INGEST = "Bartizan.Ingest.All"
TOLD = "tiHost"  # kind under which the entity index has the hosts that records name
UNWRITABLE = dict.fromkeys(
    ("PATCH", "DELETE"), never("the documentation has no such operation: intelligence is read, and told by POST")
)
OF = "microsoft.graph.security"
HOST_NAME, ADDRESS = f"#{OF}.hostname", f"#{OF}.ipAddress"


# ---------------------------------------------------------------- hosts by their names


def host_of(text: str) -> tuple[str, str]:
    """The id of a host, and its @odata.type: an IP address in its canonical form, or a host name in lower case.
    BadRequest where it is neither."""
    given = text.strip()
    try:
        address = ip_address(given)
    except ValueError:
        name = entities.domain(given)
        if name is None or "*" in name:
            raise BadRequest(
                f"'{given[:100]}' is no host; expected a name of two labels or more, such as www.example.com, or an IP "
                "address."
            ) from None
        return name, HOST_NAME
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_unspecified:
        raise BadRequest(f"'{given[:100]}' is the address of no host.")
    return str(address), ADDRESS


def reference(given: Mapping[str, Any], name: str, *, artifact: bool = False) -> dict[str, Any]:
    """What a record says of its host, with its id as hosts have it and its type. An artifact may be another thing than
    a host; then it says its type."""
    told = given[name]
    id, type = told.get("id"), told.get("@odata.type")
    if type in (f"#{OF}.host", f"#{OF}.artifact"):  # as SDKs mark what they know no better
        type = None
    if not isinstance(id, str) or not id.strip():
        raise BadRequest(f'{name}: expected an object with an id, such as {{"id": "www.example.com"}}.')
    if artifact and type not in (None, HOST_NAME, ADDRESS):
        return {**told, "@odata.type": type}
    try:
        host, of = host_of(id)
    except BadRequest as problem:
        more = f" What is no host says its @odata.type, such as #{OF}.unclassifiedArtifact." if artifact else ""
        raise BadRequest(f"{name}: {problem.message}{more}") from None
    if type not in (None, of):
        raise BadRequest(f"{name}: '{host}' is a {of.rpartition('.')[2]}, not what its @odata.type says.")
    return {**told, "@odata.type": of, "id": host}


# ---------------------------------------------------------------- what stands behind an object


def said(row: Stored, path: str) -> Any:
    return next(iter(values_at(inner(row), path.split("/"))), None)


def equal(path: str, value: str) -> Expr:
    return Compare("eq", Path(tuple(path.split("/")), kind="text"), Literal(value, "text"))


def behind(
    of: Resource, *paths: str, by: Callable[[Stored], str] = lambda row: row.id
) -> tuple[OnRelated, OnRelatedOne]:
    """The objects of a set that have in one of these properties what `by` says of the object before."""

    async def many(ctx: Context, parent: Stored, query: Query) -> Page:
        same = tuple(equal(path, by(parent)) for path in paths)
        scope = same[0] if len(same) == 1 else Or(same)
        return await stored_page(ctx, of, replace(query, filter=both(scope, query.filter)))

    async def one(ctx: Context, parent: Stored, id: str) -> Stored | None:
        row = await ctx.store.get(of.collection.name, id)
        return row if row is not None and by(parent) in [said(row, path) for path in paths] else None

    return many, one


# ---------------------------------------------------------------- the sets


def _told(
    name: str,
    type: str,
    *,
    stored: str = "",
    host: str = "",
    artifact: str = "",
    certificate: str = "",
    inside: str = "",
    columns: str = "",
    order: str = "",
    required: str = "",
    search: str = "",
    aliases: str = "",
) -> Resource:
    """A set of documents of one type. `host` names the properties that hold the host which an object is of, `artifact`
    those that may hold another thing, `certificate` one, `inside` further objects; they stand in the document."""
    hosts, artifacts = host.split(), artifact.split()
    named = [f"{each}/id" for each in (*hosts, *artifacts)]
    of = resource(
        f"{PATH}/{name}",
        f"{OF}.{type}",
        aliases={f"{PATH}/{alias}": BOTH for alias in aliases.split()},
        can=Can.READ | Can.CREATE,
        read=READ,
        create=INGEST,
        collection=collection(
            stored or name,
            f"{OF}.{type}",
            columns=" ".join([columns, *named]),
            order=order,
            entities=dict.fromkeys(named, TOLD),
        ),
        required=" ".join([required, *hosts, *artifacts]),
        search=search,
        inline=" ".join([*hosts, *artifacts, certificate, inside]),
        unserved=UNWRITABLE,
    )

    @of.prepare
    def normal(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
        told = {each: reference(given, each) for each in hosts}
        told |= {each: reference(given, each, artifact=True) for each in artifacts}
        if certificate and not (given.get(certificate) or {"id": "-"}).get("id"):
            raise BadRequest(f"{certificate}: expected an object with the id of a certificate.")
        return {**given, **told}

    return of


_SEEN = "firstSeenDateTime lastSeenDateTime"
articles = _told(
    "articles",
    "article",
    columns="title createdDateTime lastUpdatedDateTime isFeatured",
    order="createdDateTime desc",
    required="title createdDateTime",
    search="title summary/content",
)
article_indicators = _told(
    "articleIndicators", "articleIndicator", artifact="artifact", columns="articleId source", required="articleId"
)
profiles = _told(
    "intelProfiles",
    "intelligenceProfile",
    columns="title kind firstActiveDateTime",
    order="title",
    required="title kind",
    search="title summary/content",
)
profile_indicators = _told(
    "intelligenceProfileIndicators",
    "intelligenceProfileIndicator",
    artifact="artifact",
    columns=f"intelligenceProfileId source {_SEEN}",
    required="intelligenceProfileId",
    aliases="intelProfileIndicators",  # as samples of the service call it
)
vulnerabilities = _told(
    "vulnerabilities",
    "vulnerability",
    inside="components",
    columns="severity priorityScore publishedDateTime lastModifiedDateTime activeExploitsObserved",
    order="publishedDateTime desc",
    required="id",
    search="id",
)
components = _told("hostComponents", "hostComponent", host="host", columns=f"name {_SEEN}", required="name")
cookies = _told("hostCookies", "hostCookie", host="host", columns=f"name domain {_SEEN}", required="name domain")
pairs = _told("hostPairs", "hostPair", host="parentHost childHost", columns=f"linkKind {_SEEN}")
ports = _told(
    "hostPorts",
    "hostPort",
    host="host",
    certificate="mostRecentSslCertificate",
    columns=f"port protocol status {_SEEN}",
    required="port",
)
host_certificates = _told(
    "hostSslCertificates",
    "hostSslCertificate",
    host="host",
    certificate="sslCertificate",
    columns=f"sslCertificate/id {_SEEN}",
    required="sslCertificate",
)
trackers = _told("hostTrackers", "hostTracker", host="host", columns=f"kind value {_SEEN}", required="kind value")
passive_dns = _told(
    "passiveDnsRecords",
    "passiveDnsRecord",
    host="parentHost",
    artifact="artifact",
    columns=f"recordType collectedDateTime {_SEEN}",
    required="recordType",
    aliases="passiveDnsRecord",  # as samples of the service call it
)
certificates = _told(
    "sslCertificates",
    "sslCertificate",
    columns=f"fingerprint sha1 serialNumber expirationDateTime issueDateTime {_SEEN}",
    required="id",
)
subdomains = _told("subdomains", "subdomain", stored="tiSubdomains", host="host", columns="firstSeenDateTime")
_WHOIS = f"domainStatus registrationDateTime expirationDateTime lastUpdateDateTime {_SEEN}"
whois = _told("whoisRecords", "whoisRecord", host="host", columns=_WHOIS, order="lastSeenDateTime desc")
whois_history = _told(
    "whoisHistoryRecords", "whoisHistoryRecord", host="host", columns=_WHOIS, order="lastSeenDateTime desc"
)
OF_HOSTS = (
    *(components, cookies, pairs, ports, host_certificates, trackers, passive_dns, subdomains, whois, whois_history),
    *(article_indicators, profile_indicators),
)  # what a host is named in

articles.navigation("indicators", article_indicators, column="articleId")
profiles.navigation("indicators", profile_indicators, column="intelligenceProfileId")
whois.navigation(
    "history", whois_history, made=behind(whois_history, "host/id", by=lambda row: str(said(row, "host/id")))
)


# ---------------------------------------------------------------- vulnerabilities

COMPONENTS = collection("vulnerabilityComponents", f"{OF}.vulnerabilityComponent")


def _components(ctx: Context, parent: Stored) -> list[Stored]:
    told = inner(parent).get("components") or []
    return [made(ctx, COMPONENTS.type or "", COMPONENTS.name, str(each["id"]), each) for each in told]


async def _list_components(ctx: Context, parent: Stored, query: Query) -> Page:
    return paged(query, _components(ctx, parent))


async def _one_component(ctx: Context, parent: Stored, id: str) -> Stored | None:
    return next((row for row in _components(ctx, parent) if row.id == id), None)


vulnerabilities.navigation("components", COMPONENTS, made=(_list_components, _one_component))


async def _list_articles(ctx: Context, parent: Stored, query: Query) -> Page:
    ids = tuple(str(each) for each in inner(parent).get("articleIds") or ())
    return await ctx.store.page(articles.collection.name, replace(query, ids=ids))


async def _one_article(ctx: Context, parent: Stored, id: str) -> Stored | None:
    named = id in (inner(parent).get("articleIds") or ())
    return await ctx.store.get(articles.collection.name, id) if named else None


vulnerabilities.navigation("articles", articles, made=(_list_articles, _one_article))


@vulnerabilities.prepare
def new_vulnerability(ctx: Context, given: dict[str, Any]) -> dict[str, Any]:
    for each in given.get("components") or ():
        if not each.get("id") or not each.get("name"):
            raise BadRequest("components: each has an id and a name.")
    return given


# ---------------------------------------------------------------- certificates


def to_certificate(property: str) -> tuple[OnRelated, OnRelatedOne]:
    """The certificate that a record names: as its own set has it, else as the record tells it."""

    async def one(ctx: Context, parent: Stored, _: str) -> Stored | None:
        told = inner(parent).get(property)
        if not told or not told.get("id"):
            return None
        row = await ctx.store.get(certificates.collection.name, str(told["id"]))
        return row or made(ctx, certificates.type, certificates.collection.name, str(told["id"]), told)

    return no_list, one


host_certificates.navigation("sslCertificate", certificates, many=False, made=to_certificate("sslCertificate"))
ports.navigation("mostRecentSslCertificate", certificates, many=False, made=to_certificate("mostRecentSslCertificate"))
