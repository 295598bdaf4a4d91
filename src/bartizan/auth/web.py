"""The authority's addresses: discovery, keys, tokens, device codes, user info, and the pages of `signin`.

Source: OpenID Connect Discovery 1.0, RFC 8414; Microsoft identity platform v2.0 and v1.0 endpoints; Azure
`/metadata/endpoints`.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from bartizan.auth import aadsts
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.accounts import Tenant, User
from bartizan.auth.authority import GRAPH, Ask, Authority
from bartizan.auth.devices import Devices
from bartizan.auth.flow import client_address
from bartizan.auth.forms import MAX_BODY_BYTES, OIDC_SCOPES, Form, parse_form, parse_multipart
from bartizan.auth.grants import Grant
from bartizan.auth.signin import SignIn
from bartizan.errors import BartizanError, Unavailable
from bartizan.settings import Settings

Endpoint = Callable[[Request], Awaitable[Response]]

_log = structlog.get_logger(__name__)
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CROSS_ORIGIN = {
    "Access-Control-Allow-Origin": "*"
}  # browser apps read discovery, keys and tokens; no cookie is involved


class _Place(Route):
    """Found in any letter case and with slashes too many, as Entra's are: clients join an address of their setting
    with a path of their own."""

    def __init__(self, path: str, endpoint: Endpoint, *, methods: list[str]) -> None:
        super().__init__(path, endpoint, methods=methods)
        self.path_regex = re.compile(self.path_regex.pattern, re.IGNORECASE)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http":
            scope = {**scope, "path": "/" + "/".join(part for part in scope["path"].split("/") if part)}
        return super().matches(scope)


class Web:
    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.settings: Settings = authority.settings

    def base(self, request: Request) -> str:
        return self.settings.base(request.headers.get("host"))

    # ------------------------------------------------------------ discovery

    def discovery(self, version: str) -> Endpoint:
        async def answer(request: Request) -> Response:
            reference = request.path_params["tenant"]
            tenant = await self.authority.tenant(reference)
            return _json(self._document(self.base(request), reference, tenant, version), headers=_CROSS_ORIGIN)

        return answer

    def _document(self, base: str, reference: str, tenant: Tenant | None, version: str) -> dict[str, Any]:
        """For common and organizations the issuer has a place for the tenant's id, which MSAL fills in."""
        here = f"{base}/{tenant.id if tenant else reference.lower()}"
        oauth = f"{here}/oauth2/v2.0" if version == "v2" else f"{here}/oauth2"
        issuer = tenant.id if tenant else "{tenantid}"
        return {
            "issuer": f"{base}/{issuer}/v2.0" if version == "v2" else f"{base}/{issuer}/",
            "authorization_endpoint": f"{oauth}/authorize",
            "token_endpoint": f"{oauth}/token",
            "device_authorization_endpoint": f"{oauth}/devicecode",
            "end_session_endpoint": f"{here}/oauth2/v2.0/logout",
            "jwks_uri": f"{here}/discovery/v2.0/keys",
            "userinfo_endpoint": f"{base}/oidc/userinfo",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS256", "PS256"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "response_types_supported": ["code", "id_token", "code id_token"],
            "grant_types_supported": [
                "authorization_code",
                "refresh_token",
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:device_code",
                *(["password"] if self.settings.password_grant else []),
            ],
            "code_challenge_methods_supported": ["S256"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": list(OIDC_SCOPES),
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "preferred_username", "name",
                                 "tid", "ver", "c_hash", "email", "oid"],
            "request_uri_parameter_supported": False,
            "http_logout_supported": False,
            "frontchannel_logout_supported": False,
            "tenant_region_scope": None,
            "cloud_instance_name": urlsplit(base).netloc,
            "cloud_graph_host_name": urlsplit(base).netloc,
            "msgraph_host": urlsplit(base).netloc,
        }  # fmt: skip

    async def keys(self, request: Request) -> Response:
        if request.path_params["tenant"].lower() not in ("common", "organizations"):
            await self.authority.tenant(request.path_params["tenant"])
        # Short, so that a withdrawn key is soon gone from caches; new keys are published a day before they sign.
        return _json(await self.authority.keys.jwks(), headers={**_CROSS_ORIGIN, "Cache-Control": "max-age=300"})

    async def realm(self, request: Request) -> Response:
        """MSAL asks it before it hands a password over. The same for every name: whether there is such an account is
        for the password to show."""
        domain = request.path_params["name"].rpartition("@")[2][:256]
        host = urlsplit(self.base(request)).netloc
        return _json(
            {
                "ver": "1.0",
                "account_type": "Managed",
                "domain_name": domain,
                "cloud_instance_name": host,
                "cloud_audience_urn": "urn:federation:MicrosoftOnline",
            }
        )

    async def instance(self, request: Request) -> Response:
        """Tells MSAL that this host is a good one to ask, and its other names."""
        asked = urlsplit(request.query_params.get("authorization_endpoint", ""))
        base = self.base(request)
        if asked.netloc and asked.netloc.lower() not in self.settings.netlocs:
            raise aadsts.unknown_instance(asked.netloc)
        reference = asked.path.strip("/").split("/")[0] or "common"
        host = asked.netloc.lower() or urlsplit(base).netloc
        return _json(
            {
                "tenant_discovery_endpoint": f"{base}/{reference}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            },
            headers=_CROSS_ORIGIN,
        )

    async def metadata(self, request: Request) -> Response:
        """Where everything is, for clients that take one address: all of it is here."""
        base = self.base(request)
        netloc = urlsplit(base).netloc
        return _json(
            {
                "name": "Bartizan",
                "portal": base,
                "authentication": {
                    "loginEndpoint": base,
                    "audiences": [base, GRAPH],
                    "tenant": "common",
                    "identityProvider": "AAD",
                },
                "microsoftGraphResourceId": f"{base}/",
                "graph": f"{base}/",
                "graphAudience": f"{base}/",
                "resourceManager": f"{base}/",
                "gallery": f"{base}/",
                "batch": f"{base}/",
                "media": f"{base}/",
                "sqlManagement": f"{base}/",
                "activeDirectoryDataLake": f"{base}/",
                "logAnalyticsResourceId": base,
                "appInsightsResourceId": base,
                "vmImageAliasDoc": "",
                "suffixes": dict.fromkeys(("acrLoginServer", "azureDataLakeStoreFileSystem", "keyVaultDns", "mhsmDns",
                                 "sqlServerHostname", "storage", "storageSyncEndpointSuffix", "synapseAnalytics"),
                    netloc,
                ),
            }
        )  # fmt: skip

    # ------------------------------------------------------------ tokens

    def token(self, version: str) -> Endpoint:
        async def answer(request: Request) -> Response:
            ask = Ask(
                tenant=request.path_params["tenant"],
                form=await _body(request, "grant_type"),
                authorization=_basic(request),
                address=client_address(request),
                base=self.base(request),
                version=version,
                correlation_id=_correlation(request),
            )
            return _json(await self.authority.token(ask), headers={**_NO_STORE, **_CROSS_ORIGIN})

        return answer

    def device_code(self, version: str) -> Endpoint:
        async def answer(request: Request) -> Response:
            posted = request.method == "POST"
            form = await _body(request, "client_id") if posted else parse_form(request.url.query.encode())
            reference = request.path_params["tenant"]
            tenant = await self.authority.tenant(reference)
            client = await self.authority.clients.identify(
                form, _basic(request), address=client_address(request), audiences=()
            )
            if not client.confidential and not client.app.public:
                raise aadsts.no_credentials()
            if tenant is not None and await self.authority.accounts.consented(tenant.id, client.app.id) is None:
                raise aadsts.unknown_app(client.app.id, reference)
            audience, scope = self.authority.wanted(form.get("scope"), form.get("resource"), client.app)
            oidc = scope.oidc if version == "v2" else ("openid", "profile", "offline_access")
            names = (f"{audience}/.default",) if scope.default else scope.names
            grant = Grant(tenant.id if tenant else "", client.app.id, "", audience, names, oidc)
            code, device = await self.authority.grants.add_device(grant)
            page, life_s = f"{self.base(request)}/devicelogin", self.settings.device_code_s
            shown = f"{device.user_code[:4]}-{device.user_code[4:]}"
            text = f"To sign in, use a web browser to open the page {page} and enter the code {shown} to authenticate."
            fields: dict[str, Any] = {
                "user_code": shown,
                "device_code": code,
                "verification_uri": page,
                "message": text,
            }
            if version == "v1":
                fields |= {"verification_url": page, "expires_in": str(life_s), "interval": str(device.interval)}
            else:
                fields |= {"expires_in": life_s, "interval": device.interval}
            return _json(fields, headers={**_NO_STORE, **_CROSS_ORIGIN})

        return answer

    async def userinfo(self, request: Request) -> Response:
        caller = await self.authority.verifier.authenticate(
            request.headers.get("authorization"), host=request.headers.get("host")
        )
        user = await self.authority.accounts.get(User, caller.user) if caller.user else None
        if user is None or "openid" not in caller.permissions:
            return _json({"error": "insufficient_scope"}, status=403)
        return _json(
            {"sub": user.id, "name": user.name, "preferred_username": user.upn, "email": user.upn}, headers=_NO_STORE
        )


def routes(authority: Authority) -> list[Route]:
    """All of them; mount them before anything that takes any first path segment."""
    web, pages = Web(authority), SignIn(authority)
    devices = Devices(pages)

    def authorize(version: str) -> Endpoint:
        return lambda request: pages.authorize(request, version)

    found: list[Route] = [
        _Place("/common/discovery/instance", _guarded(web.instance), methods=["GET"]),
        _Place("/common/userrealm/{name}", _guarded(web.realm), methods=["GET"]),
        _Place("/metadata/endpoints", _guarded(web.metadata), methods=["GET"]),
        _Place("/oidc/userinfo", _guarded(web.userinfo), methods=["GET", "POST"]),
        _Place("/signin", _guarded(pages.sign_in), methods=["POST"]),
        _Place("/signin/consent", _guarded(pages.consent), methods=["POST"]),
        _Place("/devicelogin", _guarded(devices.device_page), methods=["GET", "POST"]),
        _Place("/devicelogin/answer", _guarded(devices.answer_device), methods=["POST"]),
        _Place("/{tenant}/discovery/v2.0/keys", _guarded(web.keys), methods=["GET"]),
        _Place("/{tenant}/discovery/keys", _guarded(web.keys), methods=["GET"]),
        _Place("/{tenant}/adminconsent", _guarded(pages.admin_consent), methods=["GET"]),
        _Place("/{tenant}/v2.0/adminconsent", _guarded(pages.admin_consent), methods=["GET"]),
    ]
    for version, oauth, known in (("v2", "/oauth2/v2.0", "/v2.0"), ("v1", "/oauth2", "")):
        found += [
            _Place(
                f"/{{tenant}}{known}/.well-known/openid-configuration",
                _guarded(web.discovery(version)),
                methods=["GET"],
            ),
            _Place(f"/{{tenant}}{oauth}/authorize", _guarded(authorize(version)), methods=["GET", "POST"]),
            # GET with a form body: an archived relay of Cisco's does that. Credentials in the address are never read.
            _Place(f"/{{tenant}}{oauth}/token", _guarded(web.token(version)), methods=["GET", "POST"]),
            _Place(f"/{{tenant}}{oauth}/devicecode", _guarded(web.device_code(version)), methods=["GET", "POST"]),
            _Place(f"/{{tenant}}{oauth}/logout", _guarded(pages.logout), methods=["GET", "POST"]),
        ]
    return found


def _guarded(endpoint: Endpoint) -> Endpoint:
    """The edge of the authority: every error gets OAuth's shape."""

    async def answer(request: Request) -> Response:
        correlation = _correlation(request)
        try:
            response = await endpoint(request)
        except OAuthError as error:
            response = _oauth_error(error, correlation)
        except BartizanError as error:
            body = {"error": "temporarily_unavailable" if isinstance(error, Unavailable) else "invalid_request",
                    "error_description": error.message}  # fmt: skip
            response = _json(body, status=error.status, headers={**error.headers, **_NO_STORE})
        except Exception:  # noqa: BLE001 - the room's edge: logged, answered, served on
            _log.exception("authority failed", path=request.url.path)
            body = {
                "error": "server_error",
                "error_description": "AADSTS90033: A transient error has occurred. Try again.",
            }
            response = _json(body, status=500, headers=_NO_STORE)
        if correlation:
            response.headers["client-request-id"] = correlation
        return response

    return answer


def _oauth_error(error: OAuthError, correlation: str | None) -> Response:
    headers = {**_NO_STORE, **_CROSS_ORIGIN}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="bartizan"'
    return _json(error.body(correlation_id=correlation), status=error.status, headers=headers)


def _json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(body), status, media_type="application/json; charset=utf-8", headers=dict(headers or {})
    )


def _correlation(request: Request) -> str | None:
    """The client's own id, if it is one that can be echoed."""
    value = request.headers.get("client-request-id", "")
    return value if 0 < len(value) <= 64 and value.isascii() and value.replace("-", "").isalnum() else None


def _basic(request: Request) -> str:
    return request.headers.get("authorization", "")


async def _body(request: Request, first: str) -> Form:
    """A body that is no form holds no parameters for Entra ID: what it misses is the `first`."""
    whole = request.headers.get("content-type", "")
    kind = whole.partition(";")[0].strip().lower()
    if kind not in ("", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        raise aadsts.missing(first, f"The body must be application/x-www-form-urlencoded, not {kind[:80]}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            break
    return parse_multipart(whole, bytes(body)) if kind == "multipart/form-data" else parse_form(bytes(body))
