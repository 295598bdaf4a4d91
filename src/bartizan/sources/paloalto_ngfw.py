"""Palo Alto Networks next-generation firewalls: see `palo_alto`."""

import re

from bartizan.sources.palo_alto import PanOs


class PaloAltoNgfw(PanOs):
    name = "paloalto_ngfw"
    product = "PAN-OS"
    marks = (
        "LogType+Subtype+SequenceNo+DGHierarchyLevel1+VirtualLocation LogType+Subtype+DeviceSN "
        "LogType+Subtype+DeviceName LogType+Subtype+TimeGenerated LogType+Subtype+DeviceSN+VirtualSystem "
        "LogType+Subtype+LogSourceName log_type+subtype+device_sn log_type+subtype+device_name"
    )
    pattern = re.compile(
        r"(?:^|[ >])(?:1|0),\d{1,4}/\d\d?/\d\d(?:\d\d)? \d\d:\d\d(?::\d\d)?,\w*,[A-Z][A-Z-]{2,20},"
        r"|(?:^|[ >])\d{1,12},\d{4}-\d\d-\d\dT[\d:.]{8,15}Z,[\w-]*,"
        r"(?:TRAFFIC|THREAT|SYSTEM|CONFIG|USERID|GLOBALPROTECT|HIPMATCH|AUTHENTICATION|DECRYPTION|URL),"
        r"|CEF:\d\|Palo Alto Networks\|PAN-OS\||LEEF:[\d.]+\|Palo Alto Networks\|(?:PAN-OS|Next Generation Firewall)"
    )
    sourcetypes = (
        "pan:log", "pan:threat", "pan:traffic", "pan:system", "pan:config", "pan:globalprotect", "pan:userid",
        "pan:hipmatch", "pan:correlation", "pan:decryption", "pan:firewall*", "pan_log", "pan_threat", "pan_traffic",
    )  # fmt: skip
