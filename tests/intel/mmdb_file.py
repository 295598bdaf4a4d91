"""A small database in MaxMind's format, written for tests.

Source: MaxMind DB File Format Specification 2.0.
"""

import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

RECORD_BYTES = 4
_UINT16, _UINT32, _UINT64 = 5, 6, 9
_MARK = b"\xab\xcd\xefMaxMind.com"
_Node = list[Any]  # left and right: another node, the place of its data, or None


def mmdb(entries: Sequence[tuple[str, int, dict[str, Any]]]) -> bytes:
    """Of IPv6; IPv4 stands in ::/96. Networks do not overlap."""
    root: _Node = [None, None]
    data = bytearray()
    for address, length, record in entries:
        ip = ip_address(address)
        number, bits = int(ip), length + (96 if ip.version == 4 else 0)
        node = root
        for depth in range(bits - 1):
            side = number >> (127 - depth) & 1
            node[side] = node[side] or [None, None]
            node = node[side]
        node[number >> (128 - bits) & 1] = len(data)
        data += _encoded(record)
    nodes: list[_Node] = [root]
    for node in nodes:
        nodes += [each for each in node if isinstance(each, list)]
    place = {id(node): n for n, node in enumerate(nodes)}
    tree = bytearray()
    for node in nodes:
        for each in node:
            value = len(nodes)
            if isinstance(each, list):
                value = place[id(each)]
            elif each is not None:
                value = len(nodes) + 16 + each
            tree += value.to_bytes(RECORD_BYTES, "big")
    about = {
        "node_count": len(nodes),
        "record_size": (_UINT16, 8 * RECORD_BYTES),
        "ip_version": (_UINT16, 6),
        "database_type": "Test",
        "languages": ["en"],
        "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0),
        "build_epoch": (_UINT64, 1_700_000_000),
        "description": {"en": "of a test"},
    }
    return bytes(tree) + bytes(16) + bytes(data) + _MARK + _encoded(about)


def _encoded(value: Any) -> bytes:
    if isinstance(value, dict):
        return _head(7, len(value)) + b"".join(_encoded(key) + _encoded(each) for key, each in value.items())
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(_encoded(each) for each in value)
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    if isinstance(value, float):
        return _head(3, 8) + struct.pack(">d", value)
    kind, number = value if isinstance(value, tuple) else (_UINT32, value)
    raw: bytes = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return _head(kind, len(raw)) + raw


def _head(kind: int, size: int) -> bytes:
    assert size < 285
    more = bytes([size - 29]) if size >= 29 else b""
    control = min(size, 29)
    return bytes([kind << 5 | control]) + more if kind <= 7 else bytes([control, kind - 7]) + more
