"""Functions of strings: joining, cutting, searching, replacing, regular expressions (RE2, as in Kusto), base 64, URLs'
escapes.

Places count characters (code points) from 0. A regular expression is a constant; one that is no regular expression
fails the query, as it does in Kusto.

Source: Kusto Query Language, "Scalar functions", group "String functions"; "RE2 library".
"""

from collections.abc import Sequence
from functools import partial
from re import compile as pattern
from typing import Any

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function
from bartizan.hunt.functions.conversions import text_of
from bartizan.hunt.plan import Apply, Value

MOST_REPEATS = 1024
FIRST_MARK = 0xF0000  # characters of private use, which stand for what replace_strings has replaced
_NAMED = pattern(r"(?<!\\)((?:\\\\)*)\(\?<(?=[A-Za-z_])")
_REWRITE = pattern(r"(?:[^\\]|\\[0-9\\])*", 16)  # 16: a point is any character


def regex(source: str) -> str:
    """A regular expression as DuckDB's RE2 takes it: groups are named (?P<name>...)."""
    return _NAMED.sub(r"\1(?P<", source)


_GROUP_NAME = pattern(r"\(\?P?<(\w+)>")


def regex_groups(source: str) -> list[int]:
    """Where the capturing groups of a regular expression open."""
    found, index, inside = [], 0, False
    while index < len(source):
        char = source[index]
        if char == "\\":
            if source.startswith("\\Q", index):  # a quoted run
                index = source.find("\\E", index)
                if index < 0:
                    break
            index += 2
            continue
        if inside:
            inside = char != "]"
        elif char == "[":
            inside = True
            index += 1 + source.startswith("^", index + 1)
            index += source.startswith("]", index)  # a bracket that comes first is one of the characters
            continue
        elif char == "(" and (not source.startswith("(?", index) or source.startswith(("(?P<", "(?<"), index)):
            found.append(index)
        index += 1
    return found


def only_group(source: str, group: int) -> str:
    """The regular expression with only this capturing group, so that its number is 1."""
    made, last = [], 0
    for number, at in enumerate(regex_groups(source), 1):
        if number != group:
            named = pattern(r"\(\?P?<\w+>").match(source, at)
            made.append(source[last:at] + "(?:")
            last = named.end() if named else at + 1
    return "".join([*made, source[last:]])


# ------------------------------------------------------------------ joining


def _strcat(args: Sequence[str], apply: Apply) -> str:
    return "(" + " || ".join(text_of(args, apply, index) for index in range(len(args))) + ")"


def _strcat_delim(args: Sequence[str], apply: Apply) -> str:
    return f"concat_ws({', '.join(text_of(args, apply, index) for index in range(len(args)))})"


def _strrep(args: Sequence[str], apply: Apply) -> str:
    one, times = text_of(args, apply, 0), f"least(greatest({args[1]}, 0), {MOST_REPEATS})"
    if len(args) == 2:
        return f"coalesce(repeat({one}, {times}), '')"
    return f"coalesce(kf_joined(list_resize([]::VARCHAR[], {times}, {one}), {text_of(args, apply, 2)}), '')"


function("strcat", "any any* -> string", duckdb=_strcat)
function("strcat_delim", "any any any* -> string", duckdb=_strcat_delim)
function("strrep", "any long any? -> string", duckdb=_strrep)
for _name in ("strcat_array", "array_strcat"):
    function(
        _name,
        "dynamic any -> string",
        duckdb=lambda args, apply: f"kf_join({args[0]}, {text_of(args, apply, 1)})",
    )
# DuckDB's own joins take a constant between only.
macro("kf_joined(l, d) := CASE WHEN len(l) > 0 THEN list_reduce(l, lambda a, e: a || d || e) ELSE '' END")
macro("kf_join(x, d) := coalesce(kf_joined(kf_texts(x), d), '')")

# ------------------------------------------------------------------ measuring and cutting

function("strlen", "string -> long", duckdb="length({0})")
function("string_size", "string -> long", duckdb="strlen({0})")
function("strcmp", "string string -> long", duckdb="(({0} > {1})::BIGINT - ({0} < {1})::BIGINT)")
for _name, _said in (("tolower", "lower"), ("toupper", "upper")):
    function(_name, "any -> string", duckdb=lambda args, apply, said=_said: f"{said}({text_of(args, apply, 0)})")  # type: ignore[misc]
