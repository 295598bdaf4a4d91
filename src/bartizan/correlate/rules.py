"""The figures by which the engine decides; docs/explanation/correlation.md says what each does when it is varied.

A "bit" is a halving of chance: what happens once in 16 hours carries 4 bits.
"""

from dataclasses import dataclass

HOUR_S = 3_600.0


@dataclass(frozen=True, slots=True)
class Rules:
    fold_gap_s: float = 300.0  # a repeat after a longer silence is news; the default of most alert queues
    fold_cap_s: float = 3_600.0  # one that never falls silent counts again each hour, so that its rhythm is seen
    common_share: float = 0.2  # a detector that fires in more of the hours says nothing about this one
    common_hours: float = 6.0  # fewer are no habit yet, though a tenant may have been watched for a day only
    link_bits: float = 4.0  # the same entity twice by chance within the gap: less than once in 16
    open_bits: float = 3.0  # what is likelier than once in 8 hours waits for more before it is an incident
    explained_weight: float = 2.0  # past stories that a detector's own rarity outweighs when others explain it
    company_bits: float = 20.0  # the most that trouble elsewhere in the tenant in the same hours may add to a rank
    stranger_bits: float = 3.0  # what an address alone must add to join alerts of different users and hosts
    settle_s: float = 300.0  # quiet after which an incident is compared with the stories around it
    learn_s: float = 7_200.0  # quiet after which its detectors are learned as firing together
    recur_s: float = 43_200.0  # within half a day, the same detectors on the same entities are the same story
    sweep_places: int = 4  # a detector that fires on so many hosts within minutes sweeps over them
    sweep_detectors: int = 3  # and an incident with no more detectors than this has no story of its own
    idle_s: float = 86_400.0  # an incident that was quiet for so long does not grow
    age_s: float = 86_400.0  # nor does one that began so long ago: a net that is always open catches everything
    largest_share: float = 0.03  # nor one that holds more of all folded alerts ...
    largest_floor: int = 40  # ... which says nothing while there are few
    largest: int = 500  # and never more folded alerts than a person can read


# What the product's own judgement adds: high opens by itself, and what is for information only must be very rare.
SEVERITY_BITS = {"high": 4.0, "medium": 2.0, "informational": -2.0}

# A kind's share of hours before its tenant has shown it, as hours seen in half a day. Addresses are shared by
# nature (NAT, proxies, VPN) until their own history shows that they are not.
PRIOR_HOURS = {"address": 3.0}
PRIOR_HOURS_ELSE = 0.5
PRIOR_DETECTOR_HOURS = 1.0
PRIOR_SPAN_HOURS = 12.0

MIN_GAP_S = 60.0  # clocks of sources differ by seconds: closer than this is no closer
HALF_LIFE_HOURS = 14 * 24.0  # what was normal a month ago counts a quarter
PRINCIPALS = frozenset({"user", "host", "mailbox", "resource"})  # who or what an attack is against
PERSONS = frozenset({"user", "mailbox"})
SHARED_KINDS = frozenset({"address"})

MAX_NODES = 32  # entities of one alert that are looked at, principals first
MAX_INCIDENT_NODES = 256
MAX_INCIDENT_DETECTORS = 64
MAX_FOLDS = 100_000  # open fingerprints
MAX_KEYS = 200_000  # entries of one table of popularity
MAX_DETECTORS = 20_000
MAX_PLACES = 32  # where one detector fired last
MAX_STORIES = 16  # latest incidents of one entity or detector that are compared
MAX_HEAT_HOURS = 72
MAX_WAITING = 1_000  # alerts of a candidate; as many are worth a look, however common
MAX_KNOWN = 20_000  # incidents that were shown last
