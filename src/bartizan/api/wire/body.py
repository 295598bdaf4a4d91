"""Stored documents joined to the bytes of an answer; decoded only where $select, $expand or masking needs it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from bartizan.api.wire.request import Request, Response, encode
from bartizan.extend import Answer, Context, Resource
from bartizan.model.schema import Navigation
from bartizan.store.interface import Stored

Select = Mapping[str, Any]  # property -> Select of what is below it, {} for all of it

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_TYPE = "@odata.type"
_ANNOTATIONS = ("@odata.type", "@odata.id", "@odata.etag")


def late(request: Request) -> bool:
    """Whether the client takes enum members that were added after unknownFutureValue."""
    return "include-unknown-enum-members" in request.prefers


def document(ctx: Context, type: str, row: Stored, request: Request, select: Select | None = None) -> bytes:
    """One object as it goes out, an own JSON object."""
    raw = row.beta if ctx.version == "beta" and row.beta is not None else row.doc
    mask = row.evolvable and not late(request)
    if select is None and not mask:
        return raw
    body = _decode(raw)
    if mask:
        body = ctx.edm.mask(type, body)
    return encode(body if select is None else picked(body, select))


def documents(
    ctx: Context, type: str, rows: Iterable[Stored], request: Request, select: Select | None = None
) -> list[bytes]:
    if select is None:
        if ctx.version == "beta":
            raws = [row.doc if row.beta is None else row.beta for row in rows]
        else:
            raws = [row.doc for row in rows]
        if late(request) or not any(row.evolvable for row in rows):
            return raws
    return [document(ctx, type, row, request, select) for row in rows]


def picked(body: Mapping[str, Any], select: Select) -> dict[str, Any]:
    """The selected properties in the order of the document; annotations stay."""
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name in _ANNOTATIONS:
            found[name] = value
        elif name in select:
            below = select[name]
            if below and isinstance(value, dict):
                value = picked(value, below)
            elif below and isinstance(value, list):
                value = [picked(each, below) if isinstance(each, dict) else each for each in value]
            found[name] = value
    return found


MARK_BYTES = 120  # of a document: within them stands its own @odata.type, behind the ETag


def marked(document: bytes, type: str) -> bytes:
    """With its @odata.type, where it does not say it itself."""
    if document.startswith(b'{"@odata.type"') or b',"@odata.type":"#microsoft.graph.' in document[:MARK_BYTES]:
        return document
    return b'{"@odata.type":"#%b"%b' % (type.encode(), b"," + document[1:] if document != b"{}" else b"}")


def mark(ctx: Context, parent: str, navigation: str, type: str) -> str | None:
    """The type that objects behind a navigation say, where the schema has them as something more general.

    A manager is a directoryObject there: clients know a user by its @odata.type alone.
    """
    declared = ctx.edm.structured(parent).find(navigation)
    return type if isinstance(declared, Navigation) and declared.type != type else None


def spliced(document: bytes, members: Iterable[tuple[str, bytes]]) -> bytes:
    """A JSON object with further members (name, JSON) at its end."""
    more = b"".join(b',"%b":%b' % (name.encode(), value) for name, value in members)
    if not more:
        return document
    return b"{" + more[1:] + b"}" if document == b"{}" else document[:-1] + more + b"}"


def array(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def page(
    context: str, items: Sequence[bytes], count: int | None, next_link: str | None, *, delta_link: str | None = None
) -> bytes:
    """The envelope of a set."""
    head = b'{"@odata.context":"' + context.encode() + b'"'
    if count is not None:
        head += b',"@odata.count":%d' % count
    if next_link is not None:
        head += b',"@odata.nextLink":' + encode(next_link)
    if delta_link is not None:
        head += b',"@odata.deltaLink":' + encode(delta_link)
    parts = [*items] or [b""]
    parts[0] = b"".join((head, b',"value":[', parts[0]))
    parts[-1] += b"]}"
    return b",".join(parts)  # all of it is copied once: a page may have megabytes


def single(context: str, document: bytes) -> bytes:
    """One object with its @odata.context."""
    head = b'{"@odata.context":"' + context.encode() + b'"'
    return head + b"}" if document == b"{}" else head + b"," + document[1:]


def quoted(key: str) -> str:
    """A key inside a context address."""
    return "".join(c if c.isalnum() or c in "-_.@" else f"%{b:02X}" for c in key for b in _bytes(c))


def _bytes(char: str) -> bytes:
    encoded = char.encode("utf-8", "replace")
    return encoded[:1] if char.isalnum() or char in "-_.@" else encoded


def context(ctx: Context, path: str, select: Select | None = None, *, one: bool = False) -> str:
    fields = f"({','.join(select)})" if select is not None else ""
    return f"{ctx.root}/$metadata#{path}{fields}{'/$entity' if one else ''}"


def answered(ctx: Context, request: Request, resource: Resource, row: Stored, status: int) -> Response:
    """One stored object of a set, with its ETag."""
    body = single(context(ctx, resource.name, one=True), document(ctx, resource.type, row, request))
    return Response(status, body, headers=[(b"etag", row.etag.encode())])


def applied(response: Response, *preferences: str) -> Response:
    """Says which of the preferences were honoured."""
    if preferences:
        response.headers.append((b"preference-applied", ", ".join(preferences).encode("latin-1")))
    return response


def honoured(response: Response, request: Request, most: int | None = None) -> Response:
    """A read, with those preferences that its body follows; `most` is the size of page that was asked for."""
    done = [] if most is None else [f"odata.maxpagesize={most}"]
    return applied(response, *done, *(["include-unknown-enum-members"] if late(request) else []))


@dataclass(frozen=True, slots=True)
class Listed:
    """What of a list is shown, and what stands beside it."""

    items: Sequence[Any]
    select: Select | None = None
    count: int | None = None
    link: str | None = None


Shows = Callable[[Context, Request, str, Sequence[Any]], Listed]


def outcome(
    ctx: Context, request: Request, returns: str | None, answer: Answer, shows: Shows | None = None
) -> Response:
    """What an operation answered, rendered. `shows` picks what of a list is asked for."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
    if answer.status == 204 or (returns is None and answer.value is None):
        return Response(204 if answer.status == 200 else answer.status, headers=headers)
    if answer.value == b"":  # nothing to say, and not 204: some actions answer 200 without a body
        return Response(answer.status, headers=headers)
    name = (returns or "Edm.Untyped").removesuffix("!")
    many = name.startswith("Collection(")
    name = name.removeprefix("Collection(").removesuffix(")")
    value = answer.value
    if many:
        items = value if isinstance(value, list | tuple) else [value]
        shown = Listed(items) if shows is None else shows(ctx, request, name, items)
        documents = [_item(ctx, request, name, each, shown.select) for each in shown.items]
        where = context(ctx, f"Collection({name})", shown.select)
        body = page(where, documents, shown.count, shown.link)
    elif name.startswith("Edm.") or ctx.edm.enum(name) is not None:
        body = b'{"@odata.context":"%b","value":%b}' % (context(ctx, name).encode(), encode(value))
    else:
        body = single(context(ctx, name), _item(ctx, request, name, value))
    return Response(answer.status, body, headers=headers)


def _item(ctx: Context, request: Request, type: str, value: Any, select: Select | None = None) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, Stored):
        return document(ctx, type, value, request)
    if not isinstance(value, Mapping):
        return encode(value)
    wire = ctx.edm.render(type, value)
    wire = wire if late(request) else ctx.edm.mask(type, wire)
    return encode(wire if select is None else picked(wire, select))
