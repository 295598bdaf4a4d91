"""The engine: events in, scores and findings out, over keyed state.

`State.step` takes one event, scores it by what was seen before it, and learns from it unless it is risky. It is a pure
function of the state and the event, so that the same events in the same order end the same. In which order they are
given to it is its caller's (`identity.waiting`).

Several workers share a tenant by principal: each sees all events, and scores those of its own principals; what is kept
of addresses depends on the events alone and is the same in each.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar
from zlib import crc32

from msgspec import Struct, field

from bartizan.extend.detections import DETECTIONS, Detection, Finding
from bartizan.identity import detections as _all_detections
from bartizan.identity.changes import ADMIN_CONSENT, CONSENT, CREDENTIAL_ADDED, BackView, ChangeView, RequestView
from bartizan.identity.events import DAY, DENIED, WRONG, Activity, Audit, Event, SignIn, cluster_of, program_of
from bartizan.identity.learning import count_failure, held_like, hold, hold_job, learn, learn_held, release
from bartizan.identity.state import (
    DENIALS,
    RECENT,
    SESSIONS,
    WINDOW_S,
    Address,
    Application,
    Browser,
    Burst,
    Cluster,
    Principal,
    Recent,
    keep,
)
from bartizan.identity.verdicts import Learned, Lesson, correct, hear
from bartizan.identity.view import (
    BOUND_TOKEN,
    NOBODY,
    OWN_KIT,
    OWN_PLACE,
    SAME_CARRIER,
    SAME_NETWORK,
    Account,
    View,
    assess,
    is_starter,
)
from bartizan.intel import Intel, Kind

assert _all_detections  # imported for what it registers

PATIENCE_S = 7 * DAY  # of quarantine without a quiet week: who has come by another way all the week comes so
RISKY = 3.0  # log-odds from which nothing is learned from a sign-in
NOT_LEARNED = 2.0  # from which a change, or an hour of requests, does not go into the baseline
NOTED = 1.5  # from which a later event may point back to it
SAME_SESSION, SAME_ADDRESS = 0.1, 0.4  # what a sign-in after a risky one keeps less of its score
COOLING = 0.25  # and less each day: who got in acts soon, who lives there stays
FEEDBACK_WEIGHT = 5.0
MOST_SESSIONS = 200_000  # of a tenant
MOST_ADDRESSES = 200_000  # of a tenant; those that were not seen for longest make room
PRUNE_EVERY = 20_000
MOST_ISSUERS = 64  # federated issuers of a tenant
BASE_TYPE, WORKLOAD_TYPE = "unfamiliarFeatures", "suspiciousSignins"
MOVED = "anomalousToken"  # a session that goes on elsewhere
CONFIRMED = "investigationsThreatIntelligence"  # of what resembles a sign-in that a person called an attack
BASE_NAMED = 1.5  # of the behavioural score, from which it is a finding of its own

_Kept = TypeVar("_Kept")


class Feedback(Struct, gc=False):
    """What a person said of a sign-in ("safe", "compromised"), or what ended a principal's risk ("remediated")."""

    id: str
    at: float
    principal: str
    verdict: str
    sign_in: str = ""  # "" is all of the principal


class Heard(Struct):
    """What a word on one principal says to those who keep others: addresses that are an attacker's until a time, and
    what was taught."""

    hot: dict[str, float] = {}
    taught: list[Lesson] = []


class Result(Struct, gc=False):
    """Of one event. `score` is the log-odds; `raised` is when it was last raised, by it or a later event."""

    id: str
    at: float
    principal: str
    score: float
    findings: list[Finding]
    raised: float
    parts: dict[str, float] = field(default_factory=dict)
    workload: bool = False
    kind: str = "signIn"


def applications_of(event: Audit) -> Iterable[str]:
    """Ids and names of what it changed, by which applications are remembered."""
    return dict.fromkeys((*event.target_ids[:4], *(each.casefold() for each in event.targets[:4])))


def shard_of(principal: str, shards: int) -> int:
    return crc32(principal.encode(errors="surrogatepass")) % shards


