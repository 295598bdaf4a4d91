"""What becomes of alerts: the fold, the guard, the link, the bar, the rails, and how little order and number matter."""

import random
import sys
from collections import Counter, defaultdict
from math import exp, isclose, log, log2
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.correlate.streams import HOUR, START, Told, alert, attack, host, noise, tell

from bartizan.correlate.engine import Engine
from bartizan.correlate.incident import Facts, Node
from bartizan.correlate.rank import Telling
from bartizan.correlate.replay import read
from bartizan.correlate.rules import HALF_LIFE_HOURS, PRIOR_HOURS_ELSE, PRIOR_SPAN_HOURS, Rules


def test_an_attack_on_one_host_is_one_incident_and_ranks_above_all_noise() -> None:
    told = tell(noise(72, 6), attack("a", 60.2, "h3"))
    assert told.together(*(f"a-{step}" for step in range(6)))
    mine = told.incidents["a-0"].root()
    others = {each.root().key: each.root() for each in told.incidents.values() if each.root().state == "open"}
    del others[mine.key]
    assert others, "the noise makes some incidents too"
    assert mine.bits > max(each.bits for each in others.values())


def test_what_fires_all_the_time_neither_links_nor_opens() -> None:
    told = tell(noise(72, 6))
    late = {key for key in told.incidents if key.startswith("beat-") and int(key.split("-")[1]) > 12}
    assert not late


def test_a_detector_becomes_common_and_ceases_to_be() -> None:
    every_hour = [alert(f"x-{hour}", hour, "x", host("a")) for hour in range(24)]
    much_later = [alert("again", 24 + 10 * HALF_LIFE_HOURS, "x", host("a"))]
    told = tell(every_hour, much_later)
    assert "x-23" not in told.incidents
    assert told.of("again") is not None


def test_a_high_alert_opens_however_common_its_detector() -> None:
    told = tell(noise(72, 6), [alert("grave", 70.5, "heartbeat", host("elsewhere"), severity="high")])
    assert told.of("grave") is not None


@pytest.mark.parametrize(("severity", "opens"), [("informational", False), ("low", True), ("medium", True)])
def test_the_products_judgement_counts(severity: str, opens: bool) -> None:
    told = tell([alert("a", 0, "x", host("h"), severity=severity)])
    assert (told.of("a") is not None) == opens


def test_a_weak_alert_waits_until_there_is_more() -> None:
    rare = [alert(f"p-{hour}", hour, "p", host("a")) for hour in range(0, 60, 6)]
    rare += [alert(f"q-{hour}", hour + 3, "q", host("a")) for hour in range(0, 60, 6)]
    alone = tell(rare, [alert("p-last", 60, "p", host("a"))])
    assert alone.of("p-last") is None
    company = tell(rare, [alert("p-last", 60, "p", host("a")), alert("q-last", 60.01, "q", host("a"))])
    assert company.together("p-last", "q-last")


def test_repeats_fold_until_silence_or_the_hour() -> None:
    rules = Rules()
    every_minute = [alert(f"r-{minute}", minute / 60, "r", host("a")) for minute in range(50)]
    told = tell(every_minute)
    assert told.incidents["r-49"].folds == 1
    silence = alert("later", (49 + rules.fold_gap_s / 60 + 1) / 60, "r", host("a"))
    assert tell(every_minute, [silence]).incidents["later"].folds == 2
    for_long = [alert(f"s-{minute}", minute / 60, "s", host("a")) for minute in range(200)]
    assert tell(for_long).incidents["s-0"].folds == 4  # one an hour


