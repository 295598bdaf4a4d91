"""What is kept of who did what, as records of the unified audit log: of directoryAudits, of sign-ins, and of what
arrived as OfficeActivity.

Source: Microsoft Graph, resources auditLogQuery and auditLogRecord; Office 365 Management Activity API schema (common
schema, Azure Active Directory base schema, identity types).
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from bartizan.model.edm import edm
from bartizan.model.times import parse

ENTRA = "AzureActiveDirectory"  # the workload of directory audits and of sign-ins
AUDIT, SIGN_IN = "AzureActiveDirectory", "AzureActiveDirectoryStsLogon"  # their types of record
_SPACE = "microsoft.graph.security"
_APPLICATION_EVENT, _ACCOUNT_LOGON = 1, 0  # AzureActiveDirectoryEventType
_OTHER, _SPN, _UPN = 2, 4, 5  # types of the ids in Actor and Target
_REGULAR, _SYSTEM, _SERVICE_PRINCIPAL = 0, 4, 6  # UserType
_FIRST, _LAST = "0001-01-01T00:00:00.0000000Z", "9999-12-31T23:59:59.9999999Z"
# A keyword that stands in the JSON of a row as it stands in its values; others are looked for in the values alone.
_PLAIN = re.compile(r"[a-z0-9 @._:/$+-]{1,200}")
_SERVERS_OWN = ("TenantId", "TimeGenerated", "Type", "SourceSystem", "_IsBillable", "_BilledSize")
_OFFICE_NAMES = {  # columns of OfficeActivity -> the record's own words
    "OfficeId": "Id",
    "OfficeWorkload": "Workload",
    "OfficeObjectId": "ObjectId",
    "Client_IPAddress": "ClientIPAddress",
    "Event_Data": "EventData",
    "Logon_Type": "LogonType",
    "Site_Url": "SiteUrl",
}
_NUMBERS = ("RecordType", "UserType", "LogonType", "InternalLogonType")

Inner = Mapping[str, Any]
Record = dict[str, Any]


class Sought(Struct, frozen=True):
    """What an audit query asks for; empty sets ask for anything. All but types in lower case."""

    start: str
    end: str
    services: frozenset[str]
    types: frozenset[str]
    operations: frozenset[str]
    users: frozenset[str]
    addresses: frozenset[str]
    objects: frozenset[str]
    keyword: str

    def of(self, service: str, type: str | None) -> bool:
        """Whether records of this workload and type may be meant."""
        return (not self.services or service.lower() in self.services) and (not self.types or type in self.types)

    def takes(self, record: Inner) -> bool:
        """All that is said of a record but its time."""
        if not self.of(str(record["service"] or ""), record["auditLogRecordType"]):
            return False
        for wanted, given in (
            (self.operations, (record["operation"],)),
            (self.users, (record["userPrincipalName"], record["userId"])),
            (self.addresses, (plain_address(str(record["clientIp"] or "")),)),
            (self.objects, (record["objectId"],)),
        ):
            if wanted and not any(str(each or "").lower() in wanted for each in given):
                return False
        return not self.keyword or any(self.keyword in text.lower() for text in _texts(record["auditData"]))


def sought(query: Inner, services: Iterable[str] | None) -> Sought | None:
    """Of an auditLogQuery in inner form, within these workloads (None: any); None where it asks for none of them."""

    def some(name: str) -> frozenset[str]:
        return frozenset(str(each).lower() for each in query.get(name) or ())

    asked = some("serviceFilters")
    if services is not None:
        may = frozenset(each.lower() for each in services)
        if asked and not asked & may:
            return None
        asked = asked & may or may
    return Sought(
        start=str(query.get("filterStartDateTime") or _FIRST),
        end=str(query.get("filterEndDateTime") or _LAST),
        services=asked,
        types=frozenset(query.get("recordTypeFilters") or ()),
        operations=some("operationFilters"),
        users=some("userPrincipalNameFilters"),
        addresses=frozenset(map(plain_address, some("ipAddressFilters"))),
        objects=some("objectIdFilters"),
        keyword=str(query.get("keywordFilter") or "").lower(),
    )


def _texts(value: Any) -> Iterator[str]:
    """Every value within, as a text."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif value is not None:
        yield str(value)


def plain_address(text: str) -> str:
    """Without brackets and port: `[2001:db8::5]:4411`, `198.51.100.7:443`."""
    if text.startswith("["):
        return text[1:].partition("]")[0].lower()
    return (text.partition(":")[0] if text.count(":") == 1 else text).lower()


