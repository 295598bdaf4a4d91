"""Directories over LDAP: Debian's slapd as it is, and a double of Active Directory for what only that one has."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import ldap3
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conftest import absent
from tests.connectors import active_directory
from tests.connectors.double_server import pulled

from bartizan import api
from bartizan.connectors.http import Http
from bartizan.connectors.ldap import Ldap, LdapSettings
from bartizan.extend import RESOURCES
from bartizan.extend.connections import secret_fields
from bartizan.extend.connectors import Away, Batch, Denied, Edge, Order, Rejected
from bartizan.store.draft import draft

api.load()
COLLECTIONS = {each.collection.name: each.collection for each in RESOURCES if each.collection is not None}
SLAPD = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/openldap")
BASE = "dc=corp,dc=example"
ADMIN = f"cn=admin,{BASE}"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/pid
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
security simple_bind=128
database mdb
suffix "{base}"
rootdn "{admin}"
rootpw secret
directory {folder}/db
"""
_PEOPLE = {
    f"{BASE}": {"objectClass": ["dcObject", "organization"], "dc": "corp", "o": "Corp"},
    f"ou=people,{BASE}": {"objectClass": "organizationalUnit"},
    f"uid=ada,ou=people,{BASE}": {
        "objectClass": ["inetOrgPerson"], "cn": "Ada L", "sn": "L", "givenName": "Ada", "mail": "ada@corp.example",
        "title": "Engineer", "telephoneNumber": ["1", "2"], "employeeNumber": "7",
    },
    f"uid=bob,ou=people,{BASE}": {
        "objectClass": ["inetOrgPerson"], "cn": "Bob", "sn": "B", "manager": f"uid=ada,ou=people,{BASE}",
    },
    f"cn=laptop-1,{BASE}": {"objectClass": "device"},
    f"cn=admins,{BASE}": {"objectClass": "groupOfNames", "member": [f"uid=ada,ou=people,{BASE}"]},
    f"cn=all,{BASE}": {
        "objectClass": "groupOfNames",
        "member": [f"cn=admins,{BASE}", f"uid=bob,ou=people,{BASE}", f"cn=laptop-1,{BASE}", f"cn=gone,{BASE}"],
    },
    f"cn=unix,{BASE}": {"objectClass": "posixGroup", "gidNumber": "5", "memberUid": ["bob", "nobody"]},
}  # fmt: skip


