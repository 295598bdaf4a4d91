"""What a text of a record names: addresses, an account, hashes, a file; None where it names none of that kind.

What an address, a domain or a URL is, `model.entities` decides; here is how vendors write several, or one in parts.
Source: MS-DTYP 2.4.2 (security identifiers); Sysmon's "SHA1=...,MD5=..." fields.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from bartizan.model import entities as known
from bartizan.model.entities import MAX_VALUE_CHARS

_HASH_KINDS = {32: "md5", 40: "sha1", 64: "sha256"}
_NAMED_HASH = re.compile(r"\b(MD5|SHA-?1|SHA-?256)[=:]\s?([0-9A-Fa-f]{32,64})\b", re.IGNORECASE)
_SID = re.compile(r"S-1-\d+(?:-\d+){0,15}", re.IGNORECASE)
_NOBODY = frozenset({"unknown", "undefined", "$", "anonymous", "(unknown user)", "<unknown>"})
_PROGRAMS = (".exe", ".dll", ".sys", ".com", ".bat", ".cmd", ".ps1", ".vbs", ".js", ".msi", ".scr")  # ends of no folder
# "Ann <ann@example.com>", "mailto:ann@example.com", the first of several
_MAIL = re.compile(r"(?:[^<>@]{0,256}<|(?i:mailto|smtp):)?([^\s<>@,;:]{1,256}@[\w.-]{1,256})(?:>|[,;]|$)")
_BETWEEN = re.compile(r"[,;\s]+")
_WHOLE_PATH = re.compile(r"[A-Za-z]:[\\/]")
_IN_TEXT = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)", re.ASCII)
_OWN = tuple(map(ip_network, known.OWN_NETWORKS))
_MAX_TEXT_CHARS = 65_536
_MAX_URL_CHARS = 8_192


def address(text: str | None) -> str | None:
    """One IP address in its shortest form, without port, brackets or zone; 0.0.0.0 and :: are none."""
    return known.address(text.strip().removesuffix("/128")) if text else None


def is_outside(text: str | None) -> bool:
    """Whether an address is none of those that networks have for themselves: who has it is a party in the world."""
    found = address(text)
    return found is not None and not any(ip_address(found) in network for network in _OWN)


def domain(text: str | None) -> str | None:
    """A name with at least one dot that is no address."""
    return known.domain(text) if text else None


def is_url(text: str | None) -> bool:
    """Something with a scheme, or a domain or address with a path."""
    if not text or len(text) > _MAX_URL_CHARS or known.url(text) is None:
        return False
    host = known.url_host(text)
    return "://" in text or domain(host) is not None or address(host) is not None


def addresses(texts: Iterable[str | None]) -> list[str]:
    """Of texts that may hold several, separated by commas or spaces; each once, in order."""
    found = (address(part) for text in texts if text and len(text) < 10_000 for part in _BETWEEN.split(text)[:100])
    return list(dict.fromkeys(part for part in found if part is not None))


def addresses_in(text: str | None, most: int = 50) -> list[str]:
    """The IPv4 addresses that running text names, each once, in order; also at the end of a sentence."""
    found = (address(match[0]) for match in _IN_TEXT.finditer((text or "")[:_MAX_TEXT_CHARS]))
    return list(dict.fromkeys(each for each in found if each is not None))[:most]


def hash_kind(text: str | None) -> str | None:
    """md5, sha1 or sha256 by length; a hash of zeros is how sensors say that they took none."""
    return _HASH_KINDS.get(len(text)) if text and len(text) in _HASH_KINDS and known.digest(text) else None


def hashes_in(texts: Iterable[str | None]) -> dict[str, str]:
    """Kind -> lower-case hash, the first of each kind; also of "SHA1=...,MD5=...,IMPHASH=..." in one text."""
    found: dict[str, str] = {}
    for text in texts:
        if not text or len(text) > 4_096:
            continue
        if "=" in text or ":" in text:
            for word, value in _NAMED_HASH.findall(text):
                kind = word.lower().replace("-", "")
                if hash_kind(value) == kind:
                    found.setdefault(kind, value.lower())
        elif (name := hash_kind(text)) is not None:
            found.setdefault(name, text.lower())
    return found


def is_sid(text: str | None) -> bool:
    return bool(text and len(text) < 200 and _SID.fullmatch(text))


def file_name(path: str | None) -> str | None:
    """The last part of a path of either kind."""
    if not path:
        return None
    path = path.rstrip("\\/")
    return path[max(path.rfind("\\"), path.rfind("/")) + 1 :] or None


def is_path(text: str | None) -> bool:
    """A whole path of either kind: of a drive, of a share, or from the root."""
    return bool(text and (_WHOLE_PATH.match(text) or text.startswith(("\\\\", "/"))))


def full_path(folder: str | None, name: str | None) -> str | None:
    """The whole path, where a vendor gives the folder and the name apart (or the whole path as folder)."""
    if not folder or not name or file_name(folder) == name:
        return folder
    if folder.lower().endswith(name.lower()) or folder.lower().endswith(_PROGRAMS):
        return folder
    slash = "/" if "/" in folder and "\\" not in folder else "\\"
    return folder + name if folder[-1] in "\\/" else folder + slash + name


def named(text: str | None) -> str | None:
    """A text that may be a name; dots and stars alone are how values are masked."""
    return text if text and any(letter.isalnum() for letter in text) else None


class Account(NamedTuple):
    """The parts of an account as one text gave them."""

    name: str | None = None
    domain: str | None = None
    upn: str | None = None
    sid: str | None = None


def account(text: str | None) -> Account:
    """Of "DOMAIN\\name", "name@domain", a SID, or a name alone; empty where the text says nobody."""
    text = (text or "").strip()
    if "@" in text:
        match = _MAIL.match(text)
        text = match[1] if match is not None else text
    text = text.strip("<>")
    if not text or len(text) > MAX_VALUE_CHARS or text.lower() in _NOBODY:
        return Account()
    if text.startswith("${") or address(text) is not None:  # what a template did not fill in; who has no name there
        return Account()
    if is_sid(text):
        return Account(sid=text)
    head, slash, tail = text.partition("\\")
    if slash and tail:
        return Account(name=tail.lstrip("\\"), domain=head or None)
    local, at, host = text.rpartition("@")
    if at and local and host and " " not in text:
        return Account(name=local, domain=host, upn=text)
    return Account(name=text)
