"""Objects and filter texts by chance, from small alphabets so that they meet, of types with every kind of property."""

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

ALERT = "microsoft.graph.alert"
SCORE = "microsoft.graph.secureScore"
EVIDENCE = "microsoft.graph.security.alert"
USER = "microsoft.graph.user"

TEXTS = [
    "",
    "a",
    "A",
    "ab",
    "Ab",
    "b c",
    "ASC",
    "asc",
    "ß",
    "SS",
    "İx",
    "ΑΣ",
    "ας",
    "Ω\U0001f600",
    "x_%y",
    "it's",
    '"q"',
    "5",
    "é",
    "z\u0301",
    "myContosoTeam7b",
    "q\x01B",
    "aΑΣ\u01c5x\u00aaB\u00b2c",
]
INSTANTS = [
    "2026-11-21T02:56:38.4808230Z",
    "2026-11-21T02:56:38.4808231Z",
    "2026-11-22T00:00:00.0000000Z",
    "2024-02-29T23:59:59.9999999Z",
    "0001-01-01T00:00:00.0000000Z",
    "9999-12-31T23:59:59.9999999Z",
]
INTS = [-3, -1, 0, 1, 2, 5, 7, 2**31 - 1]
REALS = [
    -2.5,
    -0.5,
    0.0,
    0.1,
    0.2,
    0.30000000000000004,
    0.5,
    1.5,
    2.5,
    3.0,
    0.49999999999999994,
    1e300,
    1e-300,
    12345678.9,
]
SEVERITIES = ["unknown", "informational", "low", "medium", "high"]


def maybe(chance: random.Random, make: Callable[[], Any]) -> Any:
    return make() if chance.random() < 0.75 else None


def alert(c: random.Random) -> dict[str, Any]:
    def text() -> str:
        return c.choice(TEXTS)

    return {
        "title": maybe(c, text),
        "category": maybe(c, text),
        "assignedTo": maybe(c, text),
        "severity": maybe(c, lambda: c.choice(SEVERITIES)),
        "confidence": maybe(c, lambda: c.choice(INTS)),
        "lastModifiedDateTime": maybe(c, lambda: c.choice(INSTANTS)),
        "eventDateTime": maybe(c, lambda: c.choice(INSTANTS)),
        "vendorInformation": maybe(c, lambda: {"provider": maybe(c, text), "vendor": maybe(c, text)}),
        "tags": [text() for _ in range(c.choice([0, 0, 1, 3]))],
        "hostStates": [
            {
                "fqdn": maybe(c, text),
                "isAzureAdJoined": maybe(c, lambda: c.random() < 0.5),
                "os": maybe(c, text),
            }
            for _ in range(c.choice([0, 1, 2]))
        ],
        "historyStates": [
            {
                "comments": [text() for _ in range(c.choice([0, 2]))],
                "updatedDateTime": maybe(c, lambda: c.choice(INSTANTS)),
            }
            for _ in range(c.choice([0, 1, 2]))
        ],
        "processes": [
            {"processId": maybe(c, lambda: c.choice(INTS)), "name": maybe(c, text)} for _ in range(c.choice([0, 1]))
        ],
    }


def score(c: random.Random) -> dict[str, Any]:
    return {
        "currentScore": maybe(c, lambda: c.choice(REALS)),
        "maxScore": maybe(c, lambda: c.choice([*REALS, *INTS])),
        "activeUserCount": maybe(c, lambda: c.choice(INTS)),
        "enabledServices": [c.choice(TEXTS) for _ in range(c.choice([0, 2]))],
        "averageComparativeScores": [
            {"basis": maybe(c, lambda: c.choice(TEXTS)), "averageScore": maybe(c, lambda: c.choice(REALS))}
            for _ in range(c.choice([0, 1, 2]))
        ],
    }


def evidence(c: random.Random) -> dict[str, Any]:
    def one() -> dict[str, Any]:
        kind = c.choice(["deviceEvidence", "ipEvidence", "userEvidence", "fileEvidence"])
        made: dict[str, Any] = {"@odata.type": f"#microsoft.graph.security.{kind}"}
        made["verdict"] = maybe(c, lambda: c.choice(["unknown", "suspicious", "malicious"]))
        made["createdDateTime"] = maybe(c, lambda: c.choice(INSTANTS))
        if kind == "deviceEvidence":
            made["deviceDnsName"] = maybe(c, lambda: c.choice(TEXTS))
            made["ipInterfaces"] = [c.choice(TEXTS) for _ in range(c.choice([0, 2]))]
        elif kind == "ipEvidence":
            made["ipAddress"] = maybe(c, lambda: c.choice(TEXTS))
        elif kind == "userEvidence":
            made["userAccount"] = maybe(c, lambda: {"accountName": maybe(c, lambda: c.choice(TEXTS))})
        return made

    return {
        "title": maybe(c, lambda: c.choice(TEXTS)),
        "severity": maybe(c, lambda: c.choice(SEVERITIES)),
        "evidence": [one() for _ in range(c.choice([0, 1, 3]))],
    }


