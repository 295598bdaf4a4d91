"""What several of AWS's services write alike: who called, what a resource name says, what was done from where.

Keys are read in any case, so that CloudTrail's and GuardDuty's camelCase and Security Hub's PascalCase are one.
Source: AWS CloudTrail User Guide, "userIdentity element"; AWS General Reference, "Amazon Resource Names"; Amazon
GuardDuty User Guide, "Finding details"; AWS Security Hub User Guide, "ASFF syntax".
"""

import re
from typing import NamedTuple

from bartizan.model import security as graph
from bartizan.sources import entities as names
from bartizan.sources.collector import Roles
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields
from bartizan.sources.times import first_time

_MAX_PROBES = 50
_MAX_ACTORS = 50
_MAX_ENDPOINTS = 100
# What the console's failed sign-ins and redacted records hold instead of a name.
_HIDDEN = frozenset({"hidden_due_to_security_reasons", "redacted", "anonymous"})
_ACCOUNT = re.compile(r"\d{4,16}", re.ASCII)


class Arn(NamedTuple):
    """arn:partition:service:region:account:resource."""

    service: str
    account: str | None
    resource: str  # "role/admin", "instance/i-1"; of S3 "bucket/key"

    @property
    def name(self) -> str:
        parts = re.split(r"[/:]", self.resource)
        return parts[-2] if self.service == "wafv2" and len(parts) > 1 else parts[-1]  # the last is its id there


def arn(text: str | None) -> Arn | None:
    parts = (text or "").split(":", 5)
    if len(parts) < 6 or parts[0] != "arn" or not parts[5]:
        return None
    return Arn(parts[2], parts[4] or None, parts[5])


def said(text: str | None) -> str | None:
    """A name; None for what AWS writes where it hides one."""
    return None if text is None or text.lower() in _HIDDEN else names.named(text)


def resource(
    evidence: Evidence, text: str | None, kind: str | None = None, account: str | None = None, roles: Roles = ()
) -> None:
    """A resource by its ARN or, of some, by its id alone."""
    read = arn(said(text))
    if read is None:
        evidence.amazon(said(text), kind=kind, account=account, roles=roles)
    else:
        evidence.amazon(
            text,
            name=read.name,
            kind=kind or read.service,
            account=read.account or account,
            roles=roles,
        )


def identity(who: Fields, evidence: Evidence) -> graph.UserEvidence | None:
    """Who called: a user by name; of an assumed role the role, and the person where the session bears a mail address.

    Its account is indexed as a principal besides, since policies and cross-account calls name it so.
    """
    account, principal = said(who.text("accountId")), said(who.text("principalId"))
    called = arn(said(who.text("arn")))
    role, session = "", ""
    if called is not None and called.resource.startswith(("assumed-role/", "federated-user/")):
        _, _, tail = called.resource.partition("/")
        role, _, session = tail.partition("/")
    root = (who.text("type") or "").lower() == "root"
    name = said(who.text("userName", "sessionContext.sessionIssuer.userName"))
    if name is None and called is not None:
        name = role or (called.name if called.resource.startswith("user/") else None)
    name = "root" if root and name is None else name
    user = evidence.user(name, object_id=principal, domain=account if name and "@" not in name else None)
    session = session or (principal or "").partition(":")[2]
    if "@" in session:
        user = evidence.user(session) or user
    for path in ("onBehalfOf.userId", "credentialId"):
        evidence.observe("user", said(who.text(path)))
    if account is not None and _ACCOUNT.fullmatch(account):
        evidence.observe("user", account, "account")
        evidence.observe("resource", account, "account")
    for path in ("arn", "sessionContext.sessionIssuer.arn", "accessKeyId"):
        evidence.observe("resource", said(who.text(path)), "actor")
    return user


# ---------------------------------------------------------------- what was done: GuardDuty's and ASFF's actions


