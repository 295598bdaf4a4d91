"""The OpenAPI 3.1 document of one version, from the declarations and the schema.

Source: OpenAPI Specification 3.1.0; JSON Schema 2020-12.
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan import __version__
from bartizan.api.wire.batch import MAX_REQUESTS
from bartizan.api.wire.route import Router
from bartizan.api.wire.write import MAX_BULK, MAX_ID
from bartizan.extend import Access, Action, Can, Navigation, Resource
from bartizan.model.edm import Version, edm

Schema = dict[str, Any]

_INSTANT = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,12})?(Z|[+-]\d{2}:\d{2})$"
_EDM: dict[str, Schema] = {
    "Edm.Binary": {"type": "string", "contentEncoding": "base64"},
    "Edm.Boolean": {"type": "boolean"},
    "Edm.Byte": {"type": "integer", "minimum": 0, "maximum": 255},
    "Edm.Date": {"type": "string", "format": "date"},
    "Edm.DateTimeOffset": {"type": "string", "format": "date-time", "pattern": _INSTANT},
    "Edm.Decimal": {"type": "number"},
    "Edm.Double": {"type": "number"},
    "Edm.Duration": {"type": "string"},
    "Edm.Guid": {"type": "string", "format": "uuid"},
    "Edm.Int16": {"type": "integer", "minimum": -(2**15), "maximum": 2**15 - 1},
    "Edm.Int32": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "Edm.Int64": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "Edm.SByte": {"type": "integer", "minimum": -128, "maximum": 127},
    "Edm.Single": {"type": "number"},
    "Edm.String": {"type": "string"},
    "Edm.TimeOfDay": {"type": "string"},
}
_ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "innerError"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "innerError": {
                    "type": "object",
                    "required": ["date", "request-id", "client-request-id"],
                    "properties": {
                        "date": {"type": "string"},
                        "request-id": {"type": "string"},
                        "client-request-id": {"type": "string"},
                    },
                },
            },
        }
    },
}
_JSON = "application/json"
_NUMBER: Schema = {
    "description": "How many there are.",
    "content": {"text/plain": {"schema": {"type": "string", "pattern": "^[0-9]+$"}}},
}


def document(router: Router, version: Version, server: str = "") -> dict[str, Any]:
    """The whole document; `server` is scheme and host, empty for a relative address."""
    return _Document(router, version).made(server)


class _Document:
    def __init__(self, router: Router, version: Version) -> None:
        self.router = router
        self.version = version
        self.edm = edm(version)
        self.schemas: dict[str, Schema] = {"error": _ERROR}
        self.paths: dict[str, dict[str, Any]] = {}

    def made(self, server: str) -> dict[str, Any]:
        for resource in sorted(self.router.resources, key=lambda each: each.path):
            for path, versions in {resource.path: resource.versions, **resource.aliases}.items():
                if self.version in versions:
                    self.resource(resource, "/" + path)
        self.batch()
        return {
            "openapi": "3.1.0",
            "info": {
                "title": f"Bartizan, Graph API {self.version}",
                "version": __version__,
                "description": "The Microsoft Graph security and identity protection APIs, self-hosted.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": f"{server}/{self.version}"}],
            "security": [{"bearer": []}],
            "paths": self.paths,
            "components": {
                "schemas": dict(sorted(self.schemas.items())),
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
                "parameters": _PARAMETERS,
                "responses": {
                    "error": {
                        "description": "What was wrong and what would be right.",
                        "content": {_JSON: {"schema": {"$ref": "#/components/schemas/error"}}},
                    }
                },
            },
        }

    # ---------------------------------------------------------- schemas

    def of(self, type: str) -> Schema:
        """The schema of a type as it goes out; what is unset is null."""
        name = type.removesuffix("!")
        if name.startswith("Collection("):
            return {"type": "array", "items": self.of(name[11:-1])}
        if name in _EDM:
            return _EDM[name]
        if name.startswith("Edm."):
            return {}
        if name not in self.schemas:
            self.schemas[name] = {}  # types refer to one another
            self.schemas[name] = self.made_of(name)
        return {"$ref": f"#/components/schemas/{name}"}

    def made_of(self, name: str) -> Schema:
        enum = self.edm.enum(name)
        if enum is not None:
            return {"type": "string"} if enum.flags else {"type": "string", "enum": list(enum.members)}
        try:
            kind = self.edm.structured(name)
        except KeyError:
            return {"type": "object"}
        properties: dict[str, Schema] = {"@odata.type": {"type": "string"}} if kind.family else {}
        for each in kind.properties.values():
            schema = self.of(each.type)
            properties[each.name] = (
                {"type": "array", "items": _or_null(schema)} if each.collection else _or_null(schema)
            )
        return {"type": "object", "properties": properties}

    def writable(self, resource: Resource, names: Iterable[str] | None, required: frozenset[str]) -> Schema:
        """The schema of a body: the named properties (None: all), nothing else."""
        kind = self.edm.structured(resource.type)
        properties: dict[str, Schema] = {"@odata.type": {"type": "string"}} if kind.family else {}
        for each in kind.properties.values():
            if names is None or each.name in names:
                schema = self.of(each.type)
                properties[each.name] = {"type": "array", "items": schema} if each.collection else _or_null(schema)
        if "id" in properties:
            properties["id"] = {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": "^[!-~]+$"}
        schema = {"type": "object", "properties": properties}
        present = sorted(required & properties.keys())
        return {**schema, "required": present} if present else schema

    # ---------------------------------------------------------- operations

    def operation(
        self,
        path: str,
        verb: str,
        access: Access,
        summary: str,
        responses: dict[str, Schema],
        *,
        query: Iterable[str] = (),
        body: Schema | None = None,
    ) -> None:
        item = self.paths.setdefault(path, {})
        keys = re.findall(r"\{(\w+)\}", path)
        if keys and "parameters" not in item:
            item["parameters"] = [
                {"name": key, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for key in keys
            ]
        made: dict[str, Any] = {
            "operationId": re.sub(r"\W+", "_", f"{verb}_{path}").strip("_"),
            "summary": summary,
            "description": f"One of: {', '.join(dict.fromkeys((*access.application, *access.delegated)))}; "
            f"a signed-in user needs the role {access.role}.",
            "tags": [path.strip("/").split("/")[0]],
            "responses": {**responses, "4XX": {"$ref": "#/components/responses/error"}},
        }
        parameters = [{"$ref": f"#/components/parameters/{name}"} for name in query]
        if parameters:
            made["parameters"] = parameters
        if body is not None:
            made["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
        item[verb.lower()] = made

    def resource(self, resource: Resource, path: str) -> None:
        there = path if resource.singleton else path + "/{id}"
        self.of_set(resource, path)
        self.of_one(resource, there)
        for action in resource.actions.values():
            if self.version in action.versions:
                self.action(path if action.on_set else there, action)
        for navigation in resource.navigations.values():
            if self.version in navigation.versions:
                self.navigation(there, navigation)

    def of_set(self, resource: Resource, path: str) -> None:
        short, one = resource.type.rpartition(".")[2], self.of(resource.type)
        if Can.LIST in resource.can and not resource.singleton:
            options = _list_options(resource)
            answers = {"200": _json(_page(one))}
            self.operation(path, "GET", resource.read, f"List {short}s.", answers, query=options)
            counted = [each for each in options if each in ("filter", "search")]
            self.operation(f"{path}/$count", "GET", resource.read, f"Count {short}s.", {"200": _NUMBER}, query=counted)
        if resource.delta is not None:
            rounds = ["select", "filter", "top", "skiptoken", "deltatoken"]
            text = f"What changed among {short}s since the last round; without a token, all of them."
            self.operation(f"{path}/delta", "GET", resource.read, text, {"200": _json(_page(one))}, query=rounds)
        if Can.CREATE in resource.can:
            new = self.writable(resource, None, resource.required)
            many = {"type": "array", "items": new, "minItems": 1, "maxItems": MAX_BULK}
            if resource.singleton:
                answers = {code: _json(one) for code in ("200", "201")}
                self.operation(path, "POST", resource.create, f"Tell the {short}.", answers, body=new)
                return
            answers = {code: _json({"anyOf": [one, _page(one)]}) for code in ("200", "201")}
            text = f"Create one {short}, or an array of them."
            self.operation(path, "POST", resource.create, text, answers, body={"anyOf": [new, many]})

    def of_one(self, resource: Resource, path: str) -> None:
        short, one = resource.type.rpartition(".")[2], self.of(resource.type)
        if Can.GET in resource.can:
            query = ["select"] if resource.select else []
            self.operation(path, "GET", resource.read, f"Get one {short}.", {"200": _json(one)}, query=query)
        if Can.PATCH in resource.can:
            done = {"200": _json(one), "204": {"description": "Done."}}
            body = self.writable(resource, resource.patch, frozenset())
            self.operation(path, "PATCH", resource.write, f"Change one {short}.", done, body=body)
        if Can.PUT in resource.can:
            body = self.writable(resource, resource.patch, resource.required)
            done = {"200": _json(one), "204": {"description": "Done."}}
            self.operation(path, "PUT", resource.write, f"Replace one {short}.", done, body=body)
        if Can.DELETE in resource.can:
            gone = {"204": {"description": "Gone."}}
            self.operation(path, "DELETE", resource.delete, f"Delete one {short}.", gone)

    def action(self, path: str, action: Action) -> None:
        answers: dict[str, Schema] = {"204": {"description": "Done."}}
        if action.returns is not None:
            returned = self.of(action.returns)
            if returned.get("type") == "array":
                returned = _page(returned["items"])
            answers = {code: _json(returned) for code in ("200", "201")}
        body: Schema | None = None
        if not action.function and (action.parameters is None or action.parameters):
            body = {} if action.parameters is None else self.parameters(action.parameters)
        verb = "GET" if action.function else "POST"
        name = f"{path}/{action.name}" + ("()" if action.function and "/" not in action.name else "")
        name = name.replace("{}", "{key}")
        self.operation(name, verb, action.access, f"{action.name}.", answers, body=body)

    def parameters(self, parameters: Any) -> Schema:
        required = sorted(name for name, kind in parameters.items() if kind.endswith("!"))
        schema: Schema = {
            "type": "object",
            "properties": {
                name: self.of(kind) if kind.endswith("!") else _or_null(self.of(kind))
                for name, kind in parameters.items()
            },
        }
        return {**schema, "required": required} if required else schema

    def navigation(self, path: str, navigation: Navigation) -> None:
        target = self.of(navigation.type)
        answer = _page(target) if navigation.many else target
        self.operation(
            f"{path}/{navigation.name}",
            "GET",
            navigation.access,
            f"{navigation.name}.",
            {"200": _json(answer)},
            query=["top"] if navigation.many else [],
        )

    def batch(self) -> None:
        request = {
            "type": "object",
            "required": ["id", "method", "url"],
            "properties": {
                "id": {"type": "string", "minLength": 1},
                "method": {"type": "string", "enum": ["GET", "POST", "PATCH", "PUT", "DELETE"]},
                "url": {"type": "string", "pattern": "^/[a-zA-Z]"},
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                "body": {},
                "dependsOn": {"type": "array", "items": {"type": "string"}},
            },
        }
        body = {
            "type": "object",
            "required": ["requests"],
            "properties": {"requests": {"type": "array", "items": request, "minItems": 1, "maxItems": MAX_REQUESTS}},
        }
        answer = {"type": "object", "required": ["responses"], "properties": {"responses": {"type": "array"}}}
        free = Access(("each request's own",), (), "SecurityReader")
        self.operation("/$batch", "POST", free, "Up to 20 requests in one.", {"200": _json(answer)}, body=body)


def _or_null(schema: Schema) -> Schema:
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else {}


def _json(schema: Schema) -> Schema:
    return {"description": "As asked.", "content": {_JSON: {"schema": schema}}}


def _page(item: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["value"],
        "properties": {
            "@odata.context": {"type": "string"},
            "@odata.count": {"type": "integer"},
            "@odata.nextLink": {"type": "string"},
            "@odata.deltaLink": {"type": "string"},
            "value": {"type": "array", "items": item},
        },
    }


def _list_options(resource: Resource) -> list[str]:
    options = ["top", "skip", "filter", "orderby", "count", "skiptoken"]
    if resource.select:
        options.append("select")
    if resource.search:
        options.append("search")
    if any(navigation.expand for navigation in resource.navigations.values()):
        options.append("expand")
    return options


def _option(name: str, schema: Schema, text: str) -> Schema:
    return {"name": f"${name}", "in": "query", "schema": schema, "description": text}


_PARAMETERS: dict[str, Schema] = {
    "top": _option("top", {"type": "integer", "minimum": 1}, "Objects of a page; above the set's maximum: 400."),
    "skip": _option("skip", {"type": "integer", "minimum": 0}, "Objects to pass over."),
    "filter": _option(
        "filter", {"type": "string"}, "Which objects; what cannot be filtered is a 400 that says what can."
    ),
    "orderby": _option("orderby", {"type": "string"}, "Such as `createdDateTime desc`."),
    "count": _option("count", {"type": "boolean"}, "Adds @odata.count."),
    "skiptoken": _option("skiptoken", {"type": "string"}, "Of an @odata.nextLink."),
    "deltatoken": _option("deltatoken", {"type": "string"}, "Of an @odata.deltaLink, or `latest`."),
    "select": _option("select", {"type": "string"}, "Properties, separated by commas."),
    "search": _option("search", {"type": "string"}, 'Words, or `"property:word"`.'),
    "expand": _option("expand", {"type": "string"}, "Navigation properties, separated by commas."),
}
