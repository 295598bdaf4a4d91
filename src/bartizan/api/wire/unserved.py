"""What is known of Graph and not served: why, and how that is said."""

import re
from functools import lru_cache

from bartizan.errors import MethodNotAllowed, NotServed
from bartizan.extend import UNSERVED, Unserved
from bartizan.model.edm import Version


@lru_cache(2048)
def _pattern(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\{\}", r"[^/]+")
    if text.endswith(r"/\*\*"):
        text = text[: -len(r"/\*\*")] + r"(/.*)?"
    return re.compile(text)


def why_not(path: str, version: Version, verb: str | None = None) -> Unserved | None:
    """Why a known path (in lower case, without the version) is not served, by the longest pattern that says so; None if
    none does."""
    found = [
        (len(pattern), why)
        for pattern, verbs, versions, why in UNSERVED
        if version in versions and (verb is None or verb in verbs) and _pattern(pattern).fullmatch(path)
    ]
    return max(found, key=lambda each: each[0])[1] if found else None


def refusal(why: Unserved, what: str, allow: tuple[str, ...] = ()) -> NotServed | MethodNotAllowed:
    if why.later:
        return NotServed(f"Not served yet: {what}: {why.why}.")
    return MethodNotAllowed(f"Not served: {what}: {why.why}.", headers={"Allow": ", ".join(allow)})
