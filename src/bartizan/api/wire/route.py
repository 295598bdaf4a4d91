"""A raw request path made a `Target`: which set, object, property, navigation or operation it names.

Segments are read in any case and percent-decoded one by one, so that a key may hold `%2F`. Keys stand as segments
(`users/x`) or in parentheses (`users('x')`, `users(userPrincipalName='x')`); operations by bare or qualified name, with
or without `()`.

Source: OData 4.01 Part 2 (URL Conventions), sections 4.3 to 4.13; key-as-segment as Microsoft Graph has it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote_to_bytes

from bartizan.api.wire.unserved import refusal, why_not
from bartizan.errors import BadRequest, NotFound
from bartizan.extend import UNSERVED, Action, Can, Navigation, Resource, Unserved, Verb
from bartizan.model.edm import Property, StructuredType, Version, edm

MAX_PATH = 4096  # bytes; Graph's own keys and navigations stay far below
MAX_SEGMENTS = 24
CACHED_PATHS = 4096

Kind = Literal[
    "root",
    "metadata",
    "batch",
    "set",
    "count",
    "object",
    "property",
    "action",
    "delta",
    "related",
    "related_count",
    "refs",
    "ref",
]


@dataclass(frozen=True, slots=True)
class Key:
    """The key of one object: its id, an alternate key's `name`, or `own` for the caller's own object (/me)."""

    value: str
    name: str | None = None
    own: bool = False


@dataclass(eq=False, slots=True)
class Target:
    """What a path names; not changed once it is resolved. `via` is the object whose navigation leads to it."""

    kind: Kind
    version: Version
    resource: Resource | None = None
    key: Key | None = None
    action: Action | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    navigation: Navigation | None = None
    cast: str | None = None
    path: tuple[str, ...] = ()  # of a property; behind one that holds objects `=` and the id of one of them
    raw: bool = False  # $value
    via: "Target | None" = None
    shows: "Target | None" = None  # what GET names where an action is called as the property that it changes
    hidden: str = ""  # the path below /v1.0 in lower case with `{}` for keys: what coverage and metrics call it

    served: tuple[Verb, ...] = ()  # what may be sent here

    def verbs(self) -> tuple[Verb, ...]:
        if self.kind == "action":
            assert self.action is not None
            if self.action.function:
                return ("GET",)
            return ("POST",) if self.shows is None else ("GET", "POST")
        if self.kind == "batch":
            return ("POST",)
        if self.kind in ("refs", "ref"):
            linked = self.navigation is not None and self.navigation.link is not None
            if self.kind == "ref":
                return ("DELETE",) if linked else ()
            return ("GET", "POST") if linked else ("GET",)
        if self.kind == "property" and self.resource is not None and self.via is None and not self.resource.can:
            return ()  # of an object that only has actions nothing is kept
        if self.resource is None or self.kind not in ("set", "object") or (self.kind == "set" and self.cast):
            return ("GET",)
        can = self.resource.can
        if self.kind == "set":
            served: list[tuple[Can, Verb]] = [(Can.LIST, "GET"), (Can.CREATE, "POST")]
        else:
            served = [(Can.GET, "GET"), (Can.PATCH, "PATCH"), (Can.PUT, "PUT"), (Can.DELETE, "DELETE")]
            if self.resource.singleton:
                served.append((Can.CREATE, "POST"))
        return tuple(verb for flag, verb in served if flag in can)


class _Node:
    __slots__ = ("below", "own", "resource")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.resource: Resource | None = None
        self.own: Resource | None = None  # this path is the caller's own object of that set


_NAMESPACES = ("microsoft.graph.", "graph.")
_ANY = "microsoft.graph.directoryObject"
# Derived types of which nothing is served, and which clients cast to.
_ELSEWHERE: Mapping[str, tuple[str, ...]] = {_ANY: ("microsoft.graph.orgContact", "microsoft.graph.endpoint")}
_CALL = re.compile(r"([^()']*)\((.*)\)", re.DOTALL)
_ARGUMENT = re.compile(r"\s*(?:([A-Za-z_]\w*)\s*=\s*)?('(?:[^']|'')*'|[^,']*?)\s*(?:,|$)")


def _decode(segment: str) -> str:
    if "%" not in segment:
        return segment
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise BadRequest("The path is not UTF-8 behind its percent signs.", code="invalidPath") from None


def within(path: str, tenant: str) -> str:
    """The path without the segment behind the version, where that names the caller's own tenant."""
    start = path.lstrip("/")
    version, _, rest = start.partition("/")
    first, _, below = rest.lstrip("/").partition("/")
    return f"/{version}/{below}" if first and first.lower() in ("myorganization", tenant.lower()) else path


