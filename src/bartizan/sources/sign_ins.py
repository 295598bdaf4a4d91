"""What an identity provider says of a sign-in, made a Graph signIn: its words in Graph's places, nothing made up.

A source fills a `SignIn` with what its record holds and yields from `sign_in`:

    yield from sign_in(SignIn(provider="okta", id=uuid, at=at, upn=..., code=Code.WRONG_PASSWORD), evidence.observed)

Source: Microsoft Graph, resource signIn; Microsoft Entra, "Authentication and authorization error codes".
"""

import re
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from bartizan.extend import GraphObject
from bartizan.model.alert import Observed
from bartizan.model.countries import country_code
from bartizan.model.ids import stable_id
from bartizan.sources import entities as names
from bartizan.sources.evidence import Place

Kind: TypeAlias = Literal["interactiveUser", "nonInteractiveUser", "servicePrincipal", "managedIdentity"]
Risk: TypeAlias = Literal["none", "low", "medium", "high"]


class Code(IntEnum):
    """Entra's error codes: readers of signIns know these, whoever the provider was."""

    OK = 0
    FAILED = 50000
    UNKNOWN_USER = 50034
    LOCKED_OUT = 50053
    PASSWORD_EXPIRED = 50055
    DISABLED = 50057
    SESSION_INVALID = 50132
    FACTOR_REQUIRED = 50074
    FACTOR_NOT_ENROLLED = 50079
    NOT_ASSIGNED = 50105
    WRONG_PASSWORD = 50126
    FACTOR_FAILED = 500121  # wrong, refused by the user, or timed out
    WRONG_DEVICE = 53000
    BLOCKED = 53003  # by policy
    BLOCKED_FOR_RISK = 53004
    CONSENT_MISSING = 65001
    GRANT_EXPIRED = 70008
    WRONG_GRANT = 70000
    UNKNOWN_CLIENT = 700016
    WRONG_CLIENT_SECRET = 7000215


class Step(Struct, frozen=True):
    """One factor of a sign-in, by any vendor's name of it ("duo_push", "Password")."""

    method: str
    succeeded: bool | None = None
    detail: str | None = None


class SignIn(Struct, frozen=True, kw_only=True):
    """One attempt. Unset: the provider did not say it."""

    provider: str  # the source's name
    id: str  # the provider's own; of one that numbers its records, our id derives from it
    at: str | None  # wire text
    upn: str | None = None
    user_id: str | None = None
    display: str | None = None
    guest: bool = False
    principal_id: str | None = None  # of a service principal
    principal_name: str | None = None
    kinds: Sequence[Kind] = ("interactiveUser",)
    app: str | None = None
    app_id: str | None = None
    resource: str | None = None
    address: str | None = None
    place: Place = Place()
    asn: int | None = None
    client: str | None = None  # clientAppUsed where it is no browser
    user_agent: str | None = None
    browser: str | None = None
    os: str | None = None
    device_id: str | None = None
    device: str | None = None
    managed: bool | None = None
    compliant: bool | None = None
    code: int = Code.OK
    reason: str | None = None
    factors: bool = False  # more than one factor was asked for
    steps: Sequence[Step] = ()
    protocol: str | None = None  # in any words of the provider's ("openid-connect", "password grant")
    policy: Literal["success", "failure", "notApplied"] = "notApplied"  # conditional access
    policies: Sequence[str] = ()  # those that decided so
    risk: Risk = "none"
    risk_types: Sequence[str] = ()
    correlation_id: str | None = None
    session_id: str | None = None


# A vendor's name of a factor, its letters alone -> the word in Entra's sign-in log, at the first that it begins with.
_METHODS = {
    "password": "Password",
    "pwd": "Password",
    "duopush": "Mobile app notification",
    "push": "Mobile app notification",
    "verifiedpush": "Mobile app notification",
    "oktaverifypush": "Mobile app notification",
    "sms": "Text message",
    "text": "Text message",
    "phone": "Phone call",
    "voice": "Phone call",
    "call": "Phone call",
    "totp": "OATH verification code",
    "otp": "OATH verification code",
    "passcode": "OATH verification code",
    "duomobilepasscode": "OATH verification code",
    "hardwaretoken": "OATH verification code",
    "googleauthenticator": "OATH verification code",
    "webauthn": "FIDO2 security key",
    "fido": "FIDO2 security key",
    "securitykey": "FIDO2 security key",
    "u2f": "FIDO2 security key",
    "yubikey": "FIDO2 security key",
    "passkey": "Passkey (device-bound)",
    "remember": "Previously satisfied",
    "trusteddevice": "Previously satisfied",
}
# Words of a provider's reason that say why; the first that is there counts.
_WHY: tuple[tuple[re.Pattern[str], int], ...] = tuple(
    (re.compile(words, re.IGNORECASE), code)
    for words, code in (
        (r"\block(?:ed|out)?\b|temporarily|too many", Code.LOCKED_OUT),
        (r"suspend|inactive|deactivated|\bdisabled", Code.DISABLED),
        (r"password.{0,20}expired|expired.{0,20}password", Code.PASSWORD_EXPIRED),
        (r"not.found|no such user|unknown user|invalid user\b|does not exist", Code.UNKNOWN_USER),
        (r"\b[th]?otp\b|\bmfa\b|2fa|factor|push", Code.FACTOR_FAILED),
        (r"not (?:authorized|allowed|assigned)|no access", Code.NOT_ASSIGNED),
        (r"polic|conditional|ip address|blocked", Code.BLOCKED),
    )
)
# Words in a provider's name of a protocol or grant -> Graph's member; the first that is there counts.
_PROTOCOLS = {
    "saml": "saml20",
    "wsfed": "wsFederation",
    "device": "deviceCode",
    "refresh": "refreshTokenGrant",
    "clientcredentials": "clientCredentials",
    "password": "ropc",
    "ropc": "ropc",
    "kerberos": "kerberos",
    "openid": "oAuth2",
    "oidc": "oAuth2",
    "oauth": "oAuth2",
    "authorizationcode": "oAuth2",
}
_LETTERS = re.compile(r"[^a-z0-9]+")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_MAX_ASN = 2**31  # Graph's Int32
_MAX_STEPS = 20


