"""Names that rules are written in: periods, categories, identifiers of assets, and the columns that they mean.

Source: Microsoft Graph beta, resources detectionRule, alertTemplate, impactedAsset; Microsoft Defender XDR, "Create and
manage custom detections rules" (periods and how far each looks back); MITRE ATT&CK (names of tactics).
"""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta

CONTINUOUS = "0"
PERIODS: Mapping[str, timedelta] = {
    CONTINUOUS: timedelta(minutes=1),
    "1H": timedelta(hours=1),
    "3H": timedelta(hours=3),
    "12H": timedelta(hours=12),
    "24H": timedelta(hours=24),
}
# How far back a run looks: further than to the run before, so that what arrives late is found. Of a continuous rule:
# how far before the end of its last run.
LOOKBACK: Mapping[str, timedelta] = {
    CONTINUOUS: timedelta(minutes=15),
    "1H": timedelta(hours=4),
    "3H": timedelta(hours=12),
    "12H": timedelta(hours=48),
    "24H": timedelta(days=30),
}
MAX_LOOKBACK = timedelta(days=30)  # after this server was away

ALERT_PER_EVENT, SINGLE_ALERT = "alertPerEvent", "singleAlert"  # kinds of eventGroupingKind

SEVERITIES = ("informational", "low", "medium", "high")
TACTICS = (
    "Reconnaissance ResourceDevelopment InitialAccess Execution Persistence PrivilegeEscalation DefenseEvasion "
    "CredentialAccess Discovery LateralMovement Collection CommandAndControl Exfiltration Impact"
).split()
CATEGORIES = (*TACTICS, "Exploit", "Malware", "Phishing", "Ransomware", "SuspiciousActivity", "UnwantedSoftware")
_FOLDED = {name.lower(): name for name in CATEGORIES}
_TECHNIQUE = re.compile(r"T\d{4}(?:\.\d{3})?")


def category(word: str) -> str | None:
    """Its spelling here, of a category in any case and with spaces ("Defense Evasion")."""
    return _FOLDED.get(re.sub(r"[\s_-]+", "", word).lower())


def technique(word: str) -> str | None:
    found = word.strip().upper()
    return found if _TECHNIQUE.fullmatch(found) else None


def column_of(name: str, columns: Iterable[str]) -> str | None:
    """The column that an identifier means (`initiatingProcessSHA1`: InitiatingProcessSHA1). Columns may differ in case
    alone: then the one in Pascal case."""
    found = [each for each in columns if each.lower() == name.lower()]
    wanted = name[:1].upper() + name[1:]
    return wanted if wanted in found else found[0] if found else None
