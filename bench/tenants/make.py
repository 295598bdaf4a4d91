"""A tenant's stream: people, programs, what happens to them all, and attacks; written as the labelled streams are."""

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from random import Random
from typing import Any

from msgspec import Struct

from bench.tenants.attacks import Lists, Scene, campaigns, noise, service
from bench.tenants.kits import TOOLS
from bench.tenants.people import Daily, Person, Tenant, person, plan
from bench.tenants.records import DAY, HOUR, START, Program, Service, Stream, Try, instant, ran, signed_in
from bench.tenants.world import BLOCK, City, Spot, World


class Asked(Struct, frozen=True):
    """`attacks` is the share of the campaigns of a tenant of a thousand over sixty days; `thefts` is of how many
    accounts that scripts use somebody has the password, beside those."""

    seed: int
    users: int = 1_000
    days: int = 60
    warmup: int = 21
    attacks: float = 1.0
    thefts: int = 0


class Made(Struct):
    asked: Asked
    world: World
    tenant: Tenant
    people: list[Person]
    dormant: list[Person]
    stream: Stream
    lists: Lists


def _tenant(world: World, chance: Random, users: int, days: int) -> Tenant:
    offices: list[tuple[City, list[Spot]]] = []
    for n in range(1 + (users > 80) + (users > 400) * 2):
        city = chance.choice(world.of(world.home if n % 2 == 0 else world.second))
        carrier = chance.choice(world.kind("business", city.country))
        offices.append((city, [carrier.spot(chance, city) for _ in range(chance.randrange(1, 4))]))
    at = offices[0][0]
    edge = world.kind("edge")[0]
    moves = None
    if chance.random() < 0.5:
        other = chance.choice(world.kind("business", at.country))
        moves = (chance.randrange(days // 2, days), [other.spot(chance, at) for _ in range(2)])
    return Tenant(
        f"{chance.choice(('larch', 'quarry', 'harbour', 'tundra'))}{chance.randrange(1_000)}.example",
        offices,
        [*(world.spot("hosting", at) for _ in range(3)), world.spot("hosting", world.far(at.country))],
        [edge.spot(chance, city) for city in sorted(edge.cities(), key=lambda each: _apart(each, at))[:5]],
        bound=chance.choice((0.3, 0.6, 0.9)),
        mfa=chance.choice((0.3, 0.6, 0.95)),
        moves=moves,
    )


def _apart(one: City, other: City) -> float:
    return abs(one.latitude - other.latitude) + abs(one.longitude - other.longitude)


def _people(world: World, tenant: Tenant, stream: Stream, asked: Asked) -> tuple[list[Person], list[Person]]:
    """Those who work, and those whose accounts nobody uses."""
    chance = stream.chance
    people = [person(world, tenant, chance, stream, n) for n in range(asked.users)]
    dormant: list[Person] = []
    for one in people:
        plan(one, world, chance, asked.days)
        luck = chance.random()
        if luck < 0.05 * asked.days / 60:
            one.joined = chance.randrange(1, asked.days)
            one.created, one.last = START + (one.joined - chance.randrange(1, 6)) * DAY, 0.0
        elif luck < 0.08 * asked.days / 60:
            one.ends = chance.randrange(asked.days)
        elif (luck < 0.15 and asked.users >= 100) or luck < 0.1:
            dormant.append(one)
            one.last = START - chance.randrange(65, 400) * DAY if chance.random() < 0.7 else 0.0
            one.created = min(one.created, START - 100 * DAY)
            one.joined = 10_000
    for one in chance.sample(dormant, len(dormant) // 8):  # back from a long leave
        one.joined = chance.randrange(asked.warmup, asked.days)
        dormant.remove(one)
    return people, dormant


def _programs(world: World, stream: Stream, users: int) -> list[Program]:
    chance = stream.chance
    programs = []
    for n in range(max(3, users // 60)):
        carrier = chance.choice(world.kind("hosting"))
        city = carrier.cities()[0]
        programs.append(
            Program(
                stream.id(), f"job-{n}", chance.choice(("Graph", "Storage", "Key Vault", "SharePoint Online")),
                chance.choice(("azsdk-python-identity/1.17", "azsdk-java/1.12", "MSAL/4.6", "Go-http-client/2.0")),
                stream.id(), [carrier.spot(chance, city) for _ in range(2)], chance.choice((1, 3, 8, 24)) * HOUR,
                chance.random() < 0.2,
            )
        )  # fmt: skip
    return programs


def _run(made: Made, programs: list[Program]) -> None:
    """Days of programs: runners wander within their carrier, deployments move, keys are changed."""
    stream, world, chance = made.stream, made.world, made.stream.chance
    for app in programs:
        at, end = START + chance.random() * app.every_s, START + made.asked.days * DAY
        moves = START + chance.uniform(0.3, 1.5) * made.asked.days * DAY
        host = next(each for each in world.carriers if each.asn == app.places[0].asn)
        while at < end:
            tags: tuple[str, ...] = ()
            if at > moves:
                moves = end
                tags = ("spDeploy",)
                if chance.random() < 0.5:
                    app.key = stream.id()
                else:
                    app.places = [host.spot(chance) for _ in range(2)]
            spot = host.spot(chance) if app.wanders else chance.choice(app.places)
            ran(stream, app, at, spot, tags=tags or (("runner",) if app.wanders else ()))
            if chance.random() < 0.2:
                stream.count(at, app.id, spot.address, chance.randrange(100, 900), ["users", "groups"])
            at += app.every_s * chance.uniform(0.7, 1.3)


def _service_accounts(made: Made) -> list[Service]:
    """User accounts that scripts use: from a server, with a password, at each hour."""
    stream, chance, services = made.stream, made.stream.chance, list[Service]()
    for n in range(max(1, made.asked.users // 150)):
        user, name = stream.id(), f"svc-{n}@{made.tenant.domain}"
        spot, agent = made.world.spot("hosting", made.world.of(made.world.home)[0]), chance.choice(TOOLS)
        moves = chance.randrange(made.asked.days)
        services.append(Service(user, name, "SharePoint Online", agent))
        for hour in range(0, made.asked.days * 24, chance.choice((1, 2, 6))):
            if hour == moves * 24:
                spot = made.world.spot("hosting", made.world.of(made.world.home)[0])
            at = START + (hour + chance.random() * 0.1) * HOUR
            it = Try(
                at,
                spot,
                None,
                "SharePoint Online",
                False,
                0,
                agent=agent,
                client="Other clients",
                tags=("serviceAccount",),
            )
            signed_in(stream, user, name, it)
    return services


def _meetings(made: Made) -> None:
    """Colleagues at one hotel for a conference, and contractors who start together in an office of their own."""
    stream, chance, world = made.stream, made.stream.chance, made.world
    for _ in range(1 + made.asked.users // 400):
        city = world.far(world.home) if chance.random() < 0.5 else chance.choice(world.of(world.home))
        hotel = world.spot("business", city)
        first = chance.randrange(2, max(3, made.asked.days - 4))
        for one in chance.sample(made.people, min(len(made.people) // 8, chance.randrange(3, 9))):
            for day in range(first, first + 3):
                one.away[day] = ("conference", city, hotel)
    if made.asked.users < 100:
        return
    city = chance.choice(world.of(chance.choice(world.countries)))
    office, first = world.spot("business", city), chance.randrange(made.asked.warmup, made.asked.days)
    for n in range(chance.randrange(4, 10)):
        one = person(world, made.tenant, chance, stream, 9_000 + n)
        one.city, one.home_spot, one.haunts, one.habit = city, office, [office], "none"
        one.home, one.cell = (
            chance.choice(world.kind("home", city.country)),
            chance.choice(world.kind("mobile", city.country)),
        )
        one.office, one.remote, one.joined, one.mail = -1, 1.0, first, ""
        one.kits[0].id, one.tunnel, one.household = "", "", 0
        one.created, one.last = START + (first - 2) * DAY, 0.0
        made.people.append(one)


def _leaks(made: Made) -> None:
    """Old leaks of passwords that were changed since, as most are."""
    chance = made.stream.chance
    for one in chance.sample(made.people, max(1, len(made.people) // 40)):
        at = START + chance.random() * made.asked.days * DAY
        made.stream.leaks.append({"at": at, "who": one.name, "matches": chance.random() < 0.1})


def _changes(made: Made) -> None:
    """Mailbox rules and second factors of everyday life."""
    chance = made.stream.chance
    for _ in range(len(made.people) * made.asked.days // 400):
        one = chance.choice(made.people)
        at = START + chance.randrange(made.asked.days) * DAY + (one.starts_h - one.zone_h + chance.random() * 8) * HOUR
        what = chance.choice((("New-InboxRule", "Project mail"), ("User registered security info", "Authenticator"),
                              ("Consent to application", "Calendar Widget"), ("Change user password", "")))  # fmt: skip
        made.stream.audit(at, one.id, one.name, one.home_spot.address, *what)


def tenant_of(asked: Asked) -> Made:
    chance = Random(asked.seed)
    world, stream = World(chance), Stream(chance)
    tenant = _tenant(world, chance, asked.users, asked.days)
    people, dormant = _people(world, tenant, stream, asked)
    lists = Lists({_of(world, chance) for _ in range(60)}, {_of(world, chance) for _ in range(80)})
    result = Made(asked, world, tenant, people, dormant, stream, lists)
    programs = _programs(world, stream, asked.users)
    _meetings(result)
    asleep = {each.id for each in dormant}
    for one in result.people:
        if one.id not in asleep:
            for day in range(asked.days):
                Daily(one, tenant, world, stream, day).run()
    _run(result, programs)
    services = _service_accounts(result)
    _changes(result)
    _leaks(result)
    awake = [each for each in result.people if each.id not in asleep]
    steady = [each for each in programs if not each.wanders]
    scene = Scene(
        world, tenant, awake, dormant, steady, services, stream, lists, asked.warmup + 1, asked.days - 2, hit=set()
    )
    noise(scene, asked.days)
    for attack in campaigns(scene, asked.attacks):
        scene.number += 1
        attack(scene)
    for _ in range(asked.thefts):  # last, so that all else is as without them
        scene.number += 1
        service(scene)
    end = instant(START + asked.days * DAY)
    for of, key in (
        (stream.signins, "createdDateTime"),
        (stream.audits, "activityDateTime"),
        (stream.requests, "timeGenerated"),
    ):
        of[:] = sorted((each for each in of if each[key] < end), key=lambda each: (each[key], each["id"]))
    return result


def _of(world: World, chance: Random) -> str:
    return chance.choice(world.kind("hosting")).spot(chance).address


# ------------------------------------------------------------ files


def written(of: Made, folder: Path) -> Path:
    """signins.jsonl, audits.jsonl, graphactivity.jsonl, labels.jsonl, benign.jsonl, users.json, meta.json, intel/."""
    (folder / "intel").mkdir(parents=True, exist_ok=True)
    stream = of.stream
    kept = {each["id"] for each in (*stream.signins, *stream.audits, *stream.requests)}
    for name, rows in (
        ("signins", stream.signins), ("audits", stream.audits), ("graphactivity", stream.requests),
        ("labels", [each for each in stream.labels if each["id"] in kept]),
        ("benign", [each for each in stream.benign if each["id"] in kept]),
    ):  # fmt: skip
        with (folder / f"{name}.jsonl").open("w") as out:
            out.writelines(json.dumps(each, separators=(",", ":")) + "\n" for each in rows)
    (folder / "users.json").write_text(json.dumps([_user(each) for each in of.people]))
    meta = {"users": of.asked.users, "days": of.asked.days, "start": instant(START),
            "scoredFrom": instant(START + of.asked.warmup * DAY)}  # fmt: skip
    (folder / "meta.json").write_text(json.dumps(meta))
    _intel(of, folder / "intel")
    return folder


def _user(one: Person) -> dict[str, Any]:
    return {
        "userId": one.id, "userPrincipalName": one.name, "createdDateTime": instant(one.created), "isAdmin": one.admin,
        "lastSignInBeforeStream": instant(one.last) if one.last else None,
    }  # fmt: skip


def _intel(of: Made, folder: Path) -> None:
    carriers = of.world.carriers

    def asns(kind: str) -> str:
        return "".join(f"{each.asn}\n" for each in carriers if each.kind == kind)

    (folder / "hosting-asns.txt").write_text(asns("hosting"))
    (folder / "mobile-asns.txt").write_text(asns("mobile"))
    (folder / "tor-exits.txt").write_text("".join(f"{each}\n" for each in sorted(of.lists.tor)))
    (folder / "malicious-ips.txt").write_text("".join(f"{each}\n" for each in sorted(of.lists.malicious)))
    systems, places, tunnels = [], [], []
    for carrier in carriers:
        for block in carrier.blocks:
            span = f"{IPv4Address(block.first)},{IPv4Address(block.first + BLOCK - 1)}"
            seen = block.seen
            systems.append(f"{span},{carrier.asn},{carrier.name}\n")
            places.append(f"{span},{seen.country},{seen.name},{seen.latitude},{seen.longitude}\n")
            if carrier.kind in ("vpn", "relay") and carrier.name != "Tunnel 3":  # one that nobody has listed
                tunnels.append(f"{IPv4Address(block.first)}/17\n")
        if carrier.six:
            last = IPv6Address(carrier.six + (1 << 96) - 1)
            systems.append(f"{IPv6Address(carrier.six)},{last},{carrier.asn},{carrier.name}\n")
    (folder / "ip-asn.csv").write_text("".join(systems))
    (folder / "ip-geo.csv").write_text("".join(places))
    (folder / "vpn-ranges.txt").write_text("".join(tunnels))
    named = [
        {"displayName": f"office {n}", "isTrusted": n == 0, "ipRanges": [f"{each.address}/32" for each in spots]}
        for n, (_, spots) in enumerate(of.tenant.offices)
    ]
    (folder / "named-locations.json").write_text(json.dumps(named))
    leaks = sorted(of.stream.leaks, key=lambda each: (each["at"], each["who"]))
    rows = (
        {
            "foundDateTime": instant(each["at"]),
            "userPrincipalName": each["who"],
            "matchesCurrentPassword": each["matches"],
        }
        for each in leaks
    )
    (folder / "leaked-credentials.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