function("reverse", "any -> string", duckdb=lambda args, apply: f"reverse({text_of(args, apply, 0)})")
function("isascii", "string -> bool", duckdb=r"regexp_full_match({0}, '[\x00-\x7f]*')")
function("isutf8", "string -> bool", duckdb="({0} IS NOT NULL)")

# A start before the first character, counted from the end, is the first.
macro(
    "kf_substring(s, start, size) := coalesce(substring(s, CASE WHEN start >= 0 THEN start + 1 "
    "ELSE greatest(length(s) + start, 0) + 1 END, greatest(size, 0)), '')"
)


def _substring(args: Sequence[str], apply: Apply) -> str:
    one = text_of(args, apply, 0)
    start, size = args[1], args[2] if len(args) > 2 else "4294967295"
    begin = apply.args[1]
    if isinstance(begin, Value) and isinstance(begin.value, int) and 0 <= begin.value < 2**31:
        if len(args) == 2:
            return f"substring({one}, {begin.value + 1})"
        return f"coalesce(substring({one}, {begin.value + 1}, least(greatest({size}, 0), 4294967295)), '')"
    bounded = f"least(greatest({start}, -4294967295), 4294967294)"
    return f"kf_substring({one}, {bounded}, least({size}, 4294967295))"


function("substring", "any long long? -> string", duckdb=_substring)

macro("kf_split(s, d) := to_json(kf_pieces(s, d))::VARCHAR")
macro("kf_pieces(s, d) := CASE WHEN d = '' THEN [s] ELSE string_split(s, d) END")
macro(
    "kf_split_at(s, d, i) := to_json(list_slice(kf_pieces(s, d), kf_behind(i), CASE WHEN i >= 0 THEN kf_behind(i) END))"
    "::VARCHAR"
)
# A place from 0 as one from 1. Beyond the longest text all places are alike.
macro("kf_behind(i) := CASE WHEN i >= 4294967295 THEN 4294967295 ELSE i + 1 END")


def _split_at(args: Sequence[str], apply: Apply) -> str:
    return f"kf_split_at({text_of(args, apply, 0)}, {args[1]}, {args[2]})"


function("split", "any string -> dynamic", duckdb=lambda args, apply: f"kf_split({text_of(args, apply, 0)}, {args[1]})")
function("split", "any string long -> dynamic", duckdb=_split_at)

# ------------------------------------------------------------------ searching

# r: the text from `start` on, at most `size` characters of it; n: which occurrence. -1: there is none.
macro(
    "kf_from(s, start) := CASE WHEN start >= 0 THEN start ELSE greatest(length(s) + start, 0) END",
)
macro(
    "kf_range(s, start, size) := substring(s, kf_behind(kf_from(s, start)), "
    "CASE WHEN size BETWEEN 0 AND 4294967295 THEN size WHEN size IS NOT NULL THEN 4294967295 END)"
)
macro(
    "kf_nth(pieces, n, d) := CASE WHEN n < 1 THEN NULL WHEN len(pieces) <= n THEN -1 "
    "WHEN len(pieces) > n THEN length(array_to_string(pieces[1:n], '')) + (n - 1) * length(d) END"
)
macro(
    "kf_indexof(s, t, start, size, n) := CASE WHEN size < -1 THEN NULL WHEN t = '' THEN kf_from(s, start) "
    "ELSE kf_shift(kf_nth(string_split(kf_range(s, start, size), t), n, t), kf_from(s, start)) END"
)
macro("kf_shift(i, more) := CASE WHEN i < 0 THEN -1 ELSE i + more END")
macro(
    "kf_indexof_regex(s, re, start, size, n) := CASE WHEN start < 0 OR size < -1 OR n < 1 THEN NULL "
    "ELSE kf_shift(kf_nth_match(kf_range(s, start, size), re, n), start) END"
)
macro(
    "kf_nth_match(r, re, n) := CASE WHEN len(regexp_split_to_array(r, re)) <= n THEN -1 "
    "ELSE length(array_to_string(regexp_split_to_array(r, re)[1:n], '')) "
    "+ length(array_to_string(regexp_extract_all(r, re)[1:n - 1], '')) END"
)


