"""Techniques of ATT&CK by their names: the table, and what is read by it."""

import re
from collections import defaultdict
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.sources.attack import technique, with_named

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


def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


TABLE = {own: (names, known_as) for own, names, known_as in map(_parted, LINES)}
NAMES = [name for names, _ in TABLE.values() for name in names]
FOLDED = {_folded(name) for name in NAMES}


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


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("Process Injection", "T1055"),
        ("PROCESS_INJECTION", "T1055"),
        ("ProcessInjection", "T1055"),
        (" process injection ", "T1055"),
        ("PowerShell", "T1059.001"),  # T1086 before
        ("Command and Scripting Interpreter: PowerShell", "T1059.001"),
        ("Command-Line Interface: PowerShell", "T1059.001"),  # the older name of the one above it
        ("User Execution: PowerShell", None),
        ("Credential Dumping", "T1003"),
        ("Process Doppelgänging", "T1055.013"),
        ("Process Doppelganging", "T1055.013"),
        ("Local Account", None),
        ("Create Account: Local Account", "T1136.001"),
        ("Account Discovery : Local Account", "T1087.001"),
        ("Disable or Modify Tools", "T1562.001"),  # T1685 since version 19
        ("Impersonation", "T1656"),
        ("Cloud Firewall", "T1686.001"),
        ("DLL Side-Loading", "T1574.002"),
        ("Sensor-based ML", None),
        ("Process Injection detected", None),
        ("a Process Injection", None),
        ("Process Injection: ", None),
        ("T1055", None),
        ("", None),
        (":", None),
        ("Phishing " * 40, None),
    ],
)
def test_technique_by_name(name: str, own: str | None) -> None:
    assert technique(name) == own


@pytest.mark.parametrize(
    ("said", "names", "expected"),
    [
        ([], ["Valid Accounts", "Sensor-based ML"], ["T1078"]),
        (["T1078"], ["Valid Accounts"], ["T1078"]),
        (["T1059"], ["PowerShell"], ["T1059", "T1059.001"]),
        (["T1059.001"], ["Command and Scripting Interpreter"], ["T1059.001"]),
        (["T1086"], ["PowerShell", "Command and Scripting Interpreter"], ["T1086"]),
        (["T1685"], ["Disable or Modify Tools", "Impair Defenses"], ["T1685"]),
        (["T1685.005"], ["Disable or Modify Tools", "Clear Windows Event Logs"], ["T1685.005"]),
        (["T1003", "T0859"], ["OS Credential Dumping", "Valid Accounts"], ["T0859", "T1003", "T1078"]),
        (["T9", "T1"], ["nothing"], ["T9", "T1"]),
    ],
)
def test_names_add_what_no_id_says(said: list[str], names: list[str], expected: list[str]) -> None:
    assert with_named(said, names) == expected


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """What is found has exactly the letters and digits of one of its names, alone or behind one above it."""
    found = technique(text)
    if found is not None:
        own = text.rpartition(":")[2]
        lines = [names for each, (names, known_as) in TABLE.items() if found in (each, known_as)]
        assert any(_folded(own) == _folded(name) for names in lines for name in names)


@given(
    st.sampled_from(NAMES),
    st.text(st.characters(categories=["L", "N"]), min_size=1),
)
def test_only_whole_names(name: str, more: str) -> None:
    """A name with letters around it is another text: it is found where that one is itself in the table alone."""
    for text in (name + more, f"{more} {name}"):
        assert technique(text) is None or _folded(text) in FOLDED


@given(
    st.lists(st.sampled_from(sorted(TABLE))),
    st.lists(st.sampled_from(NAMES)),
)
def test_nothing_said_is_lost(said: list[str], names: list[str]) -> None:
    """What a record says stays, and saying it again with the names changes nothing."""
    once = with_named(said, names)
    assert set(said) <= set(once)
    assert set(with_named(once, names)) == set(once)
