"""How users sign in: `users/{id}/authentication/methods` and its kin, read from the reports on registration; and
photos, of which none are kept.

Nothing here is stored for itself. What the report of today (userRegistrationDetails) says of a user is answered, else
what that of 2019 (credentialUserRegistrationDetails) says; where neither knows the user, or says that methods are
registered without naming them, the answer is 404 and not a list that would pass for "no second factor".

Source: Microsoft Graph, resources authenticationMethod, userRegistrationDetails (methodsRegistered) and
credentialUserRegistrationDetails (authMethods); the ids of passwords, phones and mail addresses are Graph's fixed ones.
"""

from typing import Any

from bartizan.api.directory import users
from bartizan.errors import NotFound
from bartizan.extend import BOTH, ActionCode, Answer, Context, scopes
from bartizan.model.edm import Version
from bartizan.model.ids import stable_id
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.draft import inner
from bartizan.store.interface import Query

_ALL = "UserAuthenticationMethod.Read.All UserAuthenticationMethod.ReadWrite.All"
_BASE = "microsoft.graph.authenticationMethod"

# Path behind authentication/ -> type of its methods.
_SETS = {
    "emailMethods": "emailAuthenticationMethod",
    "fido2Methods": "fido2AuthenticationMethod",
    "hardwareOathMethods": "hardwareOathAuthenticationMethod",
    "microsoftAuthenticatorMethods": "microsoftAuthenticatorAuthenticationMethod",
    "passwordMethods": "passwordAuthenticationMethod",
    "phoneMethods": "phoneAuthenticationMethod",
    "platformCredentialMethods": "platformCredentialAuthenticationMethod",
    "softwareOathMethods": "softwareOathAuthenticationMethod",
    "temporaryAccessPassMethods": "temporaryAccessPassAuthenticationMethod",
    "windowsHelloForBusinessMethods": "windowsHelloForBusinessAuthenticationMethod",
}
_OWN_SCOPES = {  # of a set alone; the others have none
    "emailMethods": "Email",
    "fido2Methods": "Passkey",
    "microsoftAuthenticatorMethods": "MicrosoftAuthApp",
    "passwordMethods": "Password",
    "phoneMethods": "Phone",
    "platformCredentialMethods": "PlatformCred",
    "softwareOathMethods": "SoftwareOATH",
    "windowsHelloForBusinessMethods": "WindowsHello",
}
_BETA_ONLY = ("hardwareOathMethods",)
_PASSWORD = ("passwordMethods", "28c10230-6103-485e-b985-444c60001490")
_MAIL = ("emailMethods", "3ddfcfc8-9383-446f-83cc-3ab9be4be18f")
_PHONES = {
    "mobile": "3179e48a-750b-4051-897c-87b9720928f7",
    "alternateMobile": "b6332ec1-7057-4abe-9331-3d72feddfe41",
    "office": "e37fc753-ff3b-4958-9484-eaa9425c82bc",
}

# Words of both reports, in lower case -> the set that such a method is in. Security questions and app passwords are no
# authentication methods in Graph.
_WORDS = {
    "appcode": "softwareOathMethods",
    "appnotification": "microsoftAuthenticatorMethods",
    "fido": "fido2Methods",
    "fido2": "fido2Methods",
    "fido2securitykey": "fido2Methods",
    "hardwareonetimepasscode": "hardwareOathMethods",
    "macossecureenclavekey": "platformCredentialMethods",
    "microsoftauthenticatorpasswordless": "microsoftAuthenticatorMethods",
    "microsoftauthenticatorpush": "microsoftAuthenticatorMethods",
    "onewaysms": "phoneMethods",
    "passkeydevicebound": "fido2Methods",
    "passkeydeviceboundauthenticator": "fido2Methods",
    "passkeydeviceboundwindowshello": "fido2Methods",
    "softwareonetimepasscode": "softwareOathMethods",
    "temporaryaccesspass": "temporaryAccessPassMethods",
    "windowshelloforbusiness": "windowsHelloForBusinessMethods",
}
_PHONE_WORDS = {
    "alternatemobilephone": "alternateMobile",
    "mobilephone": "mobile",
    "mobilesms": "mobile",
    "officephone": "office",
}
_REPORTS = (("userRegistrationDetails", "methodsRegistered"), ("credentialUserRegistrationDetails", "authMethods"))


