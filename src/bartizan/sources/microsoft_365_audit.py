"""Microsoft 365: the unified audit log, whose alerts of Security & Compliance are alerts and the rest rows.

Source: Office 365 Management Activity API, "Working with the API"; `Search-UnifiedAuditLog`; Microsoft Graph,
resource auditLogRecord.
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.tables import declare_table
from bartizan.sources.unified_audit import audit, is_audit

_TABLE = "Microsoft365Events"  # of what is no audit record
declare_table(_TABLE, {})


class Microsoft365Audit(Source):
    name = "microsoft_365_audit"
    vendor = "Microsoft"
    product = "Microsoft 365"
    marks = (
        "RecordType+Workload+Operation+CreationTime+UserType+UserId "
        "RecordType+Workload+Operation+CreationTime+UserId+OrganizationId RecordType+Workload+Operation "
        "CreationTime+Operation+UserType+Workload Operation+OrganizationId+UserKey "
        "RecordType+UserId+Operation+CreationTime AuditData+Operations RecordType+Operation"
    )
    sourcetypes = ("o365:management:activity", "o365:*", "ms:o365:management*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record, "value", "records", "Records")
        if not found:
            yield from unread(record, _TABLE)
        for fields in found:
            row = _unwrapped(fields)
            if is_audit(row):
                yield from audit(record, row)
            else:
                yield guess_event(row, _TABLE)


def _unwrapped(fields: Fields) -> Fields:
    """The audit record inside an export or a shipper's envelope."""
    for path in ("AuditData", "o365.audit", "o365audit", "event.original", "properties"):
        inner = fields.object(path)
        if is_audit(inner):
            return inner
    return fields
