"""A directory in CSV files: what is in them comes out as Graph objects and edges, and what is wrong is said by line."""

from pathlib import Path

import msgspec
import pytest

from bartizan import api
from bartizan.connectors.csv_directory import PAGE_ROWS, CsvDirectory, CsvSettings
from bartizan.connectors.http import Http
from bartizan.extend import RESOURCES, GraphObject
from bartizan.extend.connectors import Batch, ConnectorError, Edge, Rejected
from bartizan.store.draft import draft

api.load()
COLLECTIONS = {each.collection.name: each.collection for each in RESOURCES if each.collection is not None}

USERS = """userPrincipalName,displayName,accountEnabled,manager,businessPhones,createdDateTime
ada@corp.example,Ada,yes,,+44 1;+44 2,2024-05-01T10:00:00+02:00
bob@corp.example,"Bob, the second",no,ada@corp.example,,
"""


def written(folder: Path, **files: str) -> CsvDirectory:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, "utf-8")
    return CsvDirectory(CsvSettings(folder=str(folder)), Http())


async def taken(connector: CsvDirectory, cursor: str | None = None) -> tuple[list[Batch], ConnectorError | None]:
    """Everything that one look gives, and how it ended."""
    batches: list[Batch] = []
    try:
        async for batch in connector.pull("directory", cursor):
            batches.append(batch)
    except ConnectorError as error:
        return batches, error
    return batches, None


def objects(batches: list[Batch]) -> dict[tuple[str, str], GraphObject]:
    return {(one.collection, one.body["id"]): one for batch in batches for one in batch.objects}


def edges(batches: list[Batch]) -> list[Edge]:
    return [one for batch in batches for one in batch.edges]


def by_name(batches: list[Batch], collection: str, name: str, value: str) -> GraphObject:
    return next(one for (of, _), one in objects(batches).items() if of == collection and one.body.get(name) == value)


@pytest.mark.asyncio
async def test_everything(tmp_path: Path) -> None:
    """Users, groups, devices, roles, memberships, managers and registration; and the store takes each object."""
    connector = written(
        tmp_path,
        users=USERS,
        groups="displayName,description\nAdmins,who may\nAll,everybody\n",
        devices="displayName,operatingSystem,owner\nlaptop-1,Windows,bob@corp.example\n",
        memberships="group,member,memberType\nAdmins,ada@corp.example,\nAll,admins,group\nAll,LAPTOP-1,device\n",
        roles="role,roleTemplateId,member\nGlobal Administrator,62e90394-69f5-4237-9190-012177145e10,Admins\n"
        "Global Administrator,,bob@corp.example\n",
        mfa="userPrincipalName,isMfaRegistered,methodsRegistered\nbob@corp.example,true,email;fido2SecurityKey\n",
    )
    batches, error = await taken(connector)
    assert error is None
    ada, bob = (by_name(batches, "users", "userPrincipalName", f"{who}@corp.example") for who in ("ada", "bob"))
    assert ada.body["businessPhones"] == ["+44 1", "+44 2"]
    assert ada.body["createdDateTime"] == "2024-05-01T08:00:00.0000000Z"
    assert (bob.body["displayName"], bob.body["accountEnabled"]) == ("Bob, the second", False)
    admins, everybody = (by_name(batches, "groups", "displayName", name).body["id"] for name in ("Admins", "All"))
    device = by_name(batches, "devices", "displayName", "laptop-1").body["id"]
    role = by_name(batches, "directoryRoles", "displayName", "Global Administrator").body
    assert role["roleTemplateId"] == "62e90394-69f5-4237-9190-012177145e10"
    assert set(edges(batches)) == {
        Edge("manager", bob.body["id"], "users", ada.body["id"]),
        Edge("registeredOwners", device, "users", bob.body["id"]),
        Edge("members", admins, "users", ada.body["id"]),
        Edge("members", everybody, "groups", admins),
        Edge("members", everybody, "devices", device),
        Edge("members", role["id"], "groups", admins),
        Edge("members", role["id"], "users", bob.body["id"]),
    }
    registered = objects(batches)["userRegistrationDetails", bob.body["id"]].body
    assert registered["methodsRegistered"] == ["email", "fido2SecurityKey"]
    assert set(batches[-1].whole) == {"users", "groups", "devices", "directoryRoles", "userRegistrationDetails"}
    for one in objects(batches).values():
        draft(COLLECTIONS[one.collection], one.body, one.body["id"])


@pytest.mark.asyncio
async def test_only_when_changed(tmp_path: Path) -> None:
    """The same files give nothing again; a change gives everything, with the same ids."""
    connector = written(tmp_path, users=USERS)
    first, _ = await taken(connector)
    assert await taken(connector, first[-1].cursor) == ([], None)
    written(tmp_path, users=USERS.replace("Ada,yes", "Ada,no"))
    second, error = await taken(connector, first[-1].cursor)
    assert error is None
    assert objects(first).keys() == objects(second).keys()
    assert second[-1].cursor != first[-1].cursor
    assert all(batch.cursor == first[-1].cursor for batch in second[:-1])