def _named(user: str, word: str) -> tuple[str, dict[str, Any]] | None:
    """The set and the method that a word of a report stands for."""
    low = word.lower()
    if low in _PHONE_WORDS:
        phone = _PHONE_WORDS[low]
        return "phoneMethods", {"id": _PHONES[phone], "phoneType": phone}
    if low == "email":
        return _MAIL[0], {"id": _MAIL[1]}
    kind = _WORDS.get(low)
    return None if kind is None else (kind, {"id": stable_id("authentication method", user, kind)})


async def _methods(ctx: Context, id: str) -> list[tuple[str, dict[str, Any]]]:
    """(set, method) of a user, each once. NotFound where they are not known."""
    words = await _registered(ctx, id)
    found = {_PASSWORD: (_PASSWORD[0], {"id": _PASSWORD[1]})}
    for word in words:
        named = _named(id, word)
        if named is not None and (named[0] not in _BETA_ONLY or ctx.version == "beta"):
            found.setdefault((named[0], named[1]["id"]), named)
    return [(kind, {"@odata.type": f"#microsoft.graph.{_SETS[kind]}", **method}) for kind, method in found.values()]


async def _registered(ctx: Context, id: str) -> list[str]:
    user = await ctx.store.get(users.collection.name, id)
    upn = "" if user is None else str(inner(user).get("userPrincipalName") or "")
    for report, column in _REPORTS:
        row = await ctx.store.get(report, id)
        if row is None and upn:
            same = Compare("eq", Path(("userPrincipalName",), kind="text", fold=True), Literal(upn.lower(), "text"))
            page = await ctx.store.page(report, Query(top=1, filter=same))
            row = page.rows[0] if page.rows else None
        if row is None:
            continue
        said = inner(row)
        words = [str(word) for word in said.get(column) or []]
        if words or not said.get("isMfaRegistered"):
            return words
    raise NotFound(
        f"The authentication methods of '{id[:100]}' are not known: no report on registration names them.",
        code="ResourceNotFound",
    )


def _list(kind: str | None) -> ActionCode:
    async def methods(ctx: Context, id: str | None, given: Any) -> Answer:
        return Answer(200, [method for of, method in await _methods(ctx, id or "") if kind in (None, of)])

    return methods


def _one(kind: str | None) -> ActionCode:
    async def method(ctx: Context, id: str | None, given: Any) -> Answer:
        for of, each in await _methods(ctx, id or ""):
            if kind in (None, of) and each["id"] == given["key"]:
                return Answer(200, each)
        raise NotFound(f"The user has no such method: '{given['key'][:100]}'.", code="ResourceNotFound")

    return method


def _declare(name: str, kind: str | None, type: str, versions: tuple[Version, ...]) -> None:
    path, of = f"authentication/{name}", _OWN_SCOPES.get(name)
    access = scopes(_ALL if of is None else f"UserAuthMethod-{of}.Read.All {_ALL}")
    users.action(path, function=True, parameters={}, returns=f"Collection({type})", access=access, versions=versions)(
        _list(kind)
    )
    users.action(
        f"{path}/{{}}",
        function=True,
        parameters={"key": "Edm.String!"},
        returns=type,
        access=access,
        versions=versions,
    )(_one(kind))


_declare("methods", None, _BASE, BOTH)
for _name, _type in _SETS.items():
    _declare(_name, _name, f"microsoft.graph.{_type}", ("beta",) if _name in _BETA_ONLY else BOTH)


async def _no_photo(ctx: Context, id: str | None, given: Any) -> Answer:
    """What Graph says of a user without a photo; clients go on without one."""
    raise NotFound("The photo wasn't found: no photos of users are kept here.", code="ImageNotFound")


for _path in ("photo", "photo/$value", "photos/{}", "photos/{}/$value"):
    _keyed = {"key": "Edm.String!"} if "{}" in _path else {}
    users.action(_path, function=True, parameters=_keyed, returns="Edm.Stream", access=users.read)(_no_photo)