def user(c: random.Random) -> dict[str, Any]:
    odd = [
        None,
        True,
        False,
        5,
        -1.5,
        "5",
        "a",
        "true",
        {"id": "a"},
        {"id": 5},
        {"id": None},
        ["a", 5, None, {"id": "a"}],
        [],
    ]
    return {
        "displayName": maybe(c, lambda: c.choice(TEXTS)),
        "accountEnabled": maybe(c, lambda: c.random() < 0.5),
        "ext_value": c.choice(odd),
        "ext_other": c.choice(odd),
        "assignedLicenses": [
            {"skuId": c.choice(["cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46", "00000000-0000-4000-8000-000000000001"])}
            for _ in range(c.choice([0, 1]))
        ],
        "businessPhones": [c.choice(TEXTS) for _ in range(c.choice([0, 1]))],
    }


MAKERS = {ALERT: alert, SCORE: score, EVIDENCE: evidence, USER: user}

# ---------------------------------------------------------------- filters: paths of a type and of its elements, by kind

PATHS: dict[str, dict[str, list[str]]] = {
    ALERT: {
        "text": ["title", "category", "assignedTo", "vendorInformation/provider", "vendorinformation/VENDOR"],
        "enum": ["severity"],
        "int": ["confidence"],
        "instant": ["lastModifiedDateTime", "eventDateTime"],
    },
    SCORE: {"real": ["currentScore", "maxScore"], "int": ["activeUserCount"]},
    EVIDENCE: {"text": ["title"], "enum": ["severity"]},
    USER: {"text": ["displayName", "ext_value", "ext_value/id"], "bool": ["accountEnabled"], "real": ["ext_other"]},
}
LAMBDAS: dict[str, list[tuple[str, dict[str, list[str]]]]] = {
    ALERT: [
        ("tags", {"text": [""]}),
        ("hostStates", {"text": ["/fqdn", "/os"], "bool": ["/isAzureAdJoined"]}),
        ("historyStates", {"instant": ["/updatedDateTime"]}),
        ("processes", {"int": ["/processId"], "text": ["/name"]}),
    ],
    SCORE: [
        ("enabledServices", {"text": [""]}),
        ("averageComparativeScores", {"text": ["/basis"], "real": ["/averageScore"]}),
    ],
    EVIDENCE: [
        (
            "evidence",
            {
                "text": [
                    "/deviceDnsName",
                    "/ipAddress",
                    "/userAccount/accountName",
                    "/microsoft.graph.security.deviceEvidence/deviceDnsName",
                ],
                "instant": ["/createdDateTime"],
            },
        )
    ],
    USER: [("businessPhones", {"text": [""]}), ("ext_value", {"text": ["", "/id"], "real": [""]})],
}
NESTED = {"historyStates": "comments", "evidence": "ipInterfaces"}


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


LITERALS = {
    "text": st.sampled_from(TEXTS).map(quoted),
    "int": st.sampled_from([*INTS[:7], 3]).map(str),
    "real": st.sampled_from(["-0.5", "0.3", "2.5", "3", "0.1", "1e300", "0.30000000000000004"]),
    "instant": st.sampled_from([*INSTANTS[:4], "2026-11-22", "2026-11-21T04:56:38.480823+02:00", "mindatetime()"]),
    "bool": st.sampled_from(["true", "false"]),
}
OPERATORS = st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge", "EQ"])


@st.composite
def scalar(draw: st.DrawFn, paths: dict[str, list[str]], kind: str, depth: int) -> str:
    """An expression of a kind, over these paths."""
    choices = ["literal"] + (["path"] * 4 if paths.get(kind) else [])
    if depth > 0:
        choices += {
            "text": ["string"],
            "int": ["count", "arithmetic"],
            "real": ["arithmetic"],
            "instant": ["shift"],
        }.get(kind, [])
    which = draw(st.sampled_from(choices))
    if which == "path":
        return draw(st.sampled_from(paths[kind]))
    if which == "literal":
        return draw(LITERALS[kind])
    if which == "string":
        return draw(_string(paths, depth - 1))
    if which == "count":
        return draw(_count(paths, depth - 1))
    if which == "shift":
        at = draw(scalar(paths, "instant", depth - 1))
        by = draw(st.sampled_from(["P1D", "PT0.0000001S", "-PT3H", "P4000000D"]))
        return f"({at} {draw(st.sampled_from(['add', 'sub']))} duration'{by}')"
    one = draw(scalar(paths, kind, depth - 1))
    other = draw(scalar(paths, draw(st.sampled_from(["int", "real"])), depth - 1))
    function = draw(st.sampled_from(["", "", "round", "floor", "ceiling", "-"]))
    op = draw(st.sampled_from(["add", "sub", "mul", "div", "divby", "mod", "MUL"]))
    return f"{function}({one} {op} {other})"


