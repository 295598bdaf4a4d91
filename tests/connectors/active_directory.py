"""A double of Active Directory that speaks LDAP: simple bind, searches with filters, pages and ranges, and changes.

It has its own BER, so that client and double share nothing.

Source: RFC 4511; ITU-T X.690; RFC 2696 (pages); [MS-ADTS] 3.1.1.3.1.3.3 (ranges).
"""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

PAGED = "1.2.840.113556.1.4.319"
BASE = "DC=corp,DC=example"
MAX_RANGE = 3  # values of one attribute in one answer; 1500 in the real one


def sid(rid: int) -> bytes:
    return bytes([1, 5]) + (5).to_bytes(6, "big") + b"".join(n.to_bytes(4, "little") for n in (21, 1, 2, 3, rid))


class Directory:
    """Entries by DN, attributes as lists of bytes. It counts changes as a domain controller does."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, list[bytes]]] = {}
        self.usn = 1_000
        self.service = "CN=NTDS Settings,CN=DC1"
        self.invocation = 1
        self.password = "pw"
        self.busy = 0  # answers of "busy" that follow
        self.silent = False
        self.searches: list[str] = []

    def put(self, name: str, category: str, number: int, **values: Any) -> str:
        """An entry CN=name; texts and lists of texts."""
        dn = f"CN={name},{BASE}"
        self.usn += 1
        made = {
            "objectCategory": [category.encode()],
            "objectClass": [b"user" if category == "person" else category.encode()],
            "objectGUID": [UUID(int=number).bytes_le],
            "objectSid": [sid(number)],
            "cn": [name.encode()],
            "sAMAccountName": [name.encode()],
            "whenCreated": [b"20260203080000.0Z"],
            "uSNChanged": [str(self.usn).encode()],
        }
        for key, value in values.items():
            made[key] = [str(each).encode() for each in (value if isinstance(value, list) else [value])]
        self.entries[dn] = made
        return dn

    def root(self) -> dict[str, list[bytes]]:
        return {
            "defaultNamingContext": [BASE.encode()],
            "namingContexts": [BASE.encode()],
            "supportedCapabilities": [b"1.2.840.113556.1.4.800"],
            "highestCommittedUSN": [str(self.usn).encode()],
            "dsServiceName": [self.service.encode()],
        }

    # ------------------------------------------------------------ operations

    def answer(self, kind: int, asked: list["Element"], controls: list["Element"]) -> list[bytes]:
        """The protocol's answers to one request, each an operation and its controls."""
        if kind == BIND:
            return [_result(BIND_DONE, 0 if asked[2].value == self.password.encode() else 49)]
        if kind == SEARCH:
            if self.busy:
                self.busy -= 1
                return [_result(SEARCH_DONE, 51)]
            return self._search(asked, controls)
        if kind == MODIFY:
            return [_result(MODIFY_DONE, self._modify(asked))]
        raise AssertionError(hex(kind))

    def _search(self, asked: list["Element"], controls: list["Element"]) -> list[bytes]:
        base, scope, filter = asked[0].value.decode(), asked[1].number, asked[6]
        wanted = [each.value.decode() for each in asked[7].parts]
        self.searches.append(_shown(filter))
        if scope == 0:
            entry = self.root() if base == "" else self.entries.get(base)
            if base == self.service:
                entry = {"objectClass": [b"nTDSDSA"], "invocationId": [UUID(int=self.invocation).bytes_le]}
            if entry is None:
                return [_result(SEARCH_DONE, 32)]
            found = [(base, entry)] if base == "" or _fits(filter, entry) else []
        else:
            found = [(dn, entry) for dn, entry in self.entries.items() if _fits(filter, entry)]
        begin, size, paged = 0, len(found), False
        for control in controls:
            if control.parts[0].value.decode() == PAGED:
                value = read(control.parts[-1].value)[0].parts
                begin, size, paged = int(value[1].value or b"0"), value[0].number, True
        answers = [_entry(dn, entry, wanted) for dn, entry in found[begin : begin + size]]
        cookie = str(begin + size).encode() if begin + size < len(found) else b""
        return [*answers, _result(SEARCH_DONE, 0) + (_page_control(cookie) if paged else b"")]

    def _modify(self, asked: list["Element"]) -> int:
        entry = self.entries[asked[0].value.decode()]
        made = {name: list(values) for name, values in entry.items()}
        for change in asked[1].parts:
            name = change.parts[1].parts[0].value.decode()
            values = [each.value for each in change.parts[1].parts[1].parts]
            if change.parts[0].number == 1:
                if any(value not in made[name] for value in values):
                    return 16
                made[name] = [value for value in made[name] if value not in values]
            else:
                made[name] += values
        self.usn += 1
        entry.update(made, uSNChanged=[str(self.usn).encode()])
        return 0

    # ------------------------------------------------------------ the server

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        data = b""
        with connection:
            while True:
                try:
                    part = connection.recv(65_536)
                except OSError:
                    return
                if not part:
                    return
                data += part
                while (size := _size(data)) is not None and len(data) >= size:
                    message, data = read(data[:size])[0].parts, data[size:]
                    number, operation = message[0], message[1]
                    if operation.tag == UNBIND:
                        return
                    if self.silent and operation.tag == SEARCH:
                        continue
                    controls = message[2].parts if len(message) > 2 else []
                    answers = self.answer(operation.tag, operation.parts, controls)
                    connection.sendall(b"".join(element(0x30, element(0x02, number.value) + each) for each in answers))


