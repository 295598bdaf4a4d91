"""Bound actions and functions: parameters read in any case, code called, the answer rendered."""

from typing import Any

from bartizan.api.wire import body as bodies
from bartizan.api.wire import read
from bartizan.api.wire.find import found
from bartizan.api.wire.listed import listed
from bartizan.api.wire.request import Request, Response, decode
from bartizan.api.wire.route import Target
from bartizan.errors import BadRequest
from bartizan.extend import Action, Context


async def act(ctx: Context, target: Target, request: Request) -> Response:
    action, resource = target.action, target.resource
    assert action is not None and resource is not None
    given = _called(ctx, target, action, request) if action.function else _sent(ctx, action, request)
    id: str | None = None
    if not action.on_set:
        id = "" if resource.singleton else (await found(ctx, target)).id
    answer = await action.code(ctx, id, given)
    if action.mine:
        return await read.part(ctx, target, request, answer.value)
    if action.makes is not None:
        return await read.made_list(ctx, target, request, action.makes, answer.value)
    return bodies.outcome(ctx, request, action.returns, answer, listed if action.function else None)


def _sent(ctx: Context, action: Action, request: Request) -> Any:
    if action.parameters is None:
        return request.json() if request.body else None
    if not action.parameters:
        return {}
    body = request.json() if request.body else {}
    if not isinstance(body, dict):
        raise BadRequest(f"{action.name} takes an object with: {', '.join(action.parameters)}.")
    return _read(ctx, action, body)


def _called(ctx: Context, target: Target, action: Action, request: Request) -> dict[str, Any]:
    """Arguments in the path; `@name` stands for the query's."""
    given: dict[str, Any] = {}
    for name, text in target.arguments.items():
        if text.startswith("@"):
            text = request.aliases().get(text[1:].lower(), "null")
            text = text[1:-1].replace("''", "'") if text[:1] == text[-1:] == "'" and len(text) > 1 else text
        kind = _type_of(action, name)
        given[name] = text if kind in (None, "Edm.String") and text != "null" else _literal(text)
    return _read(ctx, action, given)


def _type_of(action: Action, name: str) -> str | None:
    for known, kind in (action.parameters or {}).items():
        if known.lower() == name.lower():
            return kind.removesuffix("!")
    return None


def _literal(text: str) -> Any:
    try:
        return decode(text.encode())
    except BadRequest:
        return text


def _read(ctx: Context, action: Action, body: dict[str, Any]) -> dict[str, Any]:
    parameters = action.parameters or {}
    names = {name.lower(): name for name in parameters}
    given: dict[str, Any] = dict.fromkeys(parameters)
    seen: set[str] = set()
    for name, value in body.items():
        known = names.get(name.lower())
        if known is None:
            if name.startswith("@"):
                continue
            raise BadRequest(f"{action.name} has no parameter '{name}'; it takes: {', '.join(parameters) or 'none'}.")
        if known in seen:
            raise BadRequest(f"{action.name} was given {known} twice, in different spellings.")
        seen.add(known)
        kind = parameters[known].removesuffix("!")
        many = kind.startswith("Collection(")
        kind = kind.removeprefix("Collection(").removesuffix(")")
        enum = None if many else ctx.edm.enum(kind)
        if enum is not None and enum.flags and isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = ",".join(value)  # the SDKs send flags as a list
        given[known] = None if value is None else ctx.edm.accept_value(kind, value, collection=many, path=known)
    missing = [name for name, kind in parameters.items() if kind.endswith("!") and given[name] is None]
    if missing:
        raise BadRequest(f"{action.name} needs {', '.join(missing)}.")
    return given
