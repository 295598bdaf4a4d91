"""What a detection looks at: the event, what is remembered of its principal and of its address, and how familiar it is.

The behavioural part is an additive model of log-odds, from what was seen of this principal before (place, device,
session, application, hour), backed off from the address over its network, carrier and country to what the tenant
shares. The figures below are by judgement, the same for all; nothing of them names a place or an address.

Source: Freeman, Jain, Dürmuth, Biggio and Giacinto, "Who are you? A statistical approach to measuring user
authenticity" (NDSS 2016); Wiefling, Jørgensen, Thunem and Lo Iacono, "Pump up password security!" (ACM TOPS 2022).
"""

from collections.abc import Mapping
from math import asin, cos, radians, sin, sqrt

from msgspec import Struct

from bartizan.identity.events import DAY, SignIn, product_of, short
from bartizan.identity.state import Address, Application, Browser, Burst, Cluster, Place, Principal, Seen
from bartizan.intel import Intel, Kind

LEARNING_COUNT, LEARNING_S = 10, 5 * DAY
HOME_SHARE, HOME_LEAST = 0.02, 10  # of the tenant's accepted sign-ins, from a country where its people often are
LESS, LEAST = 0.45, 0.2  # of what is new counts while we learn, and at the very first: everything is
STARTER_S, IDLE_S = 30 * DAY, 60 * DAY  # accounts that are new, and that sleep
PROBATION_S = DAY  # a place is not known on the day on which it was first seen: attackers stay, too
OWN_PLACE = -2.0  # from here on down the place is the principal's own for days
SAME_NETWORK, SAME_CARRIER = -1.5, -1.2  # a session that goes on where it was, with the same kind of device
NEIGHBOURS = 3  # people of the tenant that come by the carrier
PREFIX_KNOWN = -1.5  # of a workload
OWN_KIT = 0.2  # up to here the device is one of the principal's kinds
OTHER_BUILD = 0.2  # what another version of a workload's program adds
OTHER_SYSTEM = 1.8  # what a system that the principal never used adds
FEW = 3  # accepted sign-ins with a value until it counts as known in full
BOUND_TOKEN = "primaryRefreshToken"  # noqa: S105 - a kind of token: one that a registered device holds
EARTH_KM = 12_742.0
FAR_KM, FAST_KMH = 500.0, 800.0
WANDERING, WANDERS = "wandering", 5.0  # of a workload: each run may be on another machine; runs that were, in a month
INTERACTIVE = "interactive"  # of a principal: somebody was at the keyboard
JOB_COUNT = 30  # accepted sign-ins until an account may be taken for a program's
ASLEEP_H, AWAKE = 8, 0.12  # of a program's sign-ins so many at least are within any eight hours: people sleep
HIDING = "hidden"  # of a principal: comes by networks that hide the place, whichever they are
HIDDEN = Kind.VPN | Kind.TOR | Kind.PROXY | Kind.SATELLITE  # the place is not the user's


class Account(Struct, frozen=True):
    """What the directory says of a principal; times in seconds since 1970, 0 where it is silent."""

    created: float = 0.0
    last: float = 0.0  # successful sign-in before ours
    administrator: bool = False


NOBODY = Account()


