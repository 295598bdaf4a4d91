"""What Falcon's detections say of ATT&CK, and the tactics and techniques of CrowdStrike's own beside it.

Source: CrowdStrike documentation, "Streaming API Event Dictionary", "Alerts APIs", "Detection and Prevention APIs".
"""

from bartizan.extend import Record
from bartizan.sources import attack
from bartizan.sources.fields import Fields

_WORDS = {
    "machine learning": "Malware",
    "malware": "Malware",
    "falcon intel": "Malware",
    "custom intelligence": "Malware",
    "nextgen av": "Malware",
    "adware/pup": "UnwantedSoftware",
    "insecure security posture": "Misconfiguration",
    "ransomware": "Ransomware",
    "exploit": "Exploit",
    "phishing": "Phishing",
}


def categories(body: Fields, kind: str) -> tuple[str, list[str]]:
    """The category of a detection, and all that it is of: ATT&CK's tactics, else what stands for CrowdStrike's own."""
    words = body.texts("Tactic", "tactic", "tactics")
    for item in body.objects("MitreAttack", "mitre_attack", "behaviors"):
        words += [text for text in (item.text("TacticID", "tactic_id"), item.text("Tactic", "tactic")) if text]
    found = attack.tactics(*(part for word in words for part in (word, *word.split(","))))
    if not found:
        lowered = [word.lower() for word in [*words, *body.texts("Technique", "technique")]]
        default = "Misconfiguration" if kind == "CSPMSearchStreamingEvent" else "SuspiciousActivity"
        found = [next((_WORDS[word] for word in lowered if word in _WORDS), default)]
    return found[0], found


def techniques(record: Record, body: Fields) -> list[str]:
    """The ids that a detection says, and those of names beside a tactic of ATT&CK; under CrowdStrike's own tactics a
    name means one of its own techniques, though ATT&CK may have one of that name ("Malicious File").
    """
    names: list[str] = []
    for item in (body, *body.objects("MitreAttack", "mitre_attack", "behaviors")):
        said = _parts(item.text("Technique", "technique"), *item.texts("Techniques", "techniques"))
        words = (item.text("Tactic", "tactic"), item.text("TacticID", "tactic_id"), *item.texts("Tactics", "tactics"))
        if said and attack.tactics(*_parts(*words)):
            names += said
    return attack.with_named(attack.techniques(record, body.data), names)


def _parts(*texts: str | None) -> list[str]:
    """Some write several into one text, with commas."""
    return [part for text in texts if text for part in text.split(",")]
