"""Response actions of a rule as requests for securityActions: which are carried out, and the targets that rows name.

Source: Microsoft Graph beta, resource responseAction and its derived types.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bartizan.detect.words import column_of
from bartizan.errors import BadRequest

_TYPE = "@odata.type"
_NAMESPACE = "#microsoft.graph.security."
MAX_TARGETS = 100  # of one action of one alert


class Means(Struct, frozen=True):
    """The standard action that a type of Graph stands for. `whose` says how its target is named in a row."""

    name: str
    whose: str  # device, user, file, mail


_DONE: Mapping[str, Means] = {
    "isolateDeviceResponseAction": Means("isolateDevice", "device"),
    "runAntivirusScanResponseAction": Means("runAntivirusScan", "device"),
    "restrictAppExecutionResponseAction": Means("restrictAppExecution", "device"),
    "collectInvestigationPackageResponseAction": Means("collectInvestigationPackage", "device"),
    "disableUserResponseAction": Means("disableUser", "user"),
    "forceUserPasswordResetResponseAction": Means("expirePassword", "user"),
    "blockFileResponseAction": Means("blockFile", "file"),
    "stopAndQuarantineFileResponseAction": Means("quarantineFile", "file"),
    "softDeleteResponseAction": Means("deleteMail", "mail"),
}
_WHY_NOT: Mapping[str, str] = {
    "allowFileResponseAction": "no action here exempts a file from later detections",
    "hardDeleteResponseAction": "mail is deleted so that it can be restored: use softDelete",
    "initiateInvestigationResponseAction": "this server has no automated investigations",
    "markUserAsCompromisedResponseAction": "a rule raises alerts; confirm the risk at identityProtection/riskyUsers",
    "moveToDeletedItemsResponseAction": "no action here moves mail between folders: use softDelete",
    "moveToInboxResponseAction": "no action here moves mail between folders",
    "moveToJunkResponseAction": "no action here moves mail between folders: use softDelete",
}
# Set of automatedActions -> the type of response action that says the same, and its columns -> identifiers there.
_DEVICE = {"deviceIdColumn": "deviceId"}
_MAIL = {"networkMessageIdColumn": "networkMessageId", "recipientColumn": "recipientEmailAddress"}
_FILE = {"sha1Column": "sha1", "sha256Column": "sha256"}
_ACCOUNT = {"accountSidColumn": "", "accountObjectIdColumn": ""}  # by the column's own name: see `_ACCOUNTS`
_AUTOMATED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "allowFiles": ("allowFile", _FILE),
    "blockFiles": ("blockFile", _FILE),
    "collectInvestigationPackages": ("collectInvestigationPackage", _DEVICE),
    "disableUsers": ("disableUser", _ACCOUNT),
    "forceUserPasswordResets": ("forceUserPasswordReset", _ACCOUNT),
    "hardDeleteEmails": ("hardDelete", _MAIL),
    "initiateInvestigations": ("initiateInvestigation", _DEVICE),
    "isolateDevices": ("isolateDevice", _DEVICE),
    "markUsersAsCompromised": ("markUserAsCompromised", _ACCOUNT),
    "moveEmailsToDeletedItems": ("moveToDeletedItems", _MAIL),
    "moveEmailsToInbox": ("moveToInbox", _MAIL),
    "moveEmailsToJunk": ("moveToJunk", _MAIL),
    "restrictAppExecutions": ("restrictAppExecution", _DEVICE),
    "runAntivirusScans": ("runAntivirusScan", _DEVICE),
    "softDeleteEmails": ("softDelete", _MAIL),
    "stopAndQuarantineFiles": ("stopAndQuarantineFile", {**_DEVICE, **_FILE}),
}
COLUMNS = "columns"  # of an action that was said as an automated one: identifier -> the column that it stands for
_HASHES = ("sha256", "sha1", "initiatingprocesssha256", "initiatingprocesssha1")
# How the account is named best that an identifier such as accountSid means: the first column that has a value.
_ACCOUNTS: Sequence[tuple[str, str]] = (
    ("Upn", "userPrincipalName"),
    ("ObjectId", "userId"),
    ("Sid", "user"),
    ("Name", "accountName"),
)


def kind_of(action: Mapping[str, Any]) -> str:
    return str(action.get(_TYPE) or "").removeprefix(_NAMESPACE)


def identifiers(action: Mapping[str, Any]) -> list[str]:
    return [each.strip() for each in str(action.get("identifier") or "").split(",") if each.strip()]


def automated(given: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What is said as automatedActions, in the shape of response actions."""
    found = []
    for name, (kind, columns) in _AUTOMATED.items():
        for each in (given or {}).get(name) or []:
            named = {own or str(each[said]): str(each[said]) for said, own in columns.items() if each.get(said)}
            made = {_TYPE: f"{_NAMESPACE}{kind}ResponseAction", "identifier": ",".join(named), COLUMNS: named}
            found.append(
                {**made, **{more: each[more] for more in ("isolationType", "deviceGroupNames") if each.get(more)}}
            )
    return found