@st.composite
def _string(draw: st.DrawFn, paths: dict[str, list[str]], depth: int) -> str:
    inner = draw(scalar(paths, "text", depth))
    name = draw(st.sampled_from(["tolower", "toupper", "trim", "concat", "substring", "ToLower"]))
    if name == "concat":
        return f"concat({inner}, {draw(scalar(paths, 'text', 0))})"
    if name == "substring":
        length = draw(st.sampled_from(["", ", 1", ", -1", ", 9"]))
        return f"substring({inner}, {draw(st.sampled_from(['0', '1', '-2', '1 add 1']))}{length})"
    return f"{name}({inner})"


@st.composite
def _count(draw: st.DrawFn, paths: dict[str, list[str]], depth: int) -> str:
    if paths.get("instant") and draw(st.booleans()):
        part = draw(st.sampled_from(["year", "month", "day", "hour", "minute", "second", "totaloffsetminutes"]))
        return f"{part}({draw(scalar(paths, 'instant', 0))})"
    inner = draw(scalar(paths, "text", depth))
    if draw(st.booleans()):
        return f"length({inner})"
    return f"indexof({inner}, {draw(scalar(paths, 'text', 0))})"


@st.composite
def condition(draw: st.DrawFn, type_name: str, paths: dict[str, list[str]], depth: int, variables: int = 0) -> str:
    """A filter text. `paths` are those of the object or of the lambdas around, with their variables."""
    kinds = ["compare"] * 4 + ["in", "function", "null"] + ["bool"] * bool(paths.get("bool"))
    if depth > 0:
        kinds += ["and", "or", "not", "nested"] + ["lambda"] * 3 * (variables < 2)
    which = draw(st.sampled_from(kinds))
    if which in ("and", "or"):
        one, other = (draw(condition(type_name, paths, depth - 1, variables)) for _ in range(2))
        return f"({one}) {which} ({other})"
    if which == "not":
        return f"not ({draw(condition(type_name, paths, depth - 1, variables))})"
    if which == "nested":
        inside = draw(condition(type_name, paths, depth - 1, variables))
        return f"({inside}) {draw(st.sampled_from(['eq', 'ne']))} {draw(LITERALS['bool'])}"
    if which == "lambda":
        return draw(_lambda(type_name, paths, depth, variables))
    if which == "bool":
        return draw(st.sampled_from(paths["bool"]))
    if which == "function":
        name = draw(st.sampled_from(["contains", "startswith", "endswith", "StartsWith"]))
        return f"{name}({draw(scalar(paths, 'text', 1))}, {draw(scalar(paths, 'text', 1))})"
    usable = [kind for kind in paths if paths[kind]]
    kind = draw(st.sampled_from(usable))
    path = draw(st.sampled_from(paths[kind]))
    if which == "null":
        return f"{path} {draw(st.sampled_from(['eq', 'ne', 'lt', 'ge']))} null"
    if kind == "enum":
        members = draw(st.lists(st.sampled_from([*SEVERITIES, "HIGH"]).map(quoted), max_size=3))
        return f"{path} in ({', '.join(members)})" if which == "in" else f"{path} {draw(OPERATORS)} 'Medium'"
    if which == "in":
        members = draw(st.lists(st.one_of(LITERALS[kind].filter(lambda t: "(" not in t), st.just("null")), max_size=4))
        return f"{path} in ({', '.join(members)})"
    if kind == "bool":
        return f"{path} {draw(st.sampled_from(['eq', 'ne']))} {draw(LITERALS['bool'])}"
    left, right = (draw(scalar(paths, kind, min(depth, 2))) for _ in range(2))
    return f"{left} {draw(OPERATORS)} {right}"


@st.composite
def _lambda(draw: st.DrawFn, type_name: str, paths: dict[str, list[str]], depth: int, variables: int) -> str:
    name, below = draw(st.sampled_from(LAMBDAS[type_name]))
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from([f"{name}/any()", f"{name}/$count gt 1", f"not {name}/any()"]))
    variable = "xyz"[variables]
    inner = {kind: [variable + path for path in each] for kind, each in below.items()}
    if draw(st.booleans()):
        inner = {kind: [*inner.get(kind, []), *paths.get(kind, [])] for kind in {*inner, *paths}}
    body = draw(condition(type_name, inner, depth - 1, variables + 1))
    if name in NESTED and draw(st.booleans()):
        body = f"{variable}/{NESTED[name]}/any(q: q eq {draw(LITERALS['text'])}) or {body}"
    return f"{name}/{draw(st.sampled_from(['any', 'all']))}({variable}: {body})"


def filters(type_name: str) -> st.SearchStrategy[str]:
    return condition(type_name, PATHS[type_name], 3)
