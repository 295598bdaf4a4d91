"""What GitHub's audit log and its security alerts write alike: the ids of alerts, what closes them, who and where.

Source: GitHub Docs, "Webhook events and payloads", "REST API endpoints" for code scanning, secret scanning and
Dependabot alerts, "Audit log events for your enterprise".
"""

from collections.abc import Mapping

from bartizan.sources import entities as names
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, joined
from bartizan.sources.shape import Status

PROVIDER = "GitHub"  # whose ids these are, in either source
CODE, SECRET, PACKAGE = "code-scanning", "secret-scanning", "dependabot"  # as in the addresses of alerts
CATEGORIES = {CODE: "Vulnerability", SECRET: "CredentialAccess", PACKAGE: "Vulnerability"}
# States of alerts, and actions that set one, letters alone.
STATUSES: Mapping[str, Status] = {
    **dict.fromkeys(
        "dismiss resolve autodismissed autodismiss autofixed closedbyuser alertclosedbyuser alertclosedbecamefixed"
        " alertclosedbecameoutdated alertfixed withdraw withdrawn revoke".split(),
        "resolved",
    ),
    **dict.fromkeys(
        "create reopen autoreopened autoreopen reintroduce reintroduced alertcreated alertreappeared"
        " alertreopenedbyuser appearedinbranch publiclyleaked publicleak published updated".split(),
        "new",
    ),
}
VERDICTS = {
    "inaccurate": "falsePositive",
    "usedintests": "informationalExpectedActivity",
    "notused": "informationalExpectedActivity",
    "wontfix": "truePositive",
    "tolerablerisk": "truePositive",
    "nobandwidth": "truePositive",
    "fixstarted": "truePositive",
    "revoked": "truePositive",
}


def alert_id(repository: str | None, kind: str, number: str | None) -> str | None:
    """The same in a webhook, in the API and in the audit log."""
    return joined(repository.lower() if repository else None, kind, number)


def repository(fields: Fields, evidence: Evidence) -> str | None:
    """Hands over the repository and who owns it; the answer is "owner/name"."""
    where = fields.object("repository")
    owner = where.object("owner")
    name = where.text("full_name", "nameWithOwner") or names.named(fields.text("repo", "repository"))
    if name is None and owner.has("login") and where.has("name"):
        name = f"{owner.text('login')}/{where.text('name')}"
    evidence.repository(
        name,
        url=where.text("html_url", "url"),
        repo_id=where.text("id") or fields.text("repo_id"),
        owner_kind=owner.text("type"),
    )
    org = fields.object("organization")
    login = org.text("login") or names.named(fields.text("org", "organization"))
    evidence.organization(login, org.text("id") or fields.text("org_id"))
    evidence.organization(names.named(fields.text("business", "enterprise.slug")), fields.text("business_id"))
    return name
