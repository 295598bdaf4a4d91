"""The documents at the root of a version: the service document, `$metadata`, OpenAPI with its page. Made once, kept as
bytes.
"""

from functools import lru_cache
from typing import Literal

from bartizan.api.documents.openapi import document
from bartizan.api.documents.page import HTML
from bartizan.api.wire.request import Request, Response, encode
from bartizan.api.wire.route import Router, Target
from bartizan.errors import NotAcceptable, NotFound
from bartizan.model.csdl import EntityContainer, EntitySet, Singleton, metadata_xml
from bartizan.model.edm import Version, edm
from bartizan.model.schema import Operation

XML = b"application/xml;charset=utf-8"
_ROOTS = {  # the singletons that Graph's paths start with
    "security": "microsoft.graph.security",
    "identityProtection": "microsoft.graph.identityProtectionRoot",
    "identity": "microsoft.graph.identityContainer",
    "auditLogs": "microsoft.graph.auditLogRoot",
    "reports": "microsoft.graph.reportRoot",
}


class Documents:
    """`container` and the bytes of each document, made when they are first asked for."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.metadata = lru_cache(2)(self._metadata)
        self.openapi = lru_cache(2)(self._openapi)

    def answer(self, target: Target, request: Request) -> Response:
        if target.kind == "root":
            return Response(200, self._service(target.version, request.base))
        wanted = request.headers.get(b"accept", b"*/*")
        if b"json" in wanted and b"xml" not in wanted and b"*/*" not in wanted:
            raise NotAcceptable("$metadata is XML; send Accept: application/xml.")
        return Response(200, self.metadata(target.version), kind=XML)

    def served(self, path: str) -> Response:
        """`/openapi/...`: documents and page."""
        name = path.strip("/").lower()
        if name in ("openapi", "openapi/index.html"):
            return Response(200, HTML.encode(), kind=b"text/html;charset=utf-8")
        versions: dict[str, Version] = {"openapi/v1.0.json": "v1.0", "openapi/beta.json": "beta"}
        if name in versions:
            return Response(200, self.openapi(versions[name]), kind=b"application/json")
        raise NotFound("There are /openapi/ , /openapi/v1.0.json and /openapi/beta.json.")

    def _service(self, version: Version, base: str) -> bytes:
        container = self.container(version)
        kinds: list[tuple[Literal["EntitySet", "Singleton"], str]] = [
            *(("EntitySet", each.name) for each in container.sets),
            *(("Singleton", each.name) for each in container.singletons),
        ]
        value = [{"name": name, "kind": kind, "url": name} for kind, name in kinds]
        return encode({"@odata.context": f"{base}/{version}/$metadata", "value": value})

    def _metadata(self, version: Version) -> bytes:
        return metadata_xml(version, self.container(version))

    def _openapi(self, version: Version) -> bytes:
        return encode(document(self.router, version))

    def container(self, version: Version) -> EntityContainer:
        """What the declarations make reachable at the root, and the operations that they serve."""
        sets: dict[str, str] = {}
        singletons: dict[str, str] = {}
        operations: dict[tuple[str, str, bool], Operation] = {}
        for resource in self.router.resources:
            for path, versions in {resource.path: resource.versions, **resource.aliases}.items():
                if version not in versions or not _known(version, resource.type):
                    continue
                first, _, rest = path.partition("/")
                if not rest and not resource.singleton:
                    sets[first] = resource.type
                elif _ROOTS.get(first) is not None and _known(version, _ROOTS[first]):
                    singletons[first] = _ROOTS[first]
            if resource.own and version in resource.versions:
                singletons[resource.own] = resource.type
            if version in resource.versions and _known(version, resource.type):
                for action in resource.actions.values():
                    if version in action.versions and not _contained(action.name):
                        made = Operation(
                            action.qualified,
                            "function" if action.function else "action",
                            resource.type,
                            action.on_set,
                            dict(action.parameters or {}),
                            action.returns,
                        )
                        if _words_known(version, made):
                            operations[made.name, made.bound, made.bound_collection] = made
        return EntityContainer(
            [EntitySet(name, type) for name, type in sorted(sets.items())],
            [Singleton(name, type) for name, type in sorted(singletons.items())],
            list(operations.values()),
        )


def _contained(name: str) -> bool:
    """Served as a function, and not one in Graph's words: it stands in the schema as what a type contains."""
    return "/" in name or name == "photo"


def _known(version: Version, name: str) -> bool:
    try:
        edm(version).structured(name)
    except KeyError:
        return edm(version).enum(name) is not None
    return True


def _words_known(version: Version, operation: Operation) -> bool:
    words = [*operation.params.values(), *([operation.returns] if operation.returns else [])]
    names = [word.partition(" ")[0].removesuffix("!").removeprefix("Collection(").removesuffix(")") for word in words]
    return all(name.startswith("Edm.") or _known(version, name) for name in names)
