"""What a principal's state takes from an accepted sign-in, at once or when its quarantine is over."""

from bartizan.identity.events import DAY, SignIn, product_of, short
from bartizan.identity.state import (
    FAILURES,
    HELD,
    PLACES,
    SESSIONS,
    Held,
    Place,
    Principal,
    Session,
)
from bartizan.identity.view import HIDDEN, HIDING, INTERACTIVE, WANDERING, View, came_first, kit_of
from bartizan.intel import Kind

_MOVING = int(Kind.MOBILE | Kind.VPN | Kind.TOR | Kind.PROXY | Kind.SATELLITE)


def learn(event: SignIn, principal: Principal, view: View) -> None:
    at = event.at
    if not principal.count:
        principal.first = at
    principal.count += 1
    principal.last = max(principal.last, at)
    for kind, value in values(event, view.kinds):
        principal.learn(kind, value, at)
    if event.workload and view.elsewhere:
        principal.learn("net", WANDERING, at)
    principal.hours[int(at % DAY // 3600)] += 1
    if event.latitude is not None and event.longitude is not None and not (view.shared or view.kinds & _MOVING):
        places = principal.places
        if not places or places[-1].address != event.address or len(places) < 2:
            kit = kit_of(event)
            places.append(Place(at, event.latitude, event.longitude, event.address, kit, event.city, event.country))
            if len(places) > PLACES:
                del places[0]
        else:
            places[-1].at = max(places[-1].at, at)
    if event.session:
        use(principal, event)


def hold(event: SignIn, principal: Principal, view: View) -> None:
    """Of one way to come (carrier and kind of device) the first is held, so that it grows old while more of the same
    come; beyond so many ways the newest is not held."""
    its = values(event, view.kinds)
    if len(principal.held) < HELD and all(_way(each.values) != _way(its) for each in principal.held):
        principal.held.append(Held(event.at, event.id, event.keys[3], event.address, its))


def _way(values: list[tuple[str, str]]) -> tuple[str, str]:
    of = dict(values)
    return of.get("asn") or of.get("prefix", ""), of.get("kit") or of["agent"]


def held_like(principal: Principal, sign_in: str) -> list[Held]:
    """What is held of a sign-in: it itself, or an earlier one of its session or its address."""
    of = next((each for each in principal.recent if each.id == sign_in), None)
    return [
        each
        for each in principal.held
        if each.id == sign_in
        or (of is not None and ((of.session and each.session == of.session) or each.address == of.address))
    ]


def learn_held(principal: Principal, held: Held, weight: float = 1.0) -> None:
    """As of when it happened."""
    for kind, value in held.values:
        principal.learn(kind, value, held.at, weight)


def hold_job(event: SignIn, principal: Principal, view: View) -> None:
    """A program at a new place: held until it has been there alone for a day, then it has moved."""
    since = came_first(principal, event)
    if event.at - max(principal.last, since) < DAY:
        hold(event, principal, view)
        return
    for held in [each for each in principal.held if each.at >= since]:
        learn_held(principal, held)
        principal.held.remove(held)
    learn(event, principal, view)


def release(principal: Principal, weight: float = 1.0) -> None:
    """A quiet week has passed, or a person said that it was safe: what was held is learned."""
    for held in principal.held:
        learn_held(principal, held, weight)
    principal.held.clear()
    principal.hot.clear()


def values(event: SignIn, kinds: int) -> list[tuple[str, str]]:
    values = [("address", event.address)] if event.address else []
    if event.prefix:
        values.append(("prefix", event.prefix))
    if event.asn:
        values.append(("asn", str(event.asn)))
    if event.country:
        values.append(("country", event.country))
        values.append(("city", f"{event.country}/{event.city}"))
    if kinds & HIDDEN:
        values.append(("net", HIDING))
    if event.workload:
        values.append(("kit", product_of(event.agent)))
        if event.credential:
            values.append(("credential", short(event.credential)))
    else:
        values.append(("kit", kit_of(event)))
        values.append(("os", event.os))
        values.append(("client", event.client))
        if event.interactive:
            values.append(("net", INTERACTIVE))
        if event.device:
            values.append(("device", event.keys[2]))
    values.append(("agent", event.keys[0]))
    values.append(("app", event.keys[1]))
    return values


def use(principal: Principal, event: SignIn) -> None:
    sessions = principal.sessions
    session = sessions.get(event.keys[3])
    kit = kit_of(event)
    if session is None:
        if len(sessions) >= SESSIONS:
            del sessions[min(sessions, key=lambda each: (sessions[each].last, each))]
        sessions[event.keys[3]] = Session(int(event.at), [event.prefix], [event.asn], [kit], [event.country])
        return
    session.last = max(session.last, int(event.at))
    for of, value in ((session.prefixes, event.prefix), (session.kits, kit), (session.countries, event.country)):
        if value not in of:
            of.append(value)
            if len(of) > 6:
                del of[0]
    if event.asn not in session.asns:
        session.asns.append(event.asn)
        if len(session.asns) > 6:
            del session.asns[0]


def count_failure(principal: Principal, event: SignIn) -> None:
    of = principal.failures
    last, count = of.get(event.address, (0.0, 0))
    if event.address not in of and len(of) >= FAILURES:
        del of[min(of, key=lambda each: (of[each][0], each))]
    of[event.address] = (max(last, event.at), count + 1 if event.at - last < DAY else 1)
