"""Where people take part: the authorization endpoint, sign-in, consent, logout.

Source: RFC 6749, section 4.1; OpenID Connect Core 1.0, section 3; RFC 9700 (security best current practice).
"""

import hashlib
import re
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bartizan.auth import aadsts, audit, pages
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.accounts import EVERYONE, App, Tenant, User
from bartizan.auth.authority import SELF_SCOPES, Authority
from bartizan.auth.flow import (
    BROWSER_COOKIE,
    FLOW_S,
    SESSION_COOKIE,
    Flow,
    back,
    back_address,
    client_address,
    error_fields,
    failure,
    match_redirect,
    read_fields,
    returned,
    seal,
    set_cookie,
)
from bartizan.auth.forms import Form, Scope
from bartizan.auth.grants import Grant
from bartizan.auth.keys import b64, unb64
from bartizan.auth.proof import Attempt, by_password
from bartizan.auth.verify import epochs

_MAX_STATE_CHARS = 8192


class SignIn:
    def __init__(self, authority: Authority) -> None:
        self.authority = authority

    # ------------------------------------------------------------ the authorization endpoint

    async def authorize(self, request: Request, version: str) -> Response:
        """A wrong client or redirect URI is shown here; everything else goes back to the client (RFC 6749, 4.1.2.1)."""
        try:
            form = await read_fields(request)
            app, redirect_uri = await self._client(form)
        except OAuthError as error:
            return failure(error)
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
            return await self.go_on(request, flow, await self.user(request, flow))
        except OAuthError as error:
            return back(flow, error_fields(error))

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

    async def user(self, request: Request, flow: Flow) -> tuple[User, int] | None:
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

    async def go_on(
        self, request: Request, flow: Flow, who: tuple[User, int] | None, *, agreed: bool = False
    ) -> Response:
        """The next page, or the answer to the client."""
        app = await self.authority.accounts.get(App, flow.app)
        if app is None:
            raise aadsts.unknown_app(flow.app, flow.tenant)
        await self.authority.tenant(flow.tenant)
        # What cannot be granted is refused before anybody types a password.
        resource, scope = self.authority.wanted(flow.scope if flow.kind != "admin" else "", flow.resource, app)
        if who is None:
            if flow.prompt == "none":
                raise aadsts.login_required()
            return self._sign_in_page(request, flow, app)
        user, auth_time = who
        tenant = await self.tenant_of(flow, user, app)
        try:
            await self.authority.account(user.id, tenant.id)
        except OAuthError as error:
            if flow.prompt == "none":
                raise
            return self._sign_in_page(request, flow, app, error=error)  # as somebody else
        if flow.kind == "admin":
            return self._admin_page(request, flow, app, tenant, user)
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
            epochs=epochs(tenant, app, user),
        )
        return await self._answer(request, flow, grant, app, tenant, user)

    async def tenant_of(self, flow: Flow, user: User, app: App) -> Tenant:
        """The one that the path names, else one of the account's; to make an app known is what admin consent is for."""
        return await self.authority.tenant_of(flow.tenant, user, app, unknown=flow.kind == "admin")

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
        return back(flow, fields)

    # ------------------------------------------------------------ pages

    def _sign_in_page(
        self, request: Request, flow: Flow, app: App, *, username: str = "", error: OAuthError | None = None
    ) -> Response:
        sealed, browser = seal(self.authority, request, flow)
        response = pages.sign_in(
            sealed,
            app=app.name,
            username=username or flow.login_hint,
            error=error.text() if error else "",
            status=error.status if error else 200,
            target=pages.form_target(flow.redirect_uri) if flow.redirect_uri else "",
            headers={"Retry-After": str(error.retry_after_s)} if error and error.retry_after_s else None,
        )
        set_cookie(response, BROWSER_COOKIE, browser, FLOW_S)
        return response

    def _consent_page(
        self, request: Request, flow: Flow, app: App, tenant: Tenant, user: User, scope: Scope, missing: frozenset[str]
    ) -> Response:
        if flow.prompt == "none":
            raise aadsts.consent_required(app.name)
        admin = "SecurityAdministrator" in user.roles[tenant.id]
        if not admin and not missing <= SELF_SCOPES:
            error = aadsts.consent_required(app.name, admin=True)
            back = back_address(flow, error_fields(error))
            return pages.notice(
                "Approval needed", error.text(), status=403, error=True, link=(back, "Return to the app")
            )
        sealed, browser = seal(self.authority, request, flow)
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
        set_cookie(response, BROWSER_COOKIE, browser, FLOW_S)
        return response

    def _admin_page(self, request: Request, flow: Flow, app: App, tenant: Tenant, user: User) -> Response:
        if "SecurityAdministrator" not in user.roles[tenant.id]:
            raise aadsts.consent_required(app.name, admin=True)
        sealed, browser = seal(self.authority, request, flow)
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
        set_cookie(response, BROWSER_COOKIE, browser, FLOW_S)
        return response

    def _device_page(
        self, request: Request, flow: Flow, app: App, tenant: Tenant, user: User, scope: Scope, missing: frozenset[str]
    ) -> Response:
        if missing and not missing <= SELF_SCOPES and "SecurityAdministrator" not in user.roles[tenant.id]:
            raise aadsts.consent_required(app.name, admin=True)
        sealed, browser = seal(self.authority, request, flow)
        names = [f"{s} (not granted before)" if s in missing else s for s in sorted({*scope.names, *missing})]
        code = f"{flow.user_code[:4]}-{flow.user_code[4:]}"
        response = pages.device_approval(
            sealed, app=app.name, tenant=tenant.name, upn=user.upn, code=code, scopes=names or ["Sign you in"]
        )
        set_cookie(response, BROWSER_COOKIE, browser, FLOW_S)
        return response

    # ------------------------------------------------------------ forms that come back

    async def sign_in(self, request: Request) -> Response:
        """POST of user name and password."""
        try:
            form, flow = await returned(self.authority, request)
            app = await self.authority.accounts.get(App, flow.app)
            if app is None:
                raise aadsts.unknown_app(flow.app, flow.tenant)
        except OAuthError as error:
            return failure(error)
        username = form.get("username")
        try:
            attempt = Attempt(flow.tenant, flow.app, username, client_address(request))
            user = await by_password(self.authority, attempt, form.values.get("password", ""))
        except OAuthError as error:
            return self._sign_in_page(request, flow, app, username=username, error=error)
        session = await self.authority.grants.add_session(user.id, user.epoch)
        try:
            response = await self.go_on(request, flow, (user, int(self.authority.clock())))
        except OAuthError as error:
            response = back(flow, error_fields(error))
        set_cookie(response, SESSION_COOKIE, session, self.authority.settings.session_s)
        return response

    async def consent(self, request: Request) -> Response:
        """POST of the consent page."""
        try:
            form, flow = await returned(self.authority, request)
        except OAuthError as error:
            return failure(error)
        try:
            who = await self.user(request, replace(flow, prompt="", max_age_s=None))
            if who is None:
                return await self.go_on(request, replace(flow, prompt=""), None)
            if form.get("decision") != "accept":
                raise aadsts.access_denied()
            return await self._agreed(request, form, flow, who)
        except OAuthError as error:
            return back(flow, error_fields(error))

    async def _agreed(self, request: Request, form: Form, flow: Flow, who: tuple[User, int]) -> Response:
        authority, user = self.authority, who[0]
        app = await authority.accounts.get(App, flow.app)
        if app is None:
            raise aadsts.unknown_app(flow.app, flow.tenant)
        tenant = await self.tenant_of(flow, user, app)
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
            return back(flow, {"admin_consent": "True", "tenant": tenant.id, "scope": flow.scope})
        _, scope = authority.wanted(flow.scope, flow.resource, app)
        missing = await authority.missing_scopes(scope, tenant.id, app, user.id)
        if not admin and not missing <= SELF_SCOPES:
            raise aadsts.consent_required(app.name, admin=True)
        everyone = admin and form.get("everyone") == "1"
        wanted = missing | (frozenset(scope.names) if everyone else frozenset())
        if wanted:
            subject = EVERYONE if everyone else user.id
            await authority.accounts.grant(tenant.id, app.id, subject, wanted, actor=actor, address=address)
        return await self.go_on(request, flow, who, agreed=True)

    async def admin_consent(self, request: Request) -> Response:
        try:
            form = await read_fields(request)
            app, redirect_uri = await self._client(form) if form.get("redirect_uri") else (await self._app(form), "")
        except OAuthError as error:
            return failure(error)
        flow = Flow(
            kind="admin",
            tenant=request.path_params["tenant"],
            app=app.id,
            redirect_uri=redirect_uri,
            state=form.values.get("state"),
            scope=form.get("scope")[:_MAX_STATE_CHARS],
        )
        try:
            return await self.go_on(request, flow, await self.user(request, flow))
        except OAuthError as error:
            return back(flow, error_fields(error))

    async def _app(self, form: Form) -> App:
        app = (
            await self.authority.accounts.get(App, form.get("client_id").lower()[:100])
            if form.get("client_id")
            else None
        )
        if app is None:
            raise aadsts.unknown_app(form.get("client_id"), "of this server")
        return app

    # ------------------------------------------------------------ logout

    async def logout(self, request: Request) -> Response:
        """Ends the browser's sign-in. It leads on only to a redirect URI that some app has registered."""
        try:
            form = await read_fields(request)
        except OAuthError as error:
            return failure(error)
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
