"""A directory in CSV files: users, groups, devices, who is in what, roles and registration for multifactor
authentication, read anew when a file of the folder changes.

Source: RFC 4180; the names of columns are those of Microsoft Graph's resources user, group, device, directoryRole and
userRegistrationDetails.
"""

import asyncio
import csv
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from hashlib import sha256
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from bartizan.errors import BadRequest
from bartizan.extend import GraphObject
from bartizan.extend.connectors import LOCAL, Away, Batch, Connector, Denied, Edge, Rejected, Stream
from bartizan.model.edm import Property, edm
from bartizan.model.ids import stable_id
from bartizan.store.sql import checked_id

MAX_FILE_BYTES = 128 * 1024 * 1024
MAX_ROWS = 1_000_000  # of one file
MAX_CELL_CHARS = 65_536
PAGE_ROWS = 1_000  # objects or edges of one batch
_TOLD_ROWS = 10  # bad rows named in one message

_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_MEMBERS = {"user": "users", "group": "groups", "device": "devices"}


class CsvSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    folder: Annotated[
        str, Meta(description="folder of the server that holds the files", pattern="^/", max_length=4_096, extra=LOCAL)
    ]
    delimiter: Annotated[str, Meta(description="between two columns", min_length=1, max_length=1)] = ","
    encoding: Annotated[str, Meta(description="of the files", pattern="^[A-Za-z0-9_-]{1,32}$")] = "utf-8-sig"


class _Form(Struct, frozen=True, kw_only=True):
    """What a file holds: objects of a set, whose columns are properties of their type, and columns that name users."""

    collection: str
    type: str
    required: tuple[str, ...]
    key: str  # the property from which an id derives where there is no column `id`
    unique: str  # a property that no two objects of the set share, beside the id
    names: tuple[str, ...]  # properties by which other files may name the object, beside its id
    given: dict[str, Any] = {}  # what holds where the file does not say otherwise
    links: dict[str, str] = {}  # column with a user -> the relation that leads from the object to it


_FORMS = {
    "users.csv": _Form(
        collection="users",
        type="microsoft.graph.user",
        required=("userPrincipalName",),
        key="userPrincipalName",
        unique="userPrincipalName",
        names=("userPrincipalName", "mail", "onPremisesSamAccountName"),
        given={"accountEnabled": True, "userType": "Member"},
        links={"manager": "manager"},
    ),
    "groups.csv": _Form(
        collection="groups",
        type="microsoft.graph.group",
        required=("displayName",),
        key="displayName",
        unique="id",
        names=("displayName", "mail", "onPremisesSamAccountName"),
        given={"securityEnabled": True, "mailEnabled": False, "groupTypes": []},
    ),
    "devices.csv": _Form(
        collection="devices",
        type="microsoft.graph.device",
        required=("displayName",),
        key="displayName",
        unique="deviceId",
        names=("displayName", "deviceId"),
        given={"accountEnabled": True},
        links={"owner": "registeredOwners", "user": "registeredUsers"},
    ),
    "mfa.csv": _Form(
        collection="userRegistrationDetails",
        type="microsoft.graph.userRegistrationDetails",
        required=("userPrincipalName",),
        key="userPrincipalName",
        unique="userPrincipalName",
        names=(),
    ),
}
# Files of who is in what: the column of the container, its set.
_MEMBERSHIPS = {"memberships.csv": ("group", "groups"), "roles.csv": ("role", "directoryRoles")}
FILES = (*_FORMS, *_MEMBERSHIPS)


class Bad(Exception):
    """What is wrong with a row."""


