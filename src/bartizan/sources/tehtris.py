"""TEHTRIS XDR: alerts of its EDR and other modules.

Source: TEHTRIS XDR platform documentation, "Alert formats"; ArcSight CEF, extension dictionary.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_URL = re.compile(r"https?://[^\s\"',<>]{3,2048}")
_MAX_TEXT = 16_384
_MAX_URLS = 20
# The names of the JSON -> where CEF says the same.
_CEF = {
    "id": "id,externalId",
    "uid": "uid,deviceExternalId",
    "eventName": "eventName,name,deviceEventClassId",
    "egKBId": "egKBId,deviceEventClassId",
    "description": "description,msg",
    "lvl": "lvl,level,deviceSeverity",
    "time": "time,rt,start,end,syslogTime",
    "module": "module,cat,deviceProduct",
    "hostname__": "hostname__,dvchost,shost,dhost",
    "ipSrc": "ipSrc,src",
    "ipDst": "ipDst,dst",
    "portSrc": "portSrc,spt",
    "portDst": "portDst,dpt",
    "username": "username,suser,duser",
    "path": "path,filePath,sproc,dproc",
    "pid": "pid,spid,dpid",
    "sha256": "sha256,fileHash",
    "domainDst": "domainDst,destinationDnsDomain",
}
_CATEGORIES = {"antivirusalert": "Malware", "heuristicalert": "SuspiciousActivity"}


class Tehtris(Shape):
    name = "tehtris"
    vendor = "TEHTRIS"
    product = "XDR"
    marks = (
        "egKBId+eventName uuid__+hostname__ lvl+module+uid module+uid+eventName rflId+uid module=hpt+ipSrc "
        "module+ipSrc+userSrc"
    )
    pattern = re.compile(common_security_log.BEGINS + r"TEHTRIS", re.IGNORECASE)
    sourcetypes = ("tehtris", "tehtris:*")
    table = "TehtrisEvents"
    columns = {"Module": "module", "EventName": "eventName", "Tag": "tag"}
    alert = Paths(
        id="uid+id id uuid",
        title="description eventName name",
        description="description",
        score="lvl level severity",
        scale=of_cef,
        vendor_category="eventName",
        categories=_CATEGORIES,
        tactics="tactics",
        detector="egKBId eventName",
        first="time pCreateDatetime",
        created="time",
        sub_provider="module",
        tags="tag",
        fold="uuid__ hostname__ sha256 path",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return common_security_log.lines(record, _CEF) or super().read(record)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        own = fields.text("ipSrc")
        evidence.host(
            fields.text("hostname__", "hostname"),
            domain=fields.text("domain__"),
            addresses=[own],
            os=fields.text("os__", "os"),
            version=fields.text("os_version__"),
            device_id=fields.text("uuid__"),
        )
        user = evidence.user(fields.text("username", "userSrc"))
        evidence.process(
            fields.text("cmdline"),
            path=fields.text("path"),
            pid=fields.integer("pid"),
            hashes=[fields.text("sha256"), fields.text("sha1"), fields.text("md5")],
            user=user,
            parent_pid=fields.integer("ppid"),
        )
        evidence.flow(own, fields.integer("portSrc"), fields.text("ipDst"), fields.integer("portDst"))
        evidence.ip(own, ("source",))
        evidence.ip(fields.text("ipDst"), ("destination",))
        evidence.domain(fields.text("domainDst", "hostDst"))
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
        for match in list(_URL.finditer((fields.text("cmdline") or "")[:_MAX_TEXT]))[:_MAX_URLS]:
            evidence.url(match[0])

    def finish(self, fields: Fields, alert: Alert) -> None:
        first = alert.title.partition("\n")[0].strip()
        name = fields.text("eventName")
        alert.title = f"{name}: {first}" if name and first != name else first
        if address(fields.text("ipSrc")) is None and fields.has("ipSrc"):
            alert.additional["ipSrc"] = fields.raw("ipSrc")
