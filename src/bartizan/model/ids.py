"""Ids that derive from their input, so that doing a thing twice gives the same id.

Source: RFC 9562, section 5.8 (UUID version 8).
"""

from hashlib import sha256


def stable_id(*parts: str) -> str:
    """A GUID in lower case: the first 128 bits of SHA-256 over the parts, marked as UUID version 8.

    Each part is preceded by its length in bytes, so ("ab", "c") and ("a", "bc") differ. 122 bits are left of the hash:
    among a billion ids the chance of one collision is about 1e-19. It is no secret: who knows the parts knows the id.
    """
    digest = sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    value = bytearray(digest.digest()[:16])
    value[6] = (value[6] & 0x0F) | 0x80
    value[8] = (value[8] & 0x3F) | 0x80
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
