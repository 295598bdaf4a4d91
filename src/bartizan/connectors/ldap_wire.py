"""LDAP to one server: TLS that is checked, pages, long attributes in ranges, and errors that say what to do.

ldap3 blocks, so each operation runs in a thread; there is one at a time on a connection.

Source: RFC 4511, RFC 4513 (StartTLS), RFC 2696 (paged results); [MS-ADTS] 3.1.1.3.1.3.3 (range retrieval of attribute
values); Microsoft, "How to convert SIDs" and the forms of objectGUID, FILETIME.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from msgspec import Struct

from bartizan.extend.connectors import Away, Denied, Rejected
from bartizan.model.times import instant

CONNECT_S = 10.0
ACTIVE_DIRECTORY = "1.2.840.113556.1.4.800"  # supportedCapabilities of Active Directory
_PAGED = "1.2.840.113556.1.4.319"
_RANGE = re.compile(r"(?P<name>[\w-]+);range=(?P<low>\d+)-(?P<high>\d+|\*)", re.IGNORECASE)
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:[.,]\d+)?(Z|[+-]\d{4})")
_ROOT = ("defaultNamingContext", "namingContexts", "supportedCapabilities", "highestCommittedUSN", "dsServiceName")
_NEVER = 2**63 - 1  # FILETIME

T = TypeVar("T")


class Entry(Struct, frozen=True):
    """Values by the attribute's name in lower case, as bytes."""

    dn: str
    values: Mapping[str, Sequence[bytes]]

    def raw(self, name: str) -> bytes | None:
        found = self.values.get(name.lower())
        return found[0] if found else None

    def texts(self, name: str) -> list[str]:
        return [value.decode("utf-8", "replace") for value in self.values.get(name.lower(), ())]

    def text(self, *names: str) -> str | None:
        """The first of the attributes that has a value."""
        for name in names:
            value = self.raw(name)
            if value:
                return value.decode("utf-8", "replace")
        return None

    def number(self, name: str) -> int | None:
        text = self.text(name) or ""
        return int(text) if re.fullmatch(r"-?\d{1,20}", text) else None

    def time(self, name: str) -> str | None:
        """GeneralizedTime as wire instant."""
        match = _TIME.fullmatch(self.text(name) or "")
        if match is None:
            return None
        zone = "+0000" if match[7] == "Z" else match[7]
        try:
            at = datetime.strptime(f"{''.join(match.group(1, 2, 3, 4, 5))}{match[6] or '00'}{zone}", "%Y%m%d%H%M%S%z")
        except ValueError:
            return None
        return instant(at)

    def filetime(self, name: str) -> str | None:
        """100 ns steps since 1601 as wire instant; 0 and the largest mean never."""
        steps = self.number(name) or 0
        if not 0 < steps < _NEVER:
            return None
        try:
            return instant(datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=steps // 10))
        except OverflowError:
            return None

    def guid(self, name: str) -> str | None:
        """objectGUID, whose first three fields are little-endian."""
        value = self.raw(name)
        return str(UUID(bytes_le=value)) if value is not None and len(value) == 16 else None

    def sid(self, name: str) -> str | None:
        value = self.raw(name)
        if value is None or len(value) < 8 or len(value) != 8 + 4 * value[1]:
            return None
        parts = [int.from_bytes(value[at : at + 4], "little") for at in range(8, len(value), 4)]
        return "-".join(["S", str(value[0]), str(int.from_bytes(value[2:8], "big")), *map(str, parts)])


class Wire:
    """One connection, bound. `async with` closes it."""

    def __init__(self, settings: Any) -> None:
        self._set = settings
        self._connection: Any = None
        self._said = settings.url
        self.root = Entry("", {})

    async def __aenter__(self) -> "Wire":
        ldap3 = _library()
        await self._run(lambda: self._open(ldap3))
        self.root = await self.one("", "(objectClass=*)", _ROOT) or self.root
        return self

    async def __aexit__(self, *error: object) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, _library().core.exceptions.LDAPException):  # it is going away in any case
                await asyncio.to_thread(connection.unbind)

    @property
    def active_directory(self) -> bool:
        return ACTIVE_DIRECTORY in self.root.texts("supportedCapabilities")

    @property
    def base(self) -> str:
        """Below which everything is looked for."""
        found = self._set.base_dn or self.root.text("defaultNamingContext", "namingContexts")
        if not found:
            raise Rejected(f"{self._said} does not say what it holds: set base_dn")
        return str(found)

    async def pages(self, filter: str, attributes: Sequence[str]) -> AsyncIterator[list[Entry]]:
        """What the filter finds below the base."""
        base, cookie = self.base, None
        while True:
            found, cookie = await self._run(partial(self._page, base, filter, attributes, cookie))
            if found:
                yield found
            if not cookie:
                return

    async def one(self, dn: str, filter: str, attributes: Sequence[str]) -> Entry | None:
        """An entry by its name; None where there is none, or where another server has it."""
        return await self._run(lambda: self._base(dn, filter, attributes))

    async def whole(self, entry: Entry, name: str) -> Sequence[bytes]:
        """All values of an attribute of which Active Directory gave a range only."""
        values = list(entry.values.get(name.lower(), ()))
        following = _behind(entry, name, values)
        while following is not None:
            more = await self.one(entry.dn, "(objectClass=*)", [f"{name};range={following}-*"])
            if more is None:
                raise Away(f"{self._said}: {entry.dn} went while it was being read")
            before = len(values)
            following = _behind(more, name, values)
            if following is not None and len(values) == before:
                raise Away(f"{self._said}: the values of {name} of {entry.dn} do not go on")
        return values

    async def change(self, dn: str, name: str, before: str, after: str) -> None:
        """One value for another, in one step: where it is another by now, nothing is changed."""
        ldap3 = _library()
        changes = {name: [(ldap3.MODIFY_DELETE, [before]), (ldap3.MODIFY_ADD, [after])]}
        await self._run(lambda: self._connection.modify(dn, changes))

    # ------------------------------------------------------------ in the thread

    def _open(self, ldap3: Any) -> None:
        parts = urlsplit(self._set.url)
        secure = parts.scheme == "ldaps"
        server = ldap3.Server(
            parts.hostname,
            port=parts.port or (636 if secure else 389),
            use_ssl=secure,
            tls=_tls(ldap3, self._set, parts.hostname or ""),
            get_info=ldap3.NONE,
            connect_timeout=CONNECT_S,
        )
        connection = ldap3.Connection(
            server,
            user=self._set.user or None,
            password=self._set.password,
            authentication=ldap3.SIMPLE if self._set.user else ldap3.ANONYMOUS,
            auto_referrals=False,
            raise_exceptions=True,
            receive_timeout=self._set.timeout_s,
            check_names=False,
        )
        try:
            connection.open(read_server_info=False)
            if not secure and not self._set.plain:
                connection.start_tls(read_server_info=False)
            connection.bind(read_server_info=False)
        except BaseException:  # whatever it is, it goes on from here once the socket is closed
            with suppress(OSError, ldap3.core.exceptions.LDAPException):
                connection.unbind()
            raise
        self._connection = connection

    def _page(
        self, base: str, filter: str, attributes: Sequence[str], cookie: bytes | None
    ) -> tuple[list[Entry], bytes | None]:
        self._connection.search(
            base,
            filter,
            attributes=list(attributes),
            paged_size=self._set.page_rows,
            paged_cookie=cookie,
        )
        controls = self._connection.result.get("controls") or {}
        following = controls.get(_PAGED, {}).get("value", {}).get("cookie") or None
        return _entries(self._connection.response), following

    def _base(self, dn: str, filter: str, attributes: Sequence[str]) -> Entry | None:
        ldap3 = _library()
        errors = ldap3.core.exceptions
        try:
            self._connection.search(dn, filter, search_scope=ldap3.BASE, attributes=list(attributes))
        except (errors.LDAPNoSuchObjectResult, errors.LDAPReferralResult, errors.LDAPInvalidDNSyntaxResult):
            return None
        found = _entries(self._connection.response)
        return found[0] if found else None

    async def _run(self, work: Callable[[], T]) -> T:
        """In a thread, with ldap3's errors sorted out."""
        errors = _library().core.exceptions
        try:
            return await asyncio.to_thread(work)
        except (errors.LDAPException, OSError) as error:
            raise _sorted_out(error, errors, self._said) from None


