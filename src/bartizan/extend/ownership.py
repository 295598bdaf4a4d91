"""Whose an object is: which connections brought an alert or an object of a directory, and to which one the changes of
analysts go back.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from bartizan.auth.accounts import equals
from bartizan.extend.connections import BROUGHT, MAX_CONNECTIONS, Connection, every_of
from bartizan.extend.connectors import CONNECTORS
from bartizan.model.faces import AlertState
from bartizan.odata.tree import Expr
from bartizan.store.interface import Query, Stored, TenantStore, Tx

MAX_STREAMS_OF_ONE = 1_000  # that name the same object of a directory
_NO_OWNER = 1_000_000  # wider than any that owns a product
PULLED_OVER = "pulledOver"  # edge from an alert to the connection that pulled it
ORIGINS = "connectionOrigins"  # target of that edge: no set of documents, so that removing a connection is one step


def note_pulled(tx: Tx, connection: Connection, alerts: Iterable[str]) -> None:
    """In the write that stores them: these alerts came over this connection. Twice changes nothing."""
    for id in alerts:
        tx.relate(PULLED_OVER, id, ORIGINS, connection.origin)


def item_key(item: Iterable[str]) -> str:
    """What a mark of BROUGHT calls an object (its set, its id) or an edge."""
    return sha256("\0".join(item).encode()).hexdigest()[:32]


async def brought_over(store: TenantStore, collection: str, id: str) -> frozenset[str]:
    """Ids of the connections that have named an object of a directory, of those that there are."""
    page = await store.page(BROUGHT.name, Query(top=MAX_STREAMS_OF_ONE, filter=_marks(collection, id)))
    origins = {_origin(row) for row in page.rows}
    return frozenset(each.id for each in await every_of(store) if each.origin in origins)


def may_have_brought(tx: Tx, connection: str, collection: str, id: str) -> bool:
    """Whether an object of a directory can be the one that a connection knows: it has brought it, or nobody has."""
    origins = {_origin(row) for row in tx.find(BROUGHT.name, _marks(collection, id), limit=MAX_STREAMS_OF_ONE)}
    return not origins or any(each.partition("@")[0] == connection for each in origins)


def _marks(collection: str, id: str) -> Expr:
    return equals(what=item_key((collection, id)))


def _origin(mark: Stored) -> str:
    return str(msgspec.json.decode(mark.doc)["owner"]).partition("/")[0]


async def owner_of(store: TenantStore, alert: AlertState) -> str | None:
    """Id of the connection whose system an alert belongs to: to it the changes of analysts are written back.

    That is the connection that pulled the alert, also while it is disabled. Of several: an enabled one first, then one
    that writes back, then the narrowest owner of the alert's (vendor, product), in any case of letters, then by id.
    The narrowest owner is the connector that `owns` the fewest pairs, this one among them: a product's own API comes
    before one that speaks for many products.

    Of an alert that no connection there is has pulled (it came by another way, or its connection was removed) it is
    the enabled connection that writes back whose connector is the narrowest owner. None where there is no such
    connection, or more than one as narrow: then nobody can say whose the alert is.
    """
    here = await every_of(store)
    if not here:
        return None
    origins = {target for _, target in await store.related(PULLED_OVER, alert.id, limit=MAX_CONNECTIONS)}
    made_by = alert.legacy.get("vendorInformation") or {}
    maker = (str(made_by.get("vendor")).casefold(), str(made_by.get("provider")).casefold())
    width = {each.id: _width(each.connector, maker) for each in here}
    pulled = [each for each in here if each.origin in origins]
    if pulled:
        return min(pulled, key=lambda each: (not each.enabled, not each.write_back, width[each.id], each.id)).id
    owners = [each for each in here if each.enabled and each.write_back and width[each.id] < _NO_OWNER]
    narrowest = [each.id for each in owners if width[each.id] == min(width[one.id] for one in owners)]
    return narrowest[0] if len(narrowest) == 1 else None


def _width(connector: str, maker: tuple[str, str]) -> int:
    """How many (vendor, product) a connector owns, where this is one of them."""
    owned = _owned(connector)
    return len(owned) if maker in owned else _NO_OWNER


def _owned(connector: str) -> set[tuple[str, str]]:
    kind = CONNECTORS.get(connector)
    return set() if kind is None else {(vendor.casefold(), product.casefold()) for vendor, product in kind.owns}
