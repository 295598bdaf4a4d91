"""Microsoft Defender for Endpoint: alerts of its own API, and detections of the older SIEM API.

Of the SIEM API each record is a part of an alert: parts with one AlertId become one alert.
Source: Microsoft Defender for Endpoint, "Alert resource type"; "Microsoft Defender for Endpoint detections API fields".
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.microsoft_alerts import PROVIDER, alert_native, detection_source
from bartizan.sources.microsoft_defender_xdr import DefenderXdr
from bartizan.sources.shape import Paths, Shape

_PRODUCT = "Microsoft Defender for Endpoint"


class MicrosoftDefenderEndpoint(DefenderXdr):
    name = "microsoft_defender_endpoint"
    product = _PRODUCT

    def one(self, record: Record, fields: Fields) -> Iterator[Alert | Event | GraphObject]:
        if fields.has("AlertTitle", "LinkToWDATP", "LinkToMTP") and fields.has("AlertId", "ExternalId", "FullId"):
            yield _DETECTION.made(record, fields)
        elif fields.has("machineId", "computerDnsName") and fields.has("title", "threatName", "detectorId"):
            yield alert_native(record, fields)
        else:
            yield from super().one(record, fields)


class _Detection(Shape):
    """A record of the SIEM API."""

    vendor = "Microsoft"
    product = _PRODUCT
    table = "DefenderEvents"
    alert = Paths(
        id="AlertId ExternalId FullId",
        title="AlertTitle",
        description="Description",
        severity="Severity",
        vendor_category="Category",
        categories={"malware": "Malware", "ransomware": "Ransomware", "unwantedsoftware": "UnwantedSoftware"},
        first="AlertTime",
        last="LastProcessedTimeUtc AlertTime",
        threat="ThreatName",
        family="ThreatFamily",
        actor="Actor",
        url="LinkToMTP LinkToWDATP",
        sub_provider="Source",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.host(
            fields.text("ComputerDnsName", "MachineName"),
            domain=fields.text("MachineDomain"),
            addresses=[
                fields.text("InternalIPv4List", "InternalIPv4"),
                fields.text("InternalIPv6List", "InternalIPv6"),
            ],
            device_id=fields.text("DeviceID"),
        )
        evidence.user(fields.text("UserName"), domain=fields.text("UserDomain"))
        for text in fields.texts("LogOnUsers")[:20]:
            for each in text.replace(",", ";").split(";")[:20]:
                evidence.user(each, roles=("contextual",))
        hashes = [fields.text(name) for name in ("Sha256", "Sha1", "Md5", "FileHash")]
        file = fields.text("FileName"), fields.text("FilePath")
        if fields.has("CommandLine"):
            evidence.process(fields.text("CommandLine"), name=file[0], path=file[1], hashes=hashes)
        else:
            evidence.file(*file, hashes)
        evidence.ip(fields.text("IpAddress"))
        if evidence.url(fields.text("Url")) is None:
            evidence.domain(fields.text("Url"))
        evidence.malware(fields.text("ThreatName"), fields.text("ThreatCategory"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.provider = PROVIDER
        alert.service_source = "microsoftDefenderForEndpoint"
        alert.detection_source = detection_source(fields.text("Source"))
        alert.fingerprint = (alert.provider_alert_id,)


_DETECTION = _Detection()
