"""The vendors' scales of severity, made Graph's five words; a value off its scale is unknown.

There is no "critical" in Graph: it becomes high, and the vendor's own word is kept beside it.
"""

import re
from collections.abc import Mapping

from bartizan.model.alert import Severity

CRITICAL_TAG = "vendorSeverity:critical"

_WORDS: dict[str, Severity] = {
    "informational": "informational",
    "informative": "informational",
    "information": "informational",
    "info": "informational",
    "none": "informational",
    "debug": "informational",
    "very low": "informational",
    "very-low": "informational",
    "verylow": "informational",
    "lowest": "informational",
    "negligible": "informational",
    "unspecified": "unknown",
    "minor": "low",
    "low": "low",
    "notice": "low",
    "moderate": "medium",
    "medium": "medium",
    "med": "medium",
    "warning": "medium",
    "warn": "medium",
    "error": "medium",
    "major": "medium",
    "high": "high",
    "critical": "high",
    "crit": "high",
    "important": "high",
    "severe": "high",
    "alert": "high",
    "emergency": "high",
    "fatal": "high",
    "highest": "high",
    "veryhigh": "high",
    "very-high": "high",
    "very high": "high",
    # as Barracuda cuts syslog's words
    "emer": "high",
    "aler": "high",
    "erro": "medium",
    "noti": "low",
    "debu": "informational",
}


_WITH_NUMBER = re.compile(
    r"\d{1,3}\s?[-:.)]\s?([a-z][a-z_ -]{1,20})|([a-z][a-z_ -]{0,20}[a-z]) ?\([\d.]{1,5}\)", re.ASCII
)

# Words of syslog's scale that products use beside `of_word`'s.
SYSLOG_WORDS: Mapping[str, Severity] = {
    "notice": "low",
    "notification": "low",
    "alert": "high",
    "emergency": "high",
}


def of_word(word: str | None) -> Severity:
    """A word that most vendors use, also with a prefix such as "E_MEDIUM", or with a number as in "3 - High"."""
    folded = (word or "").strip().lower()
    found = _WORDS.get(folded.replace("_", " ")) or _WORDS.get(folded.rpartition("_")[2])
    if found is None and (match := _WITH_NUMBER.fullmatch(folded)) is not None:
        found = _WORDS.get((match[1] or match[2]).replace("_", " "))
    return found or "unknown"


def _steps(value: float | None, *bounds: float) -> Severity:
    """Below the first bound informational, below the second low, below the third medium, else high."""
    if value is None or value < 0:
        return "unknown"
    words: tuple[Severity, ...] = ("informational", "low", "medium", "high")
    return words[sum(value >= bound for bound in bounds)]


def of_hundred(score: float | None) -> Severity:
    """0 to 100: Falcon, Defender scores."""
    return _steps(score, 20, 40, 70)


def of_five(level: float | None) -> Severity:
    """1 to 5: informational, low, medium, high, critical (Falcon's older events)."""
    return _steps(level, 2, 3, 4) if level is not None and 1 <= level <= 5 else "unknown"


def of_guardduty(score: float | None) -> Severity:
    """0 to 10; from 9 on AWS says critical."""
    return _steps(score, 0, 4, 7) if score else "unknown"


def of_asff(normalized: float | None) -> Severity:
    """Security Hub's 0 to 100: nothing, from 1, 40 and 70 on."""
    return _steps(normalized, 1, 40, 70)


def of_cef(level: float | None) -> Severity:
    return _steps(level, 1, 4, 7)


def of_syslog(level: float | None) -> Severity:
    """0 emergency to 7 debug."""
    return _steps(7 - level, 2, 3, 4) if level is not None and 0 <= level <= 7 else "unknown"


def of_suricata(level: float | None) -> Severity:
    """Priority 1 (highest) to 4."""
    return _steps(4 - level, 1, 2, 3) if level is not None and 1 <= level <= 4 else "unknown"


def of_wazuh(level: float | None) -> Severity:
    """Rule levels 0 to 15 (16 in old OSSEC rules)."""
    return _steps(level, 4, 7, 12)


_FALCO: dict[str, Severity] = {
    "debug": "informational",
    "informational": "informational",
    "info": "informational",
    "notice": "low",
    "warning": "medium",
    "error": "medium",
    "critical": "high",
    "alert": "high",
    "emergency": "high",
}


_PRIORITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")
_FALCO |= {str(number): _FALCO[name] for number, name in enumerate(_PRIORITIES)}  # as gRPC says them


def of_falco(priority: str | None) -> Severity:
    return _FALCO.get((priority or "").strip().lower(), "unknown")


_OKTA: dict[str, Severity] = {
    "debug": "informational",
    "info": "informational",
    "low": "low",
    "warn": "medium",
    "warning": "medium",
    "medium": "medium",
    "error": "high",
    "high": "high",
}


def of_okta(word: str | None) -> Severity:
    return _OKTA.get((word or "").strip().lower(), "unknown")


def of_ocsf(severity_id: float | None) -> Severity:
    """1 informational, 2 low, 3 medium, 4 high, 5 critical, 6 fatal; 0 and 99 say nothing."""
    return _steps(severity_id, 2, 3, 4) if severity_id is not None and 1 <= severity_id <= 6 else "unknown"


_RANK: dict[Severity, int] = {"unknown": 0, "informational": 1, "low": 2, "medium": 3, "high": 4}


def highest(*severities: Severity) -> Severity:
    return max(severities, key=_RANK.__getitem__, default="unknown")
