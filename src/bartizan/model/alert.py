"""One alert and its two faces.

A provider's alert is made once (`Alert`), by a source or from a client's body. Two documents are rendered from it:
the legacy `microsoft.graph.alert` and `microsoft.graph.security.alert`. What the provider says and what an analyst
says are kept apart, so that neither wipes the other; both faces share one id.

`model.faces` makes and changes the state of an alert, `model.workflow` holds what analysts change, `model.evidence`,
`model.legacy` and `model.from_legacy` turn evidence into legacy states and back, `model.entities` lists what an alert
names.
"""

from typing import Any, Literal

from msgspec import Struct

from bartizan.model.security import AlertEvidence

Severity = Literal["unknown", "informational", "low", "medium", "high"]


class Observed(Struct, frozen=True):
    """An entity that a record names, for the entity index.

    Kinds: host, user, address, hash, domain, url, mailbox, process, resource.
    """

    kind: str
    value: str
    role: str = ""


class Alert(Struct, kw_only=True):
    """What one provider says of one alert. Instants are wire texts (`model.times`). A source fills in what its record
    holds, no more.

    Several records with one `provider_alert_id` are one alert: a later one adds evidence and replaces what it sets.
    """

    vendor: str  # "OISF"
    product: str  # "Suricata"; v2 productName is "Vendor Product", legacy vendorInformation.provider is the product
    provider_alert_id: str  # the source's own id, else the content hash of the canonical record
    title: str
    severity: Severity
    provider: str | None = (
        None  # whose ids `provider_alert_id` are, where several products share them; None: the product's
    )
    description: str | None = None
    sub_provider: str | None = None
    product_version: str | None = None
    vendor_severity: str | None = None  # the vendor's own text: additionalData.vendorSeverity; critical is also a tag
    category: str | None = None  # ATT&CK tactic in Pascal case, or Malware, SuspiciousActivity, Phishing, Exploit, ...
    categories: list[str] = []  # all of them
    vendor_category: str | None = None  # the vendor's own word: legacy `category`
    techniques: list[str] = []  # ATT&CK ids in the record or its rule, never guessed
    detector_id: str | None = None
    detection_source: str = "unknown"
    service_source: str = "unknown"
    first_activity: str | None = None  # None: the record has no time; receipt time is used, with timeSource "received"
    last_activity: str | None = None
    source_created: str | None = None
    source_updated: str | None = (
        None  # when the source made this version; an older one never takes back a newer one's word
    )
    status: Literal["new", "inProgress", "resolved"] = "new"  # the provider's word
    classification: str | None = None
    determination: str | None = None
    assigned_to: str | None = None
    recommended_actions: str | None = None
    threat_name: str | None = None  # threatDisplayName
    threat_family: str | None = None
    actor: str | None = None  # actorDisplayName, legacy activityGroupName
    url: str | None = None  # alertWebUrl, legacy sourceMaterials
    confidence: int | None = None  # legacy confidence, 0 to 100
    tags: list[str] = []
    vulnerabilities: list[str] = []  # CVE ids: additionalData.vulnerabilities, legacy vulnerabilityStates
    evidence: list[AlertEvidence] = []  # v2 evidence; the legacy states are rendered from it
    legacy: dict[str, Any] = {}  # legacy properties that evidence cannot carry, in the type's own names
    additional: dict[str, Any] = {}  # what the schema has no place for, under the vendor's names
    custom_details: dict[str, str] = {}  # customDetails: what a rule takes from the columns of what it has found
    entities: list[Observed] = []  # beyond those that evidence gives
    fingerprint: tuple[str, ...] = ()  # parts of the folding key after (tenant, provider): detector, primary entities
