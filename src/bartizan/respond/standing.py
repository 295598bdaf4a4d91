"""Whether who made a subscription may still read what it watches, by what operators have granted today."""

from bartizan.auth.accounts import Accounts, App, Tenant, User
from bartizan.auth.caller import Caller
from bartizan.errors import Forbidden
from bartizan.respond.watched import required_access


class Standing:
    """Asks the accounts of the store; a token that is still valid plays no part."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def tenants(self) -> list[str]:
        return [tenant.id for tenant in await self._accounts.every(Tenant)]

    async def may_read(self, tenant: str, app: str, user: str | None, resource: str) -> bool:
        home = await self._accounts.get(Tenant, tenant)
        known = await self._accounts.get(App, app)
        if home is None or home.disabled or known is None or known.disabled:
            return False
        granted = await self._accounts.consented(tenant, app, user or "")
        roles = []
        if user is not None:
            account = await self._accounts.get(User, user)
            if account is None or account.disabled:
                return False
            roles = account.roles.get(tenant, [])
        caller = Caller(tenant, app, known.name, user, permissions=granted or frozenset(), roles=frozenset(roles))
        try:
            caller.require(required_access(resource))
        except Forbidden:
            return False
        return True
