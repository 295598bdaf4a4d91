"""Whether some indicator may bear a mark: bits in memory, so that events that no indicator knows cost no look-up.

A Bloom filter of each tenant: it never says no to a mark that was added; of those that were not it takes one in some
thousands, and the index of the store decides. What is deleted stays in it until it is made anew.

Source: B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors" (1970); A. Kirsch, M. Mitzenmacher,
"Less hashing, same performance" (2006).
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from bartizan.detect.marks import INDICATORS, KINDS, MAX_PARENTS, Networks, Pair, asked_of
from bartizan.detect.named import Column, named
from bartizan.store.interface import Store

BITS = 32  # a mark; with four of them set, a full sieve lets one stranger of 5,000 through
LEAST = 1_024  # marks that a sieve has room for
MAX_REMEMBERED, MAX_CHARS = 10_000, 256  # texts of a kind and tenant that say nothing, and of one of them
_PLAIN_V4 = re.compile(r"(?:[1-9]?\d|1\d\d|2[0-4]\d|25[0-5])(?:\.(?:[1-9]?\d|1\d\d|2[0-4]\d|25[0-5])){3}", re.ASCII)
_PLAIN_NAME = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z][A-Za-z0-9-]{0,62}")
_PLAIN_URL = re.compile(  # host, path, query: no port, user, address or fragment
    r"(?:https?://)?((?:[a-z0-9-]{1,63}\.)+[a-z][a-z0-9-]{0,62})(/[!-\"$->@-~]*|)(\?[!-\"$-~]*)?",
    re.ASCII | re.IGNORECASE,
)
PAGE = 1_000  # marks that are read at a time
_HIGH = 32


class Sieve:
    """Of `room` marks: 4 bytes each."""

    __slots__ = ("_bits", "_mask", "held", "kinds", "room")

    def __init__(self, room: int) -> None:
        bits = 1 << (max(room, LEAST) * BITS - 1).bit_length()
        self._bits = bytearray(bits // 8)
        self._mask = bits - 1
        self.room = bits // BITS
        self.held = 0  # marks that were added, each time anew
        self.kinds: set[str] = set()  # of them

    @property
    def full(self) -> bool:
        """It lets too many through: to be made anew."""
        return self.held > self.room

    def add(self, pairs: Iterable[Pair]) -> None:
        bits, mask = self._bits, self._mask
        for pair in pairs:
            value = hash(pair)
            for at in (value, value >> _HIGH, value + (value >> _HIGH), value - (value >> _HIGH)):
                bits[(at & mask) >> 3] |= 1 << (at & 7)
            self.kinds.add(pair[0])
            self.held += 1

    def may(self, pair: Pair) -> bool:
        return bool(self.among(pair[0], (pair[1],)))

    def among(self, kind: str, texts: Iterable[str]) -> list[str]:
        """Those that some indicator may bear as marks of this kind."""
        bits, mask = self._bits, self._mask
        return [
            text
            for text in texts
            if bits[((value := hash((kind, text))) & mask) >> 3] >> (value & 7) & 1
            and bits[((high := value >> _HIGH) & mask) >> 3] >> (high & 7) & 1
            and bits[((at := value + high) & mask) >> 3] >> (at & 7) & 1
            and bits[((at := value - high) & mask) >> 3] >> (at & 7) & 1
        ]


class Looks:
    """Looks at the values of columns, and remembers which say nothing: the same come again and again.

    What is written as most are is taken apart here, in a tenth of the time; all else as `named` reads it. It may let
    through what is no such thing, and keeps back nothing that `named` finds.
    """

    def __init__(self, sieve: Sieve, networks: Networks) -> None:
        self.sieve = sieve
        self._networks = networks
        self._held = sieve.held
        self._nothing: dict[str, set[str]] = {}

    def still(self, sieve: Sieve, networks: Networks) -> bool:
        """Whether all that is remembered holds."""
        return sieve is self.sieve and networks is self._networks and sieve.held == self._held

    def known(self, column: Column, texts: set[str]) -> set[str]:
        """Those of which an indicator may know something."""
        if column.several:  # may say more than one thing
            return {text for text in texts if self._whole(column, text)}
        if column.kind == "address":  # of which most are new, and a look at one costs as much as remembering it
            return self._addresses(column, texts)
        nothing = self._nothing.setdefault(column.kind, set())
        look: Callable[[Looks, Column, str], bool] = self._quick.get(column.kind, Looks._whole)
        fresh = texts - nothing
        found = {text for text in fresh if look(self, column, text)}
        if len(nothing) + len(fresh) > MAX_REMEMBERED:
            nothing.clear()
        nothing |= {text for text in fresh - found if len(text) <= MAX_CHARS}
        return found

    def _whole(self, column: Column, value: Any) -> bool:
        for entity in named(column, value):
            if any(self.sieve.may(pair) for pair in asked_of(entity)):
                return True
            if entity[0] == "address" and self._networks.holding(entity[1]):
                return True
        return False

    def odd(self, column: Column, value: Any) -> bool:
        """The same for a list or an object."""
        return self._whole(column, value)

    def _hash(self, column: Column, text: str) -> bool:
        return "hash" in self.sieve.kinds and self.sieve.may(("hash", text.strip().lower()))

    def _addresses(self, column: Column, texts: set[str]) -> set[str]:
        plain = list(filter(_PLAIN_V4.fullmatch, texts))
        found = set(self.sieve.among("address", plain))
        found |= {text for text in self._networks.near(plain) if self._networks.holding(text)}
        if len(plain) < len(texts):
            found |= {text for text in texts.difference(plain) if self._whole(column, text)}
        return found

    def _domain(self, column: Column, text: str) -> bool:
        if not _PLAIN_NAME.fullmatch(text):
            return self._whole(column, text)
        return self._below(text.lower())

    def _below(self, name: str) -> bool:
        if "domain" not in self.sieve.kinds:
            return False
        for _ in range(MAX_PARENTS + 2):
            if self.sieve.may(("domain", name)):
                return True
            name = name.partition(".")[2]
            if "." not in name:
                return False
        return False

    def _url(self, column: Column, text: str) -> bool:
        plain = _PLAIN_URL.fullmatch(text)
        if plain is None:
            return self._whole(column, text)
        host, path, asked = plain[1].lower(), plain[2].lower().rstrip("/"), (plain[3] or "").lower()
        if "url" in self.sieve.kinds and self.sieve.may(("url", f"{host}{path}{asked if len(asked) > 1 else ''}")):
            return True
        return self._below(host)

    _quick: ClassVar[Mapping[str, Callable[["Looks", Column, str], bool]]] = {
        "hash": _hash,
        "domain": _domain,
        "url": _url,
    }


class Sieves:
    """Of tenants, each read from the store when it is first asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of: dict[str, Sieve] = {}
        self._under_way: dict[str, Sieve] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        self._lives = 0  # how often all was forgotten

    def add(self, tenant: str, pairs: Iterable[Pair]) -> None:
        """Marks that an indicator bears from now on; also where the sieve is being read at this moment."""
        found = list(pairs)
        for of in (self._of, self._under_way):
            if (sieve := of.get(tenant)) is not None:
                sieve.add(found)

    async def of(self, tenant: str) -> Sieve:
        """Made anew where it is full, or where all was forgotten while it was read."""
        async with self._reading.setdefault(tenant, asyncio.Lock()):
            while (known := self._of.get(tenant)) is None or known.full:
                life = self._lives
                made = await self._read(tenant, 0 if known is None else 2 * known.room)
                if made.full:  # several marks an indicator
                    made = await self._read(tenant, 2 * made.held)
                if life == self._lives:
                    self._of[tenant] = made
                    return made
            return known

    def forget(self) -> None:
        self._of.clear()
        self._lives += 1

    async def _read(self, tenant: str, room: int) -> Sieve:
        store = self._store.tenant(tenant)
        made = self._under_way[tenant] = Sieve(max(room, 2 * await store.count(INDICATORS)))
        try:
            for kind in KINDS:
                after = ""
                while page := await store.values(kind, collections=(INDICATORS,), after=after, limit=PAGE):
                    made.add((kind, value) for value in page)
                    after = page[-1]
        finally:
            del self._under_way[tenant]
        return made
