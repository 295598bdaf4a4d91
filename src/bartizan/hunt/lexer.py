"""Text to tokens: the lexical rules of the Kusto Query Language.

A token's `kind` is its text for punctuation and keywords (`|`, `where`, `project-away`, `!in~`), and one of the names
in capitals below for the rest. Letters are those of ASCII: other names stand in brackets. Spaces, line breaks and
comments (`//` to the end of the line) separate tokens and are dropped. One pass, no backtracking.

Source: Kusto Query Language, "Entity names", "String data type", "Scalar data types".
"""

import re
from typing import NoReturn

from msgspec import Struct

from bartizan.hunt.fault import KqlError

NAME, STRING, END = "NAME", "STRING", "END"
BOOL, DATETIME, DECIMAL, GUID, INT = "BOOL", "DATETIME", "DECIMAL", "GUID", "INT"
LONG, REAL, TIMESPAN = "LONG", "REAL", "TIMESPAN"

MAX_TEXT = 100_000  # characters of a query; the longest public hunting query has about 30,000
MAX_TOKENS = 40_000  # of a query, so that dense text costs no more than long text


class Token(Struct, gc=False):
    kind: str
    text: str
    at: int
    end: int


# Keywords that may be names of columns, tables and variables as they are.
PLAIN = frozenset(
    """access alias bin consume count database declare default distinct entity_group evaluate extend dataformat
    inline_external_table datetime_pattern facet filter fork from getschema edges id best_effort join let limit lookup
    mvapply mvexpand nodes null nulls on optional order output pack parse __partitionby partition pattern plotly graph
    query_parameters range reduce regex render restrict scan serialize sort step summarize take top typeof uuid view
    with with_node_id bool guid""".split()
)

# Keywords that may be names only where a name alone can stand: before `=`, in a schema, in a pattern with `*`.
NAMING = PLAIN | frozenset(
    """accumulate as by contains datatable earliest externaldata find has in invoke latest materialize mdm of print
    sample sample-distinct search set sql title to top-hitters top-nested toscalar totable verbose viewers
    where""".split()
)

# The rest: a name that is spelled like one of these stands in brackets.
_RESERVED = frozenset(
    """and anomalychart areachart asc bagexpansion barchart between bin_legacy boolean byte cachingpolicy callout
    cancel card char columnchart containscs contains_cs cycles dataexport datascope date datetime decimal decodeblocks
    desc double dynamic encodingpolicy endswith endswith_cs expandoutput extent_tags_retention external_data first
    flags float force_remote harddelete hardretention has_all has_any has_cs hasprefix hasprefix_cs hassuffix
    hassuffix_cs hotcache int int16 int32 int64 int8 isfuzzy journal kind ladderchart last like likecs linechart long
    missing nooptimization notcontains notcontainscs notlike notlikecs or others pathformat piechart pivotchart project
    queries query_results real relaxed restricted_view_access row_level_security rowstore rowstore_references
    rowstore_sealinfo rowstorepolicy rowstores scatterchart seal seals shards simple softdelete softretention
    stackedareachart startswith startswith_cs statistics storedqueryresultcontainers string tablepurge time timechart
    timeline timepivot timespan treemap uint uint16 uint32 uint64 uint8 ulong union uniqueid unrestrictedviewers views
    with_itemindex with_match_id with_source with_step_name withsource writeaheadlog __contextual_datatable
    __crossCluster __crossDB __executeAndCache __id __isFuzzy __noWithSource __packedColumn __projectAway
    __sourceColumnIndex""".split()
)
KEYWORDS = NAMING | _RESERVED

# Keywords of several parts, each one token.
_JOINED = [
    "matches regex",  # one blank exactly
    *"""assert-schema commands-and-queries graph-mark-components graph-match graph-shortest-paths graph-to-table
    graph-where-edges graph-where-nodes granny-asc granny-desc hint.concurrency hint.distribution hint.materialized
    hint.num_partitions hint.progressive_top hint.remote hint.shufflekey hint.spread hint.strategy macro-expand
    make-graph make-series materialized-view-combine materialized-views mv-apply mv-expand parse-kv parse-where
    partitioned-by project-away project-by-names project-keep project-rename project-reorder project-smart
    sample-distinct set-or-append set-or-replace top-hitters top-nested""".split(),
]
_NEGATED = """between contains contains_cs endswith endswith_cs has has_cs hasprefix hasprefix_cs hassuffix
    hassuffix_cs in in~ startswith startswith_cs""".split()
_UNITS = """d day days h hr hrs hour hours m min minute minutes s sec second seconds ms milli millis millisec
    millisecond milliseconds micro micros microsec microsecond microseconds nano nanos nanosec nanosecond nanoseconds
    tick ticks""".split()
_TYPED = {
    "bool": BOOL,
    "date": DATETIME,
    "datetime": DATETIME,
    "decimal": DECIMAL,
    "double": REAL,
    "guid": GUID,
    "int": INT,
    "int32": INT,
    "int64": LONG,
    "long": LONG,
    "real": REAL,
    "time": TIMESPAN,
    "timespan": TIMESPAN,
}
_BOOLS = frozenset("true True TRUE false False FALSE".split())


