"""What clients send to the authority, read with care: form bodies, Basic credentials, scopes.

Clients differ: some write names with capitals, some do not escape the body, some escape Basic credentials and some do
not.

Source: RFC 6749, section 2.3.1 and appendix B; RFC 7617; WHATWG URL, application/x-www-form-urlencoded; RFC 7578.
"""

import base64
import binascii
import logging
import re
from collections.abc import Sequence
from urllib.parse import unquote_plus

from msgspec import Struct
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, create_form_parser

from bartizan.auth import aadsts

MAX_BODY_BYTES = 64 * 1024
_MAX_FIELDS = 100
_MAX_BASIC_CHARS = 8 * 1024
_MAX_SCOPE_CHARS = 8 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# What is wrong with a form its sender is told; a line in the log for each would be one that anybody can write there.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)

OIDC_SCOPES = ("openid", "profile", "email", "offline_access")
DEFAULT = ".default"


class Form(Struct, frozen=True):
    """The fields of a form, by their names in lower case: Entra ID reads names in any case, and scripts write
    `Grant_Type`. `raw` is how the values came, for secrets of clients that forget to escape."""

    values: dict[str, str]
    raw: dict[str, str] = {}

    def get(self, name: str) -> str:
        """Empty where it is missing: OAuth treats both alike (RFC 6749, section 3.2)."""
        return self.values.get(name, "").strip()

    def secret_forms(self, name: str) -> tuple[str, ...]:
        """The value as decoded and, where that differs, as it came."""
        return tuple(dict.fromkeys(v for v in (self.values.get(name, ""), self.raw.get(name, "")) if v))


def parse_form(body: bytes) -> Form:
    """OAuthError where it is too long, not UTF-8, holds control characters, or names a field twice with different
    values."""
    if len(body) > MAX_BODY_BYTES:
        raise aadsts.bad_request(f"The body is longer than {MAX_BODY_BYTES} bytes.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise aadsts.bad_request("The body is not UTF-8.") from None
    fields: list[tuple[str, str, str]] = []
    for pair in text.strip("\r\n").split("&"):
        left, _, right = pair.partition("=")
        try:
            name, value = unquote_plus(left, errors="strict"), unquote_plus(right, errors="strict")
        except UnicodeDecodeError:
            raise aadsts.bad_request("A field is not UTF-8 after decoding.") from None
        if pair:
            fields.append((name, value, right))
    return _form(fields)


def parse_multipart(content_type: str, body: bytes) -> Form:
    """A form in parts, as curl's -F and PHP's arrays send it and Entra ID takes it. Files are left out; OAuthError as
    of `parse_form`."""
    if len(body) > MAX_BODY_BYTES:
        raise aadsts.bad_request(f"The body is longer than {MAX_BODY_BYTES} bytes.")
    found: list[Field] = []
    try:
        parser = create_form_parser({"Content-Type": content_type.encode()}, found.append, None)
        parser.write(body)
        parser.finalize()
        texts = [((each.field_name or b"").decode(), (each.value or b"").decode()) for each in found]
    except (FormParserError, UnicodeError):
        raise aadsts.bad_request("The body is not a form in parts of UTF-8.") from None
    return _form([(name, value, value) for name, value in texts])


def _form(fields: Sequence[tuple[str, str, str]]) -> Form:
    """Of names, values, and the values as they came."""
    if len(fields) > _MAX_FIELDS:
        raise aadsts.bad_request(f"The body has more than {_MAX_FIELDS} fields.")
    values: dict[str, str] = {}
    raw: dict[str, str] = {}
    for spelt, value, came in fields:
        name = spelt.lower()
        if _CONTROL.search(name) or _CONTROL.search(value):
            raise aadsts.bad_request("A field holds control characters.")
        if values.get(name, value) != value:
            raise aadsts.bad_request(f"The field '{name[:50]}' is there more than once.")
        values[name], raw[name] = value, came
    return Form(values, raw)


def parse_basic(header: str) -> tuple[tuple[str, str], ...]:
    """Readings of an Authorization header of the scheme Basic as (client id, secret): as it is, and with form
    decoding undone.

    Empty for any other scheme; OAuthError where it cannot be read.
    """
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return ()
    if len(rest) > _MAX_BASIC_CHARS:
        raise aadsts.bad_request("The Authorization header is too long.")
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise aadsts.bad_request("The Basic credentials are not base64 of UTF-8.") from None
    id, colon, secret = text.partition(":")
    if not colon or _CONTROL.search(text):
        raise aadsts.bad_request("The Basic credentials are not of the form id:secret.")
    plain = (id, secret)
    try:
        decoded = (unquote_plus(id, errors="strict"), unquote_plus(secret, errors="strict"))
    except UnicodeDecodeError:
        decoded = plain
    if any(_CONTROL.search(part) for part in decoded):
        decoded = plain
    return tuple(dict.fromkeys((plain, decoded)))


class Scope(Struct, frozen=True):
    """A scope parameter: one resource, names of its scopes as they were sent, and those of OpenID Connect."""

    resource: str | None  # None: none was named
    names: tuple[str, ...]
    default: bool
    oidc: tuple[str, ...]


def resource_key(resource: str) -> str:
    """For comparing: without slashes at the end, scheme and host in lower case."""
    text = resource.strip().rstrip("/")
    scheme, found, rest = text.partition("://")
    if not found:
        return text.lower()
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"


def parse_scope(text: str) -> Scope:
    """OAuthError 70011 where it names two resources, mixes .default with names, or is no scope at all."""
    if len(text) > _MAX_SCOPE_CHARS:
        raise aadsts.bad_scope(text[:50], "is too long")
    resources: dict[str, None] = {}
    names: dict[str, None] = {}
    oidc: dict[str, None] = {}
    default = False
    for word in text.split():
        resource, slash, name = word.rpartition("/")
        if not slash and word.lower() in OIDC_SCOPES:
            oidc[word.lower()] = None
            continue
        if not re.fullmatch(r"[\w.\-:]{1,128}", name, re.ASCII):
            raise aadsts.bad_scope(text)
        if slash:
            if not resource.strip("/"):
                raise aadsts.bad_scope(text)
            resources[resource_key(resource)] = None
        if name.lower() == DEFAULT:
            default = True
        else:
            names[name] = None
    if len(resources) > 1:
        raise aadsts.bad_scope(text, "has more than one resource")
    if default and names:
        raise aadsts.bad_scope(text, "isn't valid: .default can't be combined with resource-specific scopes")
    return Scope(next(iter(resources), None), tuple(names), default, tuple(oidc))