class CsvDirectory(Connector):
    name: ClassVar[str] = "csv_directory"
    vendor: ClassVar[str] = "Bartizan"
    product: ClassVar[str] = "CSV directory"
    doc: ClassVar[str] = "A directory kept in CSV files: users, groups, devices, memberships, roles, MFA registration."
    settings: ClassVar[type[Struct]] = CsvSettings
    streams: ClassVar[dict[str, Stream]] = {
        "directory": Stream("Everything in the folder, whenever a file of it has changed.", every_s=300)
    }

    async def check(self) -> str:
        files = await asyncio.to_thread(_read, Path(self.set.folder))
        return f"{self.set.folder} has {', '.join(files)}"

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        """The cursor is the hash of all files, and moves only where no row of them is bad: until those are mended the
        good rows are taken in, nothing is taken for deleted, and each look ends with Rejected."""
        files = await asyncio.to_thread(_read, Path(self.set.folder))
        now = _digest(files)
        if now == cursor:
            return
        book = _Book()
        before = cursor or ""
        makers: tuple[Callable[..., Iterator[list[GraphObject | Edge]]], ...] = (book.objects, book.edges)
        for make in makers:
            pages = make(files, self.set.delimiter, self.set.encoding)
            while page := await asyncio.to_thread(next, pages, None):
                yield Batch(
                    cursor=before,
                    objects=[one for one in page if isinstance(one, GraphObject)],
                    edges=[one for one in page if isinstance(one, Edge)],
                )
        if book.bad:
            rest = f"; and {len(book.bad) - _TOLD_ROWS} more" if len(book.bad) > _TOLD_ROWS else ""
            raise Rejected(f"{len(book.bad)} rows were left out: " + "; ".join(islice(book.bad, _TOLD_ROWS)) + rest)
        yield Batch(cursor=now, whole=book.collections)


def _read(folder: Path) -> dict[str, bytes]:
    """The files that are there. Rejected where none is."""
    found: dict[str, bytes] = {}
    for name in FILES:
        try:
            with (folder / name).open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            continue
        except PermissionError:
            raise Denied(f"{folder / name} may not be read by the server") from None
        except OSError as error:
            raise Away(f"{folder / name}: {error.strerror}") from None
        if len(data) > MAX_FILE_BYTES:
            raise Rejected(f"{folder / name} has more than {MAX_FILE_BYTES} bytes")
        found[name] = data
    if not found:
        raise Rejected(f"{folder} has none of {', '.join(FILES)}")
    return found


def _digest(files: dict[str, bytes]) -> str:
    whole = sha256()
    for name, data in files.items():
        whole.update(f"{name} {sha256(data).hexdigest()}\n".encode())
    return whole.hexdigest()


