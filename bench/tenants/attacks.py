"""Attackers: what they do to whom, from where, at which pace. Each campaign draws its tools anew.

Names of attacks are those by which streams are scored. Source: MITRE ATT&CK T1110.001, T1110.003, T1110.004, T1078,
T1539, T1557, T1621, T1098.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct

from bench.tenants.kits import TOOLS, Kit, made
from bench.tenants.people import APPS, Person, Tenant
from bench.tenants.records import DAY, HOUR, START, Label, Program, Service, Stream, Try, ran, signed_in
from bench.tenants.world import City, Spot, World

MINUTE = 60.0


class Lists(Struct):
    """What a tenant could import of the attackers' addresses; not all of them are listed."""

    tor: set[str]
    malicious: set[str]


class Scene(Struct):
    world: World
    tenant: Tenant
    people: list[Person]
    dormant: list[Person]
    programs: list[Program]
    services: list[Service]
    stream: Stream
    lists: Lists
    first: int  # days between which campaigns begin
    last: int
    number: int = 0
    hit: set[str] = set()  # who was the victim of one already

    def label(self, attack: str, stage: str, how: str) -> Label:
        return Label(attack, f"{attack}-{self.number}", stage, how)

    def begin(self) -> float:
        """Office hours more often than not, for attackers know them, too."""
        chance = self.stream.chance
        day = chance.randrange(self.first, max(self.first + 1, self.last))
        return START + day * DAY + chance.random() * DAY

    def victim(self, at: float, *, bound: bool | None = None) -> Person:
        """Somebody who works there on that day, and was no victim before."""
        chance, day = self.stream.chance, int((at - START) // DAY)
        some = [
            each
            for each in self.people
            if each.id not in self.hit and each.joined + 5 < day < each.ends and day not in each.away
        ]
        if bound is not None:
            some = [each for each in some if bool(each.kits[0].id) == bound] or some
        found = chance.choice(some or self.people)
        self.hit.add(found.id)
        return found

    # ------------------------------------------------------------ where from

    def hosted(self, city: City | None = None) -> Spot:
        return self.stream.chance.choice(self.world.kind("hosting")).spot(self.stream.chance, city)

    def rented(self, city: City) -> Spot:
        """A household's address that a proxy service lends."""
        return self.world.spot("home", city)

    def hidden(self, city: City | None = None) -> Spot:
        return self.stream.chance.choice(self.world.kind("vpn")).spot(self.stream.chance, city)

    def somewhere(self, country: str) -> Spot:
        """Abroad: rented, hosted or hidden."""
        city = self.world.far(country)
        return self.stream.chance.choice((self.rented, self.hosted, self.hidden))(city)

    def nearby(self, city: City) -> Spot:
        return self.stream.chance.choice((self.rented, self.hosted, self.hidden))(
            self.stream.chance.choice(self.world.of(city.country))
        )

    def foreign(self) -> Kit:
        return made(self.stream.chance, self.stream.chance.choice(("windows", "windows", "mac", "linux")))

    def likeness(self, of: Person) -> Kit:
        """A browser like the victim's, of a machine that is not registered."""
        kit = of.kits[0]
        return Kit(kit.make, kit.browser, "", False, kit.lag, kit.build)


def _try(scene: Scene, who: Person, it: Try) -> str:
    return signed_in(scene.stream, who.id, who.name, it)


def _afterwards(
    scene: Scene, who: Person, attack: str, how: str, at: float, spot: Spot, kit: Kit, session: str, most: int = 7
) -> float:
    """Reads mail, looks around, comes back: the address may change on the next day."""
    chance = scene.stream.chance
    for n in range(chance.randrange(most + 1)):
        at += chance.choice((3 * MINUTE, 20 * MINUTE, 2 * HOUR, 9 * HOUR)) * chance.uniform(0.5, 1.5)
        if n and chance.random() < 0.1:
            spot = scene.nearby(spot.seen)
        interactive = chance.random() < 0.35
        native = not interactive and chance.random() < 0.3
        tool = chance.choice(TOOLS) if not interactive and chance.random() < 0.15 else ""
        app = chance.choice(
            ("Outlook", "Outlook", "SharePoint Online", "OneDrive", "Azure Portal", chance.choice(APPS))
        )
        _try(
            scene,
            who,
            Try(
                at,
                spot,
                kit,
                app,
                interactive,
                0,
                session,
                native,
                agent=tool,
                label=scene.label(attack, "followup", how),
            ),
        )
    return at


def _enter(
    scene: Scene, who: Person, attack: str, how: str, at: float, spot: Spot, kit: Kit, *, app: str = "Outlook",
    follows: int = 7, agent: str = "", client: str = "",
) -> tuple[str, str]:  # fmt: skip
    """The right password; a second factor stops some. Gives the ids of the sign-in and of its session."""
    chance = scene.stream.chance
    factor = chance.random() < scene.tenant.mfa * 0.6
    stopped = factor and chance.random() < 0.4
    session = "" if stopped or client else scene.stream.id()[:18]
    code = chance.choice((50074, 50076, 53003)) if stopped else 0
    id = _try(
        scene, who,
        Try(at, spot, kit, app, True, code, session, agent=agent, client=client, multifactor=factor,
            label=scene.label(attack, "compromise", how)),
    )  # fmt: skip
    if not stopped:
        _afterwards(scene, who, attack, how, at, spot, kit, session, follows)
    return id, session


# ------------------------------------------------------------ passwords


def _wrong(scene: Scene, who: Person, attack: str, at: float, spot: Spot, agent: str, client: str) -> None:
    code = 50053 if scene.stream.chance.random() < 0.05 else 50126
    it = Try(
        at, spot, None, "Outlook", True, code, agent=agent, client=client, label=scene.label(attack, "attempt", "naive")
    )
    _try(scene, who, it)


def spray(scene: Scene) -> None:
    """Two or three addresses of one host try everybody within hours; who validated is entered from elsewhere."""
    chance, at = scene.stream.chance, scene.begin()
    where = scene.world.far(scene.world.home)
    spots = [scene.hosted(where) for _ in range(chance.randrange(1, 4))]
    agent = chance.choice((*TOOLS, made(chance, "windows").agent(chance.randrange(3))))
    client = chance.choice(("Browser", "Authenticated SMTP", "Other clients"))
    crowd = [each for each in scene.people if chance.random() < 0.6]
    hits = {scene.victim(at).id for _ in range(chance.randrange(1, 4))}
    for who in {each.id: each for each in (*crowd, *(each for each in scene.people if each.id in hits))}.values():
        at += chance.uniform(1, 2 * 3_600 / max(1, len(crowd)))
        spot = chance.choice(spots)
        if who.id not in hits:
            _wrong(scene, who, "passwordSpray", at, spot, agent, client)
            continue
        _try(scene, who, Try(at, spot, None, "Outlook", True, chance.choice((0, 50076)), agent=agent, client=client,
                             label=scene.label("passwordSpray", "compromise", "naive")))  # fmt: skip
        _afterwards(
            scene,
            who,
            "passwordSpray",
            "naive",
            at + HOUR,
            scene.nearby(who.city),
            scene.foreign(),
            scene.stream.id()[:18],
            5,
        )


def slow_spray(scene: Scene) -> None:
    """One try a person, each from another rented address anywhere, over days."""
    chance, at = scene.stream.chance, scene.begin()
    agents = [made(chance, "windows").agent(chance.randrange(3)), *chance.sample(TOOLS, 1)]
    crowd = [each for each in scene.people if chance.random() < 0.8]
    pace = chance.uniform(3, 6) * DAY / max(1, len(crowd))
    hits = {scene.victim(at).id for _ in range(chance.randrange(2, 5))}
    for who in crowd:
        at += pace * chance.uniform(0.3, 1.7)
        spot, agent = scene.rented(chance.choice(scene.world.cities)), chance.choice(agents)
        if who.id not in hits:
            _wrong(scene, who, "passwordSprayLowSlow", at, spot, agent, "Browser")
            continue
        _try(scene, who, Try(at, spot, None, "Outlook", True, chance.choice((0, 0, 50074)), agent=agent,
                             label=scene.label("passwordSprayLowSlow", "compromise", "naive")))  # fmt: skip
        _afterwards(
            scene,
            who,
            "passwordSprayLowSlow",
            "naive",
            at + 2 * HOUR,
            scene.nearby(who.city),
            scene.foreign(),
            scene.stream.id()[:18],
            3,
        )


def guess(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    spot, kit = scene.nearby(who.city), scene.foreign()
    agent, pace = chance.choice(("", chance.choice(TOOLS))), chance.choice((4.0, 40.0, 600.0))
    for _ in range(chance.randrange(15, 150)):
        at += pace * chance.uniform(0.5, 1.5)
        _wrong(scene, who, "bruteForce", at, spot, agent or kit.agent(0), "Browser")
    _enter(scene, who, "bruteForce", "targeted", at + 60, spot, kit, follows=3, agent=agent)


def stuffing(scene: Scene) -> None:
    """A bought list: one pair a person, addresses of one lending service in the country, two or three tries each."""
    chance, at = scene.stream.chance, scene.begin()
    city = chance.choice(scene.world.of(scene.world.home))
    carriers = scene.world.kind("home", city.country)[:2]
    crowd = [each for each in scene.people if chance.random() < 0.35]
    agents = [made(chance, "windows").agent(n) for n in range(2)] + [chance.choice(TOOLS)]
    hits = {scene.victim(at).id for _ in range(chance.randrange(2, 4))}
    crowd += [each for each in scene.people if each.id in hits and each not in crowd]
    chance.shuffle(crowd)
    spot = chance.choice(carriers).spot(chance, city)
    for who in crowd:
        at += chance.uniform(5, 300)
        if chance.random() < 0.4:
            spot = chance.choice(carriers).spot(chance, city)
        agent = chance.choice(agents)
        if who.id in hits:
            _enter(scene, who, "credentialStuffing", "naive", at, spot, scene.foreign(), follows=4, agent=agent)
        else:
            _wrong(scene, who, "credentialStuffing", at, spot, agent, "Browser")


def leaked(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    scene.stream.leaks.append({"at": at - chance.uniform(0.2, 20) * DAY, "who": who.name, "matches": True})
    _enter(scene, who, "leakedCredentials", "targeted", at, scene.nearby(who.city), scene.foreign(), follows=4)


# ------------------------------------------------------------ places


def travel(scene: Scene) -> None:
    """Abroad while the victim works."""
    chance = scene.stream.chance
    who = scene.victim(scene.begin())
    day = START + chance.randrange(scene.first, max(scene.first + 1, scene.last)) * DAY
    at = day + (who.starts_h - who.zone_h + chance.uniform(1, who.hours)) * HOUR
    kit = scene.foreign() if chance.random() < 0.6 else scene.likeness(who)
    _enter(scene, who, "impossibleTravel", "naive", at, scene.somewhere(who.city.country), kit)


def anonymous(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    spot = scene.hosted()
    if chance.random() < 0.85:
        scene.lists.tor.add(spot.address)
    _enter(scene, who, "anonymousIp", "naive", at, spot, Kit("windows", "Firefox", lag=8), follows=2)


def malicious(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    spot = scene.somewhere(who.city.country) if chance.random() < 0.6 else scene.rented(who.city)
    if chance.random() < 0.8:
        scene.lists.malicious.add(spot.address)
    _enter(scene, who, "maliciousIp", "naive", at, spot, scene.foreign(), follows=5)


def dormant(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    some = [each for each in scene.dormant if each.id not in scene.hit]
    if not some:
        return
    who = chance.choice(some)
    scene.hit.add(who.id)
    spot = scene.somewhere(who.city.country) if chance.random() < 0.5 else scene.nearby(who.city)
    _enter(scene, who, "dormantTakeover", "naive", at, spot, scene.foreign(), follows=5)


def new_country(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    kit = scene.foreign() if chance.random() < 0.5 else scene.likeness(who)
    _enter(scene, who, "newCountryVpn", "vpn", at, scene.hidden(scene.world.far(who.city.country)), kit, follows=4)


def crowd(scene: Scene) -> None:
    """Several people's passwords, used one after the other from one address."""
    chance, at = scene.stream.chance, scene.begin()
    city = chance.choice(scene.world.of(scene.world.home))
    spot = scene.rented(city) if chance.random() < 0.5 else scene.hosted(city)
    kits = [scene.foreign() for _ in range(chance.randrange(1, 3))]
    for _ in range(chance.randrange(3, 7)):
        at += chance.uniform(4 * MINUTE, 3 * HOUR)
        _enter(scene, scene.victim(at), "sameIpManyUsers", "naive", at, spot, chance.choice(kits), follows=1)


# ------------------------------------------------------------ sessions and factors


def replay(scene: Scene) -> None:
    """A cookie or refresh token of a machine that is not bound, played elsewhere."""
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at, bound=False)
    began, held = at - chance.uniform(0.5, 30) * HOUR, scene.stream.id()[:18]
    own = Kit(
        who.kits[0].make, who.kits[0].browser, who.kits[0].id, who.kits[0].managed, who.kits[0].lag, who.kits[0].build
    )
    signed_in(
        scene.stream, who.id, who.name, Try(began, who.home_spot, own, "Outlook", True, 0, held, multifactor=True)
    )
    luck = chance.random()
    spot = (
        scene.somewhere(who.city.country)
        if luck < 0.6
        else scene.hosted(who.city)
        if luck < 0.85
        else scene.rented(who.city)
    )
    kit = scene.likeness(who) if chance.random() < 0.5 else scene.foreign()
    tool = chance.choice(TOOLS) if chance.random() < 0.2 else ""
    how = "naive" if luck < 0.6 else "targeted"
    first = Try(
        at,
        spot,
        kit,
        "Outlook",
        False,
        0,
        held,
        agent=tool,
        token="refreshToken",
        label=scene.label("tokenReplay", "compromise", how),
    )
    _try(scene, who, first)
    _afterwards(scene, who, "tokenReplay", how, at, spot, kit, held, 6)


def fatigue(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    spot, kit = scene.nearby(who.city), scene.foreign()
    pace = chance.choice((20.0, 60.0, 150.0))
    prompts = chance.randrange(4, 14)
    for n in range(prompts):
        at += pace * chance.uniform(0.6, 1.4)
        stage = "compromise" if n == 0 else "followup"
        _try(
            scene,
            who,
            Try(
                at,
                spot,
                kit,
                "Azure Portal",
                True,
                500121,
                multifactor=True,
                label=scene.label("mfaFatigue", stage, "vpn"),
            ),
        )
    if chance.random() < 0.6:
        session = scene.stream.id()[:18]
        _try(
            scene,
            who,
            Try(
                at + 25,
                spot,
                kit,
                "Azure Portal",
                True,
                0,
                session,
                multifactor=True,
                label=scene.label("mfaFatigue", "followup", "vpn"),
            ),
        )
        _afterwards(scene, who, "mfaFatigue", "vpn", at + 25, spot, kit, session, 4)


def between(scene: Scene) -> None:
    """A proxy takes password, factor and session; the session goes on from elsewhere, and a foothold is made."""
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    spot = scene.hosted(who.city if chance.random() < 0.6 else None)
    session = scene.stream.id()[:18]
    kit = scene.likeness(who)
    _try(
        scene,
        who,
        Try(
            at,
            spot,
            kit,
            "Outlook",
            True,
            0,
            session,
            multifactor=True,
            label=scene.label("aitm", "compromise", "targeted"),
        ),
    )
    own, later = scene.foreign(), at + chance.uniform(2, 50) * MINUTE
    other = spot if chance.random() < 0.3 else scene.nearby(who.city)
    _try(
        scene,
        who,
        Try(
            later,
            other,
            own,
            "Outlook",
            False,
            0,
            session,
            token="refreshToken",
            label=scene.label("aitm", "followup", "targeted"),
        ),
    )
    done = _afterwards(scene, who, "aitm", "targeted", later, other, own, session, 5)
    if chance.random() < 0.7:
        what = chance.choice((("New-InboxRule", "Delete invoices"), ("User registered security info", "Authenticator"),
                              ("Consent to application", "Mail Backup"), ("New-InboxRule", ".")))  # fmt: skip
        scene.stream.audit(min(done, later + HOUR), who.id, who.name, other.address, *what)


def requests(scene: Scene) -> None:
    chance, at = scene.stream.chance, scene.begin()
    who = scene.victim(at)
    spot = scene.nearby(who.city)
    _enter(scene, who, "suspiciousApiTraffic", "vpn", at, spot, scene.foreign(), app="Graph Explorer", follows=3)
    kinds = chance.sample(["users", "groups", "applications", "devices", "directoryRoles", "messages", "drives"], 5)
    for n in range(chance.randrange(1, 4)):
        denied = chance.randrange(0, 300)
        id = scene.stream.count(at + n * HOUR, who.id, spot.address, chance.randrange(1_500, 20_000), kinds, denied)
        scene.stream.label(id, who.id, scene.label("suspiciousApiTraffic", "followup", "vpn"), valid=True)


def workload(scene: Scene) -> None:
    """The secret of a service principal, or one that was added to it, used from elsewhere."""
    chance, at = scene.stream.chance, scene.begin()
    some = [each for each in scene.programs if each.id not in scene.hit]
    if not some:
        return
    app = chance.choice(some)
    scene.hit.add(app.id)
    spot = scene.somewhere(app.places[0].seen.country)
    key = app.key if chance.random() < 0.7 else scene.stream.id()
    for n in range(chance.randrange(1, 6)):
        resource = (
            app.resource
            if chance.random() < 0.3
            else chance.choice(("Key Vault", "Graph", "Storage", "SharePoint Online"))
        )
        ran(scene.stream, app, at, spot, agent=chance.choice(TOOLS), resource=resource, key=key,
            label=scene.label("servicePrincipalTheft", "followup" if n else "compromise", "naive"))  # fmt: skip
        at += chance.uniform(5, 120) * MINUTE


def service(scene: Scene) -> None:
    """The password of an account that a script uses, beside the script: by its own program or another."""
    chance, at = scene.stream.chance, scene.begin()
    some = [each for each in scene.services if each.id not in scene.hit]
    if not some:
        return
    it = chance.choice(some)
    scene.hit.add(it.id)
    spot, own = scene.somewhere(scene.world.home), chance.random() < 0.6
    for n in range(chance.randrange(3, 9)):
        signed_in(
            scene.stream, it.id, it.name,
            Try(at, spot, None, it.app if own or chance.random() < 0.5 else "Outlook", False, 0,
                agent=it.agent if own else chance.choice(TOOLS), client="Other clients",
                label=scene.label("serviceAccountTheft", "followup" if n else "compromise", "targeted")),
        )  # fmt: skip
        at += chance.uniform(20, 600) * MINUTE


def noise(scene: Scene, days: int) -> None:
    """Tries of nobody in particular, all the time."""
    chance = scene.stream.chance
    for _ in range(int(0.01 * len(scene.people) * days)):
        who, at = chance.choice(scene.people), START + chance.random() * days * DAY
        label = Label("background", "bg", "attempt", "naive")
        it = Try(
            at,
            scene.somewhere("--"),
            None,
            "Outlook",
            True,
            50126,
            agent=chance.choice(TOOLS),
            client="Other clients",
            label=label,
        )
        _try(scene, who, it)


# Each with how many campaigns a tenant of a thousand has in its scored days.
CAMPAIGNS: tuple[tuple[Callable[[Scene], None], float], ...] = (
    (spray, 2), (slow_spray, 1), (guess, 3), (stuffing, 2), (leaked, 4), (travel, 6), (anonymous, 4), (malicious, 4),
    (dormant, 4), (new_country, 4), (crowd, 2), (replay, 5), (fatigue, 3), (between, 5), (requests, 3), (workload, 3),
)  # fmt: skip


def campaigns(scene: Scene, scale: float) -> Iterator[Callable[[Scene], None]]:
    """At full scale all of them; below it a draw, at least two of them."""
    every = [attack for attack, many in CAMPAIGNS for _ in range(int(many))]
    scene.stream.chance.shuffle(every)
    yield from every[: max(2, round(scale * len(every)))]
