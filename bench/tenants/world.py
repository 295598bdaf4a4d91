"""Countries, cities, carriers and addresses of a world that is made anew for each seed.

Addresses are of 240.0.0.0/4 (RFC 1112, reserved) and 3fff::/20 (RFC 9637, documentation): they are nobody's. Places are
what a table of locations would say: some blocks are placed in another city, a few in another country.
"""

from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import NamedTuple

BLOCK = 1 << 15  # addresses of one block, a /17
MISPLACED, ABROAD = 0.08, 0.01  # blocks that a table places in another city, in another country

# Rounded to a tenth of a degree.
_CITIES = """
CA Toronto 43.7 -79.4|CA Montreal 45.5 -73.6|CA Calgary 51.0 -114.1|CA Halifax 44.6 -63.6|CA Vancouver 49.3 -123.1
JP Tokyo 35.7 139.7|JP Osaka 34.7 135.5|JP Sapporo 43.1 141.4|JP Fukuoka 33.6 130.4
BR Curitiba -25.4 -49.3|BR Fortaleza -3.7 -38.5|BR Campinas -22.9 -47.1|BR Manaus -3.1 -60.0
PL Wroclaw 51.1 17.0|PL Gdansk 54.4 18.6|PL Krakow 50.1 19.9|PL Lublin 51.2 22.6
AU Perth -32.0 115.9|AU Brisbane -27.5 153.0|AU Melbourne -37.8 145.0|AU Adelaide -34.9 138.6
ZA Durban -29.9 31.0|ZA Pretoria -25.7 28.2|ZA Bloemfontein -29.1 26.2
MX Monterrey 25.7 -100.3|MX Puebla 19.0 -98.2|MX Merida 21.0 -89.6
KR Busan 35.2 129.1|KR Daegu 35.9 128.6|KR Seoul 37.6 127.0
SE Malmo 55.6 13.0|SE Umea 63.8 20.3|SE Uppsala 59.9 17.6
IT Bari 41.1 16.9|IT Torino 45.1 7.7|IT Bologna 44.5 11.3
IN Pune 18.5 73.9|IN Kochi 9.9 76.3|IN Jaipur 26.9 75.8|IN Kolkata 22.6 88.4
AR Rosario -32.9 -60.7|AR Mendoza -32.9 -68.8
ES Valencia 39.5 -0.4|ES Bilbao 43.3 -2.9|ES Sevilla 37.4 -6.0
TR Izmir 38.4 27.1|TR Bursa 40.2 29.1
VN Danang 16.1 108.2|VN Hanoi 21.0 105.8
US Denver 39.7 -105.0|US Columbus 40.0 -83.0|US Tampa 27.9 -82.5|US Portland 45.5 -122.7|US Austin 30.3 -97.7
GB Leeds 53.8 -1.5|GB Cardiff 51.5 -3.2|GB Glasgow 55.9 -4.3
RO Cluj 46.8 23.6|RO Iasi 47.2 27.6
UA Odesa 46.5 30.7|UA Lviv 49.8 24.0
NG Ibadan 7.4 3.9|NG Kano 12.0 8.5
PH Cebu 10.3 123.9|PH Davao 7.1 125.6
CL Concepcion -36.8 -73.0|CL Santiago -33.4 -70.7
EG Alexandria 31.2 29.9|ID Surabaya -7.3 112.8|ID Medan 3.6 98.7|FI Tampere 61.5 23.8|PT Porto 41.1 -8.6
SG Singapore 1.3 103.8|AE Dubai 25.2 55.3|KE Mombasa -4.0 39.7|DE Leipzig 51.3 12.4
DE Bremen 53.1 8.8|BY Minsk 53.9 27.6
"""


class City(NamedTuple):
    country: str
    name: str
    latitude: float
    longitude: float


class Spot(NamedTuple):
    """An address, and what a table says of it."""

    address: str
    asn: int
    seen: City


class Block(NamedTuple):
    first: int
    city: City
    seen: City