def certificates(folder: Path) -> None:
    """An authority, and a certificate for 127.0.0.1."""
    now = datetime.now(UTC)

    def made(name: str, issuer: x509.Name | None, key: Any, by: Any, extension: Any) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or subject).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1)).add_extension(extension, critical=issuer is None)
        )  # fmt: skip
        return builder.sign(by, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = made("test authority", None, ca_key, ca_key, x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    cert = made("slapd", ca.subject, key, ca_key, names)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(text)


@dataclass(frozen=True)
class Server:
    plain: str  # ldap://, with StartTLS
    secure: str  # ldaps://
    ca_file: str

    @property
    def connection(self) -> ldap3.Connection:
        """For the test's own changes."""
        server = ldap3.Server(self.secure, get_info=ldap3.NONE)
        return ldap3.Connection(server, ADMIN, "secret", auto_bind=True, raise_exceptions=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SLAPD is None:
        absent("slapd is not installed")
    assert SLAPD is not None
    folder = tmp_path_factory.mktemp("slapd")
    (folder / "db").mkdir()
    certificates(folder)
    (folder / "slapd.conf").write_text(_CONFIG.format(folder=folder, base=BASE, admin=ADMIN))
    ports = free_port(), free_port()
    server = Server(f"ldap://127.0.0.1:{ports[0]}", f"ldaps://127.0.0.1:{ports[1]}", str(folder / "ca.pem"))
    command = [SLAPD, "-d", "0", "-f", str(folder / "slapd.conf"), "-h", f"{server.plain} {server.secure}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", ports[1])).close()
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.05)
        with server.connection as connection:
            for dn, values in _PEOPLE.items():
                connection.add(dn, attributes=values)
        yield server
    finally:
        process.terminate()
        process.communicate(timeout=30)


def to_slapd(server: Server, **given: Any) -> Ldap:
    settings = {"url": server.secure, "user": ADMIN, "password": "secret", "ca_file": server.ca_file, **given}
    return Ldap(msgspec.convert(settings, LdapSettings), Http())


@asynccontextmanager
async def to_ad(directory: active_directory.Directory, **given: Any) -> AsyncIterator[Ldap]:
    with active_directory.serving(directory) as url:
        settings = {"url": url, "plain": True, "user": "reader@corp.example", "password": "pw", "page_rows": 2, **given}
        yield Ldap(msgspec.convert(settings, LdapSettings), Http())


def bodies(batches: list[Batch], collection: str) -> dict[str, dict[str, Any]]:
    """By displayName."""
    found = [one.body for batch in batches for one in batch.objects if one.collection == collection]
    return {body["displayName"]: body for body in found}


def members(batches: list[Batch]) -> set[tuple[str, str, str]]:
    """(name of the group or role, set of the member, its name)."""
    objects = [one for batch in batches for one in batch.objects]
    names = {(one.collection, one.body["id"]): one.body["displayName"] for one in objects}
    groups = {id: name for (collection, id), name in names.items() if collection in ("groups", "directoryRoles")}
    edges = [one for batch in batches for one in batch.edges if one.relation == "members"]
    return {
        (groups.get(e.source, "?"), e.target_collection, names.get((e.target_collection, e.target), "?")) for e in edges
    }


# ---------------------------------------------------------------- slapd


@pytest.mark.parametrize("page_rows", [1, 500])
@pytest.mark.asyncio
async def test_everything_in_slapd(slapd: Server, page_rows: int) -> None:
    """Users, groups of both kinds with their members, devices, managers and roles come over, page by page, and the
    store takes each; a member that is nowhere leads nowhere."""
    connector = to_slapd(slapd, page_rows=page_rows, admin_roles={"admins": "Global Administrator"})
    assert (await connector.check()).startswith(f"{BASE} has ")
    batches = await pulled(connector, "directory")
    users = bodies(batches, "users")
    ada = users["Ada L"]
    assert ada["userPrincipalName"] == "ada@corp.example"
    assert (ada["givenName"], ada["jobTitle"], ada["businessPhones"]) == ("Ada", "Engineer", ["1", "2"])
    assert ada["onPremisesDistinguishedName"] == f"uid=ada,ou=people,{BASE}"
    assert ada["id"] == str(UUID(ada["id"]))
    assert users["Bob"]["userPrincipalName"] == "bob@corp.example"
    assert members(batches) == {
        ("admins", "users", "Ada L"),
        ("all", "groups", "admins"),
        ("all", "users", "Bob"),
        ("all", "devices", "laptop-1"),
        ("unix", "users", "Bob"),
        ("Global Administrator", "groups", "admins"),
    }
    assert Edge("manager", users["Bob"]["id"], "users", ada["id"]) in [
        each for batch in batches for each in batch.edges
    ]
    assert batches[-1].whole == ("users", "devices", "groups", "directoryRoles")
    assert all(batch.cursor == "" for batch in batches[:-1])
    for one in (each for batch in batches for each in batch.objects):
        draft(COLLECTIONS[one.collection], one.body, one.body["id"])


@pytest.mark.asyncio
async def test_changes_in_slapd(slapd: Server) -> None:
    """The next look names what has changed; groups that were seen as they are do not count, one that lost a member
    makes all be named, at most every so often."""
    connector = to_slapd(slapd)
    first = await pulled(connector, "directory")
    second = await pulled(connector, "directory", first[-1].cursor)
    assert not second[-1].whole
    assert not bodies(second, "groups")
    with slapd.connection as connection:
        connection.modify(f"uid=bob,ou=people,{BASE}", {"title": [(ldap3.MODIFY_REPLACE, ["Chief"])]})
        connection.modify(f"cn=all,{BASE}", {"member": [(ldap3.MODIFY_DELETE, [f"cn=laptop-1,{BASE}"])]})
    third = await pulled(connector, "directory", second[-1].cursor)
    assert bodies(third, "users")["Bob"]["jobTitle"] == "Chief"
    assert bodies(third, "groups").keys() == {"all"}
    assert json.loads(third[-1].cursor)["groups_due"] is True
    assert not third[-1].whole
    due = json.loads(third[-1].cursor) | {"groups_at": "2026-01-01T00:00:00.0000000Z"}
    fourth = await pulled(connector, "directory", json.dumps(due))
    assert fourth[-1].whole == ("groups",)
    assert ("all", "devices", "?") not in members(fourth)
    assert bodies(fourth, "groups").keys() == {"admins", "all", "unix"}
    assert json.loads(fourth[-1].cursor)["groups_due"] is False
    with slapd.connection as connection:
        connection.modify(f"cn=all,{BASE}", {"member": [(ldap3.MODIFY_ADD, [f"cn=laptop-1,{BASE}"])]})


@pytest.mark.asyncio
async def test_tls_of_slapd(slapd: Server) -> None:
    """LDAPS and StartTLS with a certificate that is checked; an unknown authority, another name, and no TLS at all do
    not get the password."""
    assert "users" in await to_slapd(slapd, url=slapd.plain).check()
    for url in (slapd.secure, slapd.plain):
        with pytest.raises(Denied, match="its certificate is not trusted"):
            await to_slapd(slapd, url=url, ca_file="").check()
        with pytest.raises(Denied, match="its certificate is not trusted"):
            await to_slapd(slapd, url=url.replace("127.0.0.1", "localhost")).check()
    with pytest.raises(Denied, match="confidentiality"):
        await to_slapd(slapd, url=slapd.plain, plain=True).check()
    assert "users" in await to_slapd(slapd, ca_file="", verify=False).check()


@pytest.mark.asyncio
async def test_refusals_of_slapd(slapd: Server) -> None:
    """A wrong password, a base that is not there, a filter that is none and a server that is not there each say so."""
    with pytest.raises(Denied, match="invalidCredentials") as raised:
        await to_slapd(slapd, password="wrong-one").check()
    assert "wrong-one" not in raised.value.message
    with pytest.raises(Rejected, match="noSuchObject"):
        await to_slapd(slapd, base_dn="dc=other").check()
    with pytest.raises(Rejected, match="filter"):
        await to_slapd(slapd, users_filter="(uid=").check()
    with pytest.raises(Rejected, match="shows no user below"):
        await to_slapd(slapd, users_filter="(uid=nobody)").check()
    with pytest.raises(Away):
        await to_slapd(slapd, url=f"ldaps://127.0.0.1:{free_port()}").check()
    with pytest.raises(Rejected, match="is not Active Directory"):
        await to_slapd(slapd, write=True).act(order("disableUser", "ada"))


# ---------------------------------------------------------------- Active Directory


def order(name: str, target: str) -> Order:
    return Order(name=name, target=target, parameters={}, by="ada", reason=None, key="k")


def company() -> active_directory.Directory:
    """Seven people, two machines, three groups."""
    made = active_directory.Directory()
    domain = {"primaryGroupID": 513}
    people = [
        made.put(
            f"user{n}", "person", n, userPrincipalName=f"user{n}@corp.example", userAccountControl=512, **domain,
            displayName=f"User {n}", pwdLastSet=134_000_000_000_000_000,
        )
        for n in range(1, 8)
    ]  # fmt: skip
    made.entries[people[6]]["userAccountControl"] = [b"514"]
    made.entries[people[1]]["manager"] = [people[0].encode()]
    machine = made.put("PC1", "computer", 50, userAccountControl=4096, primaryGroupID=515, operatingSystem="Windows 11",
                       dNSHostName="pc1.corp.example", lastLogonTimestamp=134_000_000_000_000_000)  # fmt: skip
    made.put("Domain Users", "group", 513, groupType=-2147483646)
    big = made.put("Staff", "group", 60, groupType=2, member=[*people, machine])
    first = people[0].replace(",", " , ").replace("CN=", "cn = ")  # the same, spelt otherwise
    made.put("Domain Admins", "group", 512, groupType=-2147483646, member=[first, big, "CN=x,DC=other,DC=example"])
    return made


@pytest.mark.asyncio
async def test_everything_in_active_directory() -> None:
    """Binary ids, flags and times are read; a group with more members than one answer holds is whole; primary groups,
    which no group lists, are memberships too."""
    directory = company()
    async with to_ad(directory, admin_roles={"domain admins": "Global Administrator"}) as connector:
        assert await connector.check() == "DC=corp,DC=example has 2 or more users"
        batches = await pulled(connector, "directory")
    users = bodies(batches, "users")
    assert len(users) == 7
    assert users["User 1"] | {"givenName": None} == {
        "id": str(UUID(int=1)),
        "userPrincipalName": "user1@corp.example",
        "displayName": "User 1",
        "givenName": None,
        "accountEnabled": True,
        "userType": "Member",
        "createdDateTime": "2026-02-03T08:00:00.0000000Z",
        "lastPasswordChangeDateTime": "2025-08-18T14:13:20.0000000Z",
        "onPremisesDistinguishedName": "CN=user1,DC=corp,DC=example",
        "onPremisesDomainName": "corp.example",
        "onPremisesImmutableId": "AAAAAAAAAAAAAAAAAAAAAQ==",
        "onPremisesSamAccountName": "user1",
        "onPremisesSecurityIdentifier": "S-1-5-21-1-2-3-1",
        "onPremisesSyncEnabled": True,
        "onPremisesUserPrincipalName": "user1@corp.example",
    }
    assert users["User 7"]["accountEnabled"] is False
    device = bodies(batches, "devices")["PC1"]
    assert (device["operatingSystem"], device["hostnames"], device["trustType"]) == (
        "Windows 11", ["pc1.corp.example"], "ServerAd",
    )  # fmt: skip
    groups = bodies(batches, "groups")
    assert (groups["Domain Admins"]["securityEnabled"], groups["Staff"]["securityEnabled"]) == (True, False)
    everybody = {("users", f"User {n}") for n in range(1, 8)}
    assert members(batches) == {
        *(("Staff", *each) for each in everybody),
        ("Staff", "devices", "PC1"),
        *(("Domain Users", *each) for each in everybody),
        ("Domain Admins", "users", "User 1"),
        ("Domain Admins", "groups", "Staff"),
        ("Global Administrator", "groups", "Domain Admins"),
    }
    role = bodies(batches, "directoryRoles")["Global Administrator"]
    assert role["roleTemplateId"] == "62e90394-69f5-4237-9190-012177145e10"
    for one in (each for batch in batches for each in batch.objects):
        draft(COLLECTIONS[one.collection], one.body, one.body["id"])


@pytest.mark.asyncio
async def test_changes_in_active_directory() -> None:
    """By uSNChanged the next look finds what has changed and nothing else; another domain controller counts otherwise,
    so that everything is named again, and so does one that was restored or set back."""
    directory = company()
    async with to_ad(directory) as connector:
        first = await pulled(connector, "directory")
        assert await pulled(connector, "directory", first[-1].cursor) == []
        directory.put(
            "user9", "person", 9, userPrincipalName="user9@corp.example", manager=f"CN=user1,{active_directory.BASE}"
        )
        second = await pulled(connector, "directory", first[-1].cursor)
        assert bodies(second, "users").keys() == {"user9"}
        assert [each for batch in second for each in batch.edges] == [
            Edge("manager", str(UUID(int=9)), "users", str(UUID(int=1)))
        ]
        assert not second[-1].whole
        directory.put("Staff", "group", 60, member=[f"CN=user2,{active_directory.BASE}"])
        third = await pulled(connector, "directory", second[-1].cursor)
        assert members(third) == {("Staff", "users", "?")}
        assert json.loads(third[-1].cursor)["groups_due"] is True
        directory.service = "CN=NTDS Settings,CN=DC2"
        assert bodies(await pulled(connector, "directory", third[-1].cursor), "users").keys() > {"User 1", "user9"}
        directory.service, directory.invocation = "CN=NTDS Settings,CN=DC1", 2
        assert "users" in (await pulled(connector, "directory", third[-1].cursor))[-1].whole
        directory.invocation, directory.usn = 1, 5
        assert "users" in (await pulled(connector, "directory", third[-1].cursor))[-1].whole


@pytest.mark.parametrize(
    "target", ["user1@corp.example", "USER1", "CORP\\user1", str(UUID(int=1))]
)  # fmt: skip
@pytest.mark.asyncio
async def test_accounts_are_disabled(target: str) -> None:
    """An account is disabled and enabled by any of its names, once, with its other flags as they were."""
    directory = company()
    account = directory.entries[f"CN=user1,{active_directory.BASE}"]
    account["userAccountControl"] = [b"66048"]
    async with to_ad(directory, write=True) as connector:
        done = await connector.act(order("disableUser", target))
        assert (done.state, done.detail) == ("completed", f"CN=user1,{active_directory.BASE} is disabled")
        assert account["userAccountControl"] == [b"66050"]
        again = await connector.act(order("disableUser", target))
        assert again.detail.endswith("was disabled already")
        await connector.act(order("enableUser", target))
    assert account["userAccountControl"] == [b"66048"]


@pytest.mark.asyncio
async def test_accounts_that_are_not_disabled() -> None:
    """Nobody, several, a filter in the name, and a connection that may not: nothing is changed, and that is said."""
    directory = company()
    async with to_ad(directory, write=True) as connector:
        for target, said in (("nobody", "no accounts"), ("*", "no accounts"), ("x)(cn=*", "no accounts")):
            with pytest.raises(Rejected, match=said):
                await connector.act(order("disableUser", target))
        directory.put("user1b", "person", 70, sAMAccountName="user1", userAccountControl=512)
        with pytest.raises(Rejected, match="2 accounts are called 'user1'"):
            await connector.act(order("disableUser", "user1"))
    async with to_ad(directory) as connector:
        with pytest.raises(Denied, match="set `write`"):
            await connector.act(order("disableUser", "user2"))
    assert all(
        each.get("userAccountControl", [b""])[0] != b"514"
        for dn, each in directory.entries.items()
        if "user7" not in dn
    )


@pytest.mark.asyncio
async def test_faults_of_active_directory() -> None:
    """Busy, silent or refusing: each is what it is, within its time."""
    directory = company()
    async with to_ad(directory, timeout_s=1) as connector:
        directory.busy = 1
        with pytest.raises(Away, match="busy"):
            await pulled(connector, "directory")
        directory.silent = True
        with pytest.raises(Away):
            await pulled(connector, "directory")
        directory.silent = False
        directory.password = "another"
        with pytest.raises(Denied, match="invalidCredentials"):
            await pulled(connector, "directory")


def test_settings() -> None:
    """The password is sealed, and does not go without a user."""
    assert secret_fields(LdapSettings) == {"password"}
    for given in ({"url": "http://x"}, {"url": "ldap://x", "user": "a"}, {"url": "ldap://x", "password": "b"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(given, LdapSettings)
