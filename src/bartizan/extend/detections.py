"""A detection: one type of risk, as a pure function of an event and of what is remembered."""

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, field

On = Literal["signIn", "address", "audit", "activity"]  # address: an earlier sign-in of another principal there
Timing = Literal["realtime", "nearRealtime", "offline"]


class Finding(Struct):
    """What a detection says of one event, or of an earlier one of the same principal."""

    type: str  # riskEventType
    log_odds: float  # what it adds to the log-odds of an attack; bounded by the detection
    reasons: dict[str, Any]  # for additionalInfo: Key -> Value
    timing: Timing = "realtime"  # the engine sets that of the detection
    proven: bool = False  # a fact, not a matter of odds: at least high
    subject: str = ""  # the id of an earlier sign-in, or of another principal's; "" is the event itself
    parts: dict[str, float] = field(default_factory=dict)
    principal: str = ""  # whose risk it is, where not the event's own: an application that a user consented to


class Detection(Struct, frozen=True):
    name: str  # of its file
    on: On
    types: tuple[str, ...]  # the riskEventTypes that it may name
    strange: bool  # asked only where the place is new to the principal
    timing: Timing
    run: Callable[[Any], Finding | None]


DETECTIONS: list[Detection] = []


def detection(
    *types: str, on: On = "signIn", strange: bool = False, timing: Timing = "realtime"
) -> Callable[[Callable[[Any], Finding | None]], Callable[[Any], Finding | None]]:
    """Registers a detection; the function takes the view of the event (`identity.view.View`)."""

    def register(run: Callable[[Any], Finding | None]) -> Callable[[Any], Finding | None]:
        DETECTIONS.append(Detection(run.__name__, on, types, strange, timing, run))
        return run

    return register