class View:
    """Of one sign-in. The parts of its behavioural score are log-odds."""

    __slots__ = (
        "account", "address", "app", "applications", "beside", "browsers", "burst", "cluster", "countries",
        "country_sum", "device", "dormant", "elsewhere", "event", "hides", "hour", "intel", "issuers", "job", "kinds",
        "known_device", "learning", "network", "place", "prefix", "principal", "session", "shared", "starter", "tells",
        "tenant_asn", "tenant_country",
    )  # fmt: skip

    event: SignIn
    principal: Principal
    address: Address
    prefix: Address
    kinds: int  # of the network, and of its carrier
    learning: bool  # too little is known of the principal
    starter: bool  # the directory has the account for days only
    hides: bool  # comes by a network that hides the place, as often before
    elsewhere: bool  # a workload in a network that is new to it
    job: bool  # a program that runs in a user's name is at a new place, and at no other
    beside: bool  # it is, and where it always was, too
    dormant: bool  # nobody used the account for long
    tells: bool  # the directory says of some account when it was used last: so silence means never
    place: float
    device: float
    session: float
    app: float
    hour: float
    network: float
    shared: bool  # many of the tenant are there for days
    known_device: bool
    tenant_asn: int  # others of the tenant that were accepted from the carrier
    tenant_country: float  # share of the tenant's accepted sign-ins from the country
    countries: Mapping[str, float]  # accepted sign-ins of the tenant by country
    country_sum: float
    account: Account
    intel: Intel
    burst: Burst | None
    cluster: Cluster | None
    browsers: Mapping[str, Browser]  # by user agent
    issuers: Mapping[str, dict[str, float]]  # federated issuers of the tenant -> who came by them, and when last
    applications: Mapping[str, Application]  # by the id or the folded name of an application or service principal

    @property
    def base(self) -> float:
        return self.place + self.device + self.session + self.app + self.hour + self.network

    @property
    def strange(self) -> bool:
        return self.place > 0.0

    @property
    def weight(self) -> float:
        """Of what is new: less while we learn."""
        if not self.learning:
            return 1.0
        return LESS if self.principal.count else LEAST

    def share_of(self, country: str) -> float:
        """Of the tenant's accepted sign-ins."""
        return self.countries.get(country, 0.0) / self.country_sum if self.country_sum else 0.0

    def is_home(self, country: str) -> bool:
        """The tenant's people are often there."""
        return self.countries.get(country, 0.0) >= HOME_LEAST and self.share_of(country) >= HOME_SHARE

    @property
    def among_ours(self) -> bool:
        """By a carrier by which the tenant's people come, in a country where they often are."""
        usual = self.tenant_asn >= NEIGHBOURS and not self.kinds & (Kind.HOSTING | HIDDEN)
        return usual and self.is_home(self.event.country)

    def parts(self) -> dict[str, float]:
        names = ("place", "device", "session", "app", "hour", "network")
        return {name: round(getattr(self, name), 2) for name in names if getattr(self, name)}

    def moved(self) -> tuple[Place, float, float] | None:
        """The accepted place from which it came fastest, beyond what one can travel, with distance (km) and speed
        (km/h)."""
        event = self.event
        if event.latitude is None or event.longitude is None:
            return None
        best: tuple[Place, float, float] | None = None
        for place in self.principal.places:
            distance = kilometres(event.latitude, event.longitude, place.latitude, place.longitude)
            if distance <= FAR_KM:
                continue
            speed = distance / max(60.0, abs(event.at - place.at)) * 3600
            if speed > FAST_KMH and (best is None or speed > best[2]):
                best = place, distance, speed
        return best

    def idle_s(self) -> float:
        """Since the last accepted sign-in, by what we saw or what the directory says; -1 where neither knows. A
        directory without any last sign-in (they need a licence of Entra, others have none) does not know."""
        last = max(self.principal.last, self.account.last)
        if last:
            return self.event.at - last
        return self.event.at - self.account.created if self.tells and self.account.created else -1.0


def kilometres(a: float, b: float, c: float, d: float) -> float:
    """Great-circle distance of (a, b) and (c, d) in degrees."""
    half = sin(radians(c - a) / 2) ** 2 + cos(radians(a)) * cos(radians(c)) * sin(radians(d - b) / 2) ** 2
    return EARTH_KM * asin(min(1.0, sqrt(half)))


def kit_of(event: SignIn) -> str:
    return f"{event.os}/{event.browser}"


def is_starter(account: Account, at: float) -> bool:
    return account.created > 0 and at - account.created < STARTER_S