def _indexof(args: Sequence[str], apply: Apply) -> str:
    one, other = text_of(args, apply, 0), text_of(args, apply, 1)
    if len(args) == 2:
        return f"(instr({one}, {other}) - 1)"
    start, size, nth = (
        args[index] if index < len(args) else default for index, default in ((2, "0"), (3, "-1"), (4, "1"))
    )
    return f"kf_indexof({one}, {other}, {start}, {size}, {nth})"


def _indexof_regex(args: Sequence[str], apply: Apply) -> str:
    wanted = text(regex(str(constant(apply, 1, "the regular expression"))))
    start, size, nth = (
        args[index] if index < len(args) else default for index, default in ((2, "0"), (3, "-1"), (4, "1"))
    )
    return f"kf_indexof_regex({text_of(args, apply, 0)}, {wanted}, {start}, {size}, {nth})"


function("indexof", "any any long? long? long? -> long", duckdb=_indexof)
function("indexof_regex", "any string! long? long? long? -> long", duckdb=_indexof_regex)


def _countof(args: Sequence[str], apply: Apply) -> str:
    kind = str(constant(apply, 2, "the kind")).lower() if len(args) > 2 else "normal"
    if kind == "regex":
        return f"len(regexp_extract_all({args[0]}, {text(regex(str(constant(apply, 1, 'the regular expression'))))}))"
    if kind != "normal":
        raise KqlError("bind", f"countof(): the kind is normal or regex, not {kind!r}")
    wanted = apply.args[1]
    if isinstance(wanted, Value) and wanted.value:
        found = str(wanted.value)
        if not any(found.endswith(found[:size]) for size in range(1, len(found))):  # it cannot overlap itself
            return f"((length({args[0]}) - length(replace({args[0]}, {args[1]}, ''))) // {len(found)})"
    return f"kf_countof({args[0]}, {args[1]})"


macro(
    "kf_countof(s, t) := CASE WHEN t = '' THEN 0 ELSE len(list_filter(range(1, length(s) - length(t) + 2), "
    "lambda i: substring(s, i, length(t)) = t)) END"
)
function("countof", "string string -> long", duckdb=_countof)
function("countof", "string string! string! -> long", duckdb=_countof)

# `has` of any of the array's items: the place of the first that is a term of the text.
macro(
    "kf_has_term(s, t) := CASE WHEN NOT contains(lower(s), lower(t)) THEN FALSE "
    "ELSE contains(kf_terms(lower(s)), kf_terms(lower(t))) END"
)
macro(
    "kf_has_any_index(s, x) := coalesce(list_position(list_transform(kf_list(x), "
    "lambda e: coalesce(kf_has_term(s, json_extract_string(e, '$')), FALSE)), TRUE), 0) - 1"
)
function("has_any_index", "string dynamic -> long", duckdb="kf_has_any_index({0}, {1})")

# ------------------------------------------------------------------ regular expressions


def _extract(args: Sequence[str], apply: Apply) -> str:
    source, group = str(constant(apply, 0, "the regular expression")), int(constant(apply, 1, "the group"))
    if not 0 <= group <= len(regex_groups(source)):
        return "''"
    if group:
        return f"regexp_extract({args[2]}, {text(regex(only_group(source, group)))}, 1)"
    return f"regexp_extract({args[2]}, {text(regex(source))})"


def _extract_groups(source: str, groups: Sequence[int], sql: str) -> str:
    """All matches: an array of the group, or, with several groups, an array of their arrays. None: null."""
    wanted = [f"regexp_extract_all({sql}, {text(regex(only_group(source, each)))}, 1)" for each in groups]
    if len(wanted) == 1:
        return f"kf_found(to_json({wanted[0]})::VARCHAR)"
    row = ", ".join(f"m[{index}][i]" for index in range(1, len(wanted) + 1))
    rows = f"list_transform(range(1, len(m[1]) + 1), lambda i: [{row}])"
    whole = f"list_transform([[{', '.join(wanted)}]], lambda m: {rows})[1]"
    return f"kf_found(to_json({whole})::VARCHAR)"


