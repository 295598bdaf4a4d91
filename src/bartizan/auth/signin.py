"""Where people take part: the authorization endpoint, sign-in, consent, device approval, logout.

What a client asked for travels sealed through the pages' forms and is bound to a cookie of the browser that began, so that
nobody can be made to send a form that he did not see.

Source: RFC 6749, section 4.1; OpenID Connect Core 1.0, section 3; RFC 8628; RFC 9700; RFC 8252 (loopback redirects).
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
from starlette.responses import HTMLResponse, RedirectResponse, Response

from bartizan.auth import aadsts, audit, pages
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.accounts import EVERYONE, App, Tenant, User
from bartizan.auth.authority import SELF_SCOPES, Authority
from bartizan.auth.forms import MAX_BODY_BYTES, Form, Scope, parse_form
from bartizan.auth.grants import Grant
from bartizan.auth.keys import b64, unb64
from bartizan.errors import BadRequest

SESSION_COOKIE = "__Host-bartizan-session"
BROWSER_COOKIE = "__Host-bartizan-browser"
_FLOW_S = 1800  # for looking up a password in a drawer
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_NEVER_SCHEMES = ("javascript", "data", "vbscript", "file", "blob", "about", "ftp", "ws", "wss")
_MAX_STATE_CHARS = 8192


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
    """The redirect URI as it will be compared. BadRequest unless it is https, http on loopback, or an app's own scheme."""
    parts = urlsplit(uri)
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
            f"{uri!r} cannot be a redirect URI: https, http on localhost, or an app's own scheme; without fragment, user or wildcard"
        )
    return uri


def match_redirect(asked: str, registered: list[str]) -> str | None:
    """The URI to answer to: letter by letter a registered one; on loopback the port may differ (RFC 8252, section 7.3)."""
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