class _Book:
    """One reading of the folder: which names lead to which objects, and what was wrong."""

    def __init__(self) -> None:
        self.bad: dict[str, None] = {}  # in order; roles.csv is read twice
        self.collections: list[str] = []
        self._names: dict[tuple[str, str], str | None] = {}  # (set, name in lower case) -> id; None: of several
        self._lines: dict[tuple[str, str], int] = {}  # (set and property, value in lower case) -> line
        self._links: list[tuple[str, int, tuple[str, str, str]]] = []

    def objects(self, files: dict[str, bytes], delimiter: str, encoding: str) -> Iterator[list[GraphObject | Edge]]:
        """Page by page; then all names are known."""

        def every() -> Iterator[GraphObject]:
            for name, form in _FORMS.items():
                if name in files:
                    self.collections.append(form.collection)
                    rows = self._rows(name, files[name], delimiter, encoding, form.required, _columns(form))
                    yield from self._taken(name, rows, partial(self._object, name, form))
            if "roles.csv" in files:
                self.collections.append("directoryRoles")
                rows = self._rows("roles.csv", files["roles.csv"], delimiter, encoding, ("role", "member"), _ROLE)
                yield from self._taken("roles.csv", rows, self._role)

        return _pages(every())

    def edges(self, files: dict[str, bytes], delimiter: str, encoding: str) -> Iterator[list[GraphObject | Edge]]:
        def every() -> Iterator[Edge]:
            for name, line, link in self._links:
                yield from self._taken(name, iter([(line, {})]), partial(self._link, link))
            for name, (column, collection) in _MEMBERSHIPS.items():
                if name in files:
                    allowed = _ROLE if column == "role" else frozenset({column, "member", "memberType"})
                    rows = self._rows(name, files[name], delimiter, encoding, (column, "member"), allowed)
                    yield from self._taken(name, rows, partial(self._member, column, collection))

        return _pages(every())

    def _taken(
        self, name: str, rows: Iterator[tuple[int, dict[str, str]]], make: Callable[[int, dict[str, str]], Any]
    ) -> Iterator[Any]:
        """What `make` makes of each row; a row that it refuses is noted with its line."""
        for line, row in rows:
            try:
                made = make(line, row)
            except Bad as why:
                self.bad[f"{name} line {line}: {why}"] = None
                continue
            if made is not None:
                yield made

    def _rows(
        self,
        name: str,
        data: bytes,
        delimiter: str,
        encoding: str,
        required: tuple[str, ...],
        allowed: frozenset[str],
    ) -> Iterator[tuple[int, dict[str, str]]]:
        """(line, what its columns say; empty cells are absent). Rejected where the file as such cannot be read."""
        try:
            text = data.decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise Rejected(f"{name} is not {encoding}: {error}"[:300]) from None
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = _header(name, _cells(name, reader) or [], required, allowed)
        for count in range(MAX_ROWS + 1):
            line = reader.line_num + 1
            cells = _cells(name, reader)
            if cells is None:
                return
            if count == MAX_ROWS:
                raise Rejected(f"{name} has more than {MAX_ROWS} rows")
            if not any(cell.strip() for cell in cells):
                continue
            try:
                yield line, _row(columns, cells, required)
            except Bad as why:
                self.bad[f"{name} line {line}: {why}"] = None

    def _object(self, name: str, form: _Form, line: int, row: dict[str, str]) -> GraphObject:
        body: dict[str, Any] = dict(form.given)
        of = edm("beta").structured(form.type).properties
        for column, cell in row.items():
            if column in of:
                body[column] = _value(of[column], cell)
        if form.collection == "userRegistrationDetails":
            body["id"] = row.get("id") or self._known("users", row["userPrincipalName"])
        body.setdefault("id", stable_id("csv", form.collection, row[form.key].lower()))
        if form.collection == "devices":
            body.setdefault("deviceId", body["id"])
        self._name(form, body, line)
        for column, relation in form.links.items():
            if column in row:
                self._links.append((name, line, (relation, body["id"], row[column])))
        return GraphObject(form.collection, form.type, body)

    def _role(self, line: int, row: dict[str, str]) -> GraphObject | None:
        """Once for each role, from the first row that names it."""
        id = row.get("roleId") or stable_id("csv", "directoryRoles", row["role"].lower())
        if self._names.setdefault(("directoryRoles", row["role"].lower()), id) != id:
            raise Bad(f"the role '{row['role'][:60]}' has another roleId in a row before")
        if self._lines.setdefault(("directoryRoles.id", id.lower()), line) != line:
            return None
        body = {"id": id, "displayName": row["role"], "roleTemplateId": row.get("roleTemplateId") or id}
        return GraphObject("directoryRoles", "microsoft.graph.directoryRole", body)

    def _name(self, form: _Form, body: dict[str, Any], line: int) -> None:
        id = body["id"]
        for each in dict.fromkeys(("id", form.unique)):
            before = self._lines.setdefault((f"{form.collection}.{each}", body[each].lower()), line)
            if before != line:
                raise Bad(f"{each} is the same in line {before}: {body[each][:100]}")
        for name in (id, *(body[each] for each in form.names if body.get(each))):
            key = (form.collection, name.lower())
            self._names[key] = id if self._names.get(key, id) == id else None

    def _known(self, collection: str, name: str) -> str:
        try:
            id = self._names[collection, name.lower()]
        except KeyError:
            raise Bad(f"'{name[:100]}' is not in {collection}.csv") from None
        if id is None:
            raise Bad(f"'{name[:100]}' is the name of several {collection}: say which by its id")
        return id

    def _link(self, link: tuple[str, str, str], line: int, row: dict[str, str]) -> Edge:
        relation, id, name = link
        return Edge(relation, id, "users", self._known("users", name))

    def _member(self, column: str, collection: str, line: int, row: dict[str, str]) -> Edge:
        container = self._known(collection, row[column])
        kind = row.get("memberType", "")
        if kind:
            if kind.lower() not in _MEMBERS:
                raise Bad(f"memberType is {', '.join(_MEMBERS)}; not '{kind[:60]}'")
            member_set = _MEMBERS[kind.lower()]
            return Edge("members", container, member_set, self._known(member_set, row["member"]))
        found = [each for each in _MEMBERS.values() if (each, row["member"].lower()) in self._names]
        if not found:
            raise Bad(f"the member '{row['member'][:100]}' is in none of users.csv, groups.csv, devices.csv")
        if len(found) > 1:
            raise Bad(f"the member '{row['member'][:100]}' is in {' and in '.join(found)}: say which by memberType")
        return Edge("members", container, found[0], self._known(found[0], row["member"]))


