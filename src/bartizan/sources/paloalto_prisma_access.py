"""Palo Alto Networks Prisma Access: the logs of its cloud firewalls, in PAN-OS's forms; see `palo_alto`."""

from bartizan.sources.palo_alto import PanOs


class PrismaAccess(PanOs):
    name = "paloalto_prisma_access"
    product = "Prisma Access"
