"""Network intelligence: what is known of an address at a time, for a tenant, and which credentials have leaked."""

from bartizan.intel.networks import UNKNOWN, Intel, Network
from bartizan.intel.tables import Kind, Leak
from bartizan.intel.views import intel_of

__all__ = ["UNKNOWN", "Intel", "Kind", "Leak", "Network", "intel_of"]