def _longest(words: list[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_SPACE = "\t\f\r\n \xa0\u1680\u180e\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
_BREAK = "\r\n\u2028\u2029"
_ESCAPE = r"\\(?:[\\'\"abfnrtv]|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|[0-7]{1,2})"
_HEX = "[0-9a-fA-F]"
_RULES = f"""
    (?P<skip>(?:[{_SPACE}]++|//[^{_BREAK}]*+)++)
  | (?P<string>[hH]?(?:
        "[^"\\\\\\r\\n]*+(?:{_ESCAPE}[^"\\\\\\r\\n]*+)*+"
      | '[^'\\\\\\r\\n]*+(?:{_ESCAPE}[^'\\\\\\r\\n]*+)*+'
      | @"[^"\\r\\n]*+(?:""[^"\\r\\n]*+)*+"
      | @'[^'\\r\\n]*+(?:''[^'\\r\\n]*+)*+'
      | @?```(?s:.*?)```
      | @?~~~(?s:.*?)~~~))
  | (?P<rawguid>{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}})
  | (?P<typed>(?:{_longest(list(_TYPED))})\\([^){_BREAK}]*+\\))
  | (?P<joined>(?:{_longest(_JOINED)}|!(?:{_longest(_NEGATED)})|in~)(?!\\w))
  | (?P<word>[A-Za-z_$]\\w*+)
  | (?P<real>[0-9]++(?:\\.(?!\\.(?!\\.))[0-9]*(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)(?!\\w))
  | (?P<span>[0-9]++(?:\\.[0-9]+)?(?:{_longest(_UNITS)})(?!\\w))
  | (?P<long>(?:0[xX]{_HEX}+|[0-9]++)(?!\\w))
  | (?P<digits>[0-9]++[A-Za-z_]\\w*+)
  | (?P<mark>\\.\\.|<=|<\\||<>|>=|==|=>|=~|!=|!~|[()\\[\\]{{}}|.+\\-*/%<>=:;,@?])
"""
_TOKEN = re.compile(_RULES, re.VERBOSE | re.ASCII)
_KINDS = {"string": STRING, "real": REAL, "span": TIMESPAN, "long": LONG, "digits": NAME}


def tokens(text: str) -> list[Token]:
    """All tokens, the last of kind END. Raises KqlError (parse) at the first character that begins none."""
    if len(text) > MAX_TEXT:
        raise KqlError("parse", f"the query has {len(text)} characters; at most {MAX_TEXT} are taken", MAX_TEXT)
    found: list[Token] = []
    at, size = 0, len(text)
    match = _TOKEN.match
    while at < size:
        token = match(text, at)
        if token is None:
            _refuse(text, at)
        end = token.end()
        group = token.lastgroup
        if group == "skip":
            at = end
            continue
        word = text[at:end]
        if group == "word":
            kind = word if word in KEYWORDS else BOOL if word in _BOOLS else NAME
        elif group == "mark" or group == "joined":
            kind = word
        elif group == "typed":
            kind = _TYPED[word[: word.index("(")]]
        elif group == "rawguid":
            raise KqlError("parse", f"a guid is written guid({word})", at)
        else:
            kind = _KINDS[group or ""]
        found.append(Token(kind, word, at, end))
        at = end
    if len(found) > MAX_TOKENS:
        raise KqlError("parse", f"the query has over {MAX_TOKENS} tokens", found[MAX_TOKENS].at)
    found.append(Token(END, "", size, size))
    return found


_OPENING = re.compile(r"[hH]?(@?)(```|~~~|\"|')")
_PLAIN_STRING = {quote: re.compile(rf"[^{quote}\\\r\n]*+(?:{_ESCAPE}[^{quote}\\\r\n]*+)*+") for quote in "\"'"}


def _refuse(text: str, at: int) -> NoReturn:
    """Says why no token begins here."""
    opening = _OPENING.match(text, at)
    if opening:
        verbatim, quote = opening.groups()
        if quote in _PLAIN_STRING and not verbatim:
            content = _PLAIN_STRING[quote].match(text, opening.end())
            stop = content.end() if content else opening.end()
            if text[stop : stop + 1] == "\\" and text[stop + 1 : stop + 2] not in ("", "\r", "\n"):
                raise KqlError("parse", f"'{text[stop : stop + 2]}' is no escape of a string", stop)
        raise KqlError("parse", f"the string that begins here is not closed by {quote}", at)
    if text[at] == "#":
        raise KqlError("parse", "a directive of a client is not part of a query", at)
    raise KqlError("parse", f"the character {text[at]!r} means nothing here", at)


_ESCAPED = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-3][0-7]{2}|[0-7]{1,2}|.)")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _unescape(escape: "re.Match[str]") -> str:
    code = escape[1]
    if code[0] in "uUx":
        return chr(int(code[1:], 16))
    if code[0].isdigit():
        return chr(int(code, 8))
    return _LETTERS.get(code, code)


def string_value(text: str) -> str:
    """What a STRING token says. Raises ValueError where \\U is beyond Unicode."""
    if text[0] in "hH":
        text = text[1:]
    if text.startswith(("```", "~~~")):
        return text[3:-3]
    if text[0] != "@":
        body = text[1:-1]
        return _paired(_ESCAPED.sub(_unescape, body)) if "\\" in body else body
    if text.startswith(("@```", "@~~~")):
        return text[4:-3]
    quote = text[1]
    return text[2:-1].replace(quote * 2, quote)


def _paired(text: str) -> str:
    """Joins pairs of surrogates that were written as two escapes; a lone one becomes U+FFFD, as no store takes it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
