"""Entities and details that a rule says its columns to be, and columns in the words of its alerts. Pure.

Source: Microsoft Graph, resources entityMappingConfiguration, entityMapping and its derived types, alertTemplate
(customDetails); Microsoft Defender XDR, "Create custom detection rules" (column names in titles and descriptions).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bartizan.detect.words import column_of
from bartizan.errors import BadRequest
from bartizan.model import entities
from bartizan.model import security as graph

MAX_MAPPINGS = 50  # of one rule
MAX_DETAILS = 20
MAX_NAME_CHARS = 100
MAX_VALUES = 20  # of one detail
MAX_VALUE_CHARS = 2_048  # of one detail, as the alert shows it
MAX_INSERTED = 3  # columns that a title, or a description, names
_INSERTED = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,127})\s*\}\}")
_ABOUT = ("accounts", "hosts", "mailboxes")  # kinds by which one alert is told from another

Row = Mapping[str, Any]
Said = Mapping[str, str | None]


def mappings_of(template: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """(kind, property -> column) of each entity, such as ("accounts", {"upn": "Caller"})."""
    found = []
    for kind, each in (template.get("entityMappings") or {}).items():
        for one in each if isinstance(each, list) else ():
            columns = {
                name.removesuffix("Column"): str(column)
                for name, column in one.items()
                if name.endswith("Column") and column not in (None, "")
            }
            found.append((kind, columns))
    return found


def details_of(template: Mapping[str, Any]) -> dict[str, str]:
    """Name of a detail -> column."""
    given = template.get("customDetails") or {}
    return {name: str(column) for name, column in given.items() if not name.startswith("@") and column is not None}


def inserted(text: str | None) -> list[str]:
    """The columns that a title or description names, each once."""
    return list(dict.fromkeys(_INSERTED.findall(text or "")))


def check(template: Mapping[str, Any], where: str) -> None:
    """BadRequest for what says nothing, and for what no alert would show."""
    mappings, details = mappings_of(template), details_of(template)
    if len(mappings) > MAX_MAPPINGS:
        raise BadRequest(f"{where}.entityMappings: at most {MAX_MAPPINGS}; got {len(mappings)}.")
    for kind, columns in mappings:
        if kind not in _MADE:
            raise BadRequest(f"{where}.entityMappings.{kind} is not known; known: {', '.join(_MADE)}.")
        if "scope" in columns:
            raise BadRequest(
                f"{where}.entityMappings.{kind}.scopeColumn is not supported: an address has no scope here."
            )
        if not columns:
            raise BadRequest(f"{where}.entityMappings.{kind}: an entity names a column.")
    if len(details) > MAX_DETAILS:
        raise BadRequest(f"{where}.customDetails: at most {MAX_DETAILS}; got {len(details)}.")
    for name in details:
        if not name.strip() or len(name) > MAX_NAME_CHARS:
            raise BadRequest(f"{where}.customDetails: a name has 1 to {MAX_NAME_CHARS} characters; got {len(name)}.")
    for part in ("title", "description"):
        if len(names := inserted(template.get(part))) > MAX_INSERTED:
            raise BadRequest(f"{where}.{part} names {len(names)} columns; the most is {MAX_INSERTED}.")


def wanted_columns(template: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(column, what names it) of those that the result has to have."""
    found = [(column, f"entityMappings.{kind}") for kind, of in mappings_of(template) for column in of.values()]
    found += [(column, "customDetails") for column in details_of(template).values()]
    return found + [(name, part) for part in ("title", "description") for name in inserted(template.get(part))]


def about(template: Mapping[str, Any]) -> list[str]:
    """The columns of the accounts, hosts and mailboxes that a rule maps: rows that name the same are one alert."""
    return [column for kind, columns in mappings_of(template) if kind in _ABOUT for column in columns.values()]


def filled_in(text: str, row: Row) -> str:
    """With the row's values where columns are named; a column without value leaves a dash."""
    return _INSERTED.sub(lambda match: _text(row, match[1]) or "-", text)


def details(template: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, str]:
    """What the rows say of each detail: its value; of several values a list as JSON, as far as there is room."""
    found: dict[str, str] = {}
    for name, column in details_of(template).items():
        values = list(dict.fromkeys(text for row in rows if (text := _text(row, column)) is not None))
        if not values:
            continue
        said = values[0] if len(values) == 1 else msgspec.json.encode(values[:MAX_VALUES]).decode()
        found[name] = said if len(said) <= MAX_VALUE_CHARS else said[: MAX_VALUE_CHARS - 1] + "…"
    return found


def mapped(template: Mapping[str, Any], row: Row) -> Iterator[graph.AlertEvidence]:
    """The entities that a row names; none of a mapping whose columns are empty."""
    for kind, columns in mappings_of(template):
        said = {name: _text(row, column) for name, column in columns.items()}
        if kind in _MADE and any(said.values()) and (item := _MADE[kind](said)) is not None:
            yield item


def _text(row: Row, name: str) -> str | None:
    column = column_of(name, row)
    value = None if column is None else row[column]
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text.strip() or None


# ---------------------------------------------------------------- from what is said to evidence


