"""People of a tenant and what they do on a day: at home, in offices, on the move, abroad, with old and new devices."""

from math import exp
from random import Random

from msgspec import Struct, field

from bench.tenants.kits import Kit, made
from bench.tenants.records import DAY, HOUR, START, Stream, Try, signed_in
from bench.tenants.world import Carrier, City, Spot, World

APPS = (
    "Outlook", "Teams", "SharePoint Online", "OneDrive", "Jira", "Confluence", "Figma", "Notion", "HubSpot", "NetSuite",
    "BambooHR", "Zendesk", "Miro", "Power BI", "Azure Portal", "AWS IAM Identity Center", "GitLab", "Datadog", "Zoom",
    "Concur", "DocuSign", "Okta Dashboard", "ServiceNow", "Tableau", "Asana", "1Password", "Intranet", "Timesheets",
)  # fmt: skip
HABITS = ("none", "none", "none", "none", "none", "tunnel", "relay", "corporate", "edge", "cloud")


class Tenant(Struct):
    """Offices and gateways that many share. `mfa` is the share of interactive sign-ins with a second factor."""

    domain: str
    offices: list[tuple[City, list[Spot]]]
    gateways: list[Spot]  # of the corporate VPN
    edges: list[Spot]
    bound: float  # of laptops that are registered
    mfa: float
    moves: tuple[int, list[Spot]] | None = None  # on the day the first office gets other addresses


class Person(Struct):
    id: str
    name: str
    city: City
    zone_h: float
    home: Carrier
    home_spot: Spot
    cell: Carrier
    kits: list[Kit]
    apps: list[str]
    office: int = -1
    remote: float = 1.0  # share of days at home
    habit: str = "none"
    starts_h: float = 9.0
    hours: float = 8.5
    weekends: float = 0.05
    rate: float = 4.0
    joined: int = 0  # day of the stream
    ends: int = 10_000
    away: dict[int, tuple[str, City, Spot]] = field(default_factory=dict)  # day -> what for, where, the house's address
    absent: set[int] = field(default_factory=set)
    household: int = 0
    haunts: list[Spot] = field(default_factory=list)
    stale: tuple[int, int] | None = None  # from and until the day on which a forgotten device tries an old password
    mail: str = ""  # a program with an old protocol
    new_kit: int = -1
    admin: bool = False
    created: float = 0.0
    last: float = 0.0
    tunnel: str = ""  # the service whose exits hide the person
    exit: tuple[Carrier, City] | None = None


def person(world: World, tenant: Tenant, chance: Random, stream: Stream, n: int) -> Person:
    luck = chance.random()
    country = world.home if luck < 0.7 else world.second if luck < 0.9 else chance.choice(world.countries)
    city = chance.choice(world.of(country))
    home = chance.choice(world.kind("home", country))
    bound = chance.random() < tenant.bound
    laptop = made(
        chance, chance.choice(("windows", "windows", "windows", "mac", "mac", "linux")),
        id=stream.id() if bound else "", managed=bound and chance.random() < 0.8,
    )  # fmt: skip
    kits = [laptop]
    if chance.random() < 0.8:
        kits.append(
            made(
                chance,
                chance.choice(("iphone", "iphone", "android")),
                id=stream.id() if bound and chance.random() < 0.5 else "",
            )
        )
    if chance.random() < 0.2:
        kits.append(made(chance, chance.choice(("tablet", "windows", "mac"))))
    near = [n for n, (where, _) in enumerate(tenant.offices) if where.country == country]
    one = Person(
        stream.id(), f"p{n:04d}.{chance.choice('abcdefgh')}@{tenant.domain}", city, city.longitude / 15, home,
        home.spot(chance, city), chance.choice(world.kind("mobile", country)), kits,
        ["Outlook", "Teams", *chance.sample(APPS[2:], chance.randrange(3, 9))],
        office=chance.choice(near) if near and chance.random() < 0.8 else -1,
        remote=chance.choice((0.1, 0.4, 0.6, 1.0)), habit=chance.choice(HABITS),
        starts_h=max(4.0, chance.gauss(8.7, 1.1)), hours=chance.choice((4.5, 8.5, 8.5, 9.5)),
        weekends=chance.choice((0.0, 0.0, 0.1, 0.4)), rate=max(0.8, chance.gauss(4.0, 1.6)),
        admin=chance.random() < 0.02,
    )  # fmt: skip
    if chance.random() < 0.06:  # works at night
        one.starts_h = 20.0
    if one.office < 0:
        one.remote = 1.0
    if home.six and chance.random() < 0.7:
        one.household = home.household(chance)
    one.haunts = [world.spot(chance.choice(("home", "business")), city) for _ in range(chance.randrange(4))]
    if one.habit == "tunnel":
        one.tunnel = chance.choice(world.kind("vpn")).name
    if chance.random() < 0.08:
        one.mail = chance.choice(("IMAP4", "Exchange ActiveSync", "Authenticated SMTP"))
    one.created = START - chance.randrange(60, 1_500) * DAY
    one.last = START - chance.random() * 2 * DAY
    return one


