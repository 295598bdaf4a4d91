"""Functions that take a text apart: JSON paths, CSV, URLs, paths of files, versions, command lines.

Source: Kusto Query Language, "extract_json()", "parse_csv()", "parse_url()", "parse_urlquery()", "parse_path()",
"parse_version()", "parse_command_line()"; Microsoft, "Parsing C command-line arguments"; RFC 3986 appendix B.
"""

from collections.abc import Sequence
from re import compile as pattern

from bartizan.hunt.duckdb.literal import path_step, pointer, text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import VALUE_OF, constant, function
from bartizan.hunt.functions.conversions import text_of
from bartizan.hunt.plan import Apply

# ------------------------------------------------------------------ JSON

_STEP = pattern(
    r"""\.([A-Za-z_@$][\w\-@$]*)|\.?\['((?:[^'\\]|\\.)*)'\]|\.?\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|\.([^.\[\]'"]+)"""
)


def json_path(source: str) -> list[str]:
    """Arguments of json_extract, one after the other, for `$.a['b'][0]`. KqlError: what is no such path."""
    at = 1 if source.startswith("$") else 0
    # The dot of the first name may be missing, with the sign before it or without.
    rest = source if at and source[1:2] in ("", ".", "[") else "." + source[at:]
    at = 1 if rest is source else 0
    made, run = [], "$"
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise KqlError(
                "plan", f"the JSON path {source!r} is not supported at {rest[at:]!r}; steps are .name, ['name'], [0]"
            )
        name = next((each for each in (found[1], found[2], found[3], found[5]) if each is not None), None)
        step = path_step(int(found[4])) if name is None else path_step(name)
        if step is None and name is not None:  # a name that a path cannot hold
            made += [run, pointer(name)]
            run = "$"
        else:
            run += step or ""
        at = found.end()
    return [*made, run]


def member_path(source: str) -> list[str]:
    """The names of `$.a['b']`, one within the other. KqlError: what is no such path, or has a place in an array."""
    found, at = list[str](), 1
    while at < len(source):
        step = _STEP.match(source, at)
        name = None if step is None else next((step[each] for each in (1, 2, 3, 5) if step[each] is not None), None)
        if step is None or name is None:
            raise KqlError("bind", f"{source!r} is no path of names; it is written $.name['other name']")
        found.append(name)
        at = step.end()
    if not found:
        raise KqlError("bind", f"{source!r} is no path of names; it is written $.name['other name']")
    return found


def _extract_json(args: Sequence[str], apply: Apply) -> str:
    path = json_path(str(constant(apply, 0, "the path")))
    found = args[1]
    for each in path[:-1]:
        found = f"json_extract({found}, {text(each)})"
    return f"coalesce(CASE WHEN json_valid({args[1]}) THEN json_extract_string({found}, {text(path[-1])}) END, '')"


for _name in ("extract_json", "extractjson"):
    function(_name, "string! string -> string", duckdb=_extract_json)

# ------------------------------------------------------------------ CSV

# The first record, then its fields; one in quotes may hold commas, ends of lines and doubled quotes.
macro("""kf_csv_record(s) := regexp_extract(s, '^(?:"(?:[^"]|"")*"|[^"\\r\\n])*')""")
macro(
    """kf_csv(s) := to_json(list_transform(regexp_extract_all(',' || kf_csv_record(s), ',("(?:[^"]|"")*"|[^,]*)', """
    """1), """
    """lambda f: CASE WHEN length(f) > 1 AND f LIKE '"%"' THEN replace(f[2:-2], '""', '"') ELSE f END))::VARCHAR"""
)
function("parse_csv", "string -> dynamic", duckdb="kf_csv({0})")

# ------------------------------------------------------------------ URLs

_URL = (
    r"^(?:([A-Za-z][A-Za-z0-9+.\-]*)://(?:([^:@/?#]*)(?::([^@/?#]*))?@)?(\[[^\]]*\]|[^:/?#]*)(?::([0-9]*))?)?"
    r"([^?#]*)(?:\?([^#]*))?(?:#((?s:.*)))?$"
)
macro(
    "kf_query(q) := kf_of_entries(kf_first_keys(list_transform(list_filter(string_split(q, '&'), lambda p: p <> ''), "
    "lambda p: {'k': split_part(p, '=', 1), 'v': to_json(CASE WHEN contains(p, '=') "
    "THEN substring(p, instr(p, '=') + 1) ELSE '' END)})))"
)
_FIELDS = (("Scheme", 1), ("Host", 4), ("Port", 5), ("Path", 6), ("Username", 2), ("Password", 3))
macro(
    "kf_url(u) := '{"
    + ",".join(
        f"\"{name}\":' || to_json(regexp_extract(u, '{_URL}', {group}))::VARCHAR || '" for name, group in _FIELDS
    )
    + f""","Query Parameters":' || kf_query(regexp_extract(u, '{_URL}', 7)) || ',"Fragment":' """
    f"|| to_json(regexp_extract(u, '{_URL}', 8))::VARCHAR || '}}'"
)
for _name in ("parse_url", "parseurl"):
    function(_name, "string -> dynamic", duckdb="kf_url({0})")
