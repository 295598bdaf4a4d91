"""Writes event logs (.evtx) for tests: one chunk, events as plain BinXml elements, without templates.

Source: Microsoft, [MS-EVEN6], section 2.2.12 (BinXml); libyal, "Windows XML Event Log (EVTX) format".
"""

import struct
import zlib
from collections.abc import Mapping, Sequence

CHUNK_BYTES = 65_536
_HEADER_BYTES = 512
_FILETIME_2026 = 134_117_856_000_000_000  # 2026-01-01, in 100 ns since 1601


class Element:
    def __init__(self, name: str, *content: "Element | str", attributes: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.content = content
        self.attributes = dict(attributes or {})


class _Writer:
    """BinXml at its place in a chunk: names are written where they are first used."""

    def __init__(self, at: int) -> None:
        self.out = bytearray()
        self._at = at

    def name(self, text: str) -> None:
        value = 0
        for char in text:
            value = (value * 65_599 + ord(char)) & 0xFFFFFFFF
        here = self._at + len(self.out) + 4
        chars = text.encode("utf-16-le")
        self.out += struct.pack("<IIHH", here, 0, value & 0xFFFF, len(text)) + chars + b"\0\0"

    def text(self, text: str) -> None:
        self.out += struct.pack("<BBH", 0x05, 0x01, len(text)) + text.encode("utf-16-le")

    def element(self, element: Element) -> None:
        self.out += bytes([0x41 if element.attributes else 0x01])
        size_at = len(self.out)
        self.out += b"\0\0\0\0"
        self.name(element.name)
        if element.attributes:
            list_at = len(self.out)
            self.out += b"\0\0\0\0"
            for number, (name, value) in enumerate(element.attributes.items(), 1):
                self.out += bytes([0x06 if number == len(element.attributes) else 0x46])
                self.name(name)
                self.text(value)
            struct.pack_into("<I", self.out, list_at, len(self.out) - list_at - 4)
        self.out += b"\x02"
        for part in element.content:
            if isinstance(part, str):
                self.text(part)
            else:
                self.element(part)
        self.out += b"\x04"
        struct.pack_into("<I", self.out, size_at, len(self.out) - size_at - 4)


def event_log(events: Sequence[Element]) -> bytes:
    """The bytes of a file; ValueError where the events do not fit into one chunk."""
    records = bytearray()
    last = _HEADER_BYTES
    for number, event in enumerate(events, 1):
        last = _HEADER_BYTES + len(records)
        writer = _Writer(last + 24)
        writer.out += b"\x0f\x01\x01\x00"
        writer.element(event)
        writer.out += b"\0"
        size = 24 + len(writer.out) + 4
        records += struct.pack("<4sIQQ", b"**\0\0", size, number, _FILETIME_2026) + writer.out + struct.pack("<I", size)
    if _HEADER_BYTES + len(records) > CHUNK_BYTES:
        raise ValueError("too many events for one chunk")
    head = struct.pack("<8sQQQQ", b"ElfChnk\0", 1, len(events), 1, len(events))
    head += struct.pack("<IIII", 128, last, _HEADER_BYTES + len(records), zlib.crc32(records))
    head = head.ljust(120, b"\0")
    tables = bytes(_HEADER_BYTES - 128)
    chunk = head + struct.pack("<II", 1, zlib.crc32(head + tables)) + tables + records
    file = struct.pack("<8sQQQIHHHH", b"ElfFile\0", 0, 0, len(events) + 1, 128, 1, 3, 4_096, 1).ljust(120, b"\0")
    file += struct.pack("<II", 0, zlib.crc32(file))
    return file.ljust(4_096, b"\0") + chunk.ljust(CHUNK_BYTES, b"\0")


def logon(number: int, user: str, address: str) -> Element:
    """A failed logon, as Windows writes it."""
    data = {
        "SubjectUserSid": "S-1-0-0",
        "TargetUserName": user,
        "TargetDomainName": "CONTOSO",
        "LogonType": "3",
        "IpAddress": address,
        "WorkstationName": "WS7",
    }
    system = Element(
        "System",
        Element(
            "Provider",
            attributes={
                "Name": "Microsoft-Windows-Security-Auditing",
                "Guid": "{54849625-5478-4994-a5ba-3e3b0328c30d}",
            },
        ),
        Element("EventID", "4625"),
        Element("Level", "0"),
        Element("TimeCreated", attributes={"SystemTime": f"2026-01-01T00:00:{number % 60:02}.000000Z"}),
        Element("EventRecordID", str(number)),
        Element("Channel", "Security"),
        Element("Computer", "dc1.contoso.example"),
    )
    rows = [Element("Data", value, attributes={"Name": name}) for name, value in data.items()]
    space = {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"}
    return Element("Event", system, Element("EventData", *rows), attributes=space)