class State:
    """All that is remembered of one tenant. `mine` says which principals it scores."""

    def __init__(
        self, intel: Intel, accounts: Mapping[str, Account] | None = None, shard: int = 0, shards: int = 1
    ) -> None:
        self.intel = intel
        self.accounts = {} if accounts is None else accounts
        self.shard, self.shards = shard, shards
        self.principals: dict[str, Principal] = {}
        self.addresses: dict[str, Address] = {}
        self.prefixes: dict[str, Address] = {}
        self.bursts: dict[str, Burst] = {}
        self.clusters: dict[str, Cluster] = {}
        self.countries: dict[str, float] = {}
        self.country_sum = 0.0
        self.asns: dict[int, dict[str, float]] = {}
        self.sessions: dict[str, str] = {}  # the last used ones -> the network in which each began
        self.hot: dict[str, float] = {}  # addresses that a person called an attacker's -> until
        self.browsers: dict[str, Browser] = {}
        self.issuers: dict[str, dict[str, float]] = {}
        self.applications: dict[str, Application] = {}
        self.learned: Learned | None = Learned()  # None: it learns nothing of verdicts
        self.heard: Heard | None = None  # what words on own principals say, where somebody listens
        self.begun: dict[str, dict[str, str]] = {}  # others' principals -> their sessions -> where those began
        self.steps = 0
        self.tells = any(each.last for each in self.accounts.values())  # the directory, of last sign-ins
        self._view = view = View()
        view.intel, view.browsers, view.issuers, view.applications = (
            intel, self.browsers, self.issuers, self.applications,
        )  # fmt: skip
        by: dict[str, list[Detection]] = {}
        for each in sorted(DETECTIONS, key=lambda each: each.name):
            by.setdefault(each.on, []).append(each)
        self._always = [each for each in by.get("signIn", ()) if not each.strange]
        self._strange = [each for each in by.get("signIn", ()) if each.strange]
        self._backward, self._audits, self._activities = (by.get(on, []) for on in ("address", "audit", "activity"))
        self._asn_kinds: dict[int, int] = {}

    def use(self, intel: Intel) -> None:
        """From now on: what somebody has imported or told meanwhile counts."""
        if intel is not self.intel:
            self.intel = self._view.intel = intel
            self._asn_kinds.clear()

    # ------------------------------------------------------------ one event

    def step(self, event: Event | Feedback) -> list[Result]:
        """What follows from the event: its own result, and raised ones of earlier sign-ins (with the findings and the
        whole score that they have now)."""
        self.steps += 1
        if self.steps % PRUNE_EVERY == 0:
            self._prune()
        if type(event) is SignIn:
            return self._sign_in(event)
        if type(event) is Audit:
            return self._audit(event)
        if type(event) is Activity:
            return self._activity(event)
        assert isinstance(event, Feedback)
        self._feedback(event)
        return []

    def mine(self, principal: str) -> bool:
        return self.shards == 1 or shard_of(principal, self.shards) == self.shard

    def _principal(self, who: str) -> Principal:
        found = self.principals.get(who)
        if found is None:
            found = self.principals[who] = Principal()
        return found

    def _sign_in(self, event: SignIn) -> list[Result]:
        if not event.asn or not event.country:
            self._place(event)
        # Of sign-ins that do not say where they come from nothing is put together.
        address = _address(self.addresses, event.address, event.at) if event.address else Address(event.at)
        prefix = _address(self.prefixes, event.prefix, event.at) if event.prefix else Address(event.at)
        results: list[Result] = []
        if event.valid and not self.tells:
            self.tells = self.accounts.get(event.principal, NOBODY).last > 0
        if self.mine(event.principal):
            principal = self._principal(event.principal)
            if event.valid:
                results = self._valid(event, principal, address, prefix)
            else:
                results = [self._failed(event, principal, address)]
        self._public(event, address, prefix)
        if address.strangers and not event.workload:
            results += self._look_back(event, address)
        return results

    def _place(self, event: SignIn) -> None:
        """What the record does not say of its address, imported tables may."""
        network = self.intel.of(event.address, event.at)
        event.asn = event.asn or network.asn
        if not event.country:
            event.country, event.city = network.country, network.city
            event.latitude, event.longitude = network.latitude, network.longitude

    def _valid(self, event: SignIn, principal: Principal, address: Address, prefix: Address) -> list[Result]:
        at = event.at
        if principal.held and at - max(principal.risky, principal.held[-1].at) > WINDOW_S:
            release(principal)
        elif principal.held and at - principal.held[0].at > PATIENCE_S:
            learn_held(principal, principal.held.pop(0))
        view = self._seen(event, principal, address, prefix)
        score = base = view.base
        findings = _found(self._always, view)
        if view.place > 0.0:
            findings += _found(self._strange, view)
        score += sum(each.log_odds for each in findings)
        if self.hot and self.hot.get(event.address, 0.0) > at and not view.known_device:
            findings.append(Finding(CONFIRMED, 4.0, {"confirmedBy": "administrator"}))
            score += 4.0
        if base >= BASE_NAMED:
            kind = WORKLOAD_TYPE if event.workload else BASE_TYPE
            findings.insert(0, Finding(kind, base, {"learning": view.learning}, parts=view.parts()))
        corrected = 0.0
        if self.learned is not None and self.learned.on and findings:
            corrected = correct(self.learned, view, findings)
            score += corrected
        if principal.hot and not view.known_device and view.place > OWN_PLACE:
            score = self._inherit(view, principal, score, findings)
        result = Result(event.id, at, event.principal, score, findings, at, workload=event.workload)
        if findings or score >= NOTED:
            result.parts = view.parts() | ({"learned": round(corrected, 3)} if corrected else {})
        new_address = event.interactive and view.place > OWN_PLACE and not view.known_device
        if score >= NOTED or view.place > 0.0 or new_address:
            types = [each.type for each in findings]
            recent = Recent(event.id, at, event.keys[3], event.address, score, view.place, view.device, types)
            kept = [each for each in principal.recent[-RECENT + 1 :] if at - each.at < WINDOW_S]
            principal.recent = [*kept, recent]
        if score >= RISKY:
            moved = any(each.type == MOVED for each in findings)
            self._mark(principal, event.id, event.keys[3], event.address, score, at, _telling(findings), moved)
            if event.success:
                hold(event, principal, view)
        elif event.success and view.job:
            hold_job(event, principal, view)
        elif event.success:
            learn(event, principal, view)
        if event.code in DENIED:
            principal.denials.append(at)
            if len(principal.denials) > DENIALS:
                del principal.denials[0]
        return [result]

    def _seen(self, event: SignIn, principal: Principal, address: Address, prefix: Address) -> View:
        """The one view, filled anew."""
        at, view = event.at, self._view
        view.event, view.principal, view.address, view.prefix = event, principal, address, prefix
        kinds = self._asn_kinds.get(event.asn)
        if kinds is None:
            kinds = self._asn_kinds[event.asn] = int(self.intel.asn_kinds(event.asn))
        view.kinds = kinds | int(self.intel.of(event.address, at).kinds)
        view.account = self.accounts.get(event.principal, NOBODY)
        view.tells = self.tells
        of_asn = self.asns.get(event.asn)
        view.tenant_asn = 0 if of_asn is None else len(of_asn) - (event.principal in of_asn)
        view.countries, view.country_sum = self.countries, self.country_sum
        view.tenant_country = view.share_of(event.country)
        view.burst, view.cluster = self.bursts.get(program_of(event)), self.clusters.get(cluster_of(event))
        assess(view)
        return view

    def _inherit(self, view: View, principal: Principal, score: float, findings: list[Finding]) -> float:
        """A sign-in of a session, or from an address, that is under suspicion is as risky, nearly."""
        event = view.event
        best, source, by, kind = score, "", "", ""
        for key, less, name in (
            ("s" + event.keys[3], SAME_SESSION, "session"),
            ("a" + event.address, SAME_ADDRESS, "ipAddress"),
        ):
            if name == "session" and _goes_on(view):
                continue
            hot = principal.hot.get(key) if len(key) > 1 else None
            if hot is None or hot[1] <= event.at:
                continue
            left = hot[0] - less - COOLING * max(0.0, event.at - hot[1] + WINDOW_S) / DAY
            if left > best:
                best, source, by, kind = left, hot[2], name, hot[3]
        if by:
            before = next((each for each in principal.recent if each.id == source), None)
            said = {"continues": source, "by": by, "since": before.at if before else None}
            kind = kind or (WORKLOAD_TYPE if event.workload else BASE_TYPE)
            findings.append(Finding(kind, round(best - score, 3), said))
        return best

    def _failed(self, event: SignIn, principal: Principal, address: Address) -> Result:
        """No risk of anybody: the credentials were wrong. The score tells of the attempt."""
        if event.code in WRONG:
            count_failure(principal, event)
        score = 0.0
        failing = address.failing(event.principal, event.at)
        if failing >= 3 and not address.shared(event.principal):
            score = min(3.0, 0.5 * failing)
        burst = self.bursts.get(program_of(event))
        if burst is not None and not address.users:
            score = max(score, min(2.5, 0.25 * burst.size(event.principal, event.at)))
        return Result(event.id, event.at, event.principal, score, [], event.at, kind="attempt")

    # ------------------------------------------------------------ learning

    def _public(self, event: SignIn, address: Address, prefix: Address) -> None:
        """What is kept of addresses and of the tenant: of the event alone."""
        at, who = event.at, event.principal
        anchored = bool(event.device) or event.managed or event.token == BOUND_TOKEN
        if event.success:
            for kind, name in self.cleared(event):
                if kind == "b":
                    del self.bursts[name].users[who]
                else:
                    self.clusters[name].accept(who, at)
            if not anchored and event.interactive and event.agent and event.country and not address.users:
                browser = self.browsers.get(event.agent)
                if browser is None:
                    browser = self.browsers[event.agent] = Browser()
                browser.add(who, event.country, at)
            if event.issuer and (event.issuer in self.issuers or len(self.issuers) < MOST_ISSUERS):
                keep(self.issuers.setdefault(event.issuer, {}), who, at)
            brought = self._brought(event)
            # Who starts, at whatever place, comes to it as a stranger: that says nothing of the place.
            shown = event.interactive and not is_starter(self.accounts.get(who, NOBODY), at)
            for each in (address, prefix):
                each.accept(who, event.id, at, anchored, brought, shown)
            if event.country:
                self.countries[event.country] = self.countries.get(event.country, 0.0) + 1.0
                self.country_sum += 1.0
            if event.asn:
                of_asn = self.asns.get(event.asn)
                if of_asn is None:
                    of_asn = self.asns[event.asn] = {}
                if who in of_asn or len(of_asn) < 64:
                    of_asn[who] = at
        elif event.valid:
            if event.interactive and not anchored:
                address.validate(who, event.id, at)
        elif event.code in WRONG:
            address.fail(who, at)
            prefix.fail(who, at)
            program = program_of(event)
            if not address.users and program:
                burst = self.bursts.get(program)
                if burst is None:
                    burst = self.bursts[program] = Burst()
                burst.add(who, at)
            key = cluster_of(event)
            if key:
                self.clusters.setdefault(key, Cluster()).fail(who, at)

    def cleared(self, event: SignIn) -> list[tuple[str, str]]:
        """The burst ("b") and the cluster ("k") of which an accepted sign-in says something: who is accepted in the
        network where he failed had mistyped."""
        found: list[tuple[str, str]] = []
        if not event.success or event.workload:
            return found
        who, burst, key = event.principal, self.bursts.get(program_of(event)), cluster_of(event)
        if burst is not None and who in burst.users:
            prefix = self.prefixes.get(event.prefix)
            if prefix is not None and who in prefix.failed:
                found.append(("b", program_of(event)))
        cluster = self.clusters.get(key)
        if cluster is not None and cluster.learns(who, event.at):
            found.append(("k", key))
        return found

    def _brought(self, event: SignIn) -> bool:
        """Whether its session began in another network: who came has it on a device."""
        key = event.keys[3]
        if not key:
            return False
        begun = self.sessions.pop(key, event.prefix)
        self.sessions[key] = begun
        if not self.mine(event.principal):
            of = self.begun.setdefault(event.principal, {})
            if key not in of:
                of[key] = begun
                if len(of) > SESSIONS:
                    del of[next(iter(of))]
        if len(self.sessions) > MOST_SESSIONS:
            del self.sessions[next(iter(self.sessions))]
        return begun != event.prefix

    # ------------------------------------------------------------ what points back

    def _mark(
        self,
        principal: Principal,
        id: str,
        session: str,
        address: str,
        score: float,
        at: float,
        kind: str,
        moved: bool = False,
    ) -> None:
        """`kind` is what is said of what goes on with it; of its session, that it moved, where it did."""
        principal.risky = max(principal.risky, at)
        for key, said in (("s" + session, MOVED if moved else kind), ("a" + address, kind)):
            if len(key) > 1 and principal.hot.get(key, (0.0, 0.0, "", ""))[0] < score:
                principal.hot[key] = (score, at + WINDOW_S, id, said)
        for key in [each for each, (_, until, _, _) in principal.hot.items() if until < at]:
            del principal.hot[key]
        if len(principal.hot) > SESSIONS:
            del principal.hot[min(principal.hot, key=lambda each: (principal.hot[each][1], each))]

    def _raise(self, principal: Principal, who: str, finding: Finding, at: float) -> list[Result]:
        """Adds a finding to an earlier sign-in; those that went on with its session or address rise with it."""
        subject = next((each for each in principal.recent if each.id == finding.subject), None)
        if subject is None:
            return []
        subject.score += finding.log_odds
        results = [Result(subject.id, subject.at, who, subject.score, [finding], at, kind="raised")]
        if subject.score < RISKY:
            return results
        self._mark(principal, subject.id, subject.session, subject.address, subject.score, subject.at, finding.type)
        for each in principal.recent:
            same_session = bool(subject.session) and each.session == subject.session
            same_address = each.address == subject.address and each.at >= subject.at
            less = SAME_SESSION if same_session else SAME_ADDRESS
            if each is not subject and (same_session or same_address) and each.score < subject.score - less:
                gain = subject.score - less - each.score
                each.score = subject.score - less
                said = {"continues": subject.id, **finding.reasons}
                also = Finding(finding.type, round(gain, 3), said, timing="offline", subject=each.id)
                results.append(Result(each.id, each.at, who, each.score, [also], at, kind="raised"))
        return results

    def _look_back(self, event: SignIn, address: Address) -> list[Result]:
        """What an event says of others' earlier sign-ins from its address: somebody fails there, or signs in there, who
        shares nothing with them."""
        results: list[Result] = []
        for id, who, _ in address.strangers:
            if who == event.principal or not self.mine(who):
                continue
            principal = self.principals.get(who)
            recent = next((each for each in principal.recent if each.id == id), None) if principal else None
            if principal is None or recent is None:
                continue
            for found in _found(self._backward, BackView(event, address, recent, who)):
                if found.type not in recent.types:
                    recent.types.append(found.type)
                    found.subject = id
                    results += self._raise(principal, who, found, event.at)
        return results

    def _applications(self, event: Audit) -> Application | None:
        """What is kept of applications: of the event alone. That of the first target."""
        credential, consent = CREDENTIAL_ADDED.search(event.activity), CONSENT.search(event.activity)
        if not event.success or not (credential or consent):
            return None
        own: Application | None = None
        for key in applications_of(event):
            found = self.applications.get(key)
            if found is None:
                found = self.applications[key] = Application(event.at)
            if credential:
                found.credential, found.by, found.audit = event.at, event.principal, event.id
            else:
                keep(found.users, event.principal, event.at)
                approved = self.accounts.get(event.principal, NOBODY).administrator
                found.approved |= approved or ADMIN_CONSENT.search(event.details) is not None
            own = own or found
        return own

    def _audit(self, event: Audit) -> list[Result]:
        application = self._applications(event)
        if not self.mine(event.principal):
            return []
        principal, at = self._principal(event.principal), event.at
        own = Result(event.id, at, event.principal, 0.0, [], at, workload=event.workload, kind="audit")
        results = [own]
        network = self.intel.of(event.address, at)
        view = ChangeView(event, principal, self.accounts.get(event.principal, NOBODY), network, application)
        for found in _found(self._audits, view):
            if found.principal:
                odds = found.log_odds
                results.append(Result(event.id, at, found.principal, odds, [found], at, workload=True, kind="audit"))
            else:
                results += self._own(own, found, principal)
        if event.success and own.score < NOT_LEARNED:
            principal.change(event.activity, at)
        return results

    def _own(self, own: Result, found: Finding, principal: Principal) -> list[Result]:
        """What a finding of a change, or of requests, raises; the record itself is as risky as the riskiest of it."""
        raised = self._raise(principal, own.principal, found, own.at)
        own.score = max([own.score, found.log_odds, *(each.score for each in raised)])
        own.findings.append(found)
        return raised

    def _activity(self, event: Activity) -> list[Result]:
        if not self.mine(event.principal):
            return []
        principal = self._principal(event.principal)
        own = Result(event.id, event.at, event.principal, 0.0, [], event.at, workload=event.workload, kind="activity")
        results = [own]
        view = RequestView(event, principal, self.intel.of(event.address, event.at))
        for found in _found(self._activities, view):
            results += self._own(own, found, principal)
        if own.score < NOT_LEARNED:
            principal.requests.append(event.requests)
            if len(principal.requests) > 48:
                del principal.requests[0]
        return results

    def _feedback(self, event: Feedback) -> None:
        principal = self.principals.get(event.principal)
        if self.learned is not None and principal is not None:
            taught = hear(self.learned, event.verdict, event.sign_in, principal, RISKY)
            if self.heard is not None:
                self.heard.taught += taught
        if event.verdict == "compromised" and event.sign_in:
            for each in principal.recent if principal else ():
                if each.id == event.sign_in:
                    self.hot[each.address] = event.at + WINDOW_S
                    if self.heard is not None:
                        self.heard.hot[each.address] = event.at + WINDOW_S
                    each.score = max(each.score, 8.0)
                    assert principal is not None
                    self._mark(principal, each.id, each.session, each.address, each.score, event.at, CONFIRMED)
        elif principal is not None and event.verdict == "safe":
            if event.sign_in:
                for held in held_like(principal, event.sign_in):
                    learn_held(principal, held, FEEDBACK_WEIGHT)
                    principal.held.remove(held)
                    principal.hot.pop("s" + held.session, None)
                    principal.hot.pop("a" + held.address, None)
            else:
                release(principal, FEEDBACK_WEIGHT)
        elif principal is not None and event.verdict == "remediated":
            principal.hot.clear()

    def hear(self, heard: Heard) -> None:
        """What a word on somebody else's principal says here."""
        self.hot.update(heard.hot)
        for lesson in heard.taught:
            if self.learned is not None:
                self.learned.train(*lesson)

    # ------------------------------------------------------------ bounds

    def _prune(self) -> None:
        _shed(self.addresses, lambda each: each.last)
        _shed(self.prefixes, lambda each: each.last)
        _shed(self.browsers, lambda each: each.day)
        _shed(self.applications, lambda each: each.first)
        _shed(self.bursts, lambda each: each.day)
        _shed(self.clusters, lambda each: each.last)


