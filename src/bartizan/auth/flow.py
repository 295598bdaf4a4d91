"""What a client asked for on its way through the pages, and the way back to the client.

It travels sealed in the pages' forms and is bound to a cookie of the browser that began, so that nobody can be
made to send a form that he did not see.

Source: RFC 6749, section 4.1; RFC 8252 (loopback redirects); OAuth 2.0 Form Post Response Mode; RFC 9700, section 4.7.
"""

import hashlib
import hmac
import re
import secrets
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bartizan.auth import aadsts, pages
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.authority import Authority
from bartizan.auth.forms import MAX_BODY_BYTES, Form, parse_form
from bartizan.auth.keys import b64, unb64
from bartizan.errors import BadRequest

SESSION_COOKIE = "__Host-bartizan-session"
BROWSER_COOKIE = "__Host-bartizan-browser"
FLOW_S = 1800  # for looking up a password in a drawer
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NEVER_SCHEMES = ("javascript", "data", "vbscript", "file", "blob", "about", "ftp", "ws", "wss")


class Flow(Struct, frozen=True, omit_defaults=True):
    """What was asked for, carried through the pages."""

    kind: Literal["authorize", "device", "admin"]
    tenant: str  # reference, as the path had it
    app: str
    version: str = "v2"
    redirect_uri: str = ""
    response_type: str = "code"
    response_mode: str = "query"
    state: str | None = None
    scope: str = ""
    resource: str = ""
    nonce: str | None = None
    challenge: str = ""
    method: str = ""
    prompt: str = ""
    login_hint: str = ""
    max_age_s: int | None = None
    user_code: str = ""
    browser: str = ""
    until: int = 0


def usable_redirect(uri: str) -> str:
    """The redirect URI as it will be compared. BadRequest unless it is https, http on loopback, or an app's own
    scheme."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise BadRequest(f"{uri!r} is not an address") from None
    name = parts.hostname or ""
    fine = (
        (parts.scheme == "https" and name)
        or (parts.scheme == "http" and name in _LOOPBACK)
        or ("." in parts.scheme or parts.scheme not in ("", "http", "https", *_NEVER_SCHEMES))
    )
    if (
        not fine
        or parts.fragment
        or re.search(r"[\s\x00-\x1f\x7f\\]", uri)
        or len(uri) > 2048
        or "*" in name
        or "@" in parts.netloc
    ):
        raise BadRequest(
            f"{uri!r} cannot be a redirect URI: https, http on localhost, or an app's own scheme; "
            "without fragment, user or wildcard"
        )
    return uri


def match_redirect(asked: str, registered: list[str]) -> str | None:
    """The URI to answer to: letter by letter a registered one; on loopback the port may differ (RFC 8252, section
    7.3)."""
    if not asked:
        return registered[0] if len(registered) == 1 else None
    if asked in registered:
        return asked
    try:
        parts = urlsplit(asked)
        if parts.port is None or usable_redirect(asked) != asked:
            return None
    except (ValueError, BadRequest):
        return None
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
        return None
    for uri in registered:
        known = urlsplit(uri)
        if known.scheme == "http" and (known.hostname, known.path or "/", known.query) == (
            parts.hostname,
            parts.path or "/",
            parts.query,
        ):
            return asked
    return None


def seal(authority: Authority, request: Request, flow: Flow) -> tuple[str, str]:
    """The flow for a form of a page, and the value of the browser's cookie, to be set with the page."""
    known = request.cookies.get(BROWSER_COOKIE, "")
    browser = known if re.fullmatch(r"[\w-]{43}", known, re.ASCII) else secrets.token_urlsafe(32)
    bound = replace(flow, browser=_print_of(browser), until=int(authority.clock()) + FLOW_S)
    return b64(authority.vault.seal(msgspec.json.encode(bound), "flow")), browser


async def returned(authority: Authority, request: Request) -> tuple[Form, Flow]:
    """A form of ours from the browser that we gave it to; OAuthError otherwise."""
    form = await read_fields(request)
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin", "null")  # browsers say null, since the pages forbid the referrer
    if site not in ("same-origin", "none") or (
        origin != "null" and urlsplit(origin).netloc != request.headers.get("host")
    ):
        raise aadsts.bad_request("The form was sent by another site.")
    try:
        flow = msgspec.json.decode(authority.vault.unseal(unb64(form.get("flow")), "flow"), type=Flow)
    except ValueError:
        raise aadsts.bad_request("The form is not one of this server. Start again from the app.") from None
    if not hmac.compare_digest(_print_of(request.cookies.get(BROWSER_COOKIE, "")), flow.browser):
        raise aadsts.bad_request("The form was made for another browser, or cookies are off. Start again from the app.")
    if flow.until <= authority.clock():
        raise aadsts.bad_request("The page is too old. Start again from the app.")
    return form, flow


def _print_of(browser: str) -> str:
    return hashlib.sha256(browser.encode("utf-8", "replace")).hexdigest()


def back(flow: Flow, fields: dict[str, str]) -> Response:
    """Hands the answer to the client, with its state letter by letter."""
    if not flow.redirect_uri:
        return pages.notice("Not signed in", fields.get("error_description", ""), status=400, error=True)
    if flow.response_mode == "form_post":
        return pages.form_post(flow.redirect_uri, fields if flow.state is None else {**fields, "state": flow.state})
    return RedirectResponse(
        back_address(flow, fields), 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )


def back_address(flow: Flow, fields: dict[str, str]) -> str:
    if flow.state is not None:
        fields = {**fields, "state": flow.state}
    parts = urlsplit(flow.redirect_uri)
    if flow.response_mode == "fragment" or "id_token" in flow.response_type:
        return urlunsplit(parts._replace(fragment=urlencode(fields)))
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *fields.items()])
    return urlunsplit(parts._replace(query=query))


async def read_fields(request: Request) -> Form:
    """The query of a GET, the body of a POST."""
    if request.method == "GET":
        return parse_form(request.url.query.encode())
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return parse_form(bytes(body))


def error_fields(error: OAuthError) -> dict[str, str]:
    return {"error": error.error, "error_description": error.text(), "error_uri": f"{aadsts.ERROR_PAGE}{error.code}"}


def failure(error: OAuthError) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
    status = error.status if error.status != 401 else 400
    return pages.notice("Sign-in is not possible", error.text(), status=status, error=True, headers=headers)


def set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")


def client_address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
