"""TEMPORARY stand-in with the agreed interface; the room's own branch brings the real one."""

import json
from bisect import bisect_right
from enum import IntFlag
from ipaddress import ip_address, ip_network
from pathlib import Path
from datetime import datetime

from msgspec import Struct


class Kind(IntFlag):
    HOSTING = 1
    MOBILE = 2
    VPN = 4
    TOR = 8
    PROXY = 16
    MALICIOUS = 32
    NATION_STATE = 64
    SATELLITE = 128
    TRUSTED = 256
    NAMED = 512


class Network(Struct, frozen=True):
    asn: int = 0
    organisation: str = ""
    country: str = ""
    city: str = ""
    latitude: float | None = None
    longitude: float | None = None
    kinds: Kind = Kind(0)
    sources: tuple[str, ...] = ()


class Leak(Struct, frozen=True):
    found: float
    matches_current: bool | None
    source: str


class Intel:
    def __init__(self) -> None:
        self.kinds: list[tuple[int, int, Kind]] = []
        self.asns: dict[int, Kind] = {}
        self.leaks: dict[str, list[Leak]] = {}
        self.cache: dict[str, Network] = {}

    def of(self, address: str, at: float) -> Network:
        found = self.cache.get(address)
        if found is None:
            try:
                n = int(ip_address(address))
            except ValueError:
                return Network()
            k = Kind(0)
            for lo, hi, kind in self.kinds:
                if lo <= n <= hi:
                    k |= kind
            found = self.cache[address] = Network(kinds=k)
        return found

    def asn_kinds(self, asn: int) -> Kind:
        return self.asns.get(asn, Kind(0))

    def leaked(self, principal: str, at: float) -> Leak | None:
        best = [x for x in self.leaks.get(principal.casefold(), ()) if x.found <= at]
        return max(best, key=lambda x: x.found) if best else None

    @classmethod
    def of_folder(cls, folder: Path) -> "Intel":
        self = cls()
        for name, kind in (("malicious-ips", Kind.MALICIOUS), ("tor-exits", Kind.TOR), ("vpn-ranges", Kind.VPN)):
            for line in (folder / f"{name}.txt").read_text().split():
                net = ip_network(line)
                self.kinds.append((int(net[0]), int(net[-1]), kind))
        for name, kind in (("hosting-asns", Kind.HOSTING), ("mobile-asns", Kind.MOBILE)):
            for line in (folder / f"{name}.txt").read_text().split():
                self.asns[int(line)] = self.asns.get(int(line), Kind(0)) | kind
        for place in json.loads((folder / "named-locations.json").read_text()):
            for r in place["ipRanges"]:
                net = ip_network(r)
                self.kinds.append(
                    (int(net[0]), int(net[-1]), Kind.NAMED | (Kind.TRUSTED if place["isTrusted"] else Kind(0)))
                )
        for line in (folder / "leaked-credentials.jsonl").read_text().splitlines():
            x = json.loads(line)
            self.leaks.setdefault(x["userPrincipalName"].casefold(), []).append(
                Leak(datetime.fromisoformat(x["foundDateTime"]).timestamp(), x["matchesCurrentPassword"], "folder")
            )
        return self