def check_action(action: Mapping[str, Any], where: str) -> None:
    """BadRequest for what nobody would carry out."""
    kind = kind_of(action)
    known = ", ".join(name.removesuffix("ResponseAction") for name in _DONE)
    if kind not in _DONE:
        short = kind.removesuffix("ResponseAction") or "an action without @odata.type"
        why = _WHY_NOT.get(kind, "no rule can order it")
        raise BadRequest(f"{where}: {short} is not carried out: {why}. Carried out: {known}.")
    named = identifiers(action)
    if not named or "unknownFutureValue" in named:
        raise BadRequest(f"{where}.identifier: says which column of the result names the target.")
    if action.get("deviceGroupNames"):
        raise BadRequest(f"{where}.deviceGroupNames: a file is blocked on all devices or on none; leave it out.")
    if _DONE[kind].whose == "file" and not any(each.lower() in _HASHES for each in named):
        raise BadRequest(f"{where}.identifier: expected a hash, such as sha1.")
    if _DONE[kind].whose == "mail" and "networkMessageId" not in named:
        raise BadRequest(f"{where}.identifier: expected networkMessageId.")


def wanted_columns(actions: Iterable[Mapping[str, Any]]) -> list[str]:
    """What has to be columns of the result."""
    return list(
        dict.fromkeys(each for action in actions for each in action.get(COLUMNS, {}).values() or identifiers(action))
    )


def requests(actions: Iterable[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], reason: str) -> list[Any]:
    """One securityAction for each action of the rule and, of files on one device, for each device. Those whose target
    no row names are left out."""
    found = []
    for action in actions:
        means = _DONE.get(kind_of(action))
        if means is None:  # kept from before it was refused
            continue
        for extra, targets in _targets(action, means, _renamed(rows, action.get(COLUMNS) or {})).items():
            parameters = [{"name": name, "value": value} for name, value in (*targets, *extra)]
            found.append({"name": means.name, "actionReason": reason, "parameters": parameters})
    return found


def _renamed(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
    """Rows in which the identifiers are the columns that they stand for."""
    if all(own == column for own, column in columns.items()):
        return rows
    found = []
    for row in rows:
        kept = {name: value for name, value in row.items() if name.lower() not in {own.lower() for own in columns}}
        for own, column in columns.items():
            there = column_of(column, row)
            kept[own[:1].upper() + own[1:]] = None if there is None else row[there]
        found.append(kept)
    return found


_Pairs = tuple[tuple[str, str], ...]


def _targets(
    action: Mapping[str, Any], means: Means, rows: Sequence[Mapping[str, Any]]
) -> dict[_Pairs, list[tuple[str, str]]]:
    """Parameters beside the target -> targets, each as (parameter, value)."""
    found: dict[_Pairs, dict[tuple[str, str], None]] = {}
    for row in rows:
        extra: list[tuple[str, str]] = []
        if action.get("isolationType") == "selective":
            extra.append(("isolationType", "selective"))
        named = identifiers(action)
        if means.whose == "file" and "deviceId" in named:
            device = _value(row, "deviceId")
            if device is None:
                continue
            extra.append(("deviceId", device))
        targets = found.setdefault(tuple(extra), {})
        for each in _of_row(means.whose, named, row):
            if len(targets) < MAX_TARGETS:
                targets.setdefault(each)
    return {extra: list(targets) for extra, targets in found.items() if targets}


def _of_row(whose: str, named: Sequence[str], row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if whose == "file":  # one hash names a file: the longest that is there
        for each in _HASHES:
            for own in (one for one in named if one.lower() == each):
                if (value := _value(row, own)) is not None:
                    yield ("sha256" if each.endswith("sha256") else "sha1"), value
                    return
        return
    for own in named:
        if whose == "user":
            if (account := _account(row, own)) is not None:
                yield account
        elif own in ("deviceId", "networkMessageId") and (value := _value(row, own)) is not None:
            yield own, value


def _account(row: Mapping[str, Any], own: str) -> tuple[str, str] | None:
    if (value := _value(row, own)) is None:
        return None
    stem = own[: -len("Sid")] if own.lower().endswith("sid") else own
    for suffix, parameter in _ACCOUNTS:
        if (better := _value(row, stem + suffix)) is not None:
            return parameter, better
    return "user", value


def _value(row: Mapping[str, Any], name: str) -> str | None:
    column = column_of(name, row)
    value = None if column is None else row[column]
    text = "" if value is None else str(value).strip()
    return text or None