def _library() -> Any:
    try:
        import ldap3
        import ldap3.core.exceptions
    except ImportError:
        raise Denied("LDAP needs ldap3: install it with pip install 'bartizan[ldap]'") from None
    return ldap3


def _tls(ldap3: Any, settings: Any, host: str) -> Any:
    """Certificates are checked by Python's own ssl, the name of the host too; ldap3 would check the name by itself."""

    class Checked(ldap3.Tls):  # type: ignore[misc]  # the library has no types
        def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
            context = ssl.create_default_context(cafile=settings.ca_file or None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if not settings.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            connection.socket = context.wrap_socket(connection.socket, server_hostname=host)

    return Checked(validate=ssl.CERT_REQUIRED if settings.verify else ssl.CERT_NONE)


def _entries(response: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """References to other servers are left: what those hold is another connection's."""
    return [
        Entry(each["dn"], {name.lower(): list(values) for name, values in each["raw_attributes"].items()})
        for each in response
        if each["type"] == "searchResEntry"
    ]


def _behind(entry: Entry, name: str, values: list[bytes]) -> int | None:
    """Adds the values of a range; where the next one begins, None behind the last."""
    for key, part in entry.values.items():
        match = _RANGE.fullmatch(key)
        if match is not None and match["name"].lower() == name.lower():
            values += part
            return None if match["high"] == "*" else int(match["high"]) + 1
    return None


def _sorted_out(error: Exception, errors: Any, said: str) -> Away | Denied | Rejected:
    text = f"{said}: {type(error).__name__.removesuffix('Result')} {error}"[:500]
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        return Denied(f"{said}: its certificate is not trusted or is of another name"[:500])
    denied = (
        errors.LDAPInvalidCredentialsResult,
        errors.LDAPInsufficientAccessRightsResult,
        errors.LDAPStrongerAuthRequiredResult,
        errors.LDAPConfidentialityRequiredResult,
        errors.LDAPInappropriateAuthenticationResult,
        errors.LDAPPasswordIsMandatoryError,
        errors.LDAPStartTLSError,
    )
    passing = (
        OSError,
        errors.LDAPCommunicationError,
        errors.LDAPResponseTimeoutError,
        errors.LDAPServerPoolExhaustedError,
        errors.LDAPBusyResult,
        errors.LDAPUnavailableResult,
        errors.LDAPTimeLimitExceededResult,
        errors.LDAPAdminLimitExceededResult,
        errors.LDAPNoSuchAttributeResult,  # of a change: the value was another by then
        errors.LDAPOperationsErrorResult,
    )
    if isinstance(error, denied):
        return Denied(text)
    return Away(text) if isinstance(error, passing) else Rejected(text)
