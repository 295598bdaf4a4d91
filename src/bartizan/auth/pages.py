"""The few pages that people see: sign-in, consent, device, what went wrong. Plain HTML without script, for every
reader.

Source: WCAG 2.2; Content Security Policy Level 3; RFC 9700, section 4.16 (clickjacking).
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import urlsplit

from starlette.responses import HTMLResponse

# Contrast: text at least 7 : 1, borders and focus at least 3 : 1, in both schemes.
_STYLE = (
    ":root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--edge:#595959;--act:#0b4a8f;--focus:#b35900;"
    "--bad:#b00020;--badpaper:#fdecee}"
    "@media(prefers-color-scheme:dark){:root{--ink:#f2f2f2;--paper:#161616;--edge:#a0a0a0;--act:#a8cbff;--focus:#ffb366;"
    "--bad:#ff9aa8;--badpaper:#3a1d21}}"
    "body{font:1rem/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0}"
    "header,main{max-width:26rem;margin:0 auto;padding:0 1rem;overflow-wrap:anywhere}"
    "header{margin-top:2.5rem;font-weight:600;letter-spacing:.03em}"
    "h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 1rem}"
    "label{display:block;margin:1rem 0 .25rem}label.inline{display:inline}"
    "input[type=text],input[type=password]{box-sizing:border-box;width:100%;padding:.6rem;font:inherit;"
    "color:inherit;background:var(--paper);border:1px solid var(--edge);border-radius:.25rem}"
    "input[aria-invalid=true]{border:2px solid var(--bad)}"
    "input[type=checkbox]{width:1.25rem;height:1.25rem;vertical-align:middle}"
    "button{margin:1.5rem .75rem 1.5rem 0;padding:.6rem 1.5rem;font:inherit;cursor:pointer;border:1px solid var(--act);"
    "border-radius:.25rem;background:var(--act);color:var(--paper)}"
    "button.second{background:var(--paper);color:var(--act)}a{color:var(--act)}"
    ":focus-visible{outline:3px solid var(--focus);outline-offset:2px}"
    "[role=alert]{border-left:.3rem solid var(--bad);padding:.5rem .75rem;background:var(--badpaper)}"
    "code{font-size:1.2em;letter-spacing:.1em}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def form_target(redirect_uri: str) -> str:
    """The CSP source of an address that a form's answer may lead to."""
    parts = urlsplit(redirect_uri)
    if parts.scheme in ("http", "https"):
        return f"{parts.scheme}://{parts.netloc}"
    return f"{parts.scheme}:"


def page(
    title: str,
    body: str,
    *,
    status: int = 200,
    failed: bool = False,
    target: str = "",
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """`failed` puts "Error" before the title of the window, which is what is read out first. `target` is where a form
    of the page may end up beside this server. `body` is HTML, escaped by its maker."""
    html = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{'Error: ' if failed else ''}{escape(title)} – Bartizan</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<header>Bartizan</header>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self' {target}".rstrip()
        + "; frame-ancestors 'none'; base-uri 'none'"
    )
    guard = {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
    }
    return HTMLResponse(html, status_code=status, headers={**guard, **(headers or {})})


def _hidden(fields: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">\n' for name, value in fields.items()
    )


def _alert(error: str) -> str:
    return f'<p role="alert" id="error">{escape(error)}</p>\n' if error else ""