@lru_cache(4)
def _by_number(enum: str) -> dict[str, str]:
    known = edm("beta").enum(f"{_SPACE}.{enum}")
    assert known is not None
    return {str(value): name for name, value in known.members.items()}


def _type_named(said: Any) -> str | None:
    """A type of record by its number or its name."""
    known = _by_number("auditLogRecordType")
    text = str(said or "")
    return known.get(text) or next((name for name in known.values() if name.lower() == text.lower()), None)


def _record(tenant: str, at: str, type: str | None, data: Record) -> Record:
    users = _by_number("auditLogUserType")
    user = str(data.get("UserId") or "")
    return {
        "id": data["Id"],
        "createdDateTime": at,
        "auditLogRecordType": type,
        "operation": data.get("Operation"),
        "organizationId": data.get("OrganizationId") or tenant,
        "userType": users.get(str(data.get("UserType"))),
        "userId": user or None,
        "service": data.get("Workload"),
        "objectId": data.get("ObjectId"),
        "userPrincipalName": user if "@" in user else None,
        "clientIp": data.get("ClientIP") or None,
        "administrativeUnits": [],
        "auditData": {"CreationTime": at[:19], **{name: value for name, value in data.items() if value is not None}},
    }


def of_audit(said: Inner, tenant: str) -> Record:
    """Of a directoryAudit in inner form."""
    by = said.get("initiatedBy") or {}
    user, app = _said(by.get("user")), _said(by.get("app"))
    targets = [each for each in said.get("targetResources") or () if isinstance(each, Mapping)]
    who = user.get("userPrincipalName") or user.get("id") or app.get("displayName") or app.get("appId")
    person = user.get("id") or user.get("userPrincipalName")  # what the address alone is not
    kind = _REGULAR if person else _SERVICE_PRINCIPAL if app else _SYSTEM
    data: Record = {
        "Id": said["id"],
        "Operation": said.get("activityDisplayName"),
        "OrganizationId": tenant,
        "RecordType": 8,
        "ResultStatus": {"success": "Success", "failure": "Failure"}.get(str(said.get("result")), said.get("result")),
        "UserKey": user.get("id") or app.get("servicePrincipalId") or app.get("appId"),
        "UserType": kind,
        "Version": 1,
        "Workload": ENTRA,
        "ClientIP": user.get("ipAddress"),
        "UserId": who,
        "ObjectId": next((_name_of(each) for each in targets), None),
        "AzureActiveDirectoryEventType": _APPLICATION_EVENT,
        "ExtendedProperties": [
            {"Name": each.get("key"), "Value": each.get("value")} for each in said.get("additionalDetails") or ()
        ],
        "ModifiedProperties": [
            {"Name": each.get("displayName"), "NewValue": each.get("newValue"), "OldValue": each.get("oldValue")}
            for target in targets
            for each in target.get("modifiedProperties") or ()
        ],
        "Actor": _ids((user.get("userPrincipalName"), _UPN), (user.get("id"), _OTHER), (app.get("appId"), _SPN)),
        "InterSystemsId": said.get("correlationId"),
        "Target": [
            each
            for target in targets
            for each in _ids((target.get("userPrincipalName"), _UPN), (target.get("id"), _OTHER))
        ],
    }
    return _record(tenant, str(said.get("activityDateTime") or _FIRST), AUDIT, data)


def _said(part: Any) -> Record:
    return {name: value for name, value in part.items() if value} if isinstance(part, Mapping) else {}


def _name_of(target: Inner) -> Any:
    return target.get("userPrincipalName") or target.get("id") or target.get("displayName")


def _ids(*pairs: tuple[Any, int]) -> list[Record]:
    return [{"ID": value, "Type": kind} for value, kind in pairs if value]


