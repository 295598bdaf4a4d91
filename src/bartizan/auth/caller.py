"""Who asks, and whether that is enough."""

from typing import Literal

from msgspec import Struct

from bartizan.errors import Forbidden

Role = Literal["SecurityReader", "SecurityOperator", "SecurityAdministrator"]

_DENIED = "Insufficient privileges to complete the operation."  # Graph's words, which clients look for
_RANK: dict[Role, int] = {"SecurityReader": 1, "SecurityOperator": 2, "SecurityAdministrator": 3}


class Access(Struct, frozen=True):
    """What an operation needs: one of these application permissions, or one of these delegated scopes and at least
    this role."""

    application: tuple[str, ...]
    delegated: tuple[str, ...]
    role: Role = "SecurityReader"


class Caller(Struct, frozen=True):
    """The holder of a valid token, in one tenant."""

    tenant: str  # id of the tenant
    app: str  # client id
    app_name: str
    user: str | None = None  # object id of the account; None for an application by itself
    upn: str | None = None
    name: str | None = None  # display name of the account
    permissions: frozenset[str] = (
        frozenset()
    )  # application permissions (`roles` claim), or delegated scopes (`scp`) if user is set
    roles: frozenset[Role] = frozenset()  # directory roles of the account, given by an operator

    @property
    def actor(self) -> str:
        return self.upn or self.app

    def require(self, access: Access) -> None:
        """Forbidden unless the token carries one of the permissions and, for a user, the role."""
        wanted = access.application if self.user is None else access.delegated
        if not wanted:
            kind = "an application" if self.user is None else "a signed-in user"
            raise Forbidden(f"This operation cannot be called by {kind}.")
        if self.permissions.isdisjoint(wanted):
            raise Forbidden(f"{_DENIED} The token has none of: {', '.join(wanted)}.")
        if self.user is not None and max((_RANK[r] for r in self.roles), default=0) < _RANK[access.role]:
            raise Forbidden(f"{_DENIED} The signed-in user needs the role {access.role}.")
