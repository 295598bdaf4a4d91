"""The directory and what alerts name as rows of ExposureGraphNodes and ExposureGraphEdges. Pure.

A snapshot is written whole, its rows numbered by it and a last row behind them; hunts see the last whole one
(`snapshots`).

Source: Microsoft Security Exposure Management, "Schemas and operators" (columns, categories, labels of edges);
Microsoft Graph, resources user, group, device, servicePrincipal and directoryRole.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bartizan.lake.rows import Inner, TableRow
from bartizan.lake.snapshots import LAST, SNAPSHOT
from bartizan.lake.tables import EXTRA
from bartizan.model.ids import stable_id

NODES, EDGES = "ExposureGraphNodes", "ExposureGraphEdges"


class Kind(Struct, frozen=True):
    """How a set of objects is shown. `ids`: property -> kind of identifier in EntityIds; `said`: what NodeProperties
    repeats."""

    label: str
    categories: Sequence[str]
    ids: Mapping[str, str]
    said: Sequence[str]


KINDS: Mapping[str, Kind] = {
    "users": Kind(
        "user",
        ("identity",),
        {
            "id": "AadObjectId",
            "userPrincipalName": "AccountUpn",
            "onPremisesSecurityIdentifier": "SecurityIdentifier",
            "securityIdentifier": "SecurityIdentifier",
        },
        "userPrincipalName mail accountEnabled userType department jobTitle onPremisesSamAccountName".split(),
    ),
    "groups": Kind(
        "group",
        ("identity", "group"),
        {"id": "AadObjectId", "onPremisesSecurityIdentifier": "SecurityIdentifier"},
        "mail securityEnabled isAssignableToRole groupTypes onPremisesSamAccountName".split(),
    ),
    "directoryRoles": Kind(
        "role", ("identity", "role"), {"id": "AadObjectId", "roleTemplateId": "RoleTemplateId"}, ["description"]
    ),
    "devices": Kind(
        "device",
        ("device", "compute"),
        {"id": "AadObjectId", "deviceId": "AadDeviceId"},
        "operatingSystem operatingSystemVersion isCompliant isManaged trustType accountEnabled".split(),
    ),
    "servicePrincipals": Kind(
        "serviceprincipal",
        ("identity", "identity_workload"),
        {"id": "AadObjectId", "appId": "ApplicationId"},
        "servicePrincipalType accountEnabled appOwnerOrganizationId publisherName".split(),
    ),
}
# Relation of the store -> label of the edge, and whether it leads from the target to the source.
RELATIONS: Mapping[str, tuple[str, bool]] = {
    "members": ("member of", True),
    "owners": ("owns", True),
    "registeredOwners": ("owns", True),
    "registeredUsers": ("uses", True),
    "manager": ("reports to", False),
}
GRANTS: Mapping[str, tuple[str, str, str]] = {  # set of grants -> property of who has it, of what for, label
    "appRoleAssignments": ("principalId", "resourceId", "has role on"),
    "oauth2PermissionGrants": ("clientId", "resourceId", "has permissions to"),
}
_ENTITIES: Mapping[str, tuple[str, Sequence[str], str]] = {  # kind of entity -> label, categories, kind of identifier
    "address": ("ip", ("ip_address",), "IpAddress"),
    "domain": ("domain", ("dns",), "DomainName"),
    "hash": ("file", ("file",), "FileHash"),
    "host": ("device", ("device", "compute"), "DeviceName"),
    "mailbox": ("mailbox", ("mailbox",), "MailboxAddress"),
    "resource": ("resource", ("cloud_resource",), "ResourceId"),
    "url": ("url", ("url",), "Url"),
    "user": ("user", ("identity",), "AccountName"),
}
_AFFECTED = frozenset({"host", "user", "mailbox", "resource"})


class Node(Struct, frozen=True):
    """As edges repeat it."""

    id: str
    name: str
    label: str
    categories: Sequence[str]


def object_node(collection: str, inner: Inner, tenant: str) -> tuple[Node, TableRow]:
    kind, id = KINDS[collection], str(inner["id"])
    node = Node(
        stable_id("node", tenant, collection, id), str(inner.get("displayName") or id), kind.label, kind.categories
    )
    ids = [{"type": of, "id": str(inner[said])} for said, of in kind.ids.items() if inner.get(said)]
    properties = {name: inner[name] for name in kind.said if inner.get(name) not in (None, [], "")}
    return node, _node_row(node, ids, properties)


def alert_node(inner: Inner, tenant: str) -> tuple[Node, TableRow]:
    id = str(inner["id"])
    node = Node(stable_id("node", tenant, "alert", id), str(inner.get("title") or id), "alert", ("alert",))
    said = ("severity", "status", "category", "incidentId", "createdDateTime", "productName")
    properties = {name: inner[name] for name in said if inner.get(name)}
    return node, _node_row(node, [{"type": "AlertId", "id": id}], properties)


def entity_node(kind: str, value: str, tenant: str) -> tuple[Node, TableRow] | None:
    """Of an entity that is no object of the directory; None of a kind that stands for nothing by itself."""
    if kind not in _ENTITIES:
        return None
    label, categories, name = _ENTITIES[kind]
    node = Node(stable_id("node", tenant, kind, value), value, label, categories)
    return node, _node_row(node, [{"type": name, "id": value}], {})


def names_of(collection: str, inner: Inner) -> Iterator[tuple[str, str]]:
    """The entities (kind, value in lower case) that an object of the directory is."""
    if collection == "users":
        for name in "id userPrincipalName onPremisesSecurityIdentifier securityIdentifier mail".split():
            if inner.get(name):
                yield "user", str(inner[name]).lower()
        if inner.get("mail"):
            yield "mailbox", str(inner["mail"]).lower()
    elif collection == "devices":
        for name in ("displayName", "deviceId"):
            if inner.get(name):
                yield "host", str(inner[name]).lower()


def entity_label(kind: str) -> str:
    """Of the edge from an alert to what it names."""
    return "affecting" if kind in _AFFECTED else "involves"


def edge_row(source: Node, target: Node, label: str, properties: Mapping[str, Any] | None = None) -> TableRow:
    return EDGES, {
        "EdgeId": stable_id("edge", source.id, target.id, label),
        "EdgeLabel": label,
        "SourceNodeId": source.id,
        "SourceNodeName": source.name,
        "SourceNodeLabel": source.label,
        "SourceNodeCategories": list(source.categories),
        "TargetNodeId": target.id,
        "TargetNodeName": target.name,
        "TargetNodeLabel": target.label,
        "TargetNodeCategories": list(target.categories),
        "EdgeProperties": {"rawData": dict(properties or {})},
    }


def of_snapshot(rows: Sequence[TableRow], number: int) -> list[TableRow]:
    return [(name, {**row, EXTRA: {SNAPSHOT: number}}) for name, row in rows]


def last_rows(number: int) -> list[TableRow]:
    """What says that a snapshot is whole."""
    return [(name, {EXTRA: {SNAPSHOT: number, LAST: True}}) for name in (NODES, EDGES)]


def _node_row(node: Node, ids: Sequence[Mapping[str, str]], properties: Mapping[str, Any]) -> TableRow:
    return NODES, {
        "NodeId": node.id,
        "NodeLabel": node.label,
        "NodeName": node.name,
        "Categories": list(node.categories),
        "NodeProperties": {"rawData": dict(properties)},
        "EntityIds": [dict(each) for each in ids],
    }
