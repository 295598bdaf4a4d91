"""What a provider says of a Graph object and what is done to it here, apart in one document.

The document shows the latest explicit change of each property, the provider's or ours. Beside it, where no version of
the API shows it, stand the version of the provider's object, and what the provider last said of the properties that
were changed here: it is by this that its next version is seen to say something new, or only the same again.
"""

from collections.abc import Mapping
from typing import Any

from bartizan.model.workflow import unknown_comments
from bartizan.store.draft import covers
from bartizan.store.interface import Collection

SAID = "@bartizan.said"  # property that was changed here -> what the provider last said of it
VERSION = "@bartizan.version"  # of the provider's object, as a wire instant

Changes = dict[str, tuple[Any, Any]]


def done_here(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`before` (inner form) with changes that somebody made here."""
    said = {**{name: before.get(name) for name in changes}, **(before.get(SAID) or {})}
    return {**before, **changes, SAID: said} if said else dict(before)


def brought(collection: Collection, body: Mapping[str, Any], version: str | None) -> dict[str, Any]:
    """A provider's object as it is first stored. Its version is noted where the store's own stamps hide it; elsewhere
    an object of which there is only one version takes no more room for it."""
    return {**body, VERSION: version} if collection.updated is not None and version is not None else dict(body)


def revised(
    collection: Collection, before: Mapping[str, Any], given: Mapping[str, Any], version: str
) -> tuple[dict[str, Any], Changes] | None:
    """After a later version of the provider, with what changed; None where it is no later one or says nothing new.

    An object whose version was never noted, though this set notes it, came by another hand: what stands in it is left
    alone, and only what is unset is filled in.
    """
    known = before.get(VERSION)
    if known is not None and version <= known:
        return None
    fill = known is None and collection.updated is not None
    said = dict(before.get(SAID) or {})
    after, changed = dict(before), Changes()
    for name, value in given.items():
        if name.startswith("@") or name in ("id", collection.created, collection.updated) or _merged(name, before):
            continue
        if name == "comments":  # nobody takes one back: those of the provider come beside ours
            ours = before.get(name) or []
            value = [*ours, *unknown_comments(value or [], ours)]
        elif name in said:
            if _same(said[name], value):
                continue
            del said[name]
        elif fill and not _same(before.get(name), None):
            if not _same(before[name], value):
                said[name] = value
            continue
        if not _same(before.get(name), value):
            after[name] = value
            changed[name] = (before.get(name), value)
    if not changed and said == (before.get(SAID) or {}):
        return None
    after.pop(SAID, None)
    return {**after, VERSION: version, **({SAID: said} if said else {})}, changed


def _merged(name: str, before: Mapping[str, Any]) -> bool:
    """An incident that was merged here stays so."""
    return name == "status" and bool(before.get("redirectIncidentId"))


def _same(one: Any, other: Any) -> bool:
    return covers({"it": one}, {"it": other})
