"""A place that cannot be reached in the time since the last one; a country that is new.

Thresholds of distance and speed: Elastic's detection rules (500 km, 800 km/h). Addresses behind which people do not
stand (VPN, relays, satellites), carriers within a country and networks that the tenant shares do not count as places.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.state import Place
from bartizan.identity.view import HIDDEN, View
from bartizan.intel import Kind

LEARNING_COUNT, LEARNING_S = 10, 14 * 86_400.0


PARALLEL_S = 4 * 3600.0  # both places within it: at most one of them can be the person


@detection("unlikelyTravel", strange=True, timing="offline")
def unlikely_travel(view: View) -> Finding | None:
    event, principal = view.event, view.principal
    if event.workload or view.kinds & HIDDEN or view.shared or view.known_device:
        return None
    if view.job or (_job(view) and not view.beside):
        return None  # it moved to another server: programs do not travel
    if principal.count < LEARNING_COUNT and event.at - principal.first < LEARNING_S:
        return None
    found = _moved(view)
    if found is None:
        return None
    place, distance, speed = found
    said = {
        "previousIPAddress": place.address,
        "previousLocation": f"{place.city}, {place.country}",
        "previousSigninDateTime": place.at,
        "previousDevice": place.kit,
        "location": f"{event.city}, {event.country}",
        "distanceKm": round(distance),
        "speedKmh": round(speed),
    }
    return Finding("unlikelyTravel", 1.4, said)


@detection("mcasImpossibleTravel", strange=True, timing="offline")
def impossible_travel(view: View) -> Finding | None:
    """Beside unlikelyTravel: both places within hours, so that the two are in use at once."""
    found = None if unlikely_travel(view) is None else _moved(view)
    if found is None or view.event.at - found[0].at >= PARALLEL_S:
        return None
    place, distance, speed = found
    said = {
        "minutesBetween": round((view.event.at - place.at) / 60),
        "parallelIPAddress": place.address,
        "distanceKm": round(distance),
        "speedKmh": round(speed),
    }
    return Finding("mcasImpossibleTravel", 0.4, said)


def _job(view: View) -> bool:
    """By its name; `view.job` is one by what it does."""
    event = view.event
    return event.script and not event.interactive and view.principal.known("agent", event.keys[0], event.at) is not None


def _moved(view: View) -> tuple[Place, float, float] | None:
    found = view.moved()
    if found is not None and found[0].country == view.event.country and view.kinds & Kind.MOBILE:
        return None
    return found


@detection("newCountry", strange=True, timing="offline")
def new_country(view: View) -> Finding | None:
    event, principal = view.event, view.principal
    if event.workload or view.learning or not event.country or view.tenant_country >= 0.02 or view.known_device:
        return None
    if view.hides or view.job:
        return None  # the country is not the person's
    if principal.known("country", event.country, event.at) is not None:
        return None
    countries = ", ".join(sorted(principal.seen.get("country", ())))
    said = {"country": event.country, "usualCountries": countries, "tenantShare": round(view.tenant_country, 4)}
    return Finding("newCountry", 0.3, said)