macro("kf_found(x) := nullif(x, '[]')")


def _extract_all(args: Sequence[str], apply: Apply) -> str:
    source = str(constant(apply, 0, "the regular expression"))
    count = len(regex_groups(source))
    if not count:
        raise KqlError("bind", "extract_all(): the regular expression must hold at least one group in parentheses")
    if len(args) == 2:
        return _extract_groups(source, range(1, count + 1), args[1])
    chosen = constant(apply, 1, "the list of groups")
    called: dict[Any, Any] = {each: place + 1 for place, each in enumerate(_group_names(source)) if each}
    groups: list[Any] = [called.get(each, each) for each in chosen] if isinstance(chosen, list) else []
    if not groups or not all(isinstance(each, int) and 1 <= each <= count for each in groups):
        raise KqlError("bind", f"extract_all(): the groups are numbers from 1 to {count}, or names of groups")
    return _extract_groups(source, groups, args[2])


def _group_names(source: str) -> list[str]:
    """The name of each group of a regular expression, '' of one without."""
    found = (_GROUP_NAME.match(source, each) for each in regex_groups(source))
    return ["" if each is None else each[1] for each in found]


for _name in ("extract_all", "extractall"):
    function(_name, "string! string -> dynamic", duckdb=_extract_all)
    function(_name, "string! dynamic! string -> dynamic", duckdb=_extract_all)
function("extract", "string! long! string -> string", duckdb=_extract)


def _replace_regex(where: tuple[int, int, int], args: Sequence[str], apply: Apply) -> str:
    sql = args[where[0]]
    source, rewrite = (
        str(constant(apply, index, "the regular expression and what replaces it")) for index in where[1:]
    )
    groups = len(regex_groups(source))
    if not _REWRITE.fullmatch(rewrite):
        raise KqlError("bind", "what replaces a match may hold \\0 to \\9 and \\\\, and no other backslash")
    if any(int(digit) > groups for digit in pattern(r"\\([0-9])").findall(rewrite.replace("\\\\", ""))):
        raise KqlError("bind", f"what replaces a match names a group that is not there; there are {groups}")
    return f"regexp_replace({sql}, {text(regex(source))}, {text(rewrite)}, 'g')"


function("replace_regex", "string string! string! -> string", duckdb=partial(_replace_regex, (0, 1, 2)))
function("replace", "string! string! string -> string", duckdb=partial(_replace_regex, (2, 0, 1)))
function("replace_string", "string string string -> string", duckdb="replace({0}, {1}, {2})")


def _trim(ends: str, args: Sequence[str], apply: Apply) -> str:
    source, made = regex(str(constant(apply, 0, "the regular expression"))), args[1]
    if "^" in ends:
        made = f"regexp_replace({made}, {text(f'^(?:{source})')}, '')"
    if "$" in ends:
        made = f"regexp_replace({made}, {text(f'(?:{source})$')}, '')"
    return made


function("trim", "string! string -> string", duckdb=partial(_trim, "^$"))
function("trim_start", "string! string -> string", duckdb=partial(_trim, "^"))
function("trim_end", "string! string -> string", duckdb=partial(_trim, "$"))
function("regex_quote", "string -> string", duckdb="regexp_escape({0})")

# What an earlier pair has replaced is out of reach of the later ones: a mark stands for it until the end.
macro(
    "kf_replace_all(s, old, new) := CASE WHEN len(old) = len(new) THEN "
    f"list_reduce(list_prepend(list_reduce(list_prepend(s, old), lambda a, e, i: replace(a, e, chr(({FIRST_MARK} + "
    f"i)::INTEGER))), new), "
    f"lambda a, e, i: replace(a, chr(({FIRST_MARK} + i)::INTEGER), e)) ELSE '' END"
)
macro("kf_texts(x) := list_transform(kf_list(x), lambda e: coalesce(json_extract_string(e, '$'), ''))")
function(
    "replace_strings",
    "string dynamic dynamic -> string",
    duckdb="coalesce(kf_replace_all({0}, kf_texts({1}), kf_texts({2})), '')",
)
# Of a list of replacements that is too short the last stands for the rest.
macro("kf_translate(s, old, new) := translate(s, old, CASE WHEN length(new) BETWEEN 1 AND length(old) - 1 "
      "THEN rpad(new, length(old)::INTEGER, right(new, 1)) ELSE new END)")  # fmt: skip