@contextmanager
def serving(directory: Directory) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=directory.serve, args=(listener,), daemon=True).start()
        yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


# ---------------------------------------------------------------- BER

BIND, BIND_DONE, UNBIND, SEARCH, ENTRY, SEARCH_DONE, MODIFY, MODIFY_DONE = (
    0x60,
    0x61,
    0x42,
    0x63,
    0x64,
    0x65,
    0x66,
    0x67,
)


@dataclass(frozen=True)
class Element:
    tag: int
    value: bytes

    @property
    def parts(self) -> list["Element"]:
        return read(self.value)

    @property
    def number(self) -> int:
        return int.from_bytes(self.value, "big")


def read(data: bytes) -> list[Element]:
    found = []
    while data:
        size = _size(data)
        assert size is not None
        head = 2 if data[1] < 128 else 2 + (data[1] & 127)
        found.append(Element(data[0], data[head:size]))
        data = data[size:]
    return found


def element(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 128:
        return bytes([tag, size]) + value
    count = (size.bit_length() + 7) // 8
    return bytes([tag, 128 | count]) + size.to_bytes(count, "big") + value


def _size(data: bytes) -> int | None:
    """Of the first element, with its head."""
    if len(data) < 2:
        return None
    if data[1] < 128:
        return 2 + data[1]
    count = data[1] & 127
    return 2 + count + int.from_bytes(data[2 : 2 + count], "big") if len(data) >= 2 + count else None


def _result(tag: int, code: int) -> bytes:
    return element(
        tag, element(0x0A, bytes([code])) + element(0x04, b"") + element(0x04, b"" if code == 0 else b"told")
    )


def _page_control(cookie: bytes) -> bytes:
    value = element(0x30, element(0x02, b"\0") + element(0x04, cookie))
    return element(0xA0, element(0x30, element(0x04, PAGED.encode()) + element(0x04, value)))


def _entry(dn: str, entry: dict[str, list[bytes]], wanted: list[str]) -> bytes:
    attributes = b""
    for name in wanted:
        plain, _, option = name.partition(";")
        values = next((values for key, values in entry.items() if key.lower() == plain.lower()), None)
        if values is None:
            continue
        if not option and len(values) <= MAX_RANGE:
            attributes += _attribute(plain, values)
            continue
        low = int(match[1]) if (match := re.fullmatch(r"range=(\d+)-\*", option)) else 0
        last = "*" if low + MAX_RANGE >= len(values) else str(low + MAX_RANGE - 1)
        attributes += b"" if option else _attribute(plain, [])
        attributes += _attribute(f"{plain};range={low}-{last}", values[low : low + MAX_RANGE])
    return element(ENTRY, element(0x04, dn.encode()) + element(0x30, attributes))


def _attribute(name: str, values: list[bytes]) -> bytes:
    return element(0x30, element(0x04, name.encode()) + element(0x31, b"".join(element(0x04, each) for each in values)))


AND, OR, EQUAL, AT_LEAST, PRESENT = 0xA0, 0xA1, 0xA3, 0xA5, 0x87


def _fits(filter: Element, entry: dict[str, list[bytes]]) -> bool:
    if filter.tag == AND:
        return all(_fits(each, entry) for each in filter.parts)
    if filter.tag == OR:
        return any(_fits(each, entry) for each in filter.parts)
    values = {name.lower(): values for name, values in entry.items()}
    if filter.tag == PRESENT:
        return filter.value.decode().lower() in values
    found, wanted = values.get(filter.parts[0].value.decode().lower(), []), filter.parts[1].value
    if filter.tag == AT_LEAST:
        return any(int(value) >= int(wanted) for value in found)
    assert filter.tag == EQUAL, hex(filter.tag)
    return any(value.lower() == wanted.lower() for value in found)


def _shown(filter: Element) -> str:
    if filter.tag in (AND, OR):
        return f"({'&' if filter.tag == AND else '|'}{''.join(_shown(each) for each in filter.parts)})"
    if filter.tag == PRESENT:
        return f"({filter.value.decode()}=*)"
    name, value = (each.value.decode("latin-1") for each in filter.parts)
    return f"({name}{'>=' if filter.tag == AT_LEAST else '='}{value})"