def assess(view: View) -> None:
    """Fills in the behavioural parts."""
    event, principal = view.event, view.principal
    known, at = principal.known, event.at
    view.job = view.beside = False
    view.starter = is_starter(view.account, at)
    view.dormant = not event.workload and not view.starter and view.idle_s() >= IDLE_S
    learning = view.learning = principal.count < LEARNING_COUNT or at - principal.first < LEARNING_S
    if event.workload:
        _workload(view)
        return
    asn = known("asn", str(event.asn), at) if event.asn else None
    view.shared = (
        bool(view.kinds & Kind.TRUSTED) or view.address.shared(event.principal) or view.prefix.shared(event.principal)
    )
    view.hides = bool(view.kinds & HIDDEN and not view.kinds & Kind.TOR) and _settled(known("net", HIDING, at), at)
    view.place = _place(view, asn)
    view.known_device = bool(event.device) and known("device", event.keys[2], at) is not None
    view.device = _device(view)
    view.session = _session(view)
    app = 0.7 if event.app and known("app", event.keys[1], at) is None else 0.0
    if event.legacy and known("client", event.client, at) is None:
        app += 1.2
    view.app = app * view.weight
    view.hour = 0.0 if learning else _hour(principal, at)
    network = 0.0
    if view.kinds & Kind.HOSTING and asn is None and view.tenant_asn < 2:
        network = 1.2
    if event.multifactor and event.interactive and event.success:
        network -= 0.3  # a second factor was given: less likely, and never proof
    view.network = network
    if view.place > 0.0 and _is_job(view):
        _moved_job(view)


def _is_job(view: View) -> bool:
    """Whether the account is used by a program alone, one that runs day and night, and this sign-in is like all others
    but for its place. What programs are called differs; that they do not sleep does not."""
    event, principal, at = view.event, view.principal, view.event.at
    if view.learning or principal.count < JOB_COUNT or event.browser or view.app > 0.0:
        return False
    kits = [each for each in principal.seen.get("kit", ()) if principal.known("kit", each, at) is not None]
    if kits != [kit_of(event)] or principal.known("agent", event.keys[0], at) is None:
        return False
    if event.interactive and principal.known("net", INTERACTIVE, at) is None:
        return False
    hours = principal.hours
    least = min(sum(hours[(hour + n) % 24] for n in range(ASLEEP_H)) for hour in range(24))
    return least >= AWAKE * sum(hours)


def came_first(principal: Principal, event: SignIn) -> float:
    """When a sign-in by this carrier, that is not learned from yet, came first; now where this one is it."""
    way = ("asn", str(event.asn)) if event.asn else ("prefix", event.prefix)
    return min((each.at for each in principal.held if way in each.values), default=event.at)


def _moved_job(view: View) -> None:
    """A job that was moved comes from its new place alone, and comes again and again; whoever stole its password comes
    beside it."""
    event, principal = view.event, view.principal
    since = came_first(principal, event)
    view.beside = principal.last > since and event.at - principal.last < DAY
    view.job = not view.beside
    if view.beside:
        return
    if since < event.at:
        view.place *= 0.5
    if view.network > 0.0 and any(
        view.intel.asn_kinds(int(each)) & Kind.HOSTING for each in principal.seen.get("asn", ())
    ):
        view.network = 0.0  # it was in a data centre before


def _place(view: View, asn: Seen | None) -> float:
    event, at, known = view.event, view.event.at, view.principal.known
    address = known("address", event.address, at)
    country = known("country", event.country, at) if event.country else None
    if address is not None and at - address.first >= PROBATION_S:
        return -3.0 if address.weight >= FEW else -2.2
    if view.shared or _settled(known("prefix", event.prefix, at), at):
        return OWN_PLACE
    if _settled(asn, at):
        in_city = bool(view.kinds & HIDDEN) or (
            event.city and known("city", f"{event.country}/{event.city}", at) is not None
        )
        place = -0.5 if in_city else 0.3
    elif view.hides:
        place = 1.0  # services change their exits and carriers, so who uses one is often somewhere new
    elif _settled(country, at):
        place = 1.3 if view.tenant_asn >= 2 else 1.8
    elif view.dormant and view.among_ours:
        place = 1.3  # who comes back from a leave is where the others are
    elif not event.country:
        place = 1.0 if event.address else 0.0  # nobody can tell where it is
    else:
        place = 2.8 if view.tenant_country < 0.02 else 2.0
    if place <= 0:
        return place
    if address is not None:
        place *= 0.5  # used today for the first time, and nothing came of it yet
    if view.kinds & Kind.MOBILE:  # carriers move people between gateways; few attackers have a card of the country
        place *= 0.4 if country is not None else 0.7
    # An account that slept is no starter: where it wakes counts whole, by what the tenant is used to.
    return place if view.dormant else place * view.weight