def sign_in(said: SignIn, entities: tuple[Observed, ...]) -> Iterator[GraphObject]:
    """The signIn; none without a time, by which Graph keeps them."""
    if said.at is None:
        return
    body = _some(
        id=sign_in_id(said.provider, said.id),
        createdDateTime=said.at,
        **_who(said),
        **_where(said),
        **_how(said),
        **_risk(said),
        status=_some(errorCode=int(said.code), **_words(said)),
    )
    yield GraphObject("signIns", "microsoft.graph.signIn", body, entities)


def why(reason: str | None, otherwise: int = Code.WRONG_PASSWORD) -> int:
    """The code of a failure that a provider tells in words."""
    text = (reason or "")[:1_000]
    return next((code for words, code in _WHY if words.search(text)), otherwise)


def sign_in_id(provider: str, given: str) -> str:
    """A GUID as it is; of anything else, which two providers may both use, one that derives from both."""
    return given.lower() if _GUID.fullmatch(given) else stable_id(provider, given)


def method(word: str) -> str:
    """A factor as Entra calls it; the vendor's word where it is another."""
    folded = _LETTERS.sub("", word.lower())
    return next((ours for theirs, ours in _METHODS.items() if folded.startswith(theirs)), word)


def _protocol(word: str | None) -> str | None:
    folded = _LETTERS.sub("", (word or "").lower())
    return next((ours for theirs, ours in _PROTOCOLS.items() if theirs in folded), None)


def _who(said: SignIn) -> dict[str, Any]:
    person = said.principal_id is None and said.principal_name is None
    return _some(
        userDisplayName=said.display,
        userPrincipalName=said.upn,
        userId=said.user_id or said.upn,
        userType=("guest" if said.guest else "member") if person else None,
        servicePrincipalId=said.principal_id,
        servicePrincipalName=said.principal_name,
        isInteractive="interactiveUser" in said.kinds,
        signInEventTypes=list(said.kinds),
        correlationId=said.correlation_id,
        sessionId=said.session_id,
    )


def _where(said: SignIn) -> dict[str, Any]:
    point = _some(latitude=said.place.latitude, longitude=said.place.longitude)
    return _some(
        ipAddress=names.address(said.address),
        autonomousSystemNumber=said.asn if said.asn is not None and 0 <= said.asn < _MAX_ASN else None,
        location=_some(
            city=said.place.city,
            state=said.place.state,
            countryOrRegion=country_code(said.place.country) or said.place.country,
            geoCoordinates=point if len(point) == 2 else None,
        ),
        deviceDetail=_some(
            deviceId=said.device_id or "",
            displayName=said.device or "",
            operatingSystem=said.os,
            browser=said.browser,
            isManaged=said.managed,
            isCompliant=said.compliant,
        ),
    )


def _how(said: SignIn) -> dict[str, Any]:
    by_browser = said.browser or (said.client is None and (said.user_agent or "").startswith("Mozilla/"))
    steps = said.steps[:_MAX_STEPS]
    return _some(
        appDisplayName=said.app,
        appId=said.app_id,
        resourceDisplayName=said.resource,
        clientAppUsed="Browser" if by_browser else said.client or "Other clients",
        userAgent=said.user_agent,
        authenticationProtocol=_protocol(said.protocol),
        authenticationRequirement="multiFactorAuthentication" if said.factors else "singleFactorAuthentication",
        authenticationDetails=[
            _some(
                authenticationMethod=method(step.method),
                authenticationMethodDetail=step.method if method(step.method) != step.method else None,
                authenticationStepDateTime=said.at,
                authenticationStepResultDetail=step.detail,
                succeeded=step.succeeded,
            )
            for step in steps
        ]
        or None,
        conditionalAccessStatus=said.policy,
        appliedConditionalAccessPolicies=[
            {"displayName": name, "result": said.policy} for name in said.policies[:_MAX_STEPS]
        ]
        or None,
    )


def _risk(said: SignIn) -> dict[str, Any]:
    return {
        "riskLevelDuringSignIn": said.risk,
        "riskLevelAggregated": said.risk,
        "riskState": "none" if said.risk == "none" else "atRisk",
        "riskDetail": "none",
        "riskEventTypes_v2": list(said.risk_types),
    }


def _words(said: SignIn) -> dict[str, Any]:
    return _some(**{"failureReason" if said.code else "additionalDetails": said.reason})


def _some(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
