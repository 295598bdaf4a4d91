"""The errors of the authority: OAuth's word, Entra's number, and what went wrong.

Clients decide by them: `error` in code, AADSTS numbers in logs and in what they show.

Source: Microsoft Entra authentication and authorization error codes; RFC 6749, section 5.2; RFC 8628, section 3.5.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

ERROR_PAGE = "https://login.microsoftonline.com/error?code="


class OAuthError(Exception):
    """`description` never holds a secret. `retry_after_s` is set where the answer is 429. `alarm`: belongs into the
    audit log, since who has proved nothing cannot bring it about as often as he likes. `stranger`: the client id that
    was sent, where no app has it."""

    def __init__(
        self,
        error: str,
        code: int,
        description: str,
        *,
        status: int = 400,
        retry_after_s: int | None = None,
        alarm: bool = False,
    ) -> None:
        super().__init__(description)
        self.error = error
        self.code = code
        self.description = description
        self.status = status
        self.retry_after_s = retry_after_s
        self.alarm = alarm
        self.stranger = ""

    def text(self) -> str:
        return f"AADSTS{self.code}: {self.description}"

    def body(self, *, correlation_id: str | None = None, now: datetime | None = None) -> dict[str, Any]:
        now = now or datetime.now(UTC)
        trace, correlation = str(uuid4()), correlation_id or str(uuid4())
        stamp = now.strftime("%Y-%m-%d %H:%M:%SZ")
        return {
            "error": self.error,
            "error_description": f"{self.text()} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            "error_codes": [self.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"{ERROR_PAGE}{self.code}",
        }


def missing(parameter: str, why: str = "") -> OAuthError:
    text = f"The request body must contain the following parameter: '{parameter}'. {why}"
    return OAuthError("invalid_request", 900144, text.rstrip())


def bad_request(why: str) -> OAuthError:
    return OAuthError("invalid_request", 9002313, f"Invalid request. {why}")


def unknown_tenant(tenant: str) -> OAuthError:
    return OAuthError(
        "invalid_tenant",
        90002,
        f"Tenant '{tenant[:100]}' not found. Check that the id or domain is one of this server's tenants.",
    )


def no_tenant() -> OAuthError:
    return OAuthError(
        "invalid_request",
        50059,
        "No tenant-identifying information found in either the request or implied by any provided credentials. "
        "Use the tenant's id or domain in place of common or organizations.",
    )


def unknown_app(app: str, tenant: str) -> OAuthError:
    return OAuthError(
        "unauthorized_client",
        700016,
        f"Application with identifier '{app[:100]}' was not found in the directory '{tenant[:100]}'. "
        "It was not registered there, or nobody in that tenant has consented to it.",
    )


def disabled_app(app: str) -> OAuthError:
    return OAuthError("unauthorized_client", 7000112, f"Application '{app}' is disabled.")


def bad_secret(app: str) -> OAuthError:
    return OAuthError(
        "invalid_client",
        7000215,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, "
        f"not the client secret ID, for a secret added to app '{app}'.",
        status=401,
    )


def expired_secret(app: str) -> OAuthError:
    return OAuthError(
        "invalid_client", 7000222, f"The provided client secret keys for app '{app}' are expired.", status=401
    )


def no_credentials() -> OAuthError:
    return OAuthError(
        "invalid_client",
        7000218,
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        status=401,
    )


def bad_assertion(why: str, code: int = 700027) -> OAuthError:
    return OAuthError("invalid_client", code, f"Client assertion failed validation. {why}", status=401)


def expired_assertion() -> OAuthError:
    return bad_assertion("The assertion is not within its valid time range.", 700024)


def unsupported_grant(grant: str) -> OAuthError:
    hint = " The setting password_grant of this server allows it." if grant == "password" else ""
    return OAuthError(
        "unsupported_grant_type", 70003, f"The app requested an unsupported grant type '{grant[:50]}'.{hint}"
    )


def bad_scope(scope: str, why: str = "isn't valid") -> OAuthError:
    return OAuthError(
        "invalid_scope", 70011, f"The provided value for the input parameter 'scope' {why}: '{scope[:200]}'."
    )


def not_default_scope(scope: str) -> OAuthError:
    return OAuthError(
        "invalid_scope",
        1002012,
        f"The provided value for scope {scope[:200]} is not valid. Client credential flows must have "
        "a scope value with "
        "/.default suffixed to the resource identifier (application ID URI).",
    )


def unknown_scope(scope: str) -> OAuthError:
    return OAuthError(
        "invalid_client", 650053, f"The application asked for scope '{scope[:200]}' that doesn't exist on the resource."
    )


def unknown_resource(resource: str) -> OAuthError:
    return OAuthError(
        "invalid_resource",
        500011,
        f"The resource principal named {resource[:200]} was not found. Use "
        "https://graph.microsoft.com or this server's address.",
    )


def bad_grant() -> OAuthError:
    return OAuthError(
        "invalid_grant",
        70000,
        "The provided grant is invalid, malformed, was issued to another client, or has been revoked.",
    )


def expired_code() -> OAuthError:
    return OAuthError(
        "invalid_grant", 70008, "The provided authorization code or refresh token has expired. Sign in again."
    )


def used_code(*, alarm: bool) -> OAuthError:
    return OAuthError(
        "invalid_grant",
        54005,
        "OAuth2 Authorization code was already redeemed, please retry with a new valid code.",
        alarm=alarm,
    )


def revoked_grant(*, alarm: bool = False) -> OAuthError:
    return OAuthError(
        "invalid_grant",
        50173,
        "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
        alarm=alarm,
    )


def bad_verifier() -> OAuthError:
    return OAuthError(
        "invalid_grant",
        501481,
        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    )


def pkce_needed() -> OAuthError:
    return OAuthError(
        "invalid_request", 9002325, "Proof Key for Code Exchange is required, with code_challenge_method S256."
    )


def redirect_mismatch(redirect_uri: str) -> OAuthError:
    return OAuthError(
        "invalid_request",
        50011,
        f"The redirect URI '{redirect_uri[:200]}' specified in the request does not match the "
        "redirect URIs configured for the application.",
    )


def redirect_differs() -> OAuthError:
    return OAuthError(
        "invalid_grant", 500112, "The reply address does not match the reply address provided when requesting the code."
    )


def bad_password() -> OAuthError:
    return OAuthError("invalid_grant", 50126, "Error validating credentials due to invalid username or password.")


def locked(retry_after_s: int) -> OAuthError:
    return OAuthError(
        "invalid_grant",
        50053,
        f"Sign-in was tried too many times with wrong credentials. Try again in {retry_after_s} seconds.",
        status=429,
        retry_after_s=retry_after_s,
    )


def disabled_user() -> OAuthError:
    return OAuthError("invalid_grant", 50057, "The user account is disabled.")


def not_in_tenant(upn: str, tenant: str) -> OAuthError:
    return OAuthError(
        "invalid_grant",
        50020,
        f"User account '{upn[:100]}' does not exist in tenant '{tenant}' and cannot access the application there.",
    )


def login_required() -> OAuthError:
    return OAuthError("login_required", 50058, "A silent sign-in request was sent but no user is signed in.")


def consent_required(app: str, *, admin: bool = False) -> OAuthError:
    if admin:
        return OAuthError(
            "consent_required",
            90094,
            f"The permissions that '{app}' asks for can only be granted by a SecurityAdministrator of the tenant.",
        )
    return OAuthError(
        "invalid_grant",
        65001,
        f"The user or administrator has not consented to use the application '{app}'. Send an interactive request.",
    )


def access_denied() -> OAuthError:
    return OAuthError("access_denied", 65004, "The user declined to consent to access the app.")


def unsupported_response_type(kind: str) -> OAuthError:
    return OAuthError(
        "unsupported_response_type",
        700051,
        f"response_type '{kind[:50]}' is not enabled; use code, id_token or code id_token.",
    )


def device_pending() -> OAuthError:
    return OAuthError(
        "authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling."
    )


def device_slow_down() -> OAuthError:
    return OAuthError("slow_down", 50196, "Asked too often. Wait five seconds more between two questions.")


def device_declined() -> OAuthError:
    return OAuthError("authorization_declined", 70019, "The user declined the request of the device.")


def device_expired() -> OAuthError:
    return OAuthError(
        "expired_token", 70020, "The provided value for the input parameter 'device_code' is not valid: it has expired."
    )


def device_unknown() -> OAuthError:
    return OAuthError(
        "bad_verification_code", 70018, "The provided value for the input parameter 'device_code' is not valid."
    )


def unknown_instance(host: str) -> OAuthError:
    return OAuthError("invalid_instance", 50049, f"Unknown or invalid instance '{host[:100]}'.")