macro("""kf_url_query(q) := '{"Query Parameters":' || kf_query(regexp_replace(q, '^[?]', '')) || '}'""")
for _name in ("parse_urlquery", "parseurlquery"):
    function(
        _name,
        "string -> dynamic",
        duckdb="kf_url_query({0})",
    )

# ------------------------------------------------------------------ paths of files

_SCHEME = r"^([A-Za-z][A-Za-z0-9+.\-]+):/{2,3}"
macro(rf"kf_path_scheme(p) := regexp_extract(p, '{_SCHEME}', 1)")
macro(r"kf_path_ads(p) := regexp_extract(p, '[^/\\:]{2,}:([^:/\\]+)$', 1)")
macro(
    rf"kf_path_plain(p) := regexp_replace(regexp_replace(p, '{_SCHEME}', ''), '([^/\\:]{{2,}}):[^:/\\]+$', '\1')",
)
macro(r"kf_path_directory(p) := regexp_extract(p, '^((?s:.*))[/\\][^/\\]*$', 1)")
macro(r"kf_path_last(p) := regexp_extract(p, '[^/\\]*$')")


def _parse_path(args: Sequence[str], _: Apply) -> str:
    return f"kf_path(kf_path_plain({args[0]}), {args[0]})"


macro(
    "kf_path(p, whole) := '{\"Scheme\":' || to_json(kf_path_scheme(whole))::VARCHAR "
    "|| ',\"RootPath\":' || to_json(regexp_extract(p, '^[A-Za-z]:'))::VARCHAR "
    "|| ',\"DirectoryPath\":' || to_json(kf_path_directory(p))::VARCHAR "
    "|| ',\"DirectoryName\":' || to_json(kf_path_last(kf_path_directory(p)))::VARCHAR "
    "|| ',\"Filename\":' || to_json(kf_path_last(p))::VARCHAR "
    r"""|| ',"Extension":' || to_json(regexp_extract(kf_path_last(p), '\.([^.]*)$', 1))::VARCHAR """
    "|| ',\"AlternateDataStreamName\":' || to_json(kf_path_ads(whole))::VARCHAR || '}'"
)
function("parse_path", "string -> dynamic", duckdb=_parse_path)

# ------------------------------------------------------------------ versions

# Up to four numbers of up to eight digits, each eight places of one number.
macro(
    r"kf_version(v) := CASE WHEN regexp_full_match(v, '\s*\d{1,8}(?:\.\d{1,8}){0,3}\s*') THEN "
    "(lpad(kf_version_part(v, 1), 8, '0') || lpad(kf_version_part(v, 2), 8, '0') || "
    "lpad(kf_version_part(v, 3), 8, '0') || lpad(kf_version_part(v, 4), 8, '0'))::DECIMAL(38,0) END"
)
macro("kf_version_part(v, n) := coalesce(nullif(split_part(trim(v), '.', n), ''), '0')")
function("parse_version", "string -> decimal", duckdb="kf_version({0})")

# ------------------------------------------------------------------ command lines

# Of n backslashes before a quotation mark every two are one; one that is left makes the mark a character (\x02), else
# it opens or closes (\x01).
macro(
    r"""kf_marks(s) := array_to_string(list_transform(string_split(s, '"'), lambda p, i: CASE """
    r"""WHEN i = len(string_split(s, '"')) THEN p ELSE kf_halved(p, length(p) - length(rtrim(p, '\'))) END), '')"""
)
macro(
    r"kf_halved(p, n) := rtrim(p, '\') || repeat('\', n // 2) || CASE WHEN n % 2 = 1 THEN chr(2) ELSE chr(1) END",
)
macro(
    r"kf_command_line(s) := to_json(list_transform(regexp_extract_all(kf_marks(s), "
    r"""'(?:[^\s\x01]|\x01[^\x01]*(?:\x01|$))+'), lambda t: replace(replace(t, chr(1), ''), chr(2), '"')))::VARCHAR"""
)


def _command_line(args: Sequence[str], apply: Apply) -> str:
    if str(constant(apply, 1, "the parser")).lower() != "windows":
        raise KqlError("bind", "parse_command_line() knows the parser 'windows' only")
    return f"kf_found(kf_command_line({text_of(args, apply, 0)}))"


function("parse_command_line", "any string! -> dynamic", duckdb=_command_line)


# ------------------------------------------------------------------ pairs

macro(
    "kf_value_of(pairs, name) := coalesce(trim(json_extract_string(list_filter(json_extract(pairs, '$[*]'), "
    "lambda p: trim(json_extract_string(p, '$[0]')) = name)[1], '$[1]')), '')"
)
function(VALUE_OF, "dynamic string -> string", duckdb="kf_value_of({0}, {1})")
