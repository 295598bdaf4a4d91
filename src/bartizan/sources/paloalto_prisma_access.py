"""Palo Alto Networks Prisma Access: the logs of its cloud firewalls, in PAN-OS's forms; see `palo_alto`."""

import re

from bartizan.sources.palo_alto import PanOs


class PrismaAccess(PanOs):
    name = "paloalto_prisma_access"
    product = "Prisma Access"
    marks = "LogType+Subtype+SequenceNo+ConfigVersion LogType+TenantID+Subtype"
    pattern = re.compile(r"CEF:\d\|Palo Alto Networks\|LF\|")
    sourcetypes = ("pan:prisma*", "pan:firewall_cloud", "prisma:access*", "pan:cdl*")
