"""Addresses and programs that try the credentials of many, or of one many times, and then succeed.

A spray that validates nothing is no risk of anybody; one that does is. Slow ones are found by the address, which is
remembered for a week; those that change their address with each try by their program, within a day, against what is
usual, or by their carrier and the family of their program, within a week, against who is accepted by them.

Source: Microsoft Entra ID Protection (passwordSpray); MITRE ATT&CK T1110.001, T1110.003, T1110.004.
"""

from bartizan.extend.detections import Finding, detection
from bartizan.identity.changes import BackView
from bartizan.identity.view import OWN_PLACE, View
from bartizan.intel import Kind

NEIGHBOURS = 4  # principals that failed in the network of an address
SPRAYED = 2  # other principals that failed at the address
# Of a burst, by a new program at a new address of the own carrier, for many of these change by themselves; or where
# nobody says the program, so that it is one of all that try.
NEAR = 0.5
CLUSTER = 6  # principals that failed by one carrier and family of programs within a week
FAILING = 4  # of them for each that is accepted so
TRIES = 10  # wrong passwords of one principal from there within a day
OWN_PROGRAM = 0.25  # so many accepted with a program, of those that failed with it: sprays validate some 1 %
SWARM = 5.0  # principals that failed from strange addresses by one program within a day, beyond the usual


@detection("passwordSpray", timing="nearRealtime")
def password_spray(view: View) -> Finding | None:
    event = view.event
    if view.known_device or view.kinds & Kind.TRUSTED or view.address.shared(event.principal):
        return None  # that others share its network says nothing of the address
    failing = view.address.failing(event.principal, event.at)
    if failing >= SPRAYED and view.address.others(event.principal) <= failing:
        said = {"ipAddress": event.address, "principalsWithWrongCredentials": failing, "windowDays": 7}
        return Finding("passwordSpray", min(4.0, 1.0 + 0.5 * failing), said)
    if (
        view.burst is None
        or view.shared
        or event.workload
        or not (view.strange or (view.place > OWN_PLACE and view.device > 0))
    ):
        return None
    if event.agent and view.principal.known("agent", event.keys[0], event.at) is not None:
        return None
    if not event.agent and (view.learning or not _signs_in(view)):
        return None
    size = view.burst.size(event.principal, event.at)
    if size < SWARM or (view.learning and _everybodys(view)):
        return None
    said = {"userAgent": event.agent, "principalsWithWrongCredentials": round(size), "windowHours": 24}
    near = not (view.strange and event.agent)
    return Finding("passwordSpray", min(3.0, 1.0 + 0.2 * size) * (NEAR if near else 1.0), said)


@detection("passwordSpray", strange=True, timing="nearRealtime")
def spray_of_a_carrier(view: View) -> Finding | None:
    """Where neither the address nor its program of the day tells by itself."""
    event, cluster = view.event, view.cluster
    if cluster is None or view.shared or view.known_device or event.managed or view.hides:
        return None
    who, at = event.principal, event.at
    if view.kinds & (Kind.MOBILE | Kind.TRUSTED) or view.principal.known("asn", str(event.asn), at) is not None:
        return None
    failing = cluster.failing(who, at)
    if failing < CLUSTER or failing < FAILING * cluster.others(who) or _tells_by_itself(view):
        return None
    program = event.browser or event.agent
    said = {"autonomousSystemNumber": event.asn, "program": program, "principalsThatFailed": failing, "windowDays": 7}
    return Finding("passwordSpray", min(2.5, 0.5 + 0.25 * failing), said)


def _tells_by_itself(view: View) -> bool:
    """What other detections weigh: the address, its network, or the program today."""
    who, at = view.event.principal, view.event.at
    burst = view.burst.size(who, at) if view.burst is not None else 0.0
    return view.address.failing(who, at) >= SPRAYED or view.prefix.failing(who, at) >= NEIGHBOURS or burst >= SWARM


def _signs_in(view: View) -> bool:
    """With a password, as those who try them do; not by going on with a session."""
    event = view.event
    return event.interactive and not (event.session and event.keys[3] in view.principal.sessions)


def _everybodys(view: View) -> bool:
    """Of one whom we do not know yet, a program that the tenant's people use says nothing: some of them mistype."""
    burst, browser = view.burst, view.browsers.get(view.event.agent)
    if burst is None or browser is None:
        return False
    who, at = view.event.principal, view.event.at
    return browser.others(who) >= OWN_PROGRAM * burst.failing(who, at)


def _came_in(view: View) -> bool:
    """He was accepted at the address, or in its network, before: while it is new to him, in quarantine."""
    who = view.event.principal
    return who in view.address.users or who in view.prefix.users


@detection("maliciousIPAddress", timing="nearRealtime")
def guessed_password(view: View) -> Finding | None:
    """Brute force: the wrong passwords came from the address from which the right one came. Who had come in there
    before has no need to guess: a telephone of his does not know his new password."""
    event = view.event
    since = event.at - 86_400.0
    last, tries = view.principal.failures.get(event.address, (0.0, 0))
    if last < since:
        return None
    if tries < TRIES or view.known_device or (view.strange and _came_in(view)):
        return None
    said = {"ipAddress": event.address, "wrongPasswords": tries, "windowHours": 24}
    return Finding("maliciousIPAddress", min(4.0, 2.0 + 0.05 * tries), said)


@detection("passwordSpray", on="address", timing="offline")
def spray_seen_later(view: BackView) -> Finding | None:
    """Who signed in there before the address began to try others."""
    address, at = view.address, view.event.at
    if view.event.valid or view.sign_in.strange <= 0 or address.shared(view.principal):
        return None
    failing = address.failing(view.principal, at)
    if failing < SPRAYED + 1 or address.others(view.principal) > failing:
        return None
    said = {"ipAddress": view.event.address, "principalsWithWrongCredentials": failing, "windowDays": 7}
    return Finding("passwordSpray", min(4.0, 1.0 + 0.5 * failing), said)
