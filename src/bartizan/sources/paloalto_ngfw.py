"""Palo Alto Networks next-generation firewalls: see `palo_alto`."""

from bartizan.sources.palo_alto import PanOs


class PaloAltoNgfw(PanOs):
    name = "paloalto_ngfw"
    product = "PAN-OS"