def plan(one: Person, world: World, chance: Random, days: int) -> None:
    """Holidays, trips, a new device, a forgotten password."""
    if chance.random() < 0.25 * days / 60:
        first = chance.randrange(days)
        length = chance.randrange(4, 12)
        if chance.random() < 0.5:
            one.absent |= set(range(first, first + length))
        else:
            city = world.far(one.city.country) if chance.random() < 0.6 else chance.choice(world.of(one.city.country))
            _trip(one, world, "holiday", city, first, length)
    for _ in range(2):
        if chance.random() < 0.12 * days / 60:
            city = world.far(one.city.country) if chance.random() < 0.6 else chance.choice(world.of(one.city.country))
            _trip(one, world, "trip", city, chance.randrange(days), chance.randrange(1, 5))
    if chance.random() < 0.08 * days / 60:
        one.new_kit = chance.randrange(3, days)
    if chance.random() < 0.07 * days / 60:
        first = chance.randrange(days)
        one.stale = (first, first + chance.randrange(1, 6))


def _trip(one: Person, world: World, why: str, city: City, first: int, length: int) -> None:
    house = world.spot("business" if why == "trip" else "home", city)
    if city.country != one.city.country:
        one.absent |= {first, first + length + 1}  # on the way
        first += 1
    for day in range(first, first + length):
        one.away.setdefault(day, (why, city, house))