class Carrier:
    """A network operator; `kind` is home, mobile, business, hosting, vpn, relay, satellite or edge."""

    def __init__(self, asn: int, name: str, kind: str, six: int = 0) -> None:
        self.asn, self.name, self.kind = asn, name, kind
        self.blocks: list[Block] = []
        self.six = six  # first address of its /32 of IPv6; 0 where it has none

    def cities(self, country: str = "") -> list[City]:
        return list(dict.fromkeys(each.city for each in self.blocks if not country or each.city.country == country))

    def spot(self, chance: Random, city: City | None = None) -> Spot:
        """An address of it, in the city or its country if it is there at all."""
        here = [each for each in self.blocks if city is None or each.city == city]
        near = here or [each for each in self.blocks if city is not None and each.city.country == city.country]
        block = chance.choice(near or self.blocks)
        return Spot(str(IPv4Address(block.first + chance.randrange(1, BLOCK - 1))), self.asn, block.seen)

    def household(self, chance: Random) -> int:
        """A /56 of IPv6."""
        return self.six + (chance.getrandbits(24) << 72)

    def inside(self, chance: Random, household: int, seen: City) -> Spot:
        """An address of the household; the second half changes with each asking (RFC 8981)."""
        return Spot(str(IPv6Address(household + chance.getrandbits(64))), self.asn, seen)


class World:
    """`home` is where most of the tenant lives, `second` where some do."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        rows = [row.strip().split() for line in _CITIES.split("\n") for row in line.split("|") if row.strip()]
        self.cities = [City(row[0], row[1], float(row[2]), float(row[3])) for row in rows]
        self.countries = sorted({each.country for each in self.cities})
        large = [each for each in self.countries if len(self.of(each)) >= 3]
        self.home, self.second = chance.sample(large, 2)
        self._asn = chance.randrange(1_000_000_000, 1_000_900_000)  # that nobody has
        self._next = (240 << 24) + chance.randrange(64) * BLOCK
        self._next -= self._next % BLOCK
        self.carriers: list[Carrier] = []
        for country in self.countries:
            self._national(country)
        for n in range(14):
            self._worldwide(f"Compute {n}", "hosting", chance.randrange(3, 9))
        for n in range(12):  # three networks of each of four services
            self._worldwide(f"Tunnel {n // 3}", "vpn", chance.randrange(5, 12))
        self._worldwide("Relay", "relay", 30)
        self._worldwide("Orbit", "satellite", 6)
        self._worldwide("Secure Edge", "edge", 12)

    def of(self, country: str) -> list[City]:
        return [each for each in self.cities if each.country == country]

    def far(self, country: str) -> City:
        return self.chance.choice([each for each in self.cities if each.country != country])

    def kind(self, kind: str, country: str = "") -> list[Carrier]:
        return [each for each in self.carriers if each.kind == kind and (not country or each.cities(country))]

    def spot(self, kind: str, city: City) -> Spot:
        """Of any carrier of the kind in the city's country; anywhere where there is none."""
        there = self.kind(kind, city.country) or self.kind(kind)
        return self.chance.choice(there).spot(self.chance, city)

    def service(self, name: str) -> list[Carrier]:
        """The networks of one service."""
        return [each for each in self.carriers if each.name == name]

    def _carrier(self, name: str, kind: str, six: bool = False) -> Carrier:
        self._asn += self.chance.randrange(1, 40)
        first = (0x3FFF << 112) + (len(self.carriers) << 96) if six else 0
        made = Carrier(self._asn, name, kind, first)
        self.carriers.append(made)
        return made

    def _block(self, carrier: Carrier, city: City) -> None:
        luck, seen = self.chance.random(), city
        if luck < ABROAD and carrier.kind != "business":
            seen = self.far(city.country)
        elif luck < MISPLACED:
            seen = self.chance.choice(self.of(city.country))
        carrier.blocks.append(Block(self._next, city, seen))
        self._next += BLOCK * self.chance.randrange(1, 3)

    def _national(self, country: str) -> None:
        chance, cities = self.chance, self.of(country)
        for n in range(chance.randrange(2, 5)):
            carrier = self._carrier(f"{country} Fibre {n}", "home", chance.random() < 0.4)
            for city in cities:
                for _ in range(chance.randrange(1, 4)):
                    self._block(carrier, city)
        for n in range(chance.randrange(2, 4)):
            # Gateways of a carrier are in one or two cities, wherever its people are.
            carrier = self._carrier(f"{country} Cell {n}", "mobile", chance.random() < 0.5)
            for city in chance.sample(cities, min(len(cities), 2)):
                for _ in range(3):
                    self._block(carrier, city)
        for n in range(2):
            carrier = self._carrier(f"{country} Lease {n}", "business")
            for city in cities:
                self._block(carrier, city)

    def _worldwide(self, name: str, kind: str, places: int) -> None:
        carrier = self._carrier(name, kind)
        for city in self.chance.sample(self.cities, places):
            self._block(carrier, city)
