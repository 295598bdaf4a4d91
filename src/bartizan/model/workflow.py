"""What people and providers say of an alert's handling: status, verdict, assignee, comments, tags, closing time.

The two faces have different words for it. (status, classification) of today's alert and (status, feedback) of the
legacy one are kept side by side: a change through one face recomputes the other's pair only where the two no longer
mean the same, so `dismissed` stays `dismissed` for as long as today's alert stays resolved.

    legacy                          today's
    newAlert, inProgress, resolved  new, inProgress, resolved
    dismissed                       resolved, with classification falsePositive or informationalExpectedActivity
    feedback truePositive,          classification truePositive, falsePositive, informationalExpectedActivity
      falsePositive, benignPositive

The latest explicit change wins, provider's or analyst's, and what each said is kept. Comments are only ever added.

Source: microsoft.graph.alert (status, feedback, historyStates) and microsoft.graph.security.alert.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bartizan.errors import BadRequest

MAX_COMMENTS = 1_000  # of one alert; beyond that a conversation belongs into a ticket
MAX_SIGNATURE = 40  # characters that a connector puts around an author's name before a comment
MAX_HISTORY = 200  # entries of historyStates that the alert shows, newest; the audit log has all

_STATUS = {"newAlert": "new", "dismissed": "resolved"}  # the others have the same name
_STATUS_BACK = {"new": "newAlert"}
_FEEDBACK = {"benignPositive": "informationalExpectedActivity"}
_FEEDBACK_BACK = {"informationalExpectedActivity": "benignPositive"}
_NOT_ACTED_ON = frozenset({"falsePositive", "informationalExpectedActivity"})


class Who(Struct, frozen=True):
    """Who changes an alert."""

    app: str  # client id of the application
    user: str | None = None  # user principal name; None for an application by itself
    name: str | None = None  # display name, shown with comments

    @property
    def shown(self) -> str:
        return self.name or self.user or self.app


class Words(Struct, kw_only=True):
    """One view of an alert's handling, in the words of both faces."""

    status: str = "new"
    classification: str | None = None
    legacyStatus: str = "newAlert"
    feedback: str | None = None
    determination: str | None = None
    assignedTo: str | None = None
    closed: str | None = None  # v2 resolvedDateTime, legacy closedDateTime
    tags: list[str] = []  # legacy tags; without ATT&CK ids v2 systemTags
    comments: list[dict[str, Any]] = []  # alertComment


_SINGLE = ("status", "classification", "legacyStatus", "feedback", "determination", "assignedTo", "closed")


def to_today(status: str, feedback: str | None) -> tuple[str, str | None]:
    """(status, classification) of a legacy pair. Dismissed without a reason counts as a false positive."""
    classification = None if feedback is None else _FEEDBACK.get(feedback, feedback)
    if status == "dismissed" and classification in (None, "unknown"):
        classification = "falsePositive"
    return _STATUS.get(status, status), classification


def to_legacy(status: str, classification: str | None) -> tuple[str, str | None]:
    """(status, feedback) of today's pair."""
    feedback = None if classification is None else _FEEDBACK_BACK.get(classification, classification)
    if status == "resolved" and classification in _NOT_ACTED_ON:
        return "dismissed", feedback
    return _STATUS_BACK.get(status, status), feedback


def agree(words: Words) -> bool:
    """Whether the two pairs mean the same."""
    if _STATUS.get(words.legacyStatus, words.legacyStatus) != words.status:
        return False
    if words.legacyStatus == "dismissed" and words.feedback in (None, "unknown"):
        return words.classification in _NOT_ACTED_ON
    said = None if words.feedback is None else _FEEDBACK.get(words.feedback, words.feedback)
    return said == words.classification


def settled(words: Words, *, by_legacy: bool) -> Words:
    """With the pair of the other face recomputed, if it means something else now."""
    if agree(words):
        return words
    if by_legacy:
        status, classification = to_today(words.legacyStatus, words.feedback)
        return replace(words, status=status, classification=classification)
    legacy_status, feedback = to_legacy(words.status, words.classification)
    return replace(words, legacyStatus=legacy_status, feedback=feedback)


def _closing(before: Words, after: Words, at: str | None) -> Words:
    """Closed when it becomes resolved, open again when it no longer is, unless somebody named the time."""
    if after.closed != before.closed:
        return after
    if after.status == "resolved" and before.status != "resolved":
        return replace(after, closed=at)
    if after.status != "resolved" and before.status == "resolved":
        return replace(after, closed=None)
    return after


# ---------------------------------------------------------------- an analyst's change

_TODAY = ("status", "classification", "determination", "assignedTo", "comments", "systemTags")
_LEGACY = ("status", "feedback", "assignedTo", "comments", "tags", "closedDateTime")
_LEGACY_NAMES = {"status": "legacyStatus", "closedDateTime": "closed"}
_IGNORED = ("id", "vendorInformation")  # legacy clients must name them


def changed_today(now: Words, patch: Mapping[str, Any], who: Who, at: str, techniques: list[str]) -> Words:
    """After a PATCH of today's face (inner form). `comments` are added, be it one or a list."""
    _check(patch, _TODAY, "alerts_v2")
    after = replace(now)
    for name in ("status", "classification", "determination", "assignedTo"):
        if name in patch:
            setattr(after, name, patch[name])
    if "systemTags" in patch:
        after.tags = [*(patch["systemTags"] or []), *(tag for tag in now.tags if tag in techniques)]
    if "comments" in patch:
        given = patch["comments"]
        texts = [str(one.get("comment") or "") for one in ([given] if isinstance(given, dict) else given or [])]
        after.comments = _commented(now, texts, who, at)
    return _closing(now, settled(after, by_legacy=False), at)


