"""What a detection of changes and of requests looks at: the record, and what its principal did before."""

import re

from msgspec import Struct

from bartizan.identity.events import Activity, Audit, SignIn
from bartizan.identity.state import Address, Application, Principal, Recent
from bartizan.identity.view import Account
from bartizan.intel import Network

# Activities of the audit log of Entra, whose names differ by version and by portal.
CREDENTIAL_ADDED = re.compile(
    r"add (service principal|application) credential|certificates and secrets management|add password|"
    r"add federated identity credential",
    re.I,
)
CONSENT = re.compile(r"consent to application|add oauth2permissiongrant|add delegated permission grant", re.I)
ADMIN_CONSENT = re.compile(r"IsAdminConsent=\W*true", re.I)


def _sign_in(principal: Principal, at: float, address: str, within_s: float) -> Recent | None:
    """The riskiest sign-in before, from the same address where the record names one."""
    before = [
        each
        for each in principal.recent
        if 0 <= at - each.at <= within_s and (not address or not each.address or each.address == address)
    ]
    return max(before, key=lambda each: (each.score, each.at, each.id)) if before else None


class ChangeView(Struct, frozen=True):
    audit: Audit
    principal: Principal
    account: Account
    network: Network  # of the address that the record names
    application: Application | None  # that was consented to, or got a credential

    def last_sign_in(self, within_s: float) -> Recent | None:
        """From anywhere."""
        return _sign_in(self.principal, self.audit.at, "", within_s)

    def strange_sign_in(self, within_s: float) -> Recent | None:
        """One from a place that was new to the principal."""
        found = _sign_in(self.principal, self.audit.at, self.audit.address, within_s)
        return found if found is not None and (found.strange > 0 or found.score >= 3.0) else None


class RequestView(Struct, frozen=True):
    activity: Activity
    principal: Principal
    network: Network

    def last_sign_in(self, within_s: float) -> Recent | None:
        return _sign_in(self.principal, self.activity.at, self.activity.address, within_s)


class BackView(Struct, frozen=True):
    """An event at an address, and an earlier sign-in of somebody else there."""

    event: SignIn
    address: Address
    sign_in: Recent
    principal: str