def _goes_on(view: View) -> bool:
    """Its owner goes on with a session: where the owner always is, or in a network in which the session was used before
    it was under suspicion."""
    if view.place <= 0.0 and view.device <= OWN_KIT:
        return True
    return view.session <= (SAME_CARRIER if view.kinds & Kind.MOBILE else SAME_NETWORK)


def _address(of: dict[str, Address], key: str, at: float) -> Address:
    found = of.get(key)
    if found is None:
        found = of[key] = Address(at)
    return found


def _shed(of: dict[str, _Kept], age: Callable[[_Kept], float]) -> None:
    """The oldest make room, down to nine tenths."""
    if len(of) > MOST_ADDRESSES:
        for key in sorted(of, key=lambda each: (age(of[each]), each))[: len(of) - MOST_ADDRESSES * 9 // 10]:
            del of[key]


def _found(detections: list[Detection], view: object) -> list[Finding]:
    findings = []
    for each in detections:
        found = each.run(view)
        if found is not None:
            found.timing = each.timing
            findings.append(found)
    return findings


def _telling(findings: list[Finding]) -> str:
    """The type that says most about why; the behavioural one only where nothing else is there."""
    of = [each for each in findings if each.type not in (BASE_TYPE, WORKLOAD_TYPE)] or findings
    return max(of, key=lambda each: (each.log_odds, each.type)).type if of else BASE_TYPE