def _device(view: View) -> float:
    event, at, known = view.event, view.event.at, view.principal.known
    if view.known_device:
        device = -3.5
    elif event.managed:
        device = -2.0
    elif event.token == BOUND_TOKEN:
        device = -1.5
    elif event.os and known("os", event.os, at) is None:
        device = OTHER_SYSTEM
    elif not event.browser:
        device = 0.0
    elif known("kit", kit_of(event), at) is None:
        device = 1.3
    elif known("agent", event.keys[0], at) is not None:
        device = -0.5
    else:
        device = 0.2
    if event.script and known("agent", event.keys[0], at) is None:
        device = max(device, 0.0) + 2.5
    return device * view.weight if device > 0 else device


def _settled(seen: Seen | None, at: float) -> bool:
    return seen is not None and at - seen.first >= PROBATION_S


def _session(view: View) -> float:
    event = view.event
    if not event.session:
        return 0.0
    session = view.principal.sessions.get(event.keys[3])
    if session is None:
        return 0.5 if event.interactive else 0.0
    same_kit = kit_of(event) in session.kits or any(each.startswith(event.os + "/") for each in session.kits)
    if same_kit:
        if event.prefix in session.prefixes:
            return SAME_NETWORK
        if event.asn in session.asns:
            return SAME_CARRIER
        if view.place <= 0:
            return -0.2
        if view.kinds & (Kind.MOBILE | Kind.VPN) or view.moved() is None:
            return 0.0  # a device that travels with its owner looks like this
        return 0.3
    return 0.0 if event.asn in session.asns else 0.4  # the detection of moved tokens says the rest


def _hour(principal: Principal, at: float) -> float:
    hours, hour = principal.hours, int(at % DAY // 3600)
    total = sum(hours)
    if total < LEARNING_COUNT:
        return 0.0
    share = (hours[hour - 1] + hours[hour] + hours[(hour + 1) % 24]) / total
    return 0.7 if share < 0.02 else 0.2 if share < 0.08 else -0.2


def _workload(view: View) -> None:
    """Programs are regular: what is new of one says more. Their bursts by new deployments stay in their network, and
    the runners of pipelines have another machine each time, whose image is renewed."""
    event = view.event
    known, at = view.principal.known, event.at
    view.shared = view.known_device = view.hides = False
    view.session = view.hour = view.network = 0.0
    view.place = _network(view)
    view.elsewhere = view.place > PREFIX_KNOWN and bool(event.address)
    view.device = 0.0
    if known("agent", event.keys[0], at) is None and event.agent:
        same = known("kit", product_of(event.agent), at) is not None
        view.device = OTHER_BUILD if same else 1.5 if event.script else 1.0
    view.app = 0.0 if known("app", event.keys[1], at) is not None else 1.2
    if event.credential and known("credential", short(event.credential), at) is None:
        view.network = 0.7
    if view.learning:
        view.place, view.device = view.place * 0.3, view.device * 0.3
        view.app, view.network = view.app * 0.3, view.network * 0.3


def _network(view: View) -> float:
    """Of a workload."""
    event, known, at = view.event, view.principal.known, view.event.at
    wanders = known("net", WANDERING, at)
    often = wanders is not None and wanders.weight >= WANDERS
    if known("address", event.address, at) is not None:
        return -3.0
    if known("prefix", event.prefix, at) is not None:
        return PREFIX_KNOWN
    if known("asn", str(event.asn), at) is not None:
        return -0.2 if often else 0.5
    if not event.address and not event.asn and not event.country:
        return 0.0  # managed identities do not say where they are
    unsaid = often and not event.asn  # of who always moves; another carrier would say that it is not the same
    if known("country", event.country, at) is not None:
        return 0.5 if unsaid else 2.5
    return 2.0 if unsaid else 3.5
