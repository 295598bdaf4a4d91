"""The reputation of a host: rules that an analyst can check, each with how likely a host that it speaks of is hostile.

`RULES` is the whole of what counts and how much. The score is the chance, in percent, that at least one of the rules is
right. What the rules look at is handed in: nothing here asks the store or the clock.

Source: Microsoft Graph, resources microsoft.graph.security.hostReputation and hostReputationRule.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bartizan.correlate.known import Document
from bartizan.detect.indicators import PRODUCT
from bartizan.detect.marks import of_interest
from bartizan.intel import Kind, Network
from bartizan.model.entities import address

MALICIOUS = 75  # a score from which on a host is called so: one sure indicator, or one attacker in a confirmed alert
SUSPICIOUS = 40  # two doubtful signs together, or one indicator that says nothing of its confidence
SHOWN = 5  # findings of one rule that are shown
RUMOUR = 25  # of 100; an indicator of less confidence says nothing
USUAL_DAYS = 7  # on which people signed in with success from an address: then open alerts weigh half

_ALLOWED = "allowed"


class Rule(Struct, frozen=True):
    name: str
    severity: str  # low, medium, high
    chance: float  # that a host is hostile of which only this is known
    checked: str  # what an analyst looks at
    most: int = 3  # findings of it that add to the score: further ones of a kind are seldom independent


RULES: Mapping[str, Rule] = {
    "sure": Rule("Threat indicator of high confidence", "high", 0.80, "an indicator in force, confidence 75 or more"),
    "plain": Rule("Threat indicator", "medium", 0.60, "an indicator in force, confidence 50 to 74 or not said"),
    "doubtful": Rule("Threat indicator of low confidence", "low", 0.30, "an indicator in force, confidence 25 to 49"),
    "around": Rule(
        "Threat indicator around the host",
        "medium",
        0.45,
        "an indicator in force of a domain above it, of a block of addresses or of a URL on it, confidence 50 or more "
        "or not said",
    ),
    "watched": Rule(
        "Watch list",
        "low",
        0.20,
        "an indicator in force whose threatType is WatchList, PUA, Proxy or Darknet",
    ),
    "profiled": Rule(
        "Indicator of an actor or a tool",
        "high",
        0.75,
        "an indicator of a profile under intelProfiles that names the host",
    ),
    "written": Rule(
        "Indicator of an article", "medium", 0.60, "an indicator of an article under articles that names the host"
    ),
    "nation": Rule("List of addresses of a nation state", "high", 0.90, "a list that the operator imported"),
    "listed": Rule("List of malicious addresses", "high", 0.80, "a list that the operator imported"),
    "tor": Rule("Exit of Tor", "low", 0.30, "a list that the operator imported"),
    "proxy": Rule("Anonymising proxy", "low", 0.25, "a list that the operator imported"),
    "vpn": Rule("Commercial VPN", "low", 0.10, "a list that the operator imported"),
    "confirmed": Rule(
        "Attacker in a confirmed alert",
        "high",
        0.75,
        "an alert of 90 days that an analyst called a true positive; its evidence says attacker, commandAndControl or "
        "suspicious",
    ),
    # Evidence without a part names bystanders as well: such alerts alone never make a host malicious.
    "named": Rule(
        "Named in a confirmed alert",
        "medium",
        0.42,
        "an alert of 90 days that an analyst called a true positive; its evidence does not say which part the host had",
        most=2,
    ),
    "high": Rule("Open alert of high severity", "medium", 0.25, "an alert of 90 days that nobody has classified"),
    "medium": Rule("Open alert of medium severity", "low", 0.10, "an alert of 90 days that nobody has classified"),
    "low": Rule("Open alert of low severity", "low", 0.04, "an alert of 90 days that nobody has classified"),
    "usual": Rule(
        "Used here", "low", 0.0, f"sign-ins with success on {USUAL_DAYS} days or more: open alerts weigh half"
    ),
    _ALLOWED: Rule(
        "Allowed by an indicator",
        "low",
        0.0,
        "an indicator in force whose action is allow: nothing counts but alerts",
    ),
}
_OPEN = ("high", "medium", "low")
_BY_KIND = (
    (Kind.NATION_STATE, "nation"),
    (Kind.MALICIOUS, "listed"),
    (Kind.TOR, "tor"),
    (Kind.PROXY, "proxy"),
    (Kind.VPN, "vpn"),
)
_MILD = ("watchlist", "pua", "proxy", "darknet")
# The part that something has in an alert, as its evidence says it.
_SUFFERS = frozenset({"attacked", "compromised", "scanned", "policyviolator"})
_HARMS = frozenset({"attacker", "commandandcontrol", "suspicious"})
_OF_INDICATORS = f"{PRODUCT}/".lower()  # alerts that indicators raised: the indicator counts, not its echo
_CLEARED = ("falsePositive", "informationalExpectedActivity")


class Indicator(Struct, frozen=True):
    """One in force that speaks of the host."""

    body: Mapping[str, Any]
    by: str  # kind of the mark: address, network, domain, url, sender
    value: str
    exact: bool  # the host itself, not what is around it


class Mention(Struct, frozen=True):
    """An article or a profile whose indicator names the host."""

    rule: str  # written or profiled
    title: str
    path: str


class Facts(Struct, frozen=True):
    """What is known of a host."""

    host: str
    indicators: Sequence[Indicator] = ()
    mentions: Sequence[Mention] = ()
    network: Network | None = None  # of an address, as imported lists have it
    observed: Sequence[Document] = ()  # alerts and sign-ins that name it as a domain or an address
    since: str = ""  # alerts of before do not count
    known: bool = False  # at all, by whatever


class Finding(Struct, frozen=True):
    rule: str  # key of RULES
    text: str
    path: str = ""  # where the thing itself is read, below the root of the service
    weight: float = 1.0


def findings(facts: Facts) -> list[Finding]:
    """In the order of RULES."""
    allowing = [each for each in facts.indicators if _action(each) == "allow" and _believed(each)]
    found = [Finding(_ALLOWED, _of_indicator(each), _place(each)) for each in allowing]
    if not allowing:
        found += _indicated(facts)
        found += [Finding(each.rule, each.title, each.path) for each in facts.mentions]
        found += _listed(facts)
    found += _alerted(facts)
    order = list(RULES)
    return sorted(found, key=lambda each: order.index(each.rule))


def score(found: Sequence[Finding]) -> int:
    """0 to 100."""
    quiet, counted = 1.0, dict.fromkeys(RULES, 0)
    for each in found:
        counted[each.rule] += 1
        if counted[each.rule] <= RULES[each.rule].most:
            quiet *= 1 - each.weight * RULES[each.rule].chance
    return round(100 * (1 - quiet))


def reputation(facts: Facts, root: str) -> dict[str, Any]:
    """A hostReputation without its id. `root` is that of the service in beta, for links."""
    found = findings(facts)
    points = score(found)
    named = "malicious" if points >= MALICIOUS else "suspicious" if points >= SUSPICIOUS else "neutral"
    shown = dict.fromkeys(RULES, 0)
    rules = []
    for each in found:
        shown[each.rule] += 1
        if shown[each.rule] <= SHOWN:
            rule, link = RULES[each.rule], f"{root}/{each.path}" if each.path else None
            rules.append(
                {"name": rule.name, "description": each.text, "severity": rule.severity, "relatedDetailsUrl": link}
            )
    known = facts.known or bool(found)
    return {"classification": named if known else "unknown", "score": points, "rules": rules}


# ---------------------------------------------------------------- indicators


def _action(each: Indicator) -> str:
    return str(each.body.get("action") or "").lower()


def _believed(each: Indicator) -> bool:
    """Neither passive, nor known for many false alarms, nor a rumour."""
    body = each.body
    confidence = body.get("confidence")
    rumour = isinstance(confidence, int) and 0 < confidence < RUMOUR
    return not (body.get("passiveOnly") or str(body.get("knownFalsePositives")).lower() == "high" or rumour)


def _indicated(facts: Facts) -> Iterator[Finding]:
    for each in facts.indicators:
        if _believed(each):
            yield Finding(_rule(each), _of_indicator(each), _place(each))


def _rule(each: Indicator) -> str:
    if str(each.body.get("threatType") or "").lower() in _MILD:
        return "watched"
    confidence = each.body.get("confidence") or 50
    if confidence < 50:
        return "doubtful"
    if not each.exact:
        return "around"
    return "sure" if confidence >= 75 else "plain"


def _of_indicator(each: Indicator) -> str:
    body, sure = each.body, each.body.get("confidence")
    text = f"{body.get('threatType') or 'Indicator'} of {each.by} {each.value}"
    text += f", confidence {sure}" if sure else ""
    return f"{text}, until {str(body.get('expirationDateTime'))[:10]}"


def _place(each: Indicator) -> str:
    return f"security/tiIndicators/{each.body.get('id')}"


# ---------------------------------------------------------------- lists


def _listed(facts: Facts) -> Iterator[Finding]:
    network = facts.network
    if network is None:
        return
    lists = [each for each in network.sources if ": tiIndicator " not in each]  # those are looked at one by one
    for kind, rule in _BY_KIND:
        word = (kind.name or "").lower().replace("_", "-")
        said = [each for each in lists if each.lower().startswith(f"{word}:")]
        if network.kinds & kind and said:
            yield Finding(rule, f"{facts.host} in {', '.join(said)}")


# ---------------------------------------------------------------- alerts


def _alerted(facts: Facts) -> Iterator[Finding]:
    if _own(facts.host):
        return
    usual = len({each.at[:10] for each in facts.observed if each.status == "success"}) >= USUAL_DAYS
    if usual:
        yield Finding("usual", f"People signed in from {facts.host} on {USUAL_DAYS} days or more.")
    for each in reversed(facts.observed):  # the last one first
        if each.key.collection != "alerts_v2" or each.at < facts.since:
            continue
        roles = {role.lower() for (_, value), role in each.named if value == facts.host}
        if roles & _SUFFERS and not roles & _HARMS:
            continue
        if each.verdict in _CLEARED or (each.verdict != "truePositive" and each.detector.startswith(_OF_INDICATORS)):
            continue
        told = "confirmed" if roles & _HARMS else "named"
        rule = told if each.verdict == "truePositive" else each.severity
        if rule in RULES:
            weight = 0.5 if usual and rule in _OPEN else 1.0
            yield Finding(rule, f"{each.title} ({each.at[:10]})", f"security/alerts_v2/{each.key.id}", weight)


def _own(host: str) -> bool:
    """A private address is one's own: an alert names whom it befell."""
    return address(host) is not None and not of_interest([("address", host, "")])