class SignIn:
    def __init__(self, authority: Authority) -> None:
        self.authority = authority

    # ------------------------------------------------------------ the authorization endpoint

    async def authorize(self, request: Request, version: str) -> Response:
        """A wrong client or redirect URI is shown here; everything else goes back to the client (RFC 6749, 4.1.2.1)."""
        try:
            form = await _fields(request)
            app, redirect_uri = await self._client(form)
        except OAuthError as error:
            return _failure(error)
        flow = Flow(
            kind="authorize",
            tenant=request.path_params["tenant"],
            app=app.id,
            version=version,
            redirect_uri=redirect_uri,
            state=form.values.get("state"),
            response_type=" ".join(sorted(form.get("response_type").split())),
            response_mode=form.get("response_mode"),
        )
        try:
            flow = self._read(flow, form)
            return await self._go_on(request, flow, await self._user(request, flow))
        except OAuthError as error:
            return self._back(flow, _error_fields(error))

    async def _client(self, form: Form) -> tuple[App, str]:
        if not form.get("client_id"):
            raise aadsts.missing("client_id")
        app = await self.authority.accounts.get(App, form.get("client_id").lower()[:100])
        if app is None:
            raise aadsts.unknown_app(form.get("client_id"), "of this server")
        if app.disabled:
            raise aadsts.disabled_app(app.id)
        redirect_uri = match_redirect(form.get("redirect_uri"), app.redirect_uris)
        if redirect_uri is None:
            raise aadsts.redirect_mismatch(form.get("redirect_uri"))
        return app, redirect_uri

    def _read(self, flow: Flow, form: Form) -> Flow:
        modes = {"code": "query", "id_token": "fragment", "code id_token": "fragment"}
        if flow.response_type not in modes:
            raise aadsts.unsupported_response_type(flow.response_type)
        mode = flow.response_mode or modes[flow.response_type]
        if mode not in ("query", "fragment", "form_post") or (mode == "query" and "id_token" in flow.response_type):
            raise aadsts.bad_request(f"response_mode '{mode[:20]}' is not possible with this response_type.")
        nonce = form.get("nonce") or None
        if "id_token" in flow.response_type and (not nonce or "openid" not in form.get("scope").lower().split()):
            raise aadsts.bad_request("An id_token from this endpoint needs the scope openid and a nonce.")
        challenge, method = form.get("code_challenge"), form.get("code_challenge_method") or "plain"
        if challenge and (not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", challenge) or method not in ("S256", "plain")):
            raise aadsts.pkce_needed()
        if max((len(form.get(n)) for n in ("state", "nonce", "scope", "login_hint")), default=0) > _MAX_STATE_CHARS:
            raise aadsts.bad_request(f"state, nonce, scope and login_hint hold at most {_MAX_STATE_CHARS} characters.")
        return replace(
            flow,
            response_mode=mode,
            scope=form.get("scope"),
            resource=form.get("resource"),
            nonce=nonce,
            challenge=challenge,
            method=method if challenge else "",
            prompt=form.get("prompt").lower(),
            login_hint=form.get("login_hint"),
            max_age_s=int(form.get("max_age")) if re.fullmatch(r"\d{1,9}", form.get("max_age")) else None,
        )

    # ------------------------------------------------------------ the steps

    async def _user(self, request: Request, flow: Flow) -> tuple[User, int] | None:
        """Who is signed in in this browser, if that is good enough for the request, and since when."""
        session = await self.authority.grants.session(request.cookies.get(SESSION_COOKIE))
        if session is None or flow.prompt in ("login", "select_account"):
            return None
        user = await self.authority.accounts.get(User, session.user)
        if user is None or user.disabled or user.epoch != session.epoch:
            return None
        if flow.login_hint and flow.login_hint.lower() != user.upn.lower():
            return None
        if flow.max_age_s is not None and self.authority.clock() - session.auth_time > flow.max_age_s:
            return None
        return user, session.auth_time

    async def _go_on(
        self, request: Request, flow: Flow, who: tuple[User, int] | None, *, agreed: bool = False
    ) -> Response:
        """The next page, or the answer to the client."""
        app = await self.authority.accounts.get(App, flow.app)
        if app is None:
            raise aadsts.unknown_app(flow.app, flow.tenant)
        path_tenant = await self.authority.tenant(flow.tenant)
        if who is None:
            if flow.prompt == "none":
                raise aadsts.login_required()
            return self._sign_in_page(request, flow, app)
        user, auth_time = who
        tenant = path_tenant or await self._tenant_of(user, app)
        await self.authority.account(user.id, tenant.id)
        if flow.kind == "admin":
            return self._admin_page(request, flow, app, tenant, user)
        resource, scope = self.authority.wanted(flow.scope, flow.resource, app)
        missing = await self.authority.missing_scopes(scope, tenant.id, app, user.id)
        if flow.kind == "device":
            return self._device_page(request, flow, app, tenant, user, scope, missing)
        if missing or (flow.prompt == "consent" and not agreed):
            return self._consent_page(request, flow, app, tenant, user, scope, missing)
        grant = Grant(
            tenant=tenant.id,
            app=app.id,
            user=user.id,
            resource=resource,
            scopes=await self.authority.granted(scope, tenant.id, app, user.id),
            oidc=_oidc(flow, scope),
            nonce=flow.nonce,
            auth_time=auth_time,
            epoch=user.epoch,
        )
        return await self._answer(request, flow, grant, app, tenant, user)

    async def _tenant_of(self, user: User, app: App) -> Tenant:
        """For common and organizations: the account's home, else the first of its tenants in which the app is known."""
        for id in user.roles:
            tenant = await self.authority.accounts.get(Tenant, id)
            known = await self.authority.accounts.consented(id, app.id, user.id)
            if tenant is not None and not tenant.disabled and known is not None:
                return tenant
        raise aadsts.unknown_app(app.id, user.upn)

    async def _answer(
        self, request: Request, flow: Flow, grant: Grant, app: App, tenant: Tenant, user: User
    ) -> Response:
        authority = self.authority
        fields: dict[str, str] = {}
        code = None
        if "code" in flow.response_type.split():
            code = fields["code"] = await authority.grants.add_code(
                grant, flow.redirect_uri, flow.challenge, flow.method
            )
        if "id_token" in flow.response_type:
            base = authority.settings.base(request.headers.get("host"))
            fields["id_token"] = await authority.id_token(base, flow.version, tenant, app, user, grant, code=code)
        fields["client_info"] = authority.client_info(user, tenant)
        fields["session_state"] = b64(hashlib.sha256((user.id + grant.app).encode()).digest()[:16])
        return self._back(flow, fields)

    def _back(self, flow: Flow, fields: dict[str, str]) -> Response:
        """Hands the answer to the client, with its state letter by letter."""
        if flow.kind == "device":
            return pages.notice("Not signed in", fields.get("error_description", ""), status=400, error=True)
        if flow.state is not None:
            fields = {**fields, "state": flow.state}
        if flow.response_mode == "form_post" and "error" not in fields:
            return pages.form_post(flow.redirect_uri, fields)
        parts = urlsplit(flow.redirect_uri)
        if flow.response_mode == "fragment" or "id_token" in flow.response_type:
            target = urlunsplit(parts._replace(fragment=urlencode(fields)))
        else:
            query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *fields.items()])
            target = urlunsplit(parts._replace(query=query))
        return RedirectResponse(target, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})

    # ------------------------------------------------------------ pages

    def _page(self, request: Request, flow: Flow) -> tuple[str, str | None]:
        """The sealed flow for a form, and the browser's cookie where it has none yet."""
        known = request.cookies.get(BROWSER_COOKIE, "")
        browser = known if re.fullmatch(r"[\w-]{43}", known) else secrets.token_urlsafe(32)
        bound = replace(
            flow, browser=hashlib.sha256(browser.encode()).hexdigest(), until=int(self.authority.clock()) + _FLOW_S
        )
        sealed = b64(self.authority.vault.seal(msgspec.json.encode(bound), "flow"))
        return sealed, None if browser == known else browser

    def _with_cookie(self, response: HTMLResponse, browser: str | None) -> HTMLResponse:
        if browser is not None:
            _set_cookie(response, BROWSER_COOKIE, browser, _FLOW_S * 2)
        return response

    def _sign_in_page(
        self, request: Request, flow: Flow, app: App, *, username: str = "", error: OAuthError | None = None
    ) -> Response:
        sealed, browser = self._page(request, flow)
        response = pages.sign_in(
            sealed,
            app=app.name,
            username=username or flow.login_hint,
            error=error.text() if error else "",
            status=error.status if error else 200,
            target=pages.form_target(flow.redirect_uri) if flow.redirect_uri else "",
            headers={"Retry-After": str(error.retry_after_s)} if error and error.retry_after_s else None,
        )
        return self._with_cookie(response, browser)

    def _consent_page(
        self, request: Request, flow: Flow, app: App, tenant: Tenant, user: User, scope: Scope, missing: frozenset[str]
    ) -> Response:
        if flow.prompt == "none":
            raise aadsts.consent_required(app.name)
        admin = "SecurityAdministrator" in user.roles[tenant.id]
        if not admin and not missing <= SELF_SCOPES:
            error = aadsts.consent_required(app.name, admin=True)
            back = self._back(flow, _error_fields(error)).headers["location"]
            return pages.notice(
                "Approval needed", error.text(), status=403, error=True, link=(back, "Return to the app")
            )
        sealed, browser = self._page(request, flow)
        names = sorted({*scope.names, *missing}) or ["Sign you in"]
        response = pages.consent(
            sealed,
            app=app.name,
            tenant=tenant.name,
            upn=user.upn,
            scopes=names,
            everyone=admin,
            target=pages.form_target(flow.redirect_uri),
        )
        return self._with_cookie(response, browser)

    def _admin_page(self, request: Request, flow: Flow, app: App, tenant: Tenant, user: User) -> Response:
        if "SecurityAdministrator" not in user.roles[tenant.id]:
            raise aadsts.consent_required(app.name, admin=True)
        sealed, browser = self._page(request, flow)
        names = [f"{p} (by itself)" for p in app.application] + [f"{p} (for signed-in users)" for p in app.delegated]
        target = pages.form_target(flow.redirect_uri) if flow.redirect_uri else ""
        response = pages.consent(
            sealed,
            app=app.name,
            tenant=tenant.name,
            upn=user.upn,
            scopes=names,
            everyone=True,
            forced=True,
            target=target,
        )
        return self._with_cookie(response, browser)

    def _device_page(
        self, request: Request, flow: Flow, app: App, tenant: Tenant, user: User, scope: Scope, missing: frozenset[str]
    ) -> Response:
        if missing and not missing <= SELF_SCOPES and "SecurityAdministrator" not in user.roles[tenant.id]:
            raise aadsts.consent_required(app.name, admin=True)
        sealed, browser = self._page(request, flow)
        names = [f"{s} (not granted before)" if s in missing else s for s in sorted({*scope.names, *missing})]
        code = f"{flow.user_code[:4]}-{flow.user_code[4:]}"
        response = pages.device_approval(
            sealed, app=app.name, tenant=tenant.name, upn=user.upn, code=code, scopes=names or ["Sign you in"]
        )
        return self._with_cookie(response, browser)

    # ------------------------------------------------------------ forms that come back

    async def _returned(self, request: Request) -> tuple[Form, Flow]:
        """A form of ours from the browser that we gave it to; OAuthError otherwise."""
        form = await _fields(request)
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin", "null")
        host = request.headers.get("host", "")
        if site not in ("same-origin", "none") or (origin != "null" and urlsplit(origin).netloc != host):
            raise aadsts.bad_request("The form was sent by another site.")
        try:
            flow = msgspec.json.decode(self.authority.vault.unseal(unb64(form.get("flow")), "flow"), type=Flow)
        except ValueError:
            raise aadsts.bad_request("The form is not one of this server. Start again from the app.") from None
        browser = hashlib.sha256(request.cookies.get(BROWSER_COOKIE, "").encode()).hexdigest()
        if not hmac.compare_digest(browser, flow.browser):
            raise aadsts.bad_request(
                "The form was made for another browser, or cookies are off. Start again from the app."
            )
        if flow.until <= self.authority.clock():
            raise aadsts.bad_request("The page is too old. Start again from the app.")
        return form, flow

    async def sign_in(self, request: Request) -> Response:
        """POST of user name and password."""
        try:
            form, flow = await self._returned(request)
            app = await self.authority.accounts.get(App, flow.app)
            if app is None:
                raise aadsts.unknown_app(flow.app, flow.tenant)
        except OAuthError as error:
            return _failure(error)
        username = form.get("username")
        try:
            user = await self._check_password(request, flow, username, form.values.get("password", ""))
        except OAuthError as error:
            return self._sign_in_page(request, flow, app, username=username, error=error)
        session = await self.authority.grants.add_session(user.id, user.epoch)
        if flow.kind == "device":
            return await self._start_device(request, flow, (user, int(self.authority.clock())), session)
        try:
            response = await self._go_on(request, flow, (user, int(self.authority.clock())))
        except OAuthError as error:
            response = self._back(flow, _error_fields(error))
        _set_cookie(response, SESSION_COOKIE, session, self.authority.settings.session_s)
        return response

    async def _check_password(self, request: Request, flow: Flow, username: str, password: str) -> User:
        """Wrong names and wrong passwords look alike and take as long."""
        authority, address = self.authority, client_address(request)
        user = await authority.accounts.user_by_upn(username) if 0 < len(username) <= 256 else None
        account = user.id if user else username
        await authority.throttle.check(account, address, known=user is not None)
        right = await authority.passwords.check(password, user.password if user else "")
        # Whoever stood in line with this one may have used up the attempts meanwhile.
        await authority.throttle.check(account, address, known=user is not None)
        tenant = await authority.tenant(flow.tenant)
        if user is None or not right:
            await authority.throttle.failed(account, address, known=user is not None)
            error = aadsts.bad_password()
        elif user.disabled:
            error = aadsts.disabled_user()
        elif not user.roles or (tenant is not None and tenant.id not in user.roles):
            error = aadsts.not_in_tenant(user.upn, flow.tenant)
        else:
            await authority.throttle.succeeded(account, address)
            await self._audit_sign_in(request, flow, user, tenant, None)
            return user
        if user is not None and user.roles:
            await self._audit_sign_in(request, flow, user, tenant, error)
        raise error

    async def _audit_sign_in(
        self, request: Request, flow: Flow, user: User, tenant: Tenant | None, error: OAuthError | None
    ) -> None:
        where = tenant.id if tenant is not None and tenant.id in user.roles else user.home
        await self.authority.audit(
            where,
            audit.Actor(app=flow.app, user=user.id, upn=user.upn, name=user.name),
            "Sign in",
            result="failure" if error else "success",
            reason=error.text() if error else None,
            targets=[audit.Target("User", user.id, user.name, user.upn)],
            address=client_address(request),
        )

    async def consent(self, request: Request) -> Response:
        """POST of the consent page."""
        try:
            form, flow = await self._returned(request)
        except OAuthError as error:
            return _failure(error)
        try:
            who = await self._user(request, replace(flow, prompt="", max_age_s=None))
            if who is None:
                return await self._go_on(request, replace(flow, prompt=""), None)
            if form.get("decision") != "accept":
                raise aadsts.access_denied()
            return await self._agreed(request, form, flow, who)
        except OAuthError as error:
            return self._back(flow, _error_fields(error)) if flow.redirect_uri else _failure(error)

    async def _agreed(self, request: Request, form: Form, flow: Flow, who: tuple[User, int]) -> Response:
        authority, user = self.authority, who[0]
        app = await authority.accounts.get(App, flow.app)
        tenant = await authority.tenant(flow.tenant)
        if app is None:
            raise aadsts.unknown_app(flow.app, flow.tenant)
        tenant = tenant or await self._tenant_of(user, app)
        await authority.account(user.id, tenant.id)
        admin = "SecurityAdministrator" in user.roles[tenant.id]
        actor = audit.Actor(app=app.id, app_name=app.name, user=user.id, upn=user.upn, name=user.name)
        address = client_address(request)
        if flow.kind == "admin":
            if not admin:
                raise aadsts.consent_required(app.name, admin=True)
            for user_id, names in (("", app.application), (EVERYONE, app.delegated)):
                await authority.accounts.grant(tenant.id, app.id, user_id, names, actor=actor, address=address)
            if not flow.redirect_uri:
                return pages.notice("Granted", f"{app.name} was granted its permissions in {tenant.name}.")
            return self._back(flow, {"admin_consent": "True", "tenant": tenant.id, "scope": flow.scope})
        _, scope = authority.wanted(flow.scope, flow.resource, app)
        missing = await authority.missing_scopes(scope, tenant.id, app, user.id)
        if not admin and not missing <= SELF_SCOPES:
            raise aadsts.consent_required(app.name, admin=True)
        everyone = admin and form.get("everyone") == "1"
        wanted = missing | (frozenset(scope.names) if everyone else frozenset())
        if wanted:
            subject = EVERYONE if everyone else user.id
            await authority.accounts.grant(tenant.id, app.id, subject, wanted, actor=actor, address=address)
        return await self._go_on(request, flow, who, agreed=True)

    async def admin_consent(self, request: Request) -> Response:
        try:
            form = await _fields(request)
            app, redirect_uri = await self._client(form) if form.get("redirect_uri") else (await self._app(form), "")
        except OAuthError as error:
            return _failure(error)
        flow = Flow(
            kind="admin",
            tenant=request.path_params["tenant"],
            app=app.id,
            redirect_uri=redirect_uri,
            state=form.values.get("state"),
            scope=form.get("scope")[:_MAX_STATE_CHARS],
        )
        try:
            return await self._go_on(request, flow, await self._user(request, flow))
        except OAuthError as error:
            return self._back(flow, _error_fields(error)) if redirect_uri else _failure(error)

    async def _app(self, form: Form) -> App:
        app = (
            await self.authority.accounts.get(App, form.get("client_id").lower()[:100])
            if form.get("client_id")
            else None
        )
        if app is None:
            raise aadsts.unknown_app(form.get("client_id"), "of this server")
        return app

    # ------------------------------------------------------------ devices

    async def device_page(self, request: Request) -> Response:
        """GET shows the field, POST takes the code. Guessing codes is throttled like guessing passwords."""
        if request.method == "GET":
            return pages.device_code(code=request.query_params.get("user_code", "")[:20])
        address = client_address(request)
        account = f"device code from {address}"
        try:
            form = await _fields(request)
            await self.authority.throttle.check(account, address, known=False)
            device = await self.authority.grants.device(form.get("user_code")[:50])
            if device is None:
                await self.authority.throttle.failed(account, address, known=False)
                raise aadsts.device_unknown()
        except OAuthError as error:
            headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
            text = (
                error.text()
                if error.retry_after_s
                else "AADSTS70018: The code is not known or has expired. Check it and try again."
            )
            return pages.device_code(error=text, status=error.status, headers=headers)
        flow = Flow(
            kind="device",
            tenant=device.grant.tenant or "common",
            app=device.grant.app,
            scope=" ".join((*device.grant.scopes, *device.grant.oidc)),
            resource=device.grant.resource if not device.grant.scopes else "",
            user_code=device.user_code,
        )
        return await self._start_device(request, flow, await self._user(request, flow), None)

    async def _start_device(
        self, request: Request, flow: Flow, who: tuple[User, int] | None, session: str | None
    ) -> Response:
        try:
            response = await self._go_on(request, flow, who)
        except OAuthError as error:
            response = _failure(error)
        if session is not None:
            _set_cookie(response, SESSION_COOKIE, session, self.authority.settings.session_s)
        return response

    async def answer_device(self, request: Request) -> Response:
        """POST of the approval page."""
        authority = self.authority
        try:
            form, flow = await self._returned(request)
            who = await self._user(request, flow)
            if who is None:
                return await self._go_on(request, flow, None)
            grant = await self._device_grant(request, flow, who) if form.get("decision") == "accept" else None
            if not await authority.grants.answer_device(flow.user_code, grant):
                raise aadsts.device_expired()
        except OAuthError as error:
            return _failure(error)
        if grant is None:
            return pages.notice("Declined", "The device was not signed in. You can close this page.")
        return pages.notice("Approved", "You are signed in on your device. You can close this page.")

    async def _device_grant(self, request: Request, flow: Flow, who: tuple[User, int]) -> Grant:
        """The grant, after consenting to what the page said was not granted before."""
        authority, (user, auth_time) = self.authority, who
        app = await authority.accounts.get(App, flow.app)
        if app is None:
            raise aadsts.unknown_app(flow.app, flow.tenant)
        tenant = await authority.tenant(flow.tenant) or await self._tenant_of(user, app)
        await authority.account(user.id, tenant.id)
        resource, scope = authority.wanted(flow.scope, flow.resource, app)
        missing = await authority.missing_scopes(scope, tenant.id, app, user.id)
        actor = audit.Actor(app=app.id, app_name=app.name, user=user.id, upn=user.upn, name=user.name)
        address = client_address(request)
        if missing:
            if "SecurityAdministrator" not in user.roles[tenant.id] and not missing <= SELF_SCOPES:
                raise aadsts.consent_required(app.name, admin=True)
            await authority.accounts.grant(tenant.id, app.id, user.id, missing, actor=actor, address=address)
        await authority.audit(
            tenant.id,
            actor,
            "Approve device sign-in",
            targets=[audit.Target("Application", app.id, app.name)],
            address=address,
        )
        return Grant(
            tenant=tenant.id,
            app=app.id,
            user=user.id,
            resource=resource,
            scopes=await authority.granted(scope, tenant.id, app, user.id),
            oidc=scope.oidc,
            auth_time=auth_time,
            epoch=user.epoch,
        )

    # ------------------------------------------------------------ logout

    async def logout(self, request: Request) -> Response:
        """Ends the browser's sign-in. It leads on only to a redirect URI that some app has registered."""
        try:
            form = await _fields(request)
        except OAuthError as error:
            return _failure(error)
        session = request.cookies.get(SESSION_COOKIE)
        if session:
            await self.authority.grants.end_session(session)
        target = form.get("post_logout_redirect_uri")
        if target and await self._is_registered(target, form.get("client_id") or _audience(form.get("id_token_hint"))):
            state = form.get("state")
            parts = urlsplit(target)
            query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *([("state", state)] if state else [])])
            response: Response = RedirectResponse(urlunsplit(parts._replace(query=query)), 303)
        else:
            response = pages.notice("Signed out", "You are signed out of this server in this browser.")
        response.delete_cookie(SESSION_COOKIE, path="/", secure=True, httponly=True, samesite="lax")
        return response

    async def _is_registered(self, target: str, client_id: str) -> bool:
        if client_id:
            app = await self.authority.accounts.get(App, client_id.lower()[:100])
            return app is not None and match_redirect(target, app.redirect_uris) is not None
        return any(target in app.redirect_uris for app in await self.authority.accounts.every(App))


