"""Whether some indicator may bear a mark: bits in memory, so that events that no indicator knows cost no look-up.

A Bloom filter of each tenant: it never says no to a mark that was added; of those that were not it takes one in some
hundreds, and the index of the store decides. What is deleted stays in it until it is made anew.

Source: B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors" (1970).
"""

from collections.abc import Iterable

from bartizan.detect.marks import INDICATORS, KINDS, Pair
from bartizan.store.interface import Store

BITS = 32  # a mark; with two of them set, a full sieve lets one stranger of 270 through
LEAST = 1_024  # marks that a sieve has room for
PAGE = 1_000  # marks that are read at a time
_HIGH = 32


class Sieve:
    """Of `room` marks: 4 bytes each."""

    __slots__ = ("_bits", "_mask", "held", "room")

    def __init__(self, room: int) -> None:
        bits = 1 << (max(room, LEAST) * BITS - 1).bit_length()
        self._bits = bytearray(bits // 8)
        self._mask = bits - 1
        self.room = bits // BITS
        self.held = 0  # marks that were added, each time anew

    @property
    def full(self) -> bool:
        """It lets too many through: to be made anew."""
        return self.held > self.room

    def add(self, pairs: Iterable[Pair]) -> None:
        bits, mask = self._bits, self._mask
        for pair in pairs:
            value = hash(pair)
            low, high = value & mask, (value >> _HIGH) & mask
            bits[low >> 3] |= 1 << (low & 7)
            bits[high >> 3] |= 1 << (high & 7)
            self.held += 1

    def may(self, pair: Pair) -> bool:
        value = hash(pair)
        low, high = value & self._mask, (value >> _HIGH) & self._mask
        return bool(self._bits[low >> 3] >> (low & 7) & 1 and self._bits[high >> 3] >> (high & 7) & 1)


class Sieves:
    """Of tenants, each read from the store when it is first asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._of: dict[str, Sieve] = {}
        self._under_way: dict[str, Sieve] = {}

    def add(self, tenant: str, pairs: Iterable[Pair]) -> None:
        """Marks that an indicator bears from now on; also where the sieve is being read at this moment."""
        found = list(pairs)
        for of in (self._of, self._under_way):
            if (sieve := of.get(tenant)) is not None:
                sieve.add(found)

    async def of(self, tenant: str) -> Sieve:
        """Made anew where it is full. One at a time for each tenant."""
        known = self._of.get(tenant)
        if known is not None and not known.full:
            return known
        made = await self._read(tenant, 0 if known is None else 2 * known.room)
        if made.full:  # several marks an indicator
            made = await self._read(tenant, 2 * made.held)
        self._of[tenant] = made
        return made

    def forget(self) -> None:
        self._of.clear()

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