def place(details: Fields) -> Place:
    return Place(
        country=details.text("country.countryName", "country.countryCode"),
        city=details.text("city.cityName"),
        latitude=details.number("geoLocation.lat"),
        longitude=details.number("geoLocation.lon"),
    )


def actions(action: Fields, evidence: Evidence, *, attacker: bool) -> None:
    """`attacker`: whether what calls from outside is one (the resource is the target)."""
    for key in ("awsApiCallAction", "kubernetesApiCallAction", "rdsLoginAttemptAction"):
        call = action.object(key)
        evidence.domain(call.text("domainDetails.domain"))
        remote = call.object("remoteIpDetails")
        evidence.ip(remote.text("ipAddressV4", "ipAddressV6"), ("source",), place(remote))
        for text in call.texts("sourceIPs", "sourceIps"):
            evidence.ip(text, ("source",))
    connection = action.object("networkConnectionAction")
    if connection:
        inbound = (connection.text("connectionDirection") or "").upper() == "INBOUND"
        _connection(connection, evidence, connection.text("protocol"), inbound=inbound, attacker=attacker)
    for probe in action.objects("portProbeAction.portProbeDetails")[:_MAX_PROBES]:
        _connection(probe, evidence, "tcp", inbound=True, attacker=attacker)
    evidence.domain(action.text("dnsRequestAction.domain"))


def _connection(item: Fields, evidence: Evidence, protocol: str | None, *, inbound: bool, attacker: bool) -> None:
    local, remote = item.object("localIpDetails"), item.object("remoteIpDetails")
    here = local.text("ipAddressV4", "ipAddressV6"), item.integer("localPortDetails.port")
    there = remote.text("ipAddressV4", "ipAddressV6"), item.integer("remotePortDetails.port")
    where = place(remote)
    made = (
        evidence.flow(*there, *here, protocol, places=(where, None))
        if inbound
        else evidence.flow(*here, *there, protocol, places=(None, where))
    )
    if made is None:
        evidence.ip(there[0], ("source" if inbound else "destination",), where)
        evidence.ip(here[0], ("destination" if inbound else "source",))
    if inbound and attacker:
        evidence.ip(there[0], ("attacker",))


def process(item: Fields, evidence: Evidence) -> None:
    if not item:
        return
    parent, path = item.object("lineage"), item.text("executablePath", "path")
    evidence.observe("process", item.text("name") if path is not None else None)
    evidence.process(
        item.text("commandLineExample"),
        name=item.text("name") if path is None else None,  # the path is whole, its last part another name at times
        path=path,
        pid=item.integer("pid"),
        hashes=[item.text("executableSha256")],
        started=first_time(item, "startTime", "launchedAt"),
        user=evidence.user(item.text("user")),
        parent_path=parent.text("executablePath"),
        parent_pid=parent.integer("pid") or item.integer("parentPid"),
        parent_name=parent.text("name"),
    )


def sequence(item: Fields, evidence: Evidence, account: str | None) -> None:
    """An attack sequence: actors, endpoints, resources."""
    for actor in item.objects("actors")[:_MAX_ACTORS]:
        user = actor.object("user")
        evidence.user(
            user.text("name"), object_id=user.text("uid"), domain=user.text("account.uid"), roles=("attacker",)
        )
        process(actor.object("process"), evidence)
    for end in item.objects("endpoints")[:_MAX_ENDPOINTS]:
        where = end.object("location")
        spot = Place(
            country=where.text("country"),
            city=where.text("city"),
            latitude=where.number("lat"),
            longitude=where.number("lon"),
        )
        evidence.ip(end.text("ip"), ("attacker",), spot)
        evidence.domain(end.text("domain"))
    for part in item.objects("resources")[:_MAX_ENDPOINTS]:
        evidence.amazon(
            part.text("uid"),
            name=part.text("name"),
            kind=part.text("resourceType"),
            account=part.text("accountId") or account,
            roles=("attacked",),
        )
