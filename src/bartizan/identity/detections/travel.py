"""A place that cannot be reached in the time since the last one; a country that is new.

Thresholds of distance and speed: Elastic's detection rules (500 km, 800 km/h). Addresses behind which people do not
stand (VPN, relays, satellites), carriers within a country and networks that the tenant shares do not count as places.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import HIDDEN, View
from bartizan.intel.tables import Kind

LEARNING_COUNT, LEARNING_S = 10, 14 * 86_400.0


@detection("unlikelyTravel", "mcasImpossibleTravel", strange=True)
def unlikely_travel(view: View) -> Finding | None:
    event, principal = view.event, view.principal
    if event.workload or view.kinds & HIDDEN or view.shared or view.known_device:
        return None
    if principal.count < LEARNING_COUNT and event.at - principal.first < LEARNING_S:
        return None
    found = view.moved()
    if found is None:
        return None
    place, distance, speed = found
    if place.country == event.country and view.kinds & Kind.MOBILE:
        return None
    said = {
        "previousIPAddress": place.address,
        "previousLocation": f"{place.city}, {place.country}",
        "previousSigninDateTime": place.at,
        "previousDevice": place.kit,
        "location": f"{event.city}, {event.country}",
        "distanceKm": round(distance),
        "speedKmh": round(speed),
    }
    parallel = event.at - place.at < 4 * 3600
    return Finding("unlikelyTravel", 1.8 if parallel else 1.4, said, timing="offline")


@detection("newCountry", strange=True)
def new_country(view: View) -> Finding | None:
    event, principal = view.event, view.principal
    if event.workload or view.learning or not event.country or view.tenant_country >= 0.02 or view.known_device:
        return None
    if principal.known("country", event.country, event.at) is not None:
        return None
    countries = ", ".join(sorted(principal.seen.get("country", ())))
    said = {"country": event.country, "usualCountries": countries, "tenantShare": round(view.tenant_country, 4)}
    return Finding("newCountry", 0.3, said, timing="offline")