def _account(said: Said) -> graph.AlertEvidence | None:
    name, domain, upn = said.get("name"), said.get("ntDomain") or said.get("dnsDomain"), said.get("upn")
    if name is not None and "\\" in name:
        domain, _, name = name.rpartition("\\")
    elif name is not None and "@" in name:
        upn, name = upn or name, name.partition("@")[0]
    if upn is None and name is not None and said.get("upnSuffix"):
        upn = f"{name}@{said['upnSuffix']}"
    name = name or ((upn or "").partition("@")[0] or None)
    id, sid = said.get("aadUserId"), said.get("sid")
    if not (name or id or sid):
        return None
    account = graph.UserAccount(
        accountName=name, domainName=domain, userPrincipalName=upn, azureAdUserId=id, userSid=sid
    )
    return graph.UserEvidence(userAccount=account)


def _host(said: Said) -> graph.AlertEvidence | None:
    name, domain = said.get("name") or said.get("netBiosName"), said.get("dnsDomain")
    whole = name if name and "." in name else f"{name}.{domain}" if name and domain else None
    if not (name or said.get("deviceId")):
        return None
    return graph.DeviceEvidence(
        hostName=name.partition(".")[0] if name else None,
        deviceDnsName=whole,
        dnsDomain=domain,
        ntDomain=said.get("ntDomain"),
        mdeDeviceId=said.get("deviceId"),
    )


def _ip(said: Said) -> graph.IpEvidence | None:
    address = entities.address(said.get("address") or "")
    return None if address is None else graph.IpEvidence(ipAddress=address)


def _dns(said: Said) -> graph.AlertEvidence | None:
    return graph.DnsEvidence(
        domainName=said.get("domainName"),
        hostIpAddress=_ip({"address": said.get("hostIpAddress")}),
        dnsServerIp=_ip({"address": said.get("serverIp")}),
    )


def _details(said: Said) -> graph.FileDetails | None:
    """A hash by its length, whatever column it was said to be."""
    made = graph.FileDetails(fileName=said.get("name"))
    for given in (said.get("sha256"), said.get("sha1")):
        if (digest := entities.digest(given or "")) is not None and len(digest) in _BY_LENGTH:
            setattr(made, _BY_LENGTH[len(digest)], digest)
    return made if made != graph.FileDetails() else None


def _file(said: Said) -> graph.AlertEvidence | None:
    of = _details(said)
    return None if of is None else graph.FileEvidence(fileDetails=of)


def _process(said: Said) -> graph.AlertEvidence | None:
    of = _details(said)
    return None if of is None else graph.ProcessEvidence(imageFile=of)


def _message(said: Said) -> graph.AlertEvidence | None:
    sender = said.get("sender")
    return graph.AnalyzedMessageEvidence(
        networkMessageId=said.get("networkMessageId"),
        recipientEmailAddress=said.get("recipient"),
        subject=said.get("subject"),
        p2Sender=graph.EmailSender(emailAddress=sender) if sender else None,
    )


def _application(said: Said) -> graph.AlertEvidence | None:
    """Graph's number of an application; one that is named by something else is known by that."""
    id = said.get("appId")
    number = int(id) if id is not None and id.isdecimal() and len(id) < 10 else None
    return graph.CloudApplicationEvidence(
        displayName=said.get("name") or (id if number is None else None), appId=number
    )


def _registry(said: Said) -> graph.AlertEvidence | None:
    hive, _, rest = (said.get("key") or "").partition("\\")
    return graph.RegistryValueEvidence(
        registryHive=hive or None, registryKey=rest or hive or None, registryValueName=said.get("valueName")
    )


def _group(said: Said) -> graph.AlertEvidence | None:
    return graph.SecurityGroupEvidence(
        securityGroupId=said.get("objectId"), sid=said.get("sid"), distinguishedName=said.get("distinguishedName")
    )


def _resource(said: Said) -> graph.AlertEvidence | None:
    id = said.get("resourceId") or ""
    return graph.AzureResourceEvidence(resourceId=id, resourceName=id.rpartition("/")[2])


_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256"}
_MADE: Mapping[str, Callable[[Said], graph.AlertEvidence | None]] = {
    "accounts": _account,
    "amazonResources": lambda said: graph.AmazonResourceEvidence(amazonResourceId=said.get("amazonResourceId")),
    "azureResources": _resource,
    "cloudApplications": _application,
    "dns": _dns,
    "files": _file,
    "googleCloudResources": lambda said: graph.GoogleCloudResourceEvidence(
        fullResourceName=said.get("fullResourceName")
    ),
    "hosts": _host,
    "ips": _ip,
    "mailClusters": lambda said: graph.MailClusterEvidence(query=said.get("query"), clusterBy=said.get("source")),
    "mailMessages": _message,
    "mailboxes": lambda said: graph.MailboxEvidence(primaryAddress=said.get("primaryAddress")),
    "oAuthApplications": lambda said: graph.OauthApplicationEvidence(appId=said.get("oAuthAppId")),
    "processes": _process,
    "registryValues": _registry,
    "securityGroups": _group,
    "urls": lambda said: graph.UrlEvidence(url=said.get("address")),
}
