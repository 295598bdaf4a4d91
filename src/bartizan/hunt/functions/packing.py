"""Packed texts: gzip, zlib and numbers in Base64, and names in Punycode.

What is no packed text, or no UTF-8, is null, which of a string is ''; one that unpacks to more than MOST_TEXT is an
error, and so is a name of more than MOST_NAME characters to be coded in Punycode.

Source: Kusto Query Language, "gzip_compress_to_base64_string()", "gzip_decompress_from_base64_string()",
"zlib_compress_to_base64_string()", "zlib_decompress_from_base64_string()", "punycode_from_string()",
"punycode_to_string()", "punycode_domain_from_string()", "punycode_domain_to_string()",
"base64_encode_fromguid()"; RFC 1950, RFC 1952, RFC 3492.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import worked

MOST_TEXT = 4 * 2**20  # bytes of a text that is unpacked
MOST_NAME = 1_000  # characters of a name in Punycode: coding takes time with the square of that
_WINDOW = {"zlib": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
_ZLIB = bytes.fromhex("7801")  # what begins such a text, as Kusto writes it
_GZIP = bytes.fromhex("1f8b08000000000000ff")
_LABEL = "xn--"  # what a label in Punycode begins with


def _packed(kind: str, plain: str) -> str | None:
    if not plain:
        return None
    content = plain.encode()
    if kind == "zlib":
        made = _ZLIB + _deflated(content) + zlib.adler32(content).to_bytes(4, "big")
    else:
        ends = (zlib.crc32(content), len(content) % 2**32)
        made = _GZIP + _deflated(content) + b"".join(each.to_bytes(4, "little") for each in ends)
    return b64encode(made).decode("ascii")


def _deflated(content: bytes) -> bytes:
    """One block as it is where packing would not make it shorter."""
    packer = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -zlib.MAX_WBITS)
    made = packer.compress(content) + packer.flush()
    size = len(content)
    if len(made) < size or size >= 2**16:
        return made
    return b"\x01" + size.to_bytes(2, "little") + (2**16 - 1 - size).to_bytes(2, "little") + content


def _unpacked(kind: str, packed: str) -> str | None:
    try:
        content = b64decode(packed, validate=True)
        reader = zlib.decompressobj(_WINDOW[kind])
        plain = reader.decompress(content, MOST_TEXT)
        if reader.unconsumed_tail:
            raise KqlError("run", f"a {kind} text has more than {MOST_TEXT:,} bytes unpacked")
        return plain.decode() if reader.eof else None
    except (ValueError, zlib.error):
        return None


for _kind in _WINDOW:
    worked(f"{_kind}_compress_to_base64_string", "string -> string", partial(_packed, _kind))
    worked(f"{_kind}_decompress_from_base64_string", "string -> string", partial(_unpacked, _kind))


def _of_guid(told: Any) -> str:
    """Its bytes as Windows keeps them, the first three numbers the lowest byte first."""
    return b64encode(UUID(str(told)).bytes_le).decode("ascii")


worked("base64_encode_fromguid", "guid -> string", _of_guid)


def _within(name: str) -> str:
    if len(name) > MOST_NAME:
        raise KqlError("run", f"a name in Punycode has at most {MOST_NAME:,} characters")
    return name


def _to_punycode(plain: str) -> str:
    return _within(plain).encode("punycode").decode("ascii")


def _from_punycode(told: str) -> str | None:
    try:
        return _within(told).encode("ascii").decode("punycode")
    except (UnicodeError, OverflowError, ValueError):
        return None


def _by_label(each: Callable[[str], str | None], domain: str) -> str | None:
    """Label by label; null where one has no such form."""
    labels = [each(label) for label in domain.split(".")]
    told = [label for label in labels if label is not None]
    return ".".join(told) if len(told) == len(labels) else None


def _label_to(label: str) -> str | None:
    return label if label.isascii() else _LABEL + _to_punycode(label)


def _label_from(label: str) -> str | None:
    return _from_punycode(label.removeprefix(_LABEL)) if label.startswith(_LABEL) else label


worked("punycode_from_string", "string -> string", _to_punycode)
worked("punycode_to_string", "string -> string", _from_punycode)
worked("punycode_domain_from_string", "string -> string", partial(_by_label, _label_from))
worked("punycode_domain_to_string", "string -> string", partial(_by_label, _label_to))