def changed_legacy(now: Words, patch: Mapping[str, Any], who: Who, at: str) -> Words:
    """After a PATCH of the legacy face. A client sends the whole list of comments: what is new in it is added, and what
    it leaves out stays. Tags are replaced."""
    _check(patch, _LEGACY, "alerts")
    after = replace(now)
    for name in ("status", "feedback", "assignedTo", "closedDateTime"):
        if name in patch:
            setattr(after, _LEGACY_NAMES.get(name, name), patch[name])
    if "tags" in patch:
        after.tags = list(patch["tags"] or [])
    if "comments" in patch:
        left = Counter(str(one.get("comment") or "") for one in now.comments)
        new = []
        for text in patch["comments"] or []:
            if left[text] > 0:
                left[text] -= 1
            else:
                new.append(str(text))
        after.comments = _commented(now, new, who, at)
    return _closing(now, settled(after, by_legacy=True), at)


def _check(patch: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in patch:
        if name not in names and name not in _IGNORED and not name.startswith("@"):
            raise BadRequest(f"cannot change '{name}' of {where}; changeable: {', '.join(names)}")
    if "status" in patch and patch["status"] is None:
        raise BadRequest("'status' cannot be null")


def _commented(now: Words, texts: list[str], who: Who, at: str) -> list[dict[str, Any]]:
    new = [{"comment": text, "createdByDisplayName": who.shown, "createdDateTime": at} for text in texts]
    if len(now.comments) + len(new) > MAX_COMMENTS:
        raise BadRequest(f"an alert has at most {MAX_COMMENTS} comments; this one has {len(now.comments)}")
    return [*now.comments, *new]


def said(before: Words, after: Words) -> dict[str, Any]:
    """The words that a change set, by the names of `Words`; comments only the new ones."""
    found = {name: getattr(after, name) for name in _SINGLE if getattr(before, name) != getattr(after, name)}
    if before.tags != after.tags:
        found["tags"] = after.tags
    if len(after.comments) > len(before.comments):
        found["comments"] = after.comments[len(before.comments) :]
    return found


def history(words: Mapping[str, Any], who: Who, at: str) -> dict[str, Any]:
    """The entry of historyStates for a change; what the change did not touch is null."""
    return {
        "appId": who.app,
        "assignedTo": words.get("assignedTo"),
        "comments": [one["comment"] for one in words.get("comments", [])],
        "feedback": words.get("feedback"),
        "status": words.get("legacyStatus"),
        "updatedDateTime": at,
        "user": who.user,
    }


# ---------------------------------------------------------------- a provider's change


def revised(now: Words, before: Words, after: Words, at: str | None) -> Words:
    """What both faces show after a provider that said `before` says `after`: what it changed wins, what it repeats does
    not. Tags and comments of analysts stay; one that was written back and now comes from there is not added again."""
    made = _repaired(now, before, after)
    for name in ("determination", "assignedTo", "closed"):
        if getattr(before, name) != getattr(after, name):
            setattr(made, name, getattr(after, name))
    kept = [tag for tag in made.tags if tag in after.tags or tag not in before.tags]
    made.tags = kept + [tag for tag in after.tags if tag not in before.tags and tag not in kept]
    made.comments = [*made.comments, *unknown_comments(after.comments, now.comments)]
    return _closing(now, made, at)


def unknown_comments(told: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The comments of a provider that are not shown yet, each as often as it says them.

    What was written back comes as the text alone, or with its author before it where the provider shows another.
    """
    left, rest = Counter(_text(one) for one in shown), []
    for one in told:
        if left[_text(one)] > 0:
            left[_text(one)] -= 1
        else:
            rest.append(one)
    signed = Counter(
        (author, text)
        for author, text in ((one.get("createdByDisplayName"), _text(one)) for one in shown)
        if author and text and left[text] > 0
    )
    found = []
    for one in rest:
        echo = next((pair for pair in signed if signed[pair] > 0 and _signed(_text(one), *pair)), None)
        if echo is None:
            found.append(one)
        else:
            signed[echo] -= 1
    return found


def _signed(told: str, author: str, text: str) -> bool:
    """Whether this is the author's text with the name before it ("Ann: text", "[Ann] text")."""
    head = told.removesuffix(text)
    return head != told and author in head and len(head) <= len(author) + MAX_SIGNATURE


def _repaired(now: Words, before: Words, after: Words) -> Words:
    """With what the provider changed of the two pairs."""
    made = replace(now)
    if changed := _differing(before, after, "status", "classification"):
        for name in changed:
            setattr(made, name, getattr(after, name))
        if not _differing(made, after, "status", "classification"):
            return replace(made, legacyStatus=after.legacyStatus, feedback=after.feedback)
        return settled(made, by_legacy=False)
    for name in _differing(before, after, "legacyStatus", "feedback"):
        setattr(made, name, getattr(after, name))
    return settled(made, by_legacy=True)


def _differing(one: Words, other: Words, *names: str) -> list[str]:
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _text(comment: Mapping[str, Any]) -> str:
    return str(comment.get("comment") or "")


# ---------------------------------------------------------------- showing


def today_face(words: Words, techniques: list[str]) -> dict[str, Any]:
    return {
        "status": words.status,
        "classification": words.classification,
        "determination": words.determination,
        "assignedTo": words.assignedTo,
        "resolvedDateTime": words.closed,
        "systemTags": [tag for tag in words.tags if tag not in techniques],
        "comments": words.comments,
    }


def legacy_face(words: Words) -> dict[str, Any]:
    return {
        "status": words.legacyStatus,
        "feedback": words.feedback,
        "assignedTo": words.assignedTo,
        "closedDateTime": words.closed,
        "tags": words.tags,
        "comments": [_text(one) for one in words.comments],
    }