def of_sign_in(said: Inner, tenant: str) -> Record:
    """Of a signIn in inner form."""
    status, device = said.get("status") or {}, said.get("deviceDetail") or {}
    code = status.get("errorCode") or 0
    upn, user = said.get("userPrincipalName"), said.get("userId")
    service = said.get("servicePrincipalId")
    data: Record = {
        "Id": said["id"],
        "Operation": "UserLoginFailed" if code else "UserLoggedIn",
        "OrganizationId": tenant,
        "RecordType": 15,
        "ResultStatus": "Failed" if code else "Success",
        "UserKey": user or service,
        "UserType": _REGULAR if upn or user else _SERVICE_PRINCIPAL,
        "Version": 1,
        "Workload": ENTRA,
        "ClientIP": said.get("ipAddress"),
        "ActorIpAddress": said.get("ipAddress"),
        "UserId": upn or user or service,
        "ObjectId": said.get("resourceId"),
        "AzureActiveDirectoryEventType": _ACCOUNT_LOGON,
        "ApplicationId": said.get("appId"),
        "ErrorNumber": str(code),
        "LogonError": status.get("failureReason") if code else None,
        "DeviceProperties": _named(device, ("OS", "operatingSystem"), ("BrowserType", "browser"), ("Id", "deviceId")),
        "ExtendedProperties": _named(said, ("UserAgent", "userAgent"), ("ClientAppUsed", "clientAppUsed")),
        "ModifiedProperties": [],
        "Actor": _ids((user, _OTHER), (upn, _UPN), (service, _SPN)),
        "InterSystemsId": said.get("correlationId"),
        "Target": _ids((said.get("resourceId"), _OTHER)),
    }
    return _record(tenant, str(said.get("createdDateTime") or _FIRST), SIGN_IN, data)


def _named(of: Inner, *pairs: tuple[str, str]) -> list[Record]:
    return [{"Name": name, "Value": of[key]} for name, key in pairs if of.get(key)]


def of_office(at: str, id: str, columns: Inner, tenant: str) -> Record:
    """Of the columns of a row of OfficeActivity that have a value."""
    data = {
        _OFFICE_NAMES.get(name, name): _number(value) if _OFFICE_NAMES.get(name, name) in _NUMBERS else _json(value)
        for name, value in columns.items()
        if name not in _SERVERS_OWN
    }
    return _record(tenant, parse(at), _type_named(data.get("RecordType")), {**data, "Id": id})


def _number(value: Any) -> Any:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else value


def _json(value: Any) -> Any:
    """What a column holds as the text of a list or an object."""
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value  # an address in brackets, say


def office_query(asked: Sought, before: tuple[str, str] | None, rows: int, id: str | None = None) -> str:
    """KQL for the newest rows of OfficeActivity that may be meant, behind a place, or the one of an id: their time, id
    and columns. It lets through more than `Sought.takes`, never less."""
    parts = [
        "OfficeActivity",
        f"where TimeGenerated >= datetime({asked.start}) and TimeGenerated < datetime({asked.end})",
    ]
    for column, wanted in (
        ("OfficeWorkload", asked.services),
        ("RecordType", _types_said(asked.types)),
        ("Operation", asked.operations),
        ("UserId", asked.users),
        ("OfficeObjectId", asked.objects),
    ):
        if wanted:
            parts.append(f"where {column} in~ ({_list(sorted(wanted))})")
    if asked.addresses:
        parts.append(
            "where " + " or ".join(f"ClientIP contains {json.dumps(each)}" for each in sorted(asked.addresses))
        )
    if id is not None:  # before anything is packed, so that files without it are passed over
        parts.append(f"where OfficeId == {json.dumps(id)} or isempty(OfficeId)")
    parts.append("extend packed_ = pack_all(true)")
    parts.append("extend id_ = iff(isempty(OfficeId), hash_sha256(tostring(packed_)), OfficeId)")
    if _PLAIN.fullmatch(asked.keyword):
        keyword = json.dumps(asked.keyword)
        parts.append(f"where tostring(packed_) contains {keyword} or id_ contains {keyword}")
    if id is not None:
        parts.append(f"where id_ == {json.dumps(id)}")
    if before is not None:
        at = f"datetime({before[0]})"
        parts.append(
            f"where TimeGenerated < {at} or (TimeGenerated == {at} and strcmp(id_, {json.dumps(before[1])}) > 0)"
        )
    parts += ["sort by TimeGenerated desc, id_ asc", f"take {rows}", "project TimeGenerated, id_, packed_"]
    return "\n| ".join(parts)


def _types_said(types: Iterable[str]) -> frozenset[str]:
    """Types of records as rows may say them: by name and by number."""
    numbers = {name: number for number, name in _by_number("auditLogRecordType").items()}
    return frozenset(each for name in types for each in (name, numbers[name]))


def _list(values: Sequence[str]) -> str:
    return ", ".join(map(json.dumps, values))
