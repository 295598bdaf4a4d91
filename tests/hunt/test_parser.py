"""Queries become trees; the public suites are taken or refused as Microsoft's parser does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from bartizan.hunt import tree
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse

TICKS_S = 10_000_000
TICKS_DAY = 86_400 * TICKS_S
DAY_2020 = 737_424 * TICKS_DAY  # 2020-01-01

# A command, and an operator of external tables that is known and not supported.
NOT_TAKEN = {".": "parse", "inline_external_table": "plan"}


def printed(text: str) -> tree.Expr:
    """The expression of `print expression`."""
    source = parse(f"print {text}").results[0].source
    assert isinstance(source, tree.Print)
    return source.columns[0].expr


def brief(node: Any) -> Any:
    """An expression as nested tuples."""
    match node:
        case tree.Name():
            return node.name
        case tree.Constant():
            return node.value
        case tree.Bracketed():
            return (brief(node.of),)
        case tree.Unary():
            return (node.op, brief(node.of))
        case tree.Binary():
            return (node.op, brief(node.left), brief(node.right))
        case tree.Member():
            return (".", brief(node.of), node.name)
        case tree.Index():
            return ("[]", brief(node.of), brief(node.key))
        case tree.In():
            return (node.op, brief(node.of), [brief(item) for item in node.items])
        case tree.Call():
            return (f"{node.name}()", *map(brief, node.args))
        case _:
            return type(node).__name__


def nodes(node: Any) -> Iterator[tree.Node]:
    if isinstance(node, tree.Node):
        yield node
    parts = [getattr(node, name) for name in node.__struct_fields__] if isinstance(node, Struct) else node
    if isinstance(parts, dict):
        parts = list(parts.values())
    if isinstance(parts, list | tuple):
        for part in parts:
            yield from nodes(part)


def examples(shared: Path, suite: str) -> list[dict[str, Any]]:
    lines = (shared / "hunting" / f"{suite}-examples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("suite", ["docs", "emulator"])
def test_documented_queries(shared: Path, suite: str) -> None:
    """Every query of the documentation and of the emulator parses, but for what is not a query at all."""
    for example in examples(shared, suite):
        text = example["query"]
        expected = next((phase for start, phase in NOT_TAKEN.items() if text.startswith(start)), None)
        if expected is None:
            parse(text)
        else:
            with pytest.raises(KqlError) as refused:
                parse(text)
            assert refused.value.phase == expected


def test_hunting_queries(shared: Path) -> None:
    """Public hunting queries: the valid parse, the others are refused with a position."""
    for example in examples(shared, "hunting"):
        text = example["query"]
        if example["class"] != "reject":
            parse(text)
            continue
        with pytest.raises(KqlError) as refused:
            parse(text)
        fault = refused.value
        assert fault.phase == "parse", example["id"]
        assert 0 <= fault.at <= len(text)
        assert fault.line and fault.column


def test_positions(shared: Path) -> None:
    """Every node stands inside its text, its children inside it, and names where they are told."""
    for example in examples(shared, "hunting")[:200]:
        try:
            query = parse(example["query"])
        except KqlError:
            continue
        for node in nodes(query):
            if isinstance(node, tree.Operator | tree.Pipe | tree.Let) or node.at >= 0:
                assert 0 <= node.at <= node.end <= len(example["query"]), (example["id"], node)
            if isinstance(node, tree.Name):
                assert node.name in example["query"][node.at : node.end]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a or b and c", ("or", "a", ("and", "b", "c"))),
        ("a and b or c and d", ("or", ("and", "a", "b"), ("and", "c", "d"))),
        ("a == b + c * d", ("==", "a", ("+", "b", ("*", "c", "d")))),
        ("a - b - c", ("-", ("-", "a", "b"), "c")),
        ("a has b + c", ("+", ("has", "a", "b"), "c")),
        ("a < b == c", ("==", ("<", "a", "b"), "c")),
        ("-a * b", ("*", ("-", "a"), "b")),
        ("a == -1", ("==", "a", ("-", 1))),
        ("a - -1", ("-", "a", ("-", 1))),
        ("(a or b) and c", ("and", (("or", "a", "b"),), "c")),
        ("a.b['c'][0].['d e']", (".", ("[]", ("[]", (".", "a", "b"), "c"), 0), "d e")),
        ("a in~ ('x', 1)", ("in~", "a", ["x", 1])),
        ("a in (b) and c", ("and", ("in", "a", ["b"]), "c")),
        ("a <> b", ("!=", "a", "b")),
        ("a matches regex 'x'", ("matches regex", "a", "x")),
        ("a or b or c or d", ("or", ("or", "a", "b"), ("or", "c", "d"))),
        ("bin(a, 1) + count()", ("+", ("bin()", "a", 1), ("count()",))),
        ("['a b'] == limit", ("==", "a b", "limit")),
        ("'a' 'b' == h'c' @'d'", ("==", "ab", "cd")),
        ("kind == withsource", ("==", "kind", "withsource")),
    ],
)
def test_precedence(text: str, expected: Any) -> None:
    """Operators bind as Kusto says; chains of one junction are balanced."""
    assert brief(printed(text)) == expected


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("0x1f", "long", 31),
        ("long(-5)", "long", -5),
        ("int(null)", "int", None),
        ("1e3", "real", 1000.0),
        ("real(-inf)", "real", float("-inf")),
        ("decimal(1.10)", "decimal", "1.10"),
        ("true", "bool", True),
        ("bool(0)", "bool", False),
        ("guid({74BE27DE-1E4E-49D9-B579-FE0B331D3642})", "guid", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
        ("1.5h", "timespan", 5400 * TICKS_S),
        ("2min", "timespan", 120 * TICKS_S),
        ("3milliseconds", "timespan", 3 * TICKS_S // 1000),
        ("7micros", "timespan", 70),
        ("400nanos", "timespan", 4),
        ("time(-1.02:03:04.5)", "timespan", -(TICKS_DAY + 7384 * TICKS_S + TICKS_S // 2)),
        ("timespan(2)", "timespan", 2 * TICKS_DAY),
        ("time(15 seconds)", "timespan", 15 * TICKS_S),
        ("datetime(2020-01-01)", "datetime", DAY_2020),
        ("datetime(2020)", "datetime", DAY_2020),
        ("datetime(2020-01-01T10:00:00.1234567Z)", "datetime", DAY_2020 + 36_000 * TICKS_S + 1_234_567),
        ("datetime(2020-01-01 12:30:00+02:30)", "datetime", DAY_2020 + 36_000 * TICKS_S),
        ("datetime(Wed, 1 Jan 20 10:00:00 GMT)", "datetime", DAY_2020 + 36_000 * TICKS_S),
        ("datetime(1/1/2020 10:00 PM)", "datetime", DAY_2020 + 79_200 * TICKS_S),
        ("datetime(null)", "datetime", None),
        ("dynamic(null)", "dynamic", None),
        ("dynamic({'a': [1, -2.5, null, dynamic('x')]})", "dynamic", {"a": [1, -2.5, None, "x"]}),
        ("dynamic([datetime(2020-01-01), 1d])", "dynamic", ["2020-01-01T00:00:00.0000000Z", "1.00:00:00"]),
    ],
)
def test_literals(text: str, kind: str, value: Any) -> None:
    """Literals are worth what Kusto says."""
    constant = printed(text)
    assert isinstance(constant, tree.Constant)
    assert (constant.type, constant.value) == (kind, value)
    assert (constant.at, constant.end) == (6, 6 + len(text))


def test_what_let_names() -> None:
    """A name and a call may be tables, in brackets too; operators and literals are values."""
    query = parse("let a = T; let b = f(1); let c = 1 + 2; let d = (T | take 1); let e = (5); let g = arg('').R; T")
    values = [statement.value for statement in query.statements if isinstance(statement, tree.Let)]
    shapes = [type(value.source if isinstance(value, tree.Pipe) else value).__name__ for value in values]
    assert shapes == ["Source", "Invocation", "Binary", "Source", "Bracketed", "Source"]
    member = parse("let a = parse_json(b).c; T").statements[0]
    assert isinstance(member, tree.Let)
    assert isinstance(member.value, tree.Member)


def test_tables_as_arguments() -> None:
    """A tabular argument is a pipe; toscalar takes one without brackets."""
    call = printed("toscalar(T)")
    assert isinstance(call, tree.Call)
    assert isinstance(call.args[0], tree.Pipe)
    call = printed("f((T | take 1), T)")
    assert isinstance(call, tree.Call)
    assert [type(arg).__name__ for arg in call.args] == ["Pipe", "Name"]
    inside = printed("a in (T | project b)")
    assert isinstance(inside, tree.In)
    assert isinstance(inside.items[0], tree.Pipe)


def test_several_results() -> None:
    """A text may have several results; a semicolon at the end ends the last."""
    assert len(parse("T | take 1; U | count;").results) == 2
    assert len(parse("let x = 1;\n\n// nothing\n\nT\n\n| take x\n;\n").results) == 1


def test_old_spellings() -> None:
    """Operators have today's names, whatever was written."""
    query = parse("T | filter a | limit 5 | order by b | mvexpand c | mvapply d on (take 1)")
    assert [step.name for step in query.results[0].operators] == ["where", "take", "sort", "mv-expand", "mv-apply"]


def test_options() -> None:
    """Parameters before the arguments are words or literals."""
    step = parse("T | join kind=leftanti hint.strategy=shuffle (U) on $left.a == $right.b").results[0].operators[0]
    assert {name: brief(value) for name, value in step.options.items()} == {
        "kind": "leftanti",
        "hint.strategy": "shuffle",
    }
    assert isinstance(step.body, tree.Join)
    assert brief(step.body.on[0]) == ("==", (".", "$left", "a"), (".", "$right", "b"))
