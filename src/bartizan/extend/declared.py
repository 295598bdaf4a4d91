"""What the declarations say together: the sets that are kept, the relations, the permissions that are asked for."""

from msgspec import Struct

from bartizan.extend.resources import RESOURCES, Can
from bartizan.store.interface import Collection


def collections() -> tuple[Collection, ...]:
    """Every set of documents that the declarations so far name, each once."""
    found: dict[str, Collection] = {}
    for each in RESOURCES:
        if each.can and (each.lists is None or Can.CREATE in each.can):  # otherwise objects are made, nothing is kept
            found.setdefault(each.collection.name, each.collection)
        for navigation in each.navigations.values():
            for target in navigation.to:
                found.setdefault(target.name, target)
    return tuple(found.values())


class Relation(Struct, frozen=True):
    """Edges of one name: the sets that they lead from, whether to many objects, and those sets' delta queries that tell
    of them."""

    sets: tuple[str, ...]
    many: bool
    followed: frozenset[str]


def relations() -> dict[str, Relation]:
    """Relations of the store that the declarations so far name."""
    found: dict[str, Relation] = {}
    for each in RESOURCES:
        for navigation in each.navigations.values():
            if navigation.relation is None or navigation.reverse or navigation.transitive:
                continue
            name = each.collection.name
            told = {name} if navigation.name.lower() in (each.delta or ()) else set()
            before = found.get(navigation.relation, Relation((), False, frozenset()))
            found[navigation.relation] = Relation(
                tuple(dict.fromkeys((*before.sets, name))), before.many or navigation.many, before.followed | told
            )
    return found


def permissions() -> tuple[frozenset[str], frozenset[str]]:
    """Every application permission and every delegated scope that some operation asks for."""
    application: set[str] = set()
    delegated: set[str] = set()
    for each in RESOURCES:
        needed = [each.read, each.write, each.create, each.delete, *(a.access for a in each.actions.values())]
        for navigation in each.navigations.values():
            needed += [navigation.access, *([navigation.link] if navigation.link else [])]
        for access in needed:
            application.update(access.application)
            delegated.update(access.delegated)
        delegated.update(each.own_scopes)
    return frozenset(application), frozenset(delegated)
