"""Actions against a threat that several systems offer: their names, what they are done to, and what takes them back.

A connector names those that it can carry out in `offers`, under these names, so that one request reaches any of them;
an action that only one system has gets a name of the connector's own. Where an offer says no `undo`, the one here holds
if the connector offers that too.

Source: names of Microsoft Graph, resource responseAction of custom detections and the security actions of its samples.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.extend.connectors import Connector, Offer, Target
from bartizan.model import entities

MAX_TARGET_CHARS = 2_048


class Standard(Struct, frozen=True):
    """An action that has one meaning everywhere."""

    target: Target
    doc: str  # what is so once it has completed
    undo: str | None = None
    also: tuple[str, ...] = ()  # other names that clients use for it
    sets: Mapping[str, Any] = {}  # of the target's object in the directory here, once the system has done it


STANDARD: Mapping[str, Standard] = {
    "disableUser": Standard(
        "user", "The account can no longer sign in.", "enableUser", ("suspendUser",), {"accountEnabled": False}
    ),
    "enableUser": Standard(
        "user", "The account can sign in again.", "disableUser", ("unsuspendUser",), {"accountEnabled": True}
    ),
    "revokeSignInSessions": Standard(
        "user",
        "Sessions and refresh tokens that the account had have ended; it may sign in anew.",
        also=("revokeSessions", "invalidateAllRefreshTokens"),
    ),
    "expirePassword": Standard(
        "user",
        "The account has to set a new password at the next sign-in.",
        also=("forceUserPasswordReset", "forcePasswordChange"),
    ),
    "resetPassword": Standard("user", "The password that the account had no longer works."),
    "isolateDevice": Standard(
        "device", "The device reaches nothing but its management.", "releaseDevice", ("isolateHost", "containDevice")
    ),
    "releaseDevice": Standard(
        "device", "The device is back on its network.", "isolateDevice", ("unisolateDevice", "releaseHost")
    ),
    "restrictAppExecution": Standard(
        "device", "Only programs of the system's maker run on the device.", "removeAppRestriction"
    ),
    "removeAppRestriction": Standard("device", "Every program may run on the device again.", "restrictAppExecution"),
    "runAntivirusScan": Standard("device", "The device has been scanned.", also=("scanDevice",)),
    "collectInvestigationPackage": Standard("device", "What an investigation needs has been fetched from the device."),
    "blockAddress": Standard(
        "address", "Nothing passes to or from the address.", "unblockAddress", ("blockIp", "blockIpAddress")
    ),
    "unblockAddress": Standard(
        "address", "The address is reachable again.", "blockAddress", ("unblockIp", "unblockIpAddress")
    ),
    "blockFile": Standard("file", "The file does not run on any device.", "unblockFile", ("blockHash",)),
    "unblockFile": Standard("file", "The file is no longer blocked.", "blockFile", ("unblockHash",)),
    "quarantineFile": Standard(
        "file", "The file has been stopped and put away.", "restoreFile", ("stopAndQuarantineFile",)
    ),
    "restoreFile": Standard("file", "The file is where it was.", "quarantineFile", ("unquarantineFile",)),
    "blockDomain": Standard("domain", "The domain cannot be reached.", "unblockDomain"),
    "unblockDomain": Standard("domain", "The domain is reachable again.", "blockDomain"),
    "blockUrl": Standard("url", "The address of the web cannot be reached.", "unblockUrl"),
    "unblockUrl": Standard("url", "The address of the web is reachable again.", "blockUrl"),
    "deleteMail": Standard(
        "mail", "The message is in no mailbox, and can be restored.", "restoreMail", ("softDelete", "quarantineMail")
    ),
    "restoreMail": Standard("mail", "The message is back in its mailboxes.", "deleteMail"),
}

# Parameters that hold a target, by its kind, the one to recommend first; read in any case.
NAMED: Mapping[Target, tuple[str, ...]] = {
    "user": ("userPrincipalName", "userId", "upn", "user", "username", "accountName", "accountObjectId", "email"),
    "device": ("deviceId", "deviceName", "machineId", "hostName", "host", "fqdn", "computerDnsName", "deviceDnsName"),
    "address": ("ip", "ipAddress", "address", "sourceIp", "destinationIp"),
    "file": ("sha256", "sha1", "md5", "fileHash", "hash", "fileHashValue"),
    "domain": ("domain", "domainName"),
    "url": ("url",),
    "mail": ("internetMessageId", "networkMessageId", "messageId"),
    "alert": ("alertId", "providerAlertId"),
}
# Of these there is one system that has the target; the others are of the whole world, and every system may act on them.
OWNED: frozenset[Target] = frozenset({"user", "device", "mail", "alert"})

_NAMES = {
    spelt.lower(): name for name, standard in STANDARD.items() for spelt in (name, *standard.also)
}  # in lower case -> the standard name
_HASH_CHARS = {"md5": 32, "sha1": 40, "sha256": 64}


def standard_name(name: str) -> str:
    """The standard name that `name` means, in any case; what is none stays as it is."""
    return _NAMES.get(name.strip().lower(), name.strip())


def offered(connector: type[Connector], name: str) -> tuple[str, Offer] | None:
    """What a connector offers under a name, with its own spelling of it."""
    wanted = standard_name(name).lower()
    return next(((own, offer) for own, offer in connector.offers.items() if standard_name(own).lower() == wanted), None)


def undo_of(connector: type[Connector], name: str) -> str | None:
    """The action that takes this one back there, if the connector offers it."""
    found = offered(connector, name)
    if found is None:
        return None
    standard = STANDARD.get(standard_name(name))
    undo = found[1].undo or (None if standard is None else standard.undo)
    back = None if undo is None else offered(connector, undo)
    return None if back is None else back[0]


def usable(kind: Target, parameter: str, value: str) -> str:
    """The target as it is ordered: in one spelling. BadRequest where nothing could be done to it."""
    text = value.strip()
    if not text or len(text) > MAX_TARGET_CHARS or not text.isprintable():
        raise BadRequest(f"parameters: {parameter} is empty, too long or not text; expected a {kind}.")
    found = _READ[kind](text, parameter.lower()) if kind in _READ else text
    if found is None:
        raise BadRequest(f"parameters: {parameter} is '{text[:100]}'; expected {_EXPECTED[kind]}.")
    return found


def _address(text: str, parameter: str) -> str | None:
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    found = found if mapped is None else mapped
    useless = found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local
    return None if useless or getattr(found, "scope_id", None) else str(found)


def _file(text: str, parameter: str) -> str | None:
    wanted = _HASH_CHARS.get(parameter)
    found = re.fullmatch(r"[0-9a-fA-F]+", text) is not None and len(text) in _HASH_CHARS.values()
    return text.lower() if found and wanted in (None, len(text)) else None


def _domain(text: str, parameter: str) -> str | None:
    found = entities.domain(text)
    return found if found is not None and "." in found and entities.address(found) is None else None


def _url(text: str, parameter: str) -> str | None:
    """As it came: what stands behind the host may mind its case."""
    known = re.match(r"(https?|ftp)://[^/?#\s]", text, re.IGNORECASE) is not None
    return text if known and entities.url_host(text) is not None and " " not in text else None


_READ = {"address": _address, "file": _file, "domain": _domain, "url": _url}
_EXPECTED = {
    "address": "an IPv4 or IPv6 address that is not of this machine or of a group",
    "file": "a hash: sha256, sha1 or md5 in hexadecimal digits, as many as its parameter says",
    "domain": "a domain such as bad.example",
    "url": "a whole URL such as https://bad.example/path",
}
