"""Techniques of ATT&CK by their names: the table, and what is read by it."""

import re
from collections import defaultdict
from importlib.resources import files

import pytest

LINES = [
    line
    for line in (files("bartizan.sources") / "attack_techniques.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
# Names that several techniques have, each under another parent.
SHARED = """
Steganography|DNS|Cloud Accounts|Local Account|Domain Account|Cloud Account|Code Repositories|Spearphishing Attachment|
Spearphishing Link|Spearphishing Voice|Domains|DNS Server|Virtual Private Server|Server|Botnet|Web Services|Serverless|
Social Media Accounts|Email Accounts|Malware|Code Signing Certificates|Digital Certificates|Exploits
""".replace("\n", "")


def _parted(line: str) -> tuple[str, list[str], str]:
    own, _, rest = line.partition(" ")
    names, _, known_as = rest.partition(" = ")
    return own, names.split("|"), known_as


TABLE = {own: (names, known_as) for own, names, known_as in map(_parted, LINES)}


def test_lines_are_sorted_and_well_formed() -> None:
    """One line for each id, in ascending order; every name begins and ends with what is no space."""
    assert sorted(TABLE) == [line.partition(" ")[0] for line in LINES]
    assert len(LINES) > 850
    for own, (names, _) in TABLE.items():
        assert re.fullmatch(r"T1\d{3}(\.\d{3})?", own), own
        assert all(name and name == name.strip() and "=" not in name and ":" not in name for name in names), own


def test_parents_and_successors_exist() -> None:
    """A technique below another has that one's line; what stands behind "=" is an id that stands for itself."""
    for own, (_, known_as) in TABLE.items():
        assert own.partition(".")[0] in TABLE, own
        assert not known_as or TABLE[known_as][1] == "", own


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def test_names_are_of_one_technique_each() -> None:
    """But those that several techniques below others have."""
    bearers: dict[str, set[str]] = defaultdict(set)
    for own, (names, known_as) in TABLE.items():
        for name in names:
            bearers[_folded(name)].add(known_as or own)
    several = {name: ids for name, ids in bearers.items() if len(ids) > 1}
    assert several.keys() == {_folded(name) for name in SHARED.split("|")}
    assert all("." in each for ids in several.values() for each in ids)


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("T1003", "Credential Dumping"),
        ("T1059.001", "PowerShell"),
        ("T1078.004", "Cloud Accounts"),
        ("T1552.003", "Shell History"),
        ("T1682", "Query Public AI Services"),
    ],
)
def test_known_names(own: str, name: str) -> None:
    assert name in TABLE[own][0]