class Daily:
    """One person's one day."""

    def __init__(self, one: Person, tenant: Tenant, world: World, stream: Stream, day: int) -> None:
        self.one, self.tenant, self.world, self.stream = one, tenant, world, stream
        self.chance, self.day = stream.chance, day
        self.morning = START + day * DAY + (one.starts_h - one.zone_h) * HOUR
        self.remote = self.chance.random() < one.remote
        self.trip = one.away.get(day)

    def run(self) -> None:
        one, chance, day = self.one, self.chance, self.day
        if day < one.joined or day >= one.ends or day in one.absent:
            return
        if day == one.new_kit:
            self._new_kit()
        weekend = day % 7 >= 5
        working = chance.random() < (one.weekends if weekend else 0.93)
        if self.trip and self.trip[0] == "holiday":
            working = chance.random() < 0.15
        count = _poisson(chance, one.rate) if working else 0
        if day == one.joined and one.joined:
            count = max(count, 3)
        for _ in range(count):
            self._at_work(self.morning + chance.random() * one.hours * HOUR)
        if len(one.kits) > 1:
            for _ in range(_poisson(chance, 1.5)):
                self._on_the_move(self.morning + (chance.random() * 15 - 1) * HOUR)
        if one.mail and chance.random() < 0.7:
            self._mail()
        if one.stale and one.stale[0] <= day <= one.stale[1]:
            self._stale()

    # ------------------------------------------------------------ where

    def _work_spot(self) -> tuple[Spot, tuple[str, ...]]:
        one, chance = self.one, self.chance
        if self.trip is not None:
            why, _, house = self.trip
            if one.habit == "corporate" and chance.random() < 0.5:
                return chance.choice(self.tenant.gateways), ("corpVpn", why)
            return (house, (why,)) if chance.random() < 0.75 else (self.world.spot("home", self.trip[1]), (why, "cafe"))
        if one.habit == "edge":
            return chance.choice(self.tenant.edges[:3] if chance.random() < 0.9 else self.tenant.edges), ("edge",)
        if one.habit == "cloud" and chance.random() < 0.3:
            return self.tenant.gateways[-1], ("cloudDesktop",)
        if one.habit == "corporate" and self.remote and chance.random() < 0.7:
            return chance.choice(self.tenant.gateways), ("corpVpn",)
        if not self.remote and one.office >= 0:
            return chance.choice(self._office()), ()
        if one.haunts and chance.random() < 0.05:
            return chance.choice(one.haunts), ("cafe",)
        if chance.random() < 0.008:
            return self.world.spot(chance.choice(("home", "business")), one.city), ("cafe",)
        return self._home()

    def _office(self) -> list[Spot]:
        moves = self.tenant.moves
        if moves is not None and self.one.office == 0 and self.day >= moves[0]:
            return moves[1]
        return self.tenant.offices[self.one.office][1]

    def _home(self) -> tuple[Spot, tuple[str, ...]]:
        one, chance = self.one, self.chance
        if one.tunnel and chance.random() < 0.4:
            return self._exit(), ("consumerVpn",)
        if one.habit == "relay" and one.kits[0].browser == "Safari" and chance.random() < 0.6:
            return self.world.kind("relay")[0].spot(chance, one.city), ("privateRelay",)
        if chance.random() < 0.004:
            one.home_spot = one.home.spot(chance, one.city)  # another lease
        if one.household and chance.random() < 0.6:
            return one.home.inside(chance, one.household, one.home_spot.seen), ()
        return one.home_spot, ()

    def _exit(self) -> Spot:
        """Mostly the same exit, in the own country where the service has one there; each connection another machine."""
        one, chance = self.one, self.chance
        if one.exit is None or chance.random() < 0.05:
            exits = [(each, city) for each in self.world.service(one.tunnel) for city in each.cities()]
            near = [each for each in exits if each[1].country == one.city.country]
            one.exit = chance.choice(near if near and chance.random() < 0.7 else exits)
        return one.exit[0].spot(chance, one.exit[1])

    def _cell(self) -> tuple[Spot, tuple[str, ...]]:
        """Of the carrier's gateways at home, also abroad; or a local card's."""
        one, chance = self.one, self.chance
        if self.trip is not None and self.trip[1].country != one.city.country and chance.random() < 0.3:
            return self.world.spot("mobile", self.trip[1]), ("roaming",)
        if one.cell.six and chance.random() < 0.5:
            seen = one.cell.blocks[0].seen
            return one.cell.inside(chance, one.cell.household(chance), seen), ("mobileCgnat",)
        return one.cell.spot(chance, one.city), ("mobileCgnat", *(("roaming",) if self.trip else ()))

    # ------------------------------------------------------------ what

    def _session(self, kit: Kit, program: str, at: float) -> tuple[str, bool]:
        """Its id, and whether it began just now."""
        held = kit.sessions.get(program)
        if held is not None and held[1] > at:
            return held[0], False
        fresh = self.stream.id()[:18]
        kit.sessions[program] = fresh, at + self.chance.choice((1, 3, 7, 14, 30)) * DAY
        return fresh, True

    def _sign_in(self, kit: Kit, at: float, where: tuple[Spot, tuple[str, ...]], native: bool) -> None:
        one, chance = self.one, self.chance
        spot, tags = where
        session, fresh = self._session(kit, "native" if native else "browser", at)
        interactive = fresh or (not native and chance.random() < 0.2)
        factor = interactive and chance.random() < self.tenant.mfa
        if self.day < one.joined + 5 and one.joined:
            tags = (*tags, "newUser")
        if one.new_kit >= 0 and one.new_kit <= self.day < one.new_kit + 4 and kit is one.kits[0]:
            tags = (*tags, "newDevice")
        if at < one.created:
            return
        app = chance.choice(one.apps[:3] if chance.random() < 0.7 else one.apps)
        if chance.random() < 0.01:
            app = chance.choice(APPS)
        it = Try(at, spot, kit, app, interactive, 0, session, native, multifactor=factor, tags=tags)
        if interactive and chance.random() < 0.05:
            for n in range(chance.choice((1, 1, 1, 2, 4))):
                self._write(Try(at - 40 + 9 * n, spot, kit, app, True, 50126, "", native, tags=(*tags, "typo")))
        if factor and chance.random() < 0.03:
            for n in range(chance.choice((1, 1, 2))):
                code = chance.choice((500121, 500121, 50074))
                self._write(
                    Try(
                        at - 70 + 20 * n,
                        spot,
                        kit,
                        app,
                        True,
                        code,
                        "",
                        native,
                        multifactor=True,
                        tags=(*tags, "mfaTimeout"),
                    )
                )
        self._write(it)

    def _write(self, it: Try) -> None:
        signed_in(self.stream, self.one.id, self.one.name, it)

    def _at_work(self, at: float) -> None:
        one, chance = self.one, self.chance
        kit = one.kits[0]
        where = self._work_spot()
        if len(one.kits) > 2 and chance.random() < 0.15:
            kit, where = one.kits[2], self._home() if self.trip is None else self._work_spot()
        self._sign_in(kit, at, where, chance.random() < 0.6)

    def _on_the_move(self, at: float) -> None:
        kit = self.one.kits[1]
        where = self._cell() if self.chance.random() < 0.6 or self.trip else self._home()
        self._sign_in(kit, at, where, self.chance.random() < 0.9)

    def _mail(self) -> None:
        one, chance = self.one, self.chance
        at = self.morning + chance.random() * 10 * HOUR
        self._write(Try(at, one.home_spot, None, "Outlook", True, 0, client=one.mail, agent="", tags=("legacyMail",)))

    def _stale(self) -> None:
        """A phone with the old password asks again and again, from wherever it is."""
        one, chance = self.one, self.chance
        spot = one.home_spot if chance.random() < 0.5 else self._cell()[0]
        at = self.morning
        for _ in range(chance.randrange(6, 50)):
            at += chance.uniform(60, 1_500)
            code = 50053 if chance.random() < 0.2 else 50126
            self._write(Try(at, spot, one.kits[-1], "Outlook", True, code, native=True, tags=("stalePassword",)))

    def _new_kit(self) -> None:
        one, chance, stream = self.one, self.chance, self.stream
        old = one.kits[0]
        make = old.make if chance.random() < 0.7 else chance.choice(("windows", "mac"))
        one.kits[0] = made(chance, make, id=stream.id() if old.id else "", managed=old.managed)
        spot = self._work_spot()[0]
        self._sign_in(one.kits[0], self.morning, (spot, ()), False)
        if old.id:
            stream.audit(self.morning + 600, one.id, one.name, spot.address, "Register device", make)
        if chance.random() < 0.3:
            stream.audit(
                self.morning + 900, one.id, one.name, spot.address, "User registered security info", "Authenticator"
            )


def _poisson(chance: Random, mean: float) -> int:
    bound, n, product = exp(-mean), 0, chance.random()
    while product > bound:
        n += 1
        product *= chance.random()
    return n