@pytest.mark.asyncio
async def test_bad_rows(tmp_path: Path) -> None:
    """A bad row is named with its file and line, the good ones are taken in, nothing is taken for deleted, and the next
    look says it again."""
    connector = written(
        tmp_path,
        users="userPrincipalName,accountEnabled\nada@corp.example,yes\n\n,yes\nbob@corp.example,perhaps\n"
        "eve@corp.example\nADA@corp.example,no\n",
        memberships="group,member\nNowhere,ada@corp.example\n",
        roles="role,member\nReader,nobody@corp.example\n",
    )
    batches, error = await taken(connector)
    assert isinstance(error, Rejected)
    assert [body.body["userPrincipalName"] for (of, _), body in objects(batches).items() if of == "users"] == [
        "ada@corp.example"
    ]
    for said in (
        "6 rows were left out",
        "users.csv line 4: userPrincipalName is empty",
        "users.csv line 5: accountEnabled is true or false; not 'perhaps'",
        "users.csv line 6: 1 cells, but 2 columns",
        "users.csv line 7: id is the same in line 2",
        "memberships.csv line 2: 'Nowhere' is not in groups.csv",
        "roles.csv line 2: the member 'nobody@corp.example' is in none of",
    ):
        assert said in error.message
    assert not any(batch.whole for batch in batches)
    again, same = await taken(connector, batches[-1].cursor)
    assert objects(again) == objects(batches)
    assert same is not None
    assert same.message == error.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("userPrincipalName,nme\nada@corp.example,x\n", "users.csv line 1: no column 'nme'; there are: "),
        ("displayName\nAda\n", "users.csv line 1: the column 'userPrincipalName' is missing"),
        (
            "userPrincipalName,userprincipalname\na,b\n",
            "users.csv line 1: the column 'userPrincipalName' is there twice",
        ),
        ('userPrincipalName\n"ada\n', "users.csv line 2: unexpected end of data"),
        ("", "users.csv line 1: the column 'userPrincipalName' is missing"),
    ],
)
@pytest.mark.asyncio
async def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    """A file that cannot be read as such is refused, with the line."""
    _, error = await taken(written(tmp_path, users=text))
    assert isinstance(error, Rejected)
    assert said in error.message


@pytest.mark.parametrize(
    ("encoding", "delimiter", "setting"),
    [
        ("utf-8", ",", "utf-8-sig"),
        ("utf-8-sig", ";", "utf-8-sig"),
        ("cp1252", ";", "cp1252"),
        ("utf-16", "\t", "utf-16"),
    ],
)
@pytest.mark.asyncio
async def test_what_spreadsheets_write(tmp_path: Path, encoding: str, delimiter: str, setting: str) -> None:
    """Other separators, encodings and line ends are read as set; cells may have lines in them."""
    text = f'userPrincipalName{delimiter}displayName\r\nzoe@corp.example{delimiter}"Zoë\nof two lines"\r\n'
    (tmp_path / "users.csv").write_bytes(text.encode(encoding))
    settings = CsvSettings(folder=str(tmp_path), delimiter=delimiter, encoding=setting)
    batches, error = await taken(CsvDirectory(settings, Http()))
    assert error is None
    assert by_name(batches, "users", "userPrincipalName", "zoe@corp.example").body["displayName"] == "Zoë\nof two lines"


@pytest.mark.asyncio
async def test_wrong_encoding(tmp_path: Path) -> None:
    """A file in another encoding is refused rather than read wrongly."""
    (tmp_path / "users.csv").write_bytes("userPrincipalName\nzoë@corp.example\n".encode("cp1252"))
    _, error = await taken(CsvDirectory(CsvSettings(folder=str(tmp_path)), Http()))
    assert error is not None
    assert error.message.startswith("users.csv is not utf-8-sig")


@pytest.mark.asyncio
async def test_no_files(tmp_path: Path) -> None:
    """An empty folder is an error that says which files there may be; a full one says what it has."""
    connector = CsvDirectory(CsvSettings(folder=str(tmp_path)), Http())
    with pytest.raises(Rejected, match=r"users\.csv, groups\.csv"):
        await connector.check()
    assert await written(tmp_path, users=USERS).check() == f"{tmp_path} has users.csv"
    with pytest.raises(msgspec.ValidationError, match="folder"):
        msgspec.convert({"folder": "here"}, CsvSettings)


@pytest.mark.asyncio
async def test_ambiguous_names(tmp_path: Path) -> None:
    """A name of several objects is no name: its row is refused, and its id works."""
    connector = written(
        tmp_path,
        users=USERS,
        groups="id,displayName\ng-1,Twins\ng-2,Twins\n",
        memberships="group,member\nTwins,ada@corp.example\ng-2,ada@corp.example\n",
    )
    batches, error = await taken(connector)
    assert error is not None
    assert "memberships.csv line 2: 'Twins' is the name of several groups" in error.message
    assert [edge.source for edge in edges(batches) if edge.relation == "members"] == ["g-2"]


@pytest.mark.asyncio
async def test_many(tmp_path: Path) -> None:
    """More rows than a batch holds come in several, each once."""
    count = 2 * PAGE_ROWS + 1
    connector = written(tmp_path, users="userPrincipalName\n" + "".join(f"u{n}@corp.example\n" for n in range(count)))
    batches, error = await taken(connector)
    assert error is None
    assert [len(batch.objects) for batch in batches] == [PAGE_ROWS, PAGE_ROWS, 1, 0]
    assert len(objects(batches)) == count