def arguments(text: str) -> dict[str, str]:
    """`'x'` or `a='x',b=1` as a dict; an argument without a name has the name "". BadRequest where it is neither."""
    given: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _ARGUMENT.match(text, at)
        if match is None or match.end() == at:
            raise BadRequest(
                f"Cannot read ({text[:80]}) in the path; expected such as ('id') or (name='value').", code="invalidPath"
            )
        name, value = match[1] or "", match[2]
        given[name] = value[1:-1].replace("''", "'") if value.startswith("'") else value
        at = match.end()
    return given


class Router:
    """The declared resources as a tree of path segments, one for each version."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._roots: dict[Version, _Node] = {"v1.0": _Node(), "beta": _Node()}
        self._by_set: dict[tuple[Version, str, str], Resource] = {}
        self.resources = tuple(resources)
        self.unserved: dict[Version, dict[str, Unserved]] = {"v1.0": {}, "beta": {}}
        for pattern, _, versions, why in UNSERVED:
            for version in versions:
                self.unserved[version].setdefault(pattern.removesuffix("/**"), why)
        for each in self.resources:
            self._add(each)
        self.resolve = lru_cache(CACHED_PATHS)(self._resolve)

    def _add(self, resource: Resource) -> None:
        for version in ("v1.0", "beta"):
            if version in resource.versions:
                self._by_set.setdefault((version, resource.collection.name, resource.type), resource)
        for path, versions in {resource.path: resource.versions, **resource.aliases}.items():
            for version in versions:
                node = self._node(version, path)
                if node.resource is not None:
                    raise ValueError(f"{path} is declared twice")
                node.resource = resource
        if resource.own:
            for version in resource.versions:
                self._node(version, resource.own).own = resource

    def _node(self, version: Version, path: str) -> _Node:
        node = self._roots[version]
        for segment in path.lower().split("/"):
            node = node.below.setdefault(segment, _Node())
        return node

    def _resolve(self, path: str) -> Target:
        """The target of a raw path such as `/v1.0/security/alerts_v2/x`.

        NotFound names the segment that nothing is known of; NotServed or MethodNotAllowed where a known path is
        declared unserved.
        """
        if len(path) > MAX_PATH:
            raise BadRequest(f"The path is longer than {MAX_PATH} characters.", code="invalidPath")
        segments = [segment for segment in path.split("/") if segment]
        if len(segments) > MAX_SEGMENTS:
            raise BadRequest(f"The path has more than {MAX_SEGMENTS} segments.", code="invalidPath")
        version = segments[0].lower() if segments else ""
        if version not in ("v1.0", "beta"):
            raise NotFound("Resource not found: a path of this API starts with /v1.0 or /beta.", code="BadRequest")
        return _Walk(self, "beta" if version == "beta" else "v1.0", segments[1:]).run()

    def related(self, version: Version, navigation: Navigation, cast: str | None) -> Resource | None:
        """The declared set that a navigation (cast to a type) leads to; None where its targets are mixed, or none is of
        that type."""
        for target in navigation.to:
            if len(navigation.to) == 1 if cast is None else target.type == cast:
                found = self._by_set.get((version, target.name, target.type or ""))
                return found or _contained(navigation, target.name, version)
        return None


@lru_cache(256)
def _contained(navigation: Navigation, name: str, version: Version) -> Resource:
    """A set that is only reached through its navigation (history, ...): read alone, every property filtered."""
    collection = next(to for to in navigation.to if to.name == name)
    return Resource(
        path=name,
        type=collection.type or navigation.type,
        collection=collection,
        can=Can.READ,
        versions=(version,),
        aliases={},
        filter=None,
        orderby=None,
        any_case=frozenset(),
        search=(),
        select=True,
        extra=False,
        patch=frozenset(),
        patch_else=None,
        required=frozenset(),
        read=navigation.access,
        write=navigation.access,
        create=navigation.access,
        delete=navigation.access,
        default_top=100,
        max_top=1000,
        max_skip=None,
        advanced=False,
        patch_status=200,
        keys=(),
        bare_keys=(),
        singleton=False,
        own="",
        own_scopes=(),
        rows=None,
        throttle="any",
        unserved={},
        delta=None,
    )


class _Walk:
    """One path on its way down."""

    def __init__(self, router: Router, version: Version, segments: list[str]) -> None:
        self.router = router
        self.version = version
        self.segments = segments
        self.at = 0
        self.shape: list[str] = []  # what was read so far, keys as {}

    def run(self) -> Target:
        if not self.segments:
            return Target("root", self.version)
        first = _decode(self.segments[0]).lower()
        if first in ("$metadata", "$batch") and len(self.segments) == 1:
            if first == "$metadata":
                return Target("metadata", self.version, hidden=first, served=("GET",))
            return Target("batch", self.version, hidden=first, served=("POST",))
        try:
            return self.node(self.router._roots[self.version])
        except NotFound:
            why = why_not("/".join([*self.shape, *(bare(s.lower()) for s in self.segments[self.at :])]), self.version)
            if why is None:
                raise
            raise refusal(why, "/".join(self.segments)[:200]) from None

    def lost(self) -> NotFound:
        segment = _decode(self.segments[self.at])
        return NotFound(f"Resource not found for the segment '{segment[:100]}'.", code="BadRequest")

    def call(self) -> tuple[str, str, dict[str, str] | None]:
        """The segment as (decoded, its name in lower case, arguments if it has parentheses)."""
        segment = _decode(self.segments[self.at])
        match = _CALL.fullmatch(segment) if segment.endswith(")") else None
        if match is None:
            return segment, segment.lower(), None
        return segment, match[1].lower(), arguments(match[2])

    def step(self, shape: str) -> bool:
        """Goes one segment on; whether there is another."""
        self.shape.append(shape)
        self.at += 1
        return self.at < len(self.segments)

    def back(self) -> None:
        """Undoes a step, so that errors name its segment."""
        self.shape.pop()
        self.at -= 1

    def done(self, target: Target) -> Target:
        target.hidden = "/".join(self.shape)
        target.served = target.verbs()
        return target

    def node(self, node: _Node) -> Target:
        while True:
            _, name, given = self.call()
            below = node.below.get(name)
            if below is None:
                if node.resource is not None:
                    return self.behind(node.resource)
                raise self.lost()
            more = self.step(name)
            node = below
            if node.own is not None:
                return self.object(node.own, Key("me", own=True), more, None)
            if given is not None:
                if node.resource is None or not given:
                    self.back()
                    raise self.lost()
                self.shape.append("{}")
                return self.object(node.resource, self.key(node.resource, given), more, None)
            if not more:
                if node.resource is None:
                    self.back()
                    raise self.lost()
                return self.end(node.resource)

    def end(self, resource: Resource) -> Target:
        kind: Kind = "object" if resource.singleton else "set"
        return self.done(Target(kind, self.version, resource, Key("") if resource.singleton else None))

    def key(self, resource: Resource, given: dict[str, str]) -> Key:
        if len(given) == 1:
            ((name, value),) = given.items()
            if name.lower() in ("", "id"):
                return Key(value)
            for known in resource.keys:
                if known.lower() == name.lower():
                    return Key(value, known)
        known_keys = ", ".join(["id", *resource.keys])
        raise BadRequest(f"No such key of {resource.path}; its keys are: {known_keys}.", code="invalidPath")

    def operation(self, resource: Resource, on_set: bool) -> tuple[Action, dict[str, str]] | None:
        segment, name, given = self.call()
        for wanted in (name, segment.lower()):
            bare = wanted.rpartition(".")[2]
            found = resource.actions.get(bare)
            if found is None or found.on_set is not on_set or self.version not in found.versions:
                continue
            if bare == wanted or wanted in (found.qualified.lower(), f"microsoft.graph.{bare}", f"graph.{bare}"):
                return found, given or {}
        return None

    def longer(self, resource: Resource) -> tuple[tuple[str, ...], Action, dict[str, str]] | None:
        """A function of an object whose name is a path, such as `authentication/methods/{}`: its segments, and what
        stands for the key."""
        rest = self.segments[self.at :]
        for names, action in resource.longer:
            if len(names) == len(rest) and self.version in action.versions:
                texts = [_decode(segment) for segment in rest]
                pairs = list(zip(names, texts, strict=True))
                if all(text.lower() == name if name != "{}" else text[:1] != "$" for name, text in pairs):
                    keys = [text for name, text in pairs if name == "{}"]
                    return names, action, {"key": keys[0]} if keys else {}
        return None

    def behind(self, resource: Resource) -> Target:
        """What follows a set, or a singleton."""
        if resource.singleton:
            return self.after(resource, Key(""), None)
        found = self.operation(resource, True)
        if found is not None:
            return self.action(resource, None, found, None)
        segment, name, given = self.call()
        if resource.delta is not None and bare(name) == "delta" and not given:
            if self.step("delta"):
                raise self.lost()
            return self.done(Target("delta", self.version, resource))
        cast = self.derived(resource.type, name) if Can.LIST in resource.can else None
        if cast is not None:
            return self.some(resource, cast)
        self.no_key(name)
        if segment.lower() == "$count":
            if self.step("$count"):
                raise self.lost()
            return self.done(Target("count", self.version, resource))
        if segment.startswith("$"):
            raise self.lost()
        more = self.step("{}")
        return self.object(resource, _named(resource, segment) or Key(segment), more, None)

    def some(self, resource: Resource, cast: str) -> Target:
        """Those objects of a set that are of a derived type, or how many."""
        if not self.step(cast.lower()):
            return self.done(Target("set", self.version, resource, cast=cast))
        if self.segments[self.at].lower() != "$count" or self.step("$count"):
            raise self.lost()
        return self.done(Target("count", self.version, resource, cast=cast))

    def no_key(self, name: str) -> None:
        """An operation that is not served is not the key of an object: refused as it is declared, and by any name that
        has a namespace in front."""
        why = self.router.unserved[self.version].get("/".join([*self.shape, bare(name)]))
        if why is not None:
            raise refusal(why, "/".join([*self.shape, bare(name)]))
        if name.startswith(_NAMESPACES):
            raise self.lost()

    def action(
        self, resource: Resource, key: Key | None, found: tuple[Action, dict[str, str]], via: Target | None
    ) -> Target:
        if self.step(found[0].name.lower()):
            raise self.lost()
        target = Target("action", self.version, resource, key, found[0], found[1], via=via)
        same = None if key is None else self.same(resource, found[0])
        if same is not None:  # comments are added by POST and read by GET
            target.shows = self.done(Target("property", self.version, resource, key, path=(same.name,), via=via))
        return self.done(target)

    def same(self, resource: Resource, action: Action) -> Property | None:
        """The property that an action is called as."""
        if action.function or not resource.can:
            return None
        found = edm(self.version).structured(resource.type).find(action.name)
        return found if isinstance(found, Property) else None

    def object(self, resource: Resource, key: Key, more: bool, via: Target | None) -> Target:
        if not more:
            return self.done(Target("object", self.version, resource, key, via=via))
        return self.after(resource, key, via)

    def after(self, resource: Resource, key: Key, via: Target | None) -> Target:
        """What follows one object: an operation, a navigation, a property, a cast."""
        longer = self.longer(resource)
        if longer is not None:
            for name in longer[0]:
                self.step(name)
            return self.done(Target("action", self.version, resource, key, longer[1], longer[2], via=via))
        found = self.operation(resource, False)
        if found is not None and not (self.at + 1 < len(self.segments) and self.same(resource, found[0])):
            return self.action(resource, key, found, via)
        _, name, given = self.call()
        navigation = resource.navigations.get(name)
        if navigation is not None and self.version in navigation.versions:
            here = Target("object", self.version, resource, key, via=via)
            more = self.step(name)
            if given:
                self.shape.append("{}")
                return self.one_related(navigation, here, given.get("", next(iter(given.values()))), None, more)
            return self.related(navigation, here, more)
        if name.removeprefix("microsoft.") == resource.type.lower().removeprefix("microsoft."):
            return self.object(resource, key, self.step(name), via)
        narrower = self.narrower(name) if resource.type == _ANY and via is None else None
        if narrower is not None:
            return self.object(narrower, key, self.step(name), None)
        return self.property(resource, key, via)

    def narrower(self, name: str) -> Resource | None:
        """The set of a type: an object of any set cast to what it is."""
        derived = self.derived(_ANY, name)
        for each in self.router.resources:
            if each.type == each.collection.type == derived and each.collection.name == each.path.rpartition("/")[2]:
                return each
        return None

    def derived(self, type: str, name: str) -> str | None:
        """The type that a cast names, where it is derived from this one."""
        if not name.startswith(_NAMESPACES):
            return None
        wanted = name if name.startswith("microsoft.") else f"microsoft.{name}"
        below = (*edm(self.version).structured(type).derived, *_ELSEWHERE.get(type, ()))
        return next((each for each in below if each.lower() == wanted), None)

    def related(self, navigation: Navigation, here: Target, more: bool, cast: str | None = None) -> Target:
        target = Target(
            "related" if navigation.many else "object",
            self.version,
            self.router.related(self.version, navigation, cast),
            navigation=navigation,
            cast=cast,
            via=here,
        )
        if not more:
            return self.done(target)
        segment, name, _ = self.call()
        further = None
        if not navigation.many and navigation.made is not None and target.resource is not None:
            further = target.resource.navigations.get(name)  # hosts/x/whois/history
        if further is not None and self.version in further.versions:
            return self.related(further, target, self.step(name))
        if name in ("$count", "$ref"):
            if self.step(name):
                raise self.lost()
            if name == "$ref":
                return self.done(replace(target, kind="refs"))
            if not navigation.many:
                self.back()
                raise self.lost()
            return self.done(replace(target, kind="related_count"))
        wanted = navigation.cast(name) or (self.derived(navigation.type, name) if navigation.many else None)
        if "." in name and cast is None and wanted is not None:
            return self.related(navigation, here, self.step(name), wanted)
        if not navigation.many or segment.startswith("$"):
            raise self.lost()
        self.no_key(name)
        return self.one_related(navigation, here, segment, cast, self.step("{}"))

    def one_related(self, navigation: Navigation, here: Target, key: str, cast: str | None, more: bool) -> Target:
        resource = self.router.related(self.version, navigation, cast)
        link = Target("related", self.version, resource, navigation=navigation, cast=cast, via=here)
        if more and self.segments[self.at].lower() == "$ref":
            if self.step("$ref"):
                raise self.lost()
            return self.done(replace(link, kind="ref", key=Key(key)))
        if resource is None:
            if not more:
                return self.done(Target("object", self.version, None, Key(key), navigation=navigation, via=link))
            name = self.call()[1]
            wanted = navigation.cast(name) if cast is None and "." in name else None
            if wanted is None:
                raise self.lost()
            resource, more = self.router.related(self.version, navigation, wanted), self.step(name)
            assert resource is not None
        return self.object(resource, Key(key), more, link)

    def property(self, resource: Resource, key: Key, via: Target | None) -> Target:
        kind: StructuredType | None = edm(self.version).structured(resource.type)
        path: list[str] = []
        many = False
        while self.at < len(self.segments):
            segment, name, _ = self.call()
            if name == "$value" and path:
                if self.step(name):
                    raise self.lost()
                return self.done(Target("property", self.version, resource, key, path=tuple(path), raw=True, via=via))
            if name == "$count" and many:
                if self.step(name):
                    raise self.lost()
                path.append(name)
                break
            if many and len(path) == 1 and path[0] in resource.inline and not segment.startswith("$"):
                path.append(f"={segment}")
                if self.step("{}"):
                    raise self.lost()
                break
            named, given = (segment, None) if path else self._held(resource, segment)
            found = kind.find(named) if kind is not None else None
            if not isinstance(found, Property):
                raise self.lost()
            many = found.collection
            path.append(found.name)
            more = self.step(found.name.lower())
            if given is not None:
                self.shape.append("{}")
                path.append(f"={given}")
                if more:
                    raise self.lost()
                break
            kind = None
            if not found.collection and not found.type.startswith("Edm."):
                try:
                    kind = edm(self.version).structured(found.type)
                except KeyError:
                    kind = None
        return self.done(Target("property", self.version, resource, key, path=tuple(path), via=via))

    def _held(self, resource: Resource, segment: str) -> tuple[str, str | None]:
        """A property, and the id in parentheses of one of the objects that it holds."""
        match = _CALL.fullmatch(segment) if segment.endswith(")") else None
        if match is None or match[1].lower() not in {name.lower() for name in resource.inline}:
            return segment, None
        return match[1], arguments(match[2]).get("", "")


def _named(resource: Resource, segment: str) -> Key | None:
    """An alternate key that stands as `name=value`, its value with quotes or without."""
    name, equals, value = segment.partition("=")
    known = next((key for key in resource.keys if key.lower() == name.lower()), None) if equals else None
    return None if known is None else Key(value[1:-1] if value[:1] == value[-1:] == "'" != value else value, known)


def bare(name: str) -> str:
    """An operation's name in lower case without its namespace."""
    return name.rpartition(".")[2] if name.startswith("microsoft.graph.") else name


def unserved_verb(target: Target, verb: str) -> Unserved | None:
    """What its resource says of a verb that it does not serve: of objects, but for POST, which is of the set."""
    if target.resource is None or target.via is not None:
        return None
    if verb != "GET" and target.kind != ("set" if verb == "POST" else "object"):
        return None
    return target.resource.unserved.get(verb)
