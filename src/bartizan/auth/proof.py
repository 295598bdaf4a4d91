"""Who an account is, by its password: on the sign-in page, and where an application hands the password over."""

from typing import TYPE_CHECKING

from msgspec import Struct

from bartizan.auth import aadsts, audit
from bartizan.auth.aadsts import OAuthError
from bartizan.auth.accounts import Tenant, User

if TYPE_CHECKING:
    from bartizan.auth.authority import Authority


class Attempt(Struct, frozen=True):
    """Who says to be whom, where."""

    tenant: str  # as the path has it
    app: str
    username: str
    address: str  # of the client


async def by_password(authority: "Authority", attempt: Attempt, password: str) -> User:
    """The account, if it may sign in. Wrong names and wrong passwords look alike and take as long; each is audited."""
    username, address = attempt.username, attempt.address
    tenant = await authority.tenant(attempt.tenant)
    user = await authority.accounts.user_by_upn(username) if 0 < len(username) <= 256 else None
    account = user.id if user else username
    try:
        async with authority.throttle.attempt(account, address, known=user is not None):
            if not await authority.passwords.check(password, user.password if user else ""):
                raise aadsts.bad_password()
        assert user is not None, "nobody's password is never right"
        if user.disabled:
            raise aadsts.disabled_user()
        if not user.roles or (tenant is not None and tenant.id not in user.roles):
            raise aadsts.not_in_tenant(user.upn, attempt.tenant)
    except OAuthError as error:
        if user is not None and user.roles and error.retry_after_s is None:
            await _audit(authority, attempt, user, tenant, error)
        elif user is None and error.retry_after_s is None:
            await authority.stranger(tenant, "user", username, address)
        raise
    await authority.throttle.succeeded(account, address)
    await _audit(authority, attempt, user, tenant, None)
    return user


async def _audit(
    authority: "Authority", attempt: Attempt, user: User, tenant: Tenant | None, error: OAuthError | None
) -> None:
    where = tenant.id if tenant is not None and tenant.id in user.roles else user.home
    await authority.audit(
        where,
        audit.Actor(app=attempt.app, user=user.id, upn=user.upn, name=user.name),
        "Sign in",
        result="failure" if error else "success",
        reason=error.text() if error else None,
        targets=[audit.Target("User", user.id, user.name, user.upn)],
        address=attempt.address,
    )