function("translate", "string string string -> string", duckdb="kf_translate({2}, {0}, {1})")

# ------------------------------------------------------------------ code points, base 64, URLs

function(
    "unicode_codepoints_from_string",
    "string -> dynamic",
    duckdb="to_json(list_transform(regexp_extract_all({0}, '(?s).'), lambda c: unicode(c)))::VARCHAR",
)
function("to_utf8", "string -> dynamic",
         duckdb="to_json(list_transform(regexp_extract_all({0}, '(?s).'), lambda c: unicode(c)))::VARCHAR")  # fmt: skip
macro("kf_char(c) := CASE WHEN c BETWEEN 1 AND 55295 OR c BETWEEN 57344 AND 1114111 THEN chr(c::INTEGER) ELSE '' END")
macro(
    "kf_chars(x) := coalesce(array_to_string(list_transform(coalesce(kf_list(x), [x::JSON]), "
    "lambda e: coalesce(kf_char(kf_json_long(e)), '')), ''), '')"
)


def _chars(args: Sequence[str], apply: Apply) -> str:
    parts = []
    for index, one in enumerate(apply.args):
        if one.type not in ("int", "long", "dynamic"):
            raise KqlError("bind", f"unicode_codepoints_to_string() takes whole numbers and arrays, not {one.type}")
        parts.append(f"kf_chars({args[index]})" if one.type == "dynamic" else f"coalesce(kf_char({args[index]}), '')")
    return "(" + " || ".join(parts) + ")"


function("unicode_codepoints_to_string", "any any* -> string", duckdb=_chars)
function("make_string", "any any* -> string", duckdb=_chars)

# A try takes no subquery, which an argument may hold: it stands within a lambda.
macro("kf_unbase64(s) := list_transform([s], lambda t: try(from_base64(t)))[1]")
macro("kf_untext64(s) := coalesce(list_transform([s], lambda t: try(decode(from_base64(t))))[1], '')")
macro("kf_unescaped(s) := list_transform([s], lambda t: coalesce(try(url_decode(replace(t, '+', ' '))), t))[1]")
macro(
    "kf_bytes(b) := list_transform(range(octet_length(b)), lambda i: ('0x' || substring(hex(b), i * 2 + 1, "
    "2))::INTEGER)"
)
for _name in ("base64_encode_tostring", "base64_encodestring"):
    function(_name, "string -> string", duckdb="to_base64(encode({0}))")
for _name in ("base64_decode_tostring", "base64_decodestring"):
    function(_name, "string -> string", duckdb="kf_untext64({0})")
function("base64_decode_toarray", "string -> dynamic", duckdb="to_json(kf_bytes(kf_unbase64({0})))::VARCHAR")
macro(
    "kf_base64_array(x) := coalesce(to_base64(unhex(array_to_string(list_transform(kf_list(x), "
    "lambda e: lpad(hex(kf_json_long(e) & 255), 2, '0')), ''))), '')"
)
function("base64_encode_fromarray", "dynamic -> string", duckdb="kf_base64_array({0})")
# Of the bytes of a GUID the first two fields are stored with the low byte first.
macro(
    "kf_guid_of_hex(h) := CASE WHEN length(h) = 32 THEN try_cast(h[7:8] || h[5:6] || h[3:4] || h[1:2] || h[11:12] || "
    "h[9:10] || h[13:] AS UUID) END"
)
function("base64_decode_toguid", "string -> guid", duckdb="kf_guid_of_hex(hex(kf_unbase64({0})))")
# Escapes with small letters; a space is a plus in a query's form.
macro(
    "kf_url_escape(s) := array_to_string(list_transform(string_split(url_encode(s), '%'), lambda p, i: "
    "CASE WHEN i = 1 THEN p ELSE lower(p[1:2]) || p[3:] END), '%')"
)
function("url_encode_component", "string -> string", duckdb="kf_url_escape({0})")
function("url_encode", "string -> string", duckdb="replace(kf_url_escape({0}), '%20', '+')")
function("url_decode", "string -> string", duckdb="kf_unescaped({0})")
