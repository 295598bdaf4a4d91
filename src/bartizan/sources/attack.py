"""MITRE ATT&CK: technique ids where a record names them, techniques by their names where its format has a field for
them, and the names of the tactics. Nothing is guessed from titles.

Source: MITRE ATT&CK (https://attack.mitre.org), used under its terms; (c) The MITRE Corporation.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from bartizan.extend import Record
from bartizan.sources.fields import strings

MAX_TECHNIQUES = 200
_ONE_RECORD_CHARS = 65_536  # a longer text is a page of records: looking through it for each of them costs its square

# Enterprise and mobile ids begin with T1, those of industrial control systems with T08. After a hyphen or letter it is
# a part of a name.
_ID = r"T(?:1[0-7]\d\d|08\d\d)"
_TECHNIQUE = re.compile(rf"(?<![A-Za-z0-9.%-])({_ID}(?:\.\d{{3}})?)(?![A-Za-z0-9])(?:[/_](\d{{3}})(?!\d))?")
_TAG = re.compile(rf"\battack\.({_ID}(?:\.\d{{3}})?)(?![A-Za-z0-9])", re.IGNORECASE)
_ALONE = re.compile(
    rf"(?:mitre_)?({_ID}(?:\.\d{{3}})?)", re.IGNORECASE
)  # in lower case only where nothing is beside it
_MAYBE = re.compile(r"[Tt](?:1[0-7]|08)\d\d")

_TACTICS = {
    "TA0043": "Reconnaissance",
    "TA0042": "ResourceDevelopment",
    "TA0001": "InitialAccess",
    "TA0002": "Execution",
    "TA0003": "Persistence",
    "TA0004": "PrivilegeEscalation",
    "TA0005": "DefenseEvasion",
    "TA0006": "CredentialAccess",
    "TA0007": "Discovery",
    "TA0008": "LateralMovement",
    "TA0009": "Collection",
    "TA0011": "CommandAndControl",
    "TA0010": "Exfiltration",
    "TA0040": "Impact",
    # Industrial control systems and mobile, by the names that they share or add.
    "TA0106": "ImpairProcessControl",
    "TA0107": "InhibitResponseFunction",
}
_BY_NAME = {name.lower(): name for name in _TACTICS.values()} | {
    "defenceevasion": "DefenseEvasion",
    "commandcontrol": "CommandAndControl",
    "c2": "CommandAndControl",
    "commandandcontrolc2": "CommandAndControl",
    "recon": "Reconnaissance",
    "privesc": "PrivilegeEscalation",
}
_LETTERS = re.compile(r"[^a-z0-9]+")

_FILE = Path(__file__).with_name("attack_techniques.txt")
_NAME_CHARS = 150  # a longer text is no name of a tactic or technique
_BETWEEN = re.compile(r"[\W_]+")


def tactic(word: str | None) -> str | None:
    """The Pascal-case name of a tactic, by id or name in any spelling: "Defense Evasion", "TA0005", "mitre_impact"."""
    return _tactic(word) if word and len(word) <= _NAME_CHARS else None


@lru_cache(512)
def _tactic(word: str) -> str | None:
    if (found := _TACTICS.get(word.strip().upper())) is not None:
        return found
    folded = word.strip().lower().removeprefix("mitre_").removeprefix("attack.")
    return _BY_NAME.get(_LETTERS.sub("", folded))


def tactics(*words: str | None) -> list[str]:
    """Those of the words that name a tactic, each once."""
    return list(dict.fromkeys(name for word in words if (name := tactic(word)) is not None))


def _begun(text: str) -> bool:
    """Whether anything begins as an id does: a quick look, which spares most texts the slow one."""
    return "T1" in text or "t1" in text or "T08" in text or "t08" in text


def techniques_in(text: str) -> list[str]:
    """The ids in one text. A link such as .../techniques/T1055/012/, or T1055_012, gives both T1055
    and T1055.012."""
    if not _MAYBE.search(text):
        return []
    found: list[str] = []
    for match in _TECHNIQUE.finditer(text):
        found.append(match[1])
        if match[2]:
            found.append(f"{match[1]}.{match[2]}")
    found.extend(match[1].upper() for match in _TAG.finditer(text))
    if not found and (alone := _ALONE.fullmatch(text.strip())) is not None:
        found.append(alone[1].upper())
    return found


def techniques(record: Record, data: Any) -> list[str]:
    """Every technique id that `data` (a part of the record) names, in ascending order."""
    if len(record.text) <= _ONE_RECORD_CHARS and not (_begun(record.text) and _MAYBE.search(record.text)):
        return []
    found: set[str] = set()
    for text in strings(data):
        if _begun(text):
            found.update(techniques_in(text))
    return sorted(found)[:MAX_TECHNIQUES]


class _Names(NamedTuple):
    bearers: dict[str, list[str]]  # a name, folded -> the ids that have or had it
    known_as: dict[str, str]  # an id -> the id that its name alone stands for, where that is another


@cache
def _names() -> _Names:
    """The table; it is read when a record first names a technique, which few processes ever see."""
    names = _Names({}, {})
    for line in _FILE.read_text("utf-8").splitlines():
        own, _, rest = line.partition(" ")
        if own == "#":
            continue
        spelt, _, other = rest.partition(" = ")
        if other:
            names.known_as[own] = other
        for name in spelt.split("|"):
            names.bearers.setdefault(_folded(name), []).append(own)
    return names


def _folded(name: str) -> str:
    """A name as it is compared: "Process Injection", PROCESS_INJECTION and ProcessInjection are one."""
    return _BETWEEN.sub("", name.lower())


def technique(name: str) -> str | None:
    """The id of the technique of this name, also behind that of the one above it ("Create Account: Local Account").

    None where no technique has exactly this name, and where several have it: "Local Account" alone says not which.
    """
    return _known(name) if len(name) <= _NAME_CHARS else None


@lru_cache(1024)
def _known(name: str) -> str | None:
    bearers, known_as = _names()
    above, colon, own = name.rpartition(":")
    found = bearers.get(_folded(own), [])
    if colon:
        parents = bearers.get(_folded(above), [])
        found = [each for each in found if "." in each and each.partition(".")[0] in parents]
    ids = {known_as.get(each, each) for each in found}
    return ids.pop() if len(ids) == 1 else None


def with_named(said: list[str], names: Iterable[str]) -> list[str]:
    """The ids that a record says, and those of the techniques that it only names, in ascending order.

    A name adds nothing where an id says the same technique, by an older number too, or one below it.
    """
    found = {each for name in names if (each := technique(name)) is not None and each not in said}
    if found and said:
        found -= _implied(said)
    return sorted({*said, *found})[:MAX_TECHNIQUES] if found else said


def apart(name: str | None, part: str | None) -> list[str]:
    """What to look for where a technique and one below it stand in fields of their own: each, and one behind the other,
    which says more where the lower one's name is that of several.
    """
    if name and part:
        return [name, part, f"{name}: {part}"]
    return [text for text in (name, part) if text]


def _implied(said: list[str]) -> set[str]:
    """What ids say beside themselves: their other numbers, and the techniques above them."""
    known_as = _names().known_as
    same = {known_as.get(each, each) for each in said}
    above = {each.partition(".")[0] for each in (*said, *same)}
    return same | {known_as.get(each, each) for each in above}
