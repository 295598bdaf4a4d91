"""Text becomes tokens by the lexical rules of Kusto."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.hunt import lexer
from bartizan.hunt.fault import KqlError
from bartizan.hunt.lexer import KEYWORDS, string_value, tokens


def kinds(text: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in tokens(text)[:-1]]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("abc_1", "NAME"),
        ("_x", "NAME"),
        ("$left", "NAME"),
        ("3com", "NAME"),
        ("1dx", "NAME"),
        ("h", "NAME"),
        ("Where", "NAME"),
        ("where", "where"),
        ("project-away", "project-away"),
        ("hint.strategy", "hint.strategy"),
        ("matches regex", "matches regex"),
        ("!in~", "!in~"),
        ("in~", "in~"),
        ("!has_cs", "!has_cs"),
        ("has_any", "has_any"),
        ("..", ".."),
        ("=>", "=>"),
        ("<>", "<>"),
        ("1", "LONG"),
        ("0x1F", "LONG"),
        ("1.5", "REAL"),
        ("1.", "REAL"),
        ("1e-5", "REAL"),
        ("1.5e10", "REAL"),
        ("30m", "TIMESPAN"),
        ("1.5h", "TIMESPAN"),
        ("5microseconds", "TIMESPAN"),
        ("1tick", "TIMESPAN"),
        ("true", "BOOL"),
        ("FALSE", "BOOL"),
        ("tRue", "NAME"),
        ("int(5)", "INT"),
        ("long(null)", "LONG"),
        ("double(1)", "REAL"),
        ("decimal(1.2)", "DECIMAL"),
        ("datetime(2020-01-01 10:00)", "DATETIME"),
        ("date(2020-01-01)", "DATETIME"),
        ("time(1.02:03:04.5)", "TIMESPAN"),
        ("guid(74be27de-1e4e-49d9-b579-fe0b331d3642)", "GUID"),
        ("dynamic", "dynamic"),
        ("'a\\'b'", "STRING"),
        ('"a\\u0041\\x41\\101\\n"', "STRING"),
        ("@'a''b\\'", "STRING"),
        ('h"x"', "STRING"),
        ("H@'x'", "STRING"),
        ("```a\n'b```", "STRING"),
        ("~~~a\nb~~~", "STRING"),
        ("h```x```", "STRING"),
    ],
)
def test_one_token(text: str, kind: str) -> None:
    """The whole text is one token of this kind."""
    assert kinds(text) == [(kind, text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..2", ["LONG", "..", "LONG"]),
        ("1.5..2.5", ["REAL", "..", "REAL"]),
        ("a.b[-1]", ["NAME", ".", "NAME", "[", "-", "LONG", "]"]),
        ("a!=b", ["NAME", "!=", "NAME"]),
        ("a!in(b)", ["NAME", "!in", "(", "NAME", ")"]),
        ("datetime (2020)", ["datetime", "(", "LONG", ")"]),
        ("x//y\nz", ["NAME", "NAME"]),
        ("x \ufeff\u00a0\u200b// y", ["NAME"]),
        ("a-b", ["NAME", "-", "NAME"]),
        ("sample-distinct2", ["sample", "-", "NAME"]),
        ("'a' 'b'", ["STRING", "STRING"]),
        ("hh'a'", ["NAME", "STRING"]),
        ("matches  regex", ["NAME", "regex"]),
        ("-->", ["-", "-", ">"]),
    ],
)
def test_neighbours(text: str, expected: list[str]) -> None:
    """Where one token ends and the next begins."""
    assert [kind for kind, _ in kinds(text)] == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a\\tb\\\\c\\'d\\\"'", "a\tb\\c'd\""),
        ('"\\u00e4\\x41\\101\\U0001F600"', "\u00e4AA\U0001f600"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"\\ud83d"', "\ufffd"),
        ("'\\0777'", "?7"),
        ("@'C:\\x''y'", "C:\\x'y"),
        ('h@"a""b"', 'a"b'),
        ("```\\n'```", "\\n'"),
        ("@~~~x~~~", "x"),
        ("h'secret'", "secret"),
    ],
)
def test_string_value(text: str, value: str) -> None:
    """Escapes are read in plain strings, doubled quotes in verbatim ones, nothing between three ticks or tildes."""
    assert string_value(text) == value


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("a == 'b", 5, "not closed"),
        ("a == 'b\nc'", 5, "not closed"),
        ("x = 'a\\q'", 6, "no escape"),
        ("x ```a", 2, "not closed"),
        ("x ~ y", 2, "'~'"),
        ("x\n | é", 5, "'é'"),
        ("a ^ b", 2, "'^'"),
        ("x == 74be27de-1e4e-49d9-b579-fe0b331d3642", 5, "guid("),
        ("#crp x\nT", 0, "directive"),
    ],
)
def test_refused(text: str, at: int, words: str) -> None:
    """What begins no token is refused where it stands."""
    with pytest.raises(KqlError) as refused:
        tokens(text)
    assert refused.value.phase == "parse"
    assert refused.value.at == at
    assert words in str(refused.value)


def test_limits() -> None:
    """Text and tokens are limited."""
    for text, at in (("a" * (lexer.MAX_TEXT + 1), lexer.MAX_TEXT), ("," * (lexer.MAX_TOKENS + 1), lexer.MAX_TOKENS)):
        with pytest.raises(KqlError) as refused:
            tokens(text)
        assert refused.value.at == at
    assert len(tokens("a" * lexer.MAX_TEXT)) == 2


_PIECES = st.sampled_from(
    [*sorted(KEYWORDS), "'", '"', "\\", "@", "```", "~~~", "//", "\n", " ", "1", ".", "e", "d", "(", ")", "!", "-", "h"]
)


@given(st.lists(_PIECES | st.characters(codec="utf-8"), max_size=30).map("".join))
def test_any_text(text: str) -> None:
    """Any text is tokens in order whose texts stand where they say, or one fault inside the text."""
    try:
        found = tokens(text)
    except KqlError as refused:
        assert 0 <= refused.at < len(text)
        return
    end = 0
    for token in found[:-1]:
        assert end <= token.at < token.end
        assert text[token.at : token.end] == token.text
        end = token.end
    assert found[-1].at == len(text)
