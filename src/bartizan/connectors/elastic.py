"""Elasticsearch and OpenSearch: alerts of Elastic Security, of Wazuh's indexer, and documents of any index.

A look walks a range of the time field page by page with `search_after`, on a point in time where the system gives one.
It begins a little before where the last one ended, since documents are found only after a refresh and may come late;
what comes twice is recognised by what takes it in.

Source: Elasticsearch API, "Run a search", "Paginate search results", "Open a point in time", "Update by query"; Kibana
API, "Set a detection alert status"; OpenSearch documentation, "Point in Time API"; Wazuh documentation, "Wazuh indexer
indices".
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Raw, Struct

from bartizan.extend.connectors import (
    LOCAL,
    Away,
    Batch,
    Connector,
    Denied,
    Outside,
    Pulled,
    Push,
    Pushed,
    Read,
    Rejected,
    Reply,
    Secret,
    Stream,
)
from bartizan.model.times import parse

KEEP_ALIVE = "2m"  # of a point in time, from page to page
MAX_CURSOR_CHARS = 200
_HITS = 10_000  # the most that a search gives at once (index.max_result_window)

Engine = Literal["auto", "elasticsearch", "opensearch"]


class SearchSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="of Elasticsearch or OpenSearch", pattern="^https?://", max_length=2_000)]
    index: Annotated[str, Meta(description="names or patterns of indices, with commas between", min_length=1)]
    api_key: Annotated[Secret, Meta(description="encoded API key (Elasticsearch)")] | None = None
    user: Annotated[str, Meta(description="instead of an API key", max_length=200)] = ""
    password: Annotated[Secret, Meta(description="of the user")] | None = None
    source: Annotated[str, Meta(description="source that reads the documents", max_length=64)] = "auto"
    time_field: Annotated[str, Meta(description="date by which documents are followed", min_length=1)] = "@timestamp"
    tie_breaker: Annotated[
        str, Meta(description="field that orders documents of one time; empty: as the engine can", max_length=200)
    ] = ""
    filter: Annotated[str, Meta(description="Lucene query that documents must match", max_length=4_000)] = ""
    since_days: Annotated[int, Meta(description="how far back the first look goes", ge=0, le=3_650)] = 7
    overlap_s: Annotated[int, Meta(description="how late a document may be found", ge=0, le=86_400)] = 300
    page_rows: Annotated[int, Meta(description="documents of one page", ge=1, le=_HITS)] = 500
    engine: Annotated[Engine, Meta(description="which it is; auto asks it")] = "auto"
    ca_file: Annotated[str, Meta(description="certificate authority of the system, as PEM", extra=LOCAL)] = ""
    verify: Annotated[bool, Meta(description="whether its certificate is checked")] = True


class ElasticSettings(SearchSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    index: Annotated[str, Meta(description="of the alerts of a space", min_length=1)] = (
        ".alerts-security.alerts-default"
    )
    source: Annotated[str, Meta(description="source that reads the documents", max_length=64)] = "elastic_security"
    tie_breaker: Annotated[str, Meta(description="field that orders alerts of one time", max_length=200)] = (
        "kibana.alert.uuid"
    )
    write_by: Annotated[
        Literal["kibana", "index"], Meta(description="status is set through Kibana, or in the index itself")
    ] = "kibana"
    kibana_url: Annotated[
        str, Meta(description="of Kibana, with /s/SPACE where it is not the default space", pattern="^(https?://|$)")
    ] = ""


class WazuhSettings(SearchSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    index: Annotated[str, Meta(description="of the alerts", min_length=1)] = "wazuh-alerts-*"
    source: Annotated[str, Meta(description="source that reads the documents", max_length=64)] = "wazuh"
    time_field: Annotated[str, Meta(description="date by which alerts are followed", min_length=1)] = "timestamp"
    tie_breaker: Annotated[str, Meta(description="field that orders alerts of one time", max_length=200)] = "id"


class _Hit(Struct):
    source: Raw = msgspec.field(name="_source", default=Raw(b"null"))
    sort: list[Any] = []


class _Hits(Struct):
    hits: list[_Hit] = []


class _Shards(Struct):
    failed: int = 0


class _Answer(Struct):
    hits: _Hits
    timed_out: bool = False
    shards: _Shards = msgspec.field(name="_shards", default_factory=_Shards)
    pit_id: str | None = None


class _Cursor(Struct, frozen=True):
    at: int  # ms since 1970, of the last document that was read


_answer = msgspec.json.Decoder(_Answer).decode


class SearchIndex(Connector):
    name: ClassVar[str] = "search_index"
    vendor: ClassVar[str] = "Elastic"
    product: ClassVar[str] = "Elasticsearch"
    doc: ClassVar[str] = "Documents of any index of Elasticsearch or OpenSearch."
    settings: ClassVar[type[Struct]] = SearchSettings
    streams: ClassVar[Mapping[str, Stream]] = {"documents": Stream("Documents, by their time field.")}
    reads: ClassVar[bool] = False
    id_field: ClassVar[str] = "_id"  # of the id that an alert has in the system

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._url = settings.url.rstrip("/")
        self._headers = _authorization(settings)
        self._engine: str | None = None if settings.engine == "auto" else settings.engine

    async def check(self) -> str:
        engine = await self._which()
        body = {"size": 0, "track_total_hits": _HITS, "query": self._within(self.set.time_field, [])}
        reply = await self._ask("POST", f"/{self._index()}/_search", json=body)
        total = (reply.data or {}).get("hits", {}).get("total", {})
        more = " or more" if isinstance(total, dict) and total.get("relation") == "gte" else ""
        return f"{engine} has {total.get('value') if isinstance(total, dict) else total}{more} documents"

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        field = self._field(stream)
        known = _read_cursor(cursor)
        begin: dict[str, Any] = {"lte": "now"}  # a clock that is ahead must not take the cursor with it
        if known is not None:
            begin |= {"gte": known.at - self.set.overlap_s * 1_000}
        elif self.set.since_days:
            begin["gte"] = f"now-{self.set.since_days}d"
        at = known.at if known is not None else 0
        async for page in self._pages(field, begin):
            at = max([at, *(_time(hit) for hit in page[-1:])])
            yield Batch(cursor=_cursor(at), records=[self._pulled(hit) for hit in page])

    async def read(self, asked: Read) -> Sequence[Pulled]:
        field = self.set.time_field
        bounds = {name: parse(text) for name, text in (("gte", asked.since), ("lte", asked.until)) if text is not None}
        clauses: list[dict[str, Any]] = [{"range": {field: bounds}}] if bounds else []
        if asked.id is not None:
            clauses.append({"term": {self.id_field: asked.id}})
        body = {
            "size": min(asked.top, _HITS),
            "query": self._within(field, clauses),
            "sort": [{field: {"order": "desc", "unmapped_type": "date"}}],
        }
        found = _whole(await self._ask("POST", f"/{self._index()}/_search", json=body))
        return [self._pulled(hit) for hit in found.hits.hits]

    # ------------------------------------------------------------ what a subclass may say

    def _field(self, stream: str) -> str:
        """The date by which a stream is followed."""
        field: str = self.set.time_field
        return field

    # ------------------------------------------------------------ searching

    async def _pages(self, field: str, begin: dict[str, Any]) -> AsyncIterator[list[_Hit]]:
        """Every document of the range, oldest first. Away where some shard did not answer: nothing is left out."""
        engine = await self._which()
        point = await self._open(engine)
        tie = self.set.tie_breaker or ("_shard_doc" if engine == "elasticsearch" else "_id")
        if point is None and tie == "_shard_doc":
            raise Rejected(f"{self._url} gives no point in time: set tie_breaker to a field that is unique")
        body: dict[str, Any] = {
            "size": self.set.page_rows,
            "track_total_hits": False,
            "query": self._within(field, [{"range": {field: {**begin, "format": _FORMATS}}}]),
            # Milliseconds, whatever resolution an index keeps: one number orders all.
            "sort": [{field: {"order": "asc", "numeric_type": "date", "unmapped_type": "date"}}, {tie: _order(tie)}],
        }
        try:
            while True:
                if point is not None:
                    body["pit"] = {"id": point, "keep_alive": KEEP_ALIVE}
                found = await self._search(body, point)
                point = found.pit_id or point
                if found.hits.hits:
                    yield found.hits.hits
                if len(found.hits.hits) < self.set.page_rows:
                    return
                body["search_after"] = found.hits.hits[-1].sort
        finally:
            if point is not None:
                await self._give_back(engine, point)

    async def _search(self, body: dict[str, Any], point: str | None) -> _Answer:
        path = "/_search" if point is not None else f"/{self._index()}/_search"
        reply = await self._ask("POST", path, json=body, allow=(404,))
        if reply.status == 404:
            if point is not None:  # its time is over, or a node went: the next look goes on behind the last page
                raise Away(f"{self._url}: the point in time is gone", status=404)
            raise Rejected(f"{self._url}: there is no index {self.set.index}", status=404)
        return _whole(reply)

    async def _open(self, engine: str) -> str | None:
        """A point in time; None where the system has none to give."""
        if engine == "elasticsearch":
            reply = await self._ask("POST", f"/{self._index()}/_pit", params={"keep_alive": KEEP_ALIVE})
            return str(reply.data["id"])
        reply = await self._ask(
            "POST",
            f"/{self._index()}/_search/point_in_time",
            params={"keep_alive": KEEP_ALIVE, "allow_partial_pit_creation": "false"},
            allow=(400, 403, 404, 405),  # before OpenSearch 2.4, or not permitted
        )
        return str(reply.data["pit_id"]) if reply.status == 200 else None

    async def _give_back(self, engine: str, point: str) -> None:
        with suppress(Away, Denied, Rejected):  # it ends by itself
            if engine == "elasticsearch":
                await self._ask("DELETE", "/_pit", json={"id": point}, allow=(404,))
            else:
                await self._ask("DELETE", "/_search/point_in_time", json={"pit_id": [point]}, allow=(404,))

    async def _which(self) -> str:
        if self._engine is None:
            reply = await self._ask("GET", "/")
            version = reply.data.get("version") if isinstance(reply.data, dict) else None
            if not isinstance(version, dict):
                raise Rejected(f"{self._url} is neither Elasticsearch nor OpenSearch")
            self._engine = "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"
        return self._engine

    def _within(self, field: str, clauses: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = [{"query_string": {"query": self.set.filter}}] if self.set.filter else []
        return {"bool": {"filter": [{"exists": {"field": field}}, *wanted, *clauses]}}

    def _pulled(self, hit: _Hit) -> Pulled:
        return Pulled(self.set.source, bytes(hit.source))

    def _index(self) -> str:
        return quote(self.set.index, safe="*,-_.")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        allow: tuple[int, ...] = (),
    ) -> Reply:
        return await self.outside.ask(
            method, self._url + path, headers=self._headers, params=params, json=json, allow=allow
        )


class WazuhIndexer(SearchIndex):
    name: ClassVar[str] = "wazuh_indexer"
    vendor: ClassVar[str] = "Wazuh"
    product: ClassVar[str] = "Wazuh"
    doc: ClassVar[str] = "Alerts of Wazuh, from its indexer; Wazuh keeps no status that could be written back."
    settings: ClassVar[type[Struct]] = WazuhSettings
    streams: ClassVar[Mapping[str, Stream]] = {"alerts": Stream("Alerts, by their time.")}
    reads: ClassVar[bool] = True
    id_field: ClassVar[str] = "id"


_STATUSES = {"new": "open", "inProgress": "acknowledged", "resolved": "closed"}
_SCRIPT = (
    "if (ctx._source['kibana.alert.workflow_status'] == params.status) { ctx.op = 'noop' } else {"
    " ctx._source['kibana.alert.workflow_status'] = params.status;"
    " ctx._source['kibana.alert.workflow_status_updated_at'] = params.at }"
)


class ElasticSecurity(SearchIndex):
    name: ClassVar[str] = "elastic_security"
    vendor: ClassVar[str] = "Elastic"
    product: ClassVar[str] = "Elastic Security"
    doc: ClassVar[str] = "Detection alerts of Elastic Security, with their status both ways."
    settings: ClassVar[type[Struct]] = ElasticSettings
    streams: ClassVar[Mapping[str, Stream]] = {
        "alerts": Stream("Alerts, by the time at which they were made."),
        "changes": Stream("Alerts whose status was changed in Elastic Security."),
    }
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("Elastic", "Elastic Security"),)
    pushes: ClassVar[Mapping[Any, frozenset[str]]] = {"alert": frozenset({"status"})}
    reads: ClassVar[bool] = True
    id_field: ClassVar[str] = "kibana.alert.uuid"

    def _field(self, stream: str) -> str:
        return "kibana.alert.workflow_status_updated_at" if stream == "changes" else super()._field(stream)

    async def push(self, change: Push) -> Pushed:
        if "status" not in change.words:
            return Pushed(left_out=tuple(change.words))
        status = _STATUSES.get(str(change.words["status"]))
        if status is None:
            raise Rejected(f"Elastic Security has no status for '{str(change.words['status'])[:60]}'")
        left_out = tuple(word for word in change.words if word != "status")
        there = await self._there(change.id)
        if there.get("kibana.alert.workflow_status") == status:
            return Pushed(left_out=left_out)
        if self.set.write_by == "kibana":
            await self._by_kibana(change.id, status)
        else:
            await self._by_index(change, status)
        changed = there.get("kibana.alert.workflow_status_updated_at")
        if isinstance(changed, str) and change.known is not None and _later(changed, change.known):
            return Pushed(
                overwrote={"status": there.get("kibana.alert.workflow_status")},
                last_writer=there.get("kibana.alert.workflow_user"),
                left_out=left_out,
            )
        return Pushed(left_out=left_out)

    async def _there(self, id: str) -> dict[str, Any]:
        """The alert as it is in the index."""
        body = {"size": 1, "query": {"term": {self.id_field: id}}}
        found = _whole(await self._ask("POST", f"/{self._index()}/_search", json=body)).hits.hits
        if not found:
            raise Rejected(f"{self._url} has no alert {id[:100]} in {self.set.index}", status=404)
        there: dict[str, Any] = msgspec.json.decode(found[0].source)
        return there

    async def _by_kibana(self, id: str, status: str) -> None:
        if not self.set.kibana_url:
            raise Denied("kibana_url is not set: status is written through Kibana, or with write_by=index")
        reply = await self.outside.ask(
            "POST",
            self.set.kibana_url.rstrip("/") + "/api/detection_engine/signals/status",
            headers={**self._headers, "kbn-xsrf": "true"},
            json={"signal_ids": [id], "status": status},
            allow=(409,),
        )
        _written(reply, id)

    async def _by_index(self, change: Push, status: str) -> None:
        body = {
            "query": {"term": {self.id_field: change.id}},
            "script": {"source": _SCRIPT, "lang": "painless", "params": {"status": status, "at": change.at}},
        }
        reply = await self._ask("POST", f"/{self._index()}/_update_by_query", json=body, allow=(409,))
        _written(reply, change.id)


_FORMATS = "epoch_millis||strict_date_optional_time"


def _authorization(settings: SearchSettings) -> dict[str, str]:
    if settings.api_key is not None:
        return {"Authorization": f"ApiKey {settings.api_key}"}
    if settings.user and settings.password is not None:
        pair = f"{settings.user}:{settings.password}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}
    return {}


def _whole(reply: Reply) -> _Answer:
    try:
        found = _answer(reply.body)
    except msgspec.DecodeError:
        raise Rejected("the answer is not that of a search") from None
    if found.timed_out or found.shards.failed:
        raise Away(f"the search is incomplete: {found.shards.failed} shards failed")
    return found


def _written(reply: Reply, id: str) -> None:
    """An update by query that changed nothing did not find the alert, or somebody else was faster."""
    data = reply.data if isinstance(reply.data, dict) else {}
    if reply.status == 409 or data.get("version_conflicts") or data.get("failures"):
        raise Away(f"alert {id[:100]} was being changed by another")
    if not data.get("updated") and not data.get("noops"):
        raise Rejected(f"no alert {id[:100]} was found to change", status=404)


def _time(hit: _Hit) -> int:
    at = hit.sort[0] if hit.sort else None
    if not isinstance(at, int):
        raise Rejected("the time field is not a date in all indices")
    return at


def _order(tie: str) -> dict[str, str]:
    return {"order": "asc"} if tie.startswith("_") else {"order": "asc", "unmapped_type": "keyword"}


def _cursor(at: int) -> str:
    return msgspec.json.encode(_Cursor(at)).decode()


def _read_cursor(cursor: str | None) -> _Cursor | None:
    return None if not cursor else msgspec.json.decode(cursor, type=_Cursor)


def _later(one: str, other: str) -> bool:
    try:
        return parse(one) > parse(other)
    except ValueError:
        return False