def sign_in(
    flow: str, *, app: str, username: str = "", error: str = "", status: int = 200, target: str = "",
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:  # fmt: skip
    """The cursor stands in the first field that is empty; an error is read out and names what to do."""
    described = ' aria-describedby="error" aria-invalid="true"' if error else ""
    first, second = (" autofocus", "") if not username else ("", " autofocus")
    body = (
        f"{_alert(error)}<p>To continue to <strong>{escape(app)}</strong></p>\n"
        f'<form method="post" action="/signin">\n{_hidden({"flow": flow})}'
        '<label for="username">User name (such as ann@example.org)</label>\n'
        f'<input id="username" name="username" type="text" inputmode="email" autocomplete="username" '
        f'autocapitalize="none" '
        f'spellcheck="false" required maxlength="256" value="{escape(username)}"{described}{first}>\n'
        '<label for="password">Password</label>\n'
        f'<input id="password" name="password" type="password" autocomplete="current-password" required '
        'maxlength="1024"'
        f"{described}{second}>\n"
        '<button type="submit">Sign in</button>\n</form>'
    )
    return page("Sign in", body, status=status, failed=bool(error), target=target, headers=headers)


def _items(words: Iterable[str]) -> str:
    return "<ul>\n" + "".join(f"<li>{escape(word)}</li>\n" for word in words) + "</ul>\n"


def consent(
    flow: str,
    *,
    app: str,
    tenant: str,
    upn: str,
    scopes: Iterable[str],
    everyone: bool,
    forced: bool = False,
    target: str = "",
) -> HTMLResponse:
    """`everyone`: may be granted for all accounts of the tenant; `forced`: only so."""
    box = ""
    if everyone and not forced:
        box = (
            '<p><input type="checkbox" id="everyone" name="everyone" value="1"> '
            '<label for="everyone" class="inline">For every account of this tenant</label></p>\n'
        )
    body = (
        f"<p>Signed in as {escape(upn)}, tenant {escape(tenant)}.</p>\n"
        f"<p><strong>{escape(app)}</strong> asks for:</p>\n{_items(scopes)}"
        + ("<p>It would be granted for the whole tenant.</p>\n" if forced else "")
        + f'<form method="post" action="/signin/consent">\n{_hidden({"flow": flow})}{box}'
        '<button type="submit" name="decision" value="accept" autofocus>Accept</button>'
        '<button type="submit" name="decision" value="deny" class="second">Cancel</button>\n</form>'
    )
    return page("Permissions requested", body, target=target)


def device_code(
    *, error: str = "", code: str = "", status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    described = ' aria-describedby="error" aria-invalid="true"' if error else ""
    body = (
        f"{_alert(error)}<p>Enter the code that your device or app shows. Never enter a code that "
        "somebody sent you.</p>\n"
        '<form method="post" action="/devicelogin">\n<label for="user_code">Code</label>\n'
        f'<input id="user_code" name="user_code" type="text" autocomplete="off" autocapitalize="characters" '
        f'spellcheck="false" '
        f'required maxlength="20" value="{escape(code)}"{described} autofocus>\n'
        '<button type="submit">Next</button>\n</form>'
    )
    return page("Enter code", body, status=status, failed=bool(error), headers=headers)


def device_approval(flow: str, *, app: str, tenant: str, upn: str, code: str, scopes: Iterable[str]) -> HTMLResponse:
    body = (
        f"<p>Signed in as {escape(upn)}, tenant {escape(tenant)}.</p>\n"
        f"<p><strong>{escape(app)}</strong> on another device wants to act for you with:</p>\n{_items(scopes)}"
        f"<p>Approve only if you started this yourself and that device shows <code>{escape(code)}</code>.</p>\n"
        f'<form method="post" action="/devicelogin/answer">\n{_hidden({"flow": flow})}'
        '<button type="submit" name="decision" value="deny" class="second" autofocus>Decline</button>'
        '<button type="submit" name="decision" value="accept">Approve</button>\n</form>'
    )
    return page("Approve sign-in", body)


def form_post(redirect_uri: str, fields: Mapping[str, str]) -> HTMLResponse:
    """The answer to the app as a form that the user sends on: without script there is no other way."""
    body = (
        f"<p>{'The app will say what went wrong.' if 'error' in fields else 'You are signed in.'} "
        "Continue to the app.</p>\n"
        f'<form method="post" action="{escape(redirect_uri)}">\n{_hidden(fields)}'
        '<button type="submit" autofocus>Continue</button>\n</form>'
    )
    return page("Continue", body, target=form_target(redirect_uri))


def notice(
    title: str, text: str, *, status: int = 200, error: bool = False, link: tuple[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:  # fmt: skip
    body = _alert(text) if error else f'<p role="status">{escape(text)}</p>\n'
    if link is not None:
        body += f'<p><a href="{escape(link[0])}">{escape(link[1])}</a></p>'
    return page(title, body, status=status, headers=headers)
