"""One browser, several people, several countries: the program of somebody who has the passwords of many.

A browser that everybody has is in several countries on every day; so it is asked what is usual of it, and countries
where the tenant's people often are count as one. Another version of what the person uses says nothing.

Source: Microsoft Entra ID Protection (suspiciousBrowser), within one tenant.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.view import OWN_KIT, View

COUNTRIES = 3  # with the event's own
WITHIN_S = 6 * 3600.0
USUAL = 1.5  # of the usual number of countries a day, what it must exceed


@detection("suspiciousBrowser", strange=True, timing="offline")
def suspicious_browser(view: View) -> Finding | None:
    event = view.event
    if event.workload or view.known_device or event.managed or view.shared or not (event.agent and event.country):
        return None
    browser = view.browsers.get(event.agent)
    if browser is None or view.device <= OWN_KIT:
        return None  # it has been renewed, as that of everybody who has it
    others = browser.elsewhere(event.principal, event.country, event.at, WITHIN_S)
    countries = {event.country, *others.values()}
    rare = sum(not view.is_home(each) for each in countries)
    if rare + (rare < len(countries)) < COUNTRIES or len(countries) <= USUAL * browser.usual:
        return None
    said = {
        "userAgent": event.agent,
        "principalsInOtherCountries": len(others),
        "countries": ", ".join(sorted(countries)),
        "windowHours": WITHIN_S / 3600,
    }
    return Finding("suspiciousBrowser", min(2.0, 0.4 + 0.3 * len(countries)) * view.weight, said)
