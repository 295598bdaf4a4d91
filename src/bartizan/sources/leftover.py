"""Entities that stand in a record under keys that say of which kind they are, where its source does not read them.

Vendors add fields, and new kinds of records, faster than any source follows. What is found so joins the index of an
event, and is the evidence of an alert that would have none. Addresses and hashes must look like such; links are left
out, since most of them lead to the vendor's own pages.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from bartizan.model.alert import Alert
from bartizan.sources.entities import address, hash_kind
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import as_text, inner_json
from bartizan.sources.keys import one_word

MAX_VALUES = 600  # that a walk visits
MAX_FOUND = 20  # of one record
_MAX_DEPTH = 8
_MIN_CHARS = 2
_MAX_KEY_CHARS = 80
_MAX_NAME_CHARS = 256
MAX_KEYS = 4_096  # remembered

# Parts and ends of keys whose values may look like an address and are none.
_NUMBERS = ("version", "build", "release", "firmware", "engine")
_ENDS = ("oid", "uid", "mac", "macaddress", "eui")
_USERS = frozenset(
    """
    user username useremail useremailaddress userprincipalname upn samaccountname email emailaddress
    actoremail principalemail login loginname targetuser targetusername sourceuser sourceusername targetuseremail
    subjectusername initiatedby requestedby createdby performedby
    """.split()
)
_HOSTS = frozenset(
    """
    host hostname computer computername devicename machinename endpointname agentname workstation workstationname
    hostfqdn devicehostname endpointhostname agenthostname assetname sourcehostname targethostname clientname
    netbiosname
    """.split()
)
_OF_REQUESTS = frozenset({"http", "tls", "url", "request", "httprequest", "headers", "dns"})  # "host" is a name there


@lru_cache(maxsize=MAX_KEYS)
def _kind(key: str) -> str | None:
    word = one_word(key.lower()).lstrip("_").rpartition(".")[2]
    if word in _USERS:
        return "user"
    if word in _HOSTS:
        return "host"
    if "sha256" in word or "sha1" in word or "md5" in word or "filehash" in word:  # "hash" alone may be of anything
        return "hash"
    return None if word.endswith(_ENDS) or any(part in word for part in _NUMBERS) else "address"


def found(data: Any) -> Iterator[tuple[str, str]]:
    """(kind, value) in the order of the record: address, hash, user, host."""
    left = MAX_VALUES
    level: list[tuple[str, str, Any]] = [("", "", data)]  # the key above the object, its key, the value
    for _ in range(_MAX_DEPTH):
        deeper: list[tuple[str, str, Any]] = []
        for above, key, value in level[: max(left, 0)]:
            if isinstance(value, str):
                if len(value) < _MIN_CHARS:
                    continue
                if value[0] == "{" and isinstance(inner := inner_json(value), dict):
                    deeper.append((above, key, inner))
                elif key and (kind := _kind(key)) is not None and _is(kind, value, above):
                    yield kind, value.strip()
            elif isinstance(value, dict):
                deeper.extend((key, str(name)[:_MAX_KEY_CHARS], item) for name, item in value.items())
            elif isinstance(value, list):
                deeper.extend((above, key, item) for item in value)
        left -= len(level)
        level = deeper


def _is(kind: str, value: str, above: str) -> bool:
    if kind == "address":
        begins = value[:1].isdigit() or ":" in value
        return begins and len(value) <= _MAX_NAME_CHARS and value[-1:].isalnum() and address(value) is not None
    if kind == "hash":
        return hash_kind(value) is not None
    if kind == "host" and one_word(above.lower()) in _OF_REQUESTS:
        return False
    said = as_text(value)
    named = said is not None and len(said) <= _MAX_NAME_CHARS and any(letter.isalpha() for letter in said)
    return named and " " not in value.strip() and "/" not in value and "(" not in value


def observe(data: Any, evidence: Evidence) -> None:
    """Into the index alone, what is not there yet."""
    known = {entry.value.lower() for entry in evidence.observed}
    new = [(kind, value) for kind, value in dict.fromkeys(found(data)) if value.lower() not in known]
    if new:
        apart = Evidence()
        _give(new, apart)
        for entry in apart.observed:
            if entry.value.lower() not in known:
                evidence.observe(entry.kind, entry.value, entry.role)


def collect(data: Any, evidence: Evidence) -> None:
    """As evidence."""
    _give(list(dict.fromkeys(found(data))), evidence)


def hashes(data: Any, evidence: Evidence) -> None:
    """Only files by their hashes, as evidence: a vendor's own keys of CEF say which hash it is."""
    _give([(kind, value) for kind, value in dict.fromkeys(found(data)) if kind == "hash"], evidence)


def proven(alert: Alert, data: Any) -> Alert:
    """The alert; where its source found no evidence, with what the record's keys say."""
    if not alert.evidence:
        evidence = Evidence(alert.first_activity)
        collect(data, evidence)
        alert.evidence, alert.entities = evidence.items, [*alert.entities, *evidence.observed]
    return alert


def _give(entities: list[tuple[str, str]], evidence: Evidence) -> None:
    for kind, value in entities[:MAX_FOUND]:
        if kind == "address":
            evidence.ip(value)
        elif kind == "hash":
            evidence.file(None, None, [value])
        elif kind == "user":
            evidence.user(value)
        else:
            evidence.host(value)