def client_address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _audience(token: str) -> str:
    """The client id in an id token, unchecked: it only picks whose redirect URIs are looked at."""
    try:
        claims = msgspec.json.decode(unb64(token.split(".")[1]), type=dict[str, object])
    except (ValueError, IndexError):
        return ""
    audience = claims.get("aud")
    return audience if isinstance(audience, str) else ""


def _oidc(flow: Flow, scope: Scope) -> tuple[str, ...]:
    """v1 has no scopes and always gives an id token and a refresh token."""
    return ("openid", "profile", "offline_access") if flow.version == "v1" else scope.oidc


async def _fields(request: Request) -> Form:
    """The query of a GET, the body of a POST."""
    if request.method == "GET":
        return parse_form(request.url.query.encode())
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return parse_form(bytes(body))


def _error_fields(error: OAuthError) -> dict[str, str]:
    return {"error": error.error, "error_description": error.text(), "error_uri": f"{aadsts.ERROR_PAGE}{error.code}"}


def _failure(error: OAuthError) -> Response:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
    status = error.status if error.status != 401 else 400
    return pages.notice("Sign-in is not possible", error.text(), status=status, error=True, headers=headers)


def _set_cookie(response: Response, name: str, value: str, seconds: int) -> None:
    response.set_cookie(name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="lax")
