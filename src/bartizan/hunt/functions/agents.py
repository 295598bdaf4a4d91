"""parse_user_agent: browser, system and device of a user agent, by the rules of uap-core, as its package has them.

The first rule whose pattern is found in the text decides; where none is, the family is `Other`. A part is a template in
which $1 to $9 stand for groups of the pattern; without one it is the group of its place. What is missing is empty.

The rules are an own package (extra `agents`), read when a query first asks for it; without it the function is refused.

Source: Kusto Query Language, "parse_user_agent()"; uap-core, "docs/specification.md".
"""

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function, refused
from bartizan.hunt.plan import Apply

GROUPS = 9  # that a template may name
_NOTHING = "()" * GROUPS  # behind a pattern: groups that it has not are empty


class Kind(NamedTuple):
    """Of what is looked for: its name in the result, its place among the package's rules, its parts by the names of the
    package and of the result, and for each part the template where a rule has none."""

    name: str
    place: int
    parts: tuple[tuple[str, str, str], ...]


_NUMBERS = (("major", "MajorVersion", "$2"), ("minor", "MinorVersion", "$3"), ("patch", "Patch", "$4"))
_FAMILY = ("family", "Family", "$1")
KINDS = {
    "browser": Kind("Browser", 0, (_FAMILY, *_NUMBERS)),
    "os": Kind("OperatingSystem", 1, (_FAMILY, *_NUMBERS, ("patch_minor", "PatchMinor", "$5"))),
    "device": Kind("Device", 2, (_FAMILY, ("brand", "Brand", ""), ("model", "Model", "$1"))),
}


def _rules(kind: Kind) -> Sequence[Any]:
    rules: Sequence[Any] = import_module("ua_parser_builtins.lazy").MATCHERS[kind.place]
    return rules


def _pattern(rule: Any) -> str:
    return f"(?i){rule.regex}" if getattr(rule, "regex_flag", None) == "i" else str(rule.regex)


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(text(each) for each in texts)}]"


def _object(members: Sequence[str]) -> str:
    return "'{' || " + " || ',' || ".join(members) + " || '}'"


@cache
def _told(place: str) -> str:
    """The SQL of one kind's object, of a text called gt. Which rule it is, and its groups, are worked out once; a $ of
    the text is put aside while groups take the places of a template."""
    kind = KINDS[place]
    rules = _rules(kind)
    patterns = [_pattern(each) for each in rules]
    which = " ".join(f"WHEN regexp_matches(gt, {text(each)}) THEN {n}" for n, each in enumerate(patterns, 1))
    found = f"({_listed([f'(?:{each}){_NOTHING}' for each in patterns])})[gi]"
    members = []
    for field, name, usual in kind.parts:
        templates = [getattr(each, field) or usual for each in rules]
        named = sorted({group for group in range(1, GROUPS + 1) if any(f"${group}" in each for each in templates)})
        made = f"({_listed(templates)})[gi]"
        for group in named:
            made = f"replace({made}, '${group}', replace(regexp_extract(gt, gp, {group}), '$', chr(1)))"
        none = text("Other" if field == "family" else "")
        members.append(f"""'"{name}":' || to_json(coalesce(trim(replace({made}, chr(1), '$')), {none}))::VARCHAR""")
    body = f"list_transform([{found}], lambda gp: {_object(members)})[1]"
    return f"list_transform([CASE {which} END], lambda gi: {body})[1]"


def _agent(args: Sequence[str], apply: Apply) -> str:
    told = constant(apply, 1, "what is looked for")
    wanted = [told] if isinstance(told, str) else told
    if not isinstance(wanted, list) or not wanted or any(each not in KINDS for each in wanted):
        raise KqlError("bind", f"parse_user_agent() looks for {', '.join(KINDS)}; one of them, or an array")
    members = [f"""'"{KINDS[each].name}":' || {_told(each)}""" for each in KINDS if each in wanted]
    return f"list_transform([{args[0]}], lambda gt: {_object(members)})[1]"


for _signature in ("string string! -> dynamic", "string dynamic! -> dynamic"):
    if find_spec("ua_parser_builtins") is None:
        refused("parse_user_agent", _signature, "its rules, the extra 'agents', are not installed")
    else:
        function("parse_user_agent", _signature, duckdb=_agent)