_ROLE = frozenset({"role", "roleId", "roleTemplateId", "member", "memberType"})


def _columns(form: _Form) -> frozenset[str]:
    """Properties that a cell can hold."""
    plain = {each.name for each in edm("beta").structured(form.type).properties.values() if _plain(each)}
    return frozenset(plain | set(form.links))


def _plain(of: Property) -> bool:
    return of.type.startswith("Edm.") or edm("beta").enum(of.type) is not None


def _cells(name: str, reader: Any) -> list[str] | None:
    line = reader.line_num + 1
    try:
        found: list[str] | None = next(reader, None)
    except csv.Error as error:
        raise Rejected(f"{name} line {line}: {error}") from None
    return found


def _header(name: str, cells: list[str], required: tuple[str, ...], allowed: frozenset[str]) -> list[str]:
    """The columns as we spell them."""
    spelt = {each.lower(): each for each in allowed}
    columns: list[str] = []
    for cell in cells:
        column = spelt.get(cell.strip().lower())
        if column is None:
            raise Rejected(f"{name} line 1: no column '{cell[:60]}'; there are: {', '.join(sorted(allowed))}")
        if column in columns:
            raise Rejected(f"{name} line 1: the column '{column}' is there twice")
        columns.append(column)
    for column in required:
        if column not in columns:
            raise Rejected(f"{name} line 1: the column '{column}' is missing")
    return columns


def _row(columns: list[str], cells: list[str], required: tuple[str, ...]) -> dict[str, str]:
    if len(cells) != len(columns):
        raise Bad(f"{len(cells)} cells, but {len(columns)} columns")
    row = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if cell.strip()}
    for column in required:
        if column not in row:
            raise Bad(f"{column} is empty")
    for column, cell in row.items():
        if len(cell) > MAX_CELL_CHARS:
            raise Bad(f"{column} has more than {MAX_CELL_CHARS} characters")
        if column in ("id", "roleId"):
            try:
                checked_id(cell, column)
            except BadRequest as error:
                raise Bad(error.message) from None
    return row


def _value(of: Property, cell: str) -> Any:
    """The cell as the property's type has it; several values have ";" between them."""
    parts = [part.strip() for part in cell.split(";") if part.strip()] if of.collection else [cell]
    made = [_one(of, part) for part in parts]
    try:
        return edm("beta").accept_value(
            of.type, made if of.collection else made[0], collection=of.collection, path=of.name
        )
    except BadRequest as error:
        raise Bad(error.message) from None


def _one(of: Property, text: str) -> Any:
    if of.type == "Edm.Boolean":
        if text.lower() not in _FLAGS:
            raise Bad(f"{of.name} is true or false; not '{text[:60]}'")
        return _FLAGS[text.lower()]
    if of.type in ("Edm.Int32", "Edm.Int64", "Edm.Int16", "Edm.Double"):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            raise Bad(f"{of.name} is a number; not '{text[:60]}'") from None
    return text


def _pages(items: Iterator[Any]) -> Iterator[list[Any]]:
    while page := list(islice(items, PAGE_ROWS)):
        yield page
