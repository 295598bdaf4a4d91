"""The engine of identity protection against a loop that only parses the same sign-ins.

Two processes share the principals, as `bartizan risk replay` does; each sees all sign-ins. Rates are by the clock, on a
machine that has nothing else to do. Memory is what the states of so many users take in a process.

`python -m bench.bench_identity [--users N] [--days N]`
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from bartizan.identity.engine import State
from bartizan.identity.events import SignIn, decode_sign_in, of_raw
from bartizan.identity.state import Principal
from bartizan.intel.networks import Intel

PROCESSES = 2
START = 1_772_409_600  # 2026-03-02
APPS = [f"App {n}" for n in range(30)]
BROWSERS = (
    ("Windows11", "Edge 119.0.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Edg/119.0"),
    ("MacOs", "Safari 17.5", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605 Safari/605"),
    ("Ios 17", "Mobile Safari 17.4", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605"),
)


def sign_ins(users: int, days: int, seed: int = 1) -> Iterator[bytes]:
    """JSON lines in order of time: people at home, in the office and on the move, with a few devices each."""
    chance = random.Random(seed)
    people: list[dict[str, Any]] = [
        {
            "id": f"user-{n:07d}",
            "home": f"10.{n % 200}.{n // 200 % 250}.{n % 250}",
            "asn": 3000 + n % 40,
            "kits": chance.sample(range(3), 2),
            "apps": chance.sample(APPS, 6),
        }
        for n in range(users)
    ]
    for day in range(days):
        for second in sorted(chance.randrange(86_400) for _ in range(users * 5)):
            who = people[chance.randrange(users)]
            os_name, browser, agent = BROWSERS[who["kits"][chance.random() < 0.3]]
            away = chance.random()
            address = f"192.0.2.{chance.randrange(8)}" if away < 0.3 else str(who["home"])
            if away > 0.97:
                address = f"172.{chance.randrange(200)}.{chance.randrange(200)}.{chance.randrange(200)}"
            yield json.dumps(
                _document(who, START + day * 86_400 + second, address, os_name, browser, agent, chance)
            ).encode()


def _document(
    who: dict[str, Any], at: int, address: str, os_name: str, browser: str, agent: str, chance: random.Random
) -> dict[str, Any]:
    failed = chance.random() < 0.03
    return {
        "id": f"{who['id']}-{at}-{chance.randrange(1 << 30)}",
        "createdDateTime": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at)),
        "userId": who["id"],
        "userPrincipalName": f"{who['id']}@bench.example",
        "appDisplayName": chance.choice(who["apps"]),
        "resourceDisplayName": "Bench",
        "ipAddress": address,
        "clientAppUsed": "Browser",
        "userAgent": agent,
        "correlationId": f"{chance.getrandbits(64):x}",
        "conditionalAccessStatus": "notApplied",
        "isInteractive": chance.random() < 0.3,
        "deviceDetail": {"deviceId": "", "operatingSystem": os_name, "browser": browser, "isManaged": False},
        "location": {
            "city": "Utrecht",
            "countryOrRegion": "NL",
            "geoCoordinates": {"latitude": 52.09, "longitude": 5.12},
        },
        "status": {"errorCode": 50126 if failed else 0, "failureReason": "Other."},
        "authenticationRequirement": "multiFactorAuthentication",
        "autonomousSystemNumber": who["asn"],
        "sessionId": f"{who['id']}-{at // 86_400}-{os_name}",
        "incomingTokenType": "none",
        "signInEventTypes": ["interactiveUser"],
    }


def parse(lines: list[bytes]) -> list[SignIn]:
    return [of_raw(decode_sign_in(line)) for line in lines]


def _share(lines: list[bytes], shard: int, shards: int, parsed: bool, answer: Any) -> None:
    state = State(Intel(), {}, shard, shards)
    events = parse(lines) if parsed else None
    answer.put(None)  # ready
    began = time.monotonic()
    for event in parse(lines) if events is None else events:
        state.step(event)
    answer.put((time.monotonic() - began, len(state.principals)))


def together(lines: list[bytes], *, parsed: bool) -> float:
    """Sign-ins a second, of all processes together: the slowest counts."""
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    running = [context.Process(target=_share, args=(lines, n, PROCESSES, parsed, answer)) for n in range(PROCESSES)]
    for each in running:
        each.start()
    told = [answer.get() for _ in range(2 * PROCESSES)]
    for each in running:
        each.join()
    slowest: float = max(each[0] for each in told if each is not None)
    return len(lines) / slowest


def memory(lines: list[bytes], users: int) -> tuple[float, float]:
    """Bytes of a user's state as it is kept, and as it is in memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    state = State(Intel(), {})
    for event in parse(lines):
        state.step(event)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = len(msgspec.msgpack.encode(list(state.principals.values())))
    return kept / len(state.principals), (after - before) * 1024 / users


def loading(lines: list[bytes], users: int) -> float:
    """Seconds until the states of a million users are decoded, from so many as there are."""
    state = State(Intel(), {})
    for event in parse(lines):
        state.step(event)
    raw = [msgspec.msgpack.encode(each) for each in state.principals.values()]
    decode = msgspec.msgpack.Decoder(Principal).decode
    began = time.process_time()
    for each in raw:
        decode(each)
    return (time.process_time() - began) / len(raw) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=12)
    asked = parser.parse_args()
    lines = list(sign_ins(asked.users, asked.days))
    print(f"{time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, {len(lines):,} sign-ins of {asked.users:,} users")
    began = time.process_time()
    parse(lines)
    floor = len(lines) / (time.process_time() - began)
    engine, whole = together(lines, parsed=True), together(lines, parsed=False)
    print(f"parsing alone: {floor:,.0f}/s in one process")
    for what, rate, bar in (("engine on parsed sign-ins", engine, 20_000), ("from JSON lines", whole, 8_000)):
        missed, share = "" if rate >= bar else " MISSED", rate / floor
        print(f"{what}: {rate:,.0f}/s in {PROCESSES} processes (bar >= {bar:,}){missed}; {share:.2f} of parsing alone")
    kept, held = memory(lines, asked.users)
    missed = "" if kept <= 4_000 else " MISSED"
    print(f"state of a user: {kept:,.0f} bytes kept (bar <= 4,000){missed}, {held:,.0f} in memory")
    print(f"states of 1,000,000 users are decoded in {loading(lines, asked.users):.0f} s of CPU")


if __name__ == "__main__":
    main()
