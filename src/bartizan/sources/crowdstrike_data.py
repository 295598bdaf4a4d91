"""Where data went that Falcon Data Protection saw leave: to a site, by mail, onto a device.

Source: CrowdStrike documentation, "Streaming API Event Dictionary", DataProtectionDetectionSummaryEvent.
"""

from itertools import islice

from bartizan.sources.entities import domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, strings

_MAX_TEXTS = 100


def destination(body: Fields, evidence: Evidence) -> None:
    """Addresses of sites and of mail, wherever the destination holds them: each channel has fields of its own."""
    where = body.object("Destination")
    for text in islice(strings(dict(where.data)), _MAX_TEXTS):
        if "://" in text:
            evidence.url(text, ("destination",))
        elif "@" in text:
            evidence.mailbox(text, roles=("destination",))
        elif "." in text and domain(text) is not None:
            evidence.domain(text, roles=("destination",))


def stopped(body: Fields) -> bool:
    return (body.text("ResponseAction") or "").lower() == "blocked"
