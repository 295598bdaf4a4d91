"""What Azure's network says of a connection in a text or in a list of values: messages of Azure Firewall, flows of
network security groups and of virtual networks.

Source: Azure Firewall, "Monitoring data reference" (AzureFirewallNetworkRule, AzureFirewallApplicationRule,
AzureFirewallDnsProxy); Azure Network Watcher, "NSG flow logs: log format", "Virtual network flow logs: log format".
"""

import re
from collections.abc import Iterator
from itertools import islice

from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import MAX_ITEMS, Fields

MAX_FLOWS = 100  # of one record, which holds a minute of them
_MAX_CHARS = 8_192
_REQUEST = re.compile(
    r"(?P<protocol>\w{2,10})\s+request from (?P<source>[0-9A-Fa-f.:]{2,45}?)(?::(?P<port>\d{1,5}))? to "
    r"(?P<target>[\w.:-]{2,253}?)(?::(?P<to>\d{1,5}))?(?=\.\s|\s|\.?$)",
    re.ASCII,
)
_SENT_ON = re.compile(r"\bDNAT'ed to ([0-9A-Fa-f.:]{2,45}?):\d{1,5}\b", re.ASCII)
_URL = re.compile(r"\bUrl: (\S{4,2048}?)\.?(?=\s|$)")
_ASKED = re.compile(
    r"\bDNS Request: (?P<source>[0-9A-Fa-f.:]{2,45}):\d{1,5} - \S+ \S+ \S+ (?P<name>\S{1,253})", re.ASCII
)
_THREAT = re.compile(r"\bThreatIntel: ([^.\n]{2,200})")
_SIGNATURE = re.compile(
    r"\b(?:Signature|Rule): (?P<id>\d{1,12})\. IDS: (?P<what>[^\n]{1,512}?)\. Priority: (?P<level>\d)"
    r"(?:\. Classification: (?P<kind>[^.\n]{1,200}))?"
)
_ACTION = re.compile(r"\bAction: (\w{2,20})")
_TUPLE = re.compile(r"\d{10,13},([0-9A-Fa-f.:]{2,45}),([0-9A-Fa-f.:]{2,45}),(\d{1,5}),(\d{1,5}),(\w{1,3}),")
_PROTOCOLS = {"T": "tcp", "U": "udp", "6": "tcp", "17": "udp", "1": "icmp"}


def threat(fields: Fields) -> Fields | None:
    """A message of the firewall about what Microsoft's threat intelligence knows, or about a signature that matched, as
    the record that the table AZFWThreatIntel or AZFWIdpsSignature has of it; None of any other."""
    text = (fields.text("properties.msg", "msg_s", "msg") or "")[:_MAX_CHARS]
    known, matched, request = _THREAT.search(text), _SIGNATURE.search(text), _REQUEST.search(text)
    if request is None or (known is None and matched is None):
        return None
    action = _ACTION.search(text)
    said = {
        "Action": action[1] if action is not None else None,
        "Protocol": request["protocol"].lower(),
        "SourceIp": request["source"],
        "SourcePort": request["port"],
        "DestinationIp": request["target"],
        "DestinationPort": request["to"],
        "Fqdn": request["target"],
        "msg": text,
    }
    if known is not None:
        said["ThreatDescription"] = known[1].strip()
    elif matched is not None:
        said |= {
            "SignatureId": matched["id"],
            "Description": matched["what"].strip(),
            "Severity": matched["level"],
            "Category": matched["kind"],
        }
    category = "AZFWThreatIntel" if known is not None else "AZFWIdpsSignature"
    return Fields({**fields.data, "category": category, "properties": said})


def entities(fields: Fields, evidence: Evidence) -> None:
    text = (fields.text("properties.msg", "msg_s") or "")[:_MAX_CHARS]
    if text:
        _said(text, evidence)
    if "/applicationgateways/" in (fields.text("resourceId") or "").lower() or fields.has("properties.clientIP"):
        _asked(fields.object("properties"), evidence)
    for one in islice(_tuples(fields), MAX_FLOWS):
        if (flow := _TUPLE.match(one)) is not None:
            evidence.flow(flow[1], int(flow[3]), flow[2], int(flow[4]), _PROTOCOLS.get(flow[5]))


def _said(text: str, evidence: Evidence) -> None:
    if (asked := _ASKED.search(text)) is not None:
        evidence.ip(asked["source"], ("source",))
        evidence.domain(asked["name"].rstrip("."))
    if (request := _REQUEST.search(text)) is None:
        return
    port, to = request["port"], request["to"]
    made = evidence.flow(
        request["source"],
        int(port) if port else None,
        request["target"],
        int(to) if to else None,
        request["protocol"].lower(),
    )
    if made is None:  # the other end is a name
        evidence.ip(request["source"], ("source",))
        evidence.domain(request["target"])
    if (sent_on := _SENT_ON.search(text)) is not None:
        evidence.ip(sent_on[1], ("destination",))
    if (url := _URL.search(text)) is not None:
        evidence.url(url[1])


def _asked(request: Fields, evidence: Evidence) -> None:
    """What was asked of an application gateway or of Front Door; the host is a site's name, no machine."""
    evidence.ip(request.text("clientIp", "clientIP"), ("source",))
    site, path = request.text("originalHost", "hostname", "host", "hostName"), request.text("requestUri") or ""
    evidence.url(f"https://{site}{path}" if site and path.startswith("/") else path)
    evidence.domain(site)
    evidence.ip((request.text("serverRouted") or "").rpartition(":")[0], ("destination",))


def _tuples(fields: Fields) -> Iterator[str]:
    """Of the rules of a group and the machines in each, or of the ends of a network."""
    for outer in (*fields.objects("properties.flows"), *fields.objects("flowRecords.flows")):
        for inner in (*outer.objects("flows"), *outer.objects("flowGroups")):
            yield from inner.texts("flowTuples")[:MAX_ITEMS]