def test_the_link_can_be_recomputed_from_the_stream() -> None:
    """By a count of hours that knows nothing of the engine."""
    rng = random.Random(3)
    alerts = [
        alert(f"k{n}", hours, f"d{n}", host(f"h{rng.randrange(5)}"), ("user", f"u{rng.randrange(9)}"))
        for n, hours in enumerate(sorted(rng.uniform(0, 200) for _ in range(400)))
    ]
    told = tell(alerts)
    assert len(told.links) > 50
    forget = log(2) / HALF_LIFE_HOURS
    for number, each in enumerate(alerts):
        link = told.links.get(each.key)
        if link is None:
            continue
        hour = int(each.at // HOUR)
        hours = sorted({int(past.at // HOUR) for past in alerts[:number] if link.node in past.nodes} - {hour})
        seen = sum(exp(-forget * (hour - past)) for past in hours)
        watched = (1 - exp(-forget * (each.at - alerts[0].at) / HOUR)) / forget
        popularity = (seen + PRIOR_HOURS_ELSE) / (watched + PRIOR_SPAN_HOURS)
        assert isclose(link.popularity, popularity, rel_tol=1e-9)
        assert isclose(link.bits, -log2(1 - (1 - popularity) ** link.gap_hours) - link.strangers, rel_tol=1e-6)
        assert isclose(link.bits, link.recomputed(), rel_tol=1e-9)
        assert link.bits >= Rules().link_bits
        assert link.node in each.nodes
        for evidence in told.incidents[each.key].evidence.values():
            assert isclose(evidence.bits, evidence.recomputed(), rel_tol=1e-9)


def test_the_best_link_wins() -> None:
    """A rare user outweighs a host that everybody is on."""
    crowd = [alert(f"c{n}", n / 2, f"odd {n}", ("user", f"someone{n}"), host("terminal-server")) for n in range(96)]
    told = tell(
        crowd,
        [
            alert("mine", 50, "first", ("user", "alice"), host("laptop")),
            alert("theirs", 50.05, "second", ("user", "bob"), host("terminal-server")),
            alert("next", 50.08, "third", ("user", "alice"), host("terminal-server")),
        ],
    )
    assert told.links["next"].node == ("user", "alice")
    assert told.together("mine", "next")
    assert told.of("theirs") != told.of("mine")


def test_one_attack_over_several_products_is_one_incident() -> None:
    """Identity provider, endpoint, mail and cloud, which name different things of it."""
    alice, laptop, address = ("user", "alice"), host("laptop"), ("address", "203.0.113.5")
    told = tell(
        [
            alert("idp", 0.0, "impossible travel", alice, address, severity="medium"),
            alert("mail", 0.4, "inbox rule", ("mailbox", "alice"), alice, severity="low"),
            alert("edr", 0.7, "credential dump", laptop, alice, severity="high"),
            alert("edr2", 0.9, "new service", laptop, severity="medium"),
            alert("cloud", 1.1, "access key made", alice, ("resource", "key"), severity="medium"),
        ]
    )
    assert told.together("idp", "mail", "edr", "edr2", "cloud")


def test_what_comes_late_joins_the_incident_of_its_own_time() -> None:
    """Days are imported one after another, and a slower source tells of all of them afterwards."""
    site = ("domain", "c2.example")
    days = [
        alert(f"{what}-{day}", 24 * 3 * day + at, f"{what} {day}", host(f"h{day}"), *more, severity="high")
        for day in range(3)
        for what, at, more in (("dump", 0.0, ()), ("beacon", 0.1, (site,)))
    ]
    late = [alert(f"match-{day}", 24 * 3 * day + 0.1, "indicator", site, severity="medium") for day in (1, 0, 2)]
    told = Told(Engine(), [*days, *late])
    for day in range(3):
        assert told.together(f"dump-{day}", f"beacon-{day}", f"match-{day}")


@pytest.mark.parametrize("history", [0, 96])
def test_two_attacks_behind_one_address_stay_two(history: int) -> None:
    """Whether the tenant has shown the address to be shared or is new."""
    nat = ("address", "198.51.100.1")
    past = [alert(f"n{n}", n, f"d{n % 30}", ("user", f"u{n}"), nat) for n in range(history)]
    first = [alert(f"a{n}", history + n / 30, f"a{n}", ("user", "alice"), host("lap-a"), nat) for n in range(4)]
    second = [alert(f"b{n}", history + 0.01 + n / 30, f"b{n}", ("user", "bob"), host("lap-b"), nat) for n in range(4)]
    told = tell(past, first, second)
    assert told.together(*(each.key for each in first))
    assert told.together(*(each.key for each in second))
    assert told.of("a0") != told.of("b0")


def test_a_story_that_comes_again_joins_the_first() -> None:
    first = attack("a", 40, "h1", 3)
    again = [replace(each, key=f"again-{each.key}", at=each.at + 4 * HOUR) for each in first]
    told = tell(noise(48, 1), first, again)
    assert told.together("a-0", "again-a-0")


def test_a_sweep_over_hosts_is_one_story() -> None:
    """But what one host has beyond it stays a story of its own."""
    scan = [alert(f"scan-{n}", 60 + n / 3600, "port scan", host(f"h{n}")) for n in range(6)]
    told = tell(noise(60, 6), scan, attack("a", 60.0, "h2", 3), [alert("end", 61, "heartbeat", host("h0"))])
    assert told.together(*(each.key for each in scan))
    assert told.together("scan-2", "a-0")


def test_two_people_with_the_same_trouble_are_no_sweep() -> None:
    each = [alert(f"u{n}", 60 + n / 3600, "phish clicked", ("user", f"user{n}")) for n in range(6)]
    told = tell(noise(60, 6), each, [alert("end", 61, "heartbeat", host("h0"))])
    assert len({told.of(one.key) for one in each}) == 6


def test_an_incident_stops_growing() -> None:
    """By number, by age and by silence."""
    rules = Rules(largest_floor=5, largest_share=0.0)
    many = tell(attack("a", 0, "h", 12), engine=Engine(rules))
    assert max(Counter(many.of(f"a-{n}") for n in range(12)).values()) == 5
    steady = [alert(f"s{n}", n / 6, f"s{n}", ("user", "u")) for n in range(6 * 40)]
    told = tell(steady, engine=Engine(Rules(age_s=10 * HOUR)))
    for incident in {each.root().key: each.root() for each in told.incidents.values()}.values():
        assert incident.last - incident.first <= 10 * HOUR
    quiet = tell([alert("x", 0, "x", ("user", "u")), alert("y", 30, "y", ("user", "u"))])
    assert quiet.of("x") != quiet.of("y")


def placed(told: Told, keys: list[str]) -> dict[str, str | None]:
    return {key: told.of(key) for key in keys}


def moved(before: dict[str, str | None], after: dict[str, str | None]) -> int:
    """Alerts that are not where most of their incident is now."""
    where: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    for key, incident in before.items():
        where[incident][after[key]] += 1
    stay = sum(
        counts[None] if incident is None else max((n for to, n in counts.items() if to is not None), default=0)
        for incident, counts in where.items()
    )
    return len(before) - stay


def busy(seed: int) -> list[Facts]:
    streams = [noise(96, 8, seed)]
    streams += [attack(f"t{n}", 30 + 7.3 * n, f"h{n}", 5) for n in range(8)]
    return sorted((each for stream in streams for each in stream), key=lambda each: each.at)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_order_within_a_minute_hardly_matters(seed: int) -> None:
    """At most 2 % of memberships."""
    alerts, rng = busy(seed), random.Random(seed)
    shuffled = sorted(alerts, key=lambda each: (each.at // 60, rng.random()))
    keys = [each.key for each in alerts]
    before, after = placed(Told(Engine(), alerts), keys), placed(Told(Engine(), shuffled), keys)
    assert moved(before, after) <= 0.02 * len(keys)


@pytest.mark.shared
def test_order_within_a_minute_hardly_matters_on_a_real_network(shared: Path) -> None:
    """At most 2 % of the alerts in its incidents, repeats and all."""
    folder = shared / "alerts" / "ait_ads"
    stream = min(folder.glob("*_alerts.csv.gz"), key=lambda file: file.stat().st_size)
    alerts, rng = sorted(read(stream), key=lambda each: each.at), random.Random(7)
    shuffled = sorted(alerts, key=lambda each: (each.at // 60, rng.random()))
    keys = [each.key for each in alerts]
    before, after = placed(Told(Engine(), alerts), keys), placed(Told(Engine(), shuffled), keys)
    members = sum(incident is not None for incident in before.values())
    assert members > 1_000 and moved(before, after) <= 0.02 * members


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_the_same_alerts_twice_change_nothing(seed: int) -> None:
    alerts = busy(seed)
    once = Told(Engine(), alerts)
    twice = Told(Engine(), [each for alert in alerts for each in (alert, alert)])
    assert placed(once, [each.key for each in alerts]) == placed(twice, [each.key for each in alerts])
    bits = {each.key: each.bits for each in once.incidents.values()}
    assert bits == {each.key: each.bits for each in twice.incidents.values()}


SEVERITIES = ["high", "low", "informational", "unknown", "nonsense"]
node = st.tuples(st.sampled_from(["user", "host", "address", "file", "strange"]), st.sampled_from("abcdef"))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 400), st.integers(0, 5), st.lists(node, max_size=5),
                          st.sampled_from(SEVERITIES)), max_size=60))  # fmt: skip
def test_any_stream_is_taken(rows: list[tuple[float, int, list[Node], str]]) -> None:
    """In any order of time, with or without entities: every incident has evidence, every link passes the bar."""
    alerts = [alert(str(n), at, f"d{d}", *nodes, severity=word) for n, (at, d, nodes, word) in enumerate(rows)]
    told = Told(Engine(), alerts)
    told.engine.advance(START + 1_000 * HOUR)
    for incident in told.incidents.values():
        assert incident.evidence and incident.first <= incident.last
        assert told.engine.company(incident) >= 0
    assert all(link.bits >= Rules().link_bits for link in told.links.values())


def steps_of(engine: Engine, alerts: list[Facts]) -> int:
    """Calls that the interpreter makes: work, not time."""
    count = 0

    def note(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        for each in alerts:
            engine.take(each)
    finally:
        sys.setprofile(None)
    return count


def test_the_cost_of_an_alert_does_not_grow_with_the_number_of_incidents() -> None:
    def crowd(name: str, incidents: int) -> list[Facts]:
        return [alert(f"{name}{n}", 24 + n / 1e5, f"{name} {n % 50}", ("user", f"{name}{n}")) for n in range(incidents)]

    probe = attack("p", 24.5, "h1", 40)
    few, many = Engine(), Engine()
    for each in noise(24, 4):
        few.take(each)
        many.take(each)
    for each in crowd("few", 200):
        few.take(each)
    for each in crowd("many", 8_000):
        many.take(each)
    few.advance(START + 24.49 * HOUR)
    many.advance(START + 24.49 * HOUR)
    assert steps_of(many, probe) <= 1.5 * steps_of(few, probe)


def test_a_bare_name_beside_the_whole_one_is_named_once() -> None:
    """In title and summary; two whole names that may be two people stay two."""
    people, hosts = [("user", "rosa@example.org"), ("user", "Rosa")], [host("pc1"), host("pc1.example.org")]
    told = tell([alert("a", 1, "odd", *people, *hosts, severity="high")])
    incident = told.incidents["a"].root()
    assert Telling(incident).title() == "odd on rosa@example.org and pc1.example.org"
    assert "Users: rosa@example.org." in Telling(incident).summary(1, 0.0)
    two = tell([alert("a", 1, "odd", ("user", "rosa@example.org"), ("user", "CORP\\rosa"), severity="high")])
    assert Telling(two.incidents["a"].root()).title() == "odd on CORP\\rosa and rosa@example.org"
