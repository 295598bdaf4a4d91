"""Small streams of sign-ins of our own: quiet people, a spray that finds a password, and what its finder does then."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

START = 1_772_409_600.0  # 2026-03-02T00:00:00Z
DAY = 86_400.0
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Edg/119.0"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605"


def instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sign_in(id: str, at: float, user: str, **given: Any) -> dict[str, Any]:
    """A signIn document; `given` are address, country, city, asn, place, agent, session, code, app, device."""
    return {
        "id": id,
        "createdDateTime": instant(at),
        "userId": user,
        "userPrincipalName": f"{user}@northwall.example",
        "appDisplayName": given.get("app", "Office 365 Exchange Online"),
        "ipAddress": given.get("address", "198.51.100.7"),
        "autonomousSystemNumber": given.get("asn", 64500),
        "clientAppUsed": "Browser",
        "userAgent": given.get("agent", WINDOWS),
        "isInteractive": given.get("interactive", True),
        "sessionId": given.get("session", ""),
        "deviceDetail": {"deviceId": given.get("device", "")},
        "location": {
            "city": given.get("city", "Utrecht"),
            "countryOrRegion": given.get("country", "NL"),
            "geoCoordinates": dict(zip(("latitude", "longitude"), given.get("place", (52.09, 5.12)), strict=True)),
        },
        "status": {"errorCode": given.get("code", 0)},
        "authenticationRequirement": "singleFactorAuthentication",
    }


def quiet(people: int, days: int, seed: int = 3) -> Iterator[dict[str, Any]]:
    """Everybody from home, with the odd typo."""
    chance = random.Random(seed)
    for day in range(days):
        for n in range(people):
            for turn in range(3):
                at = START + day * DAY + 8 * 3600 + turn * 4 * 3600 + chance.random() * 3600
                code = 50126 if chance.random() < 0.02 else 0
                yield sign_in(
                    f"q-{day}-{n}-{turn}", at, f"u{n}", address=f"198.51.{n}.7", asn=64500 + n % 3, code=code,
                    session=f"s-{day}-{n}",
                )  # fmt: skip


def spray(people: int, day: float, address: str = "203.0.113.66") -> Iterator[dict[str, Any]]:
    """Wrong passwords of many from one address, then the right one of u1, and a follow-up from elsewhere."""
    at = START + day * DAY
    there = {"country": "BR", "city": "Recife", "asn": 65551, "place": (-8.05, -34.9), "agent": MAC}
    for n in range(2, people):
        yield sign_in(f"a-{n}", at + 20 * n, f"u{n}", address=address, code=50126, **there)
    yield sign_in("a-right", at + 3_000, "u1", address=address, session="stolen", **there)
    for n in range(4):
        yield sign_in(f"a-then-{n}", at + 6_000 + 1_800 * n, "u1", address="203.0.113.99", session="stolen", **there)


def written(folder: Path, documents: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "signins.jsonl").write_text("".join(json.dumps(each) + "\n" for each in documents))
    return folder
