"""parse_xml: a document of XML as a bag. An attribute is a member `@name`, a text beside others `#text`, elements of
one name an array; an element with nothing in it is null. What is not well-formed gives null.

The tokens of the text are folded into a stack of open elements, each with the members that it has so far.

Source: Kusto Query Language, "parse_xml()"; W3C, "Extensible Markup Language (XML) 1.0".
"""

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function

_TAG = r"""<(?:"[^"]*"|''[^'']*''|[^<>"''])*>"""
_TOKEN = rf"(?s)<!--.*?-->|<[?].*?[?]>|<!\[CDATA\[.*?\]\]>|{_TAG}|[^<]+|<"
_ATTRIBUTE = r"""([\w:.\-]+)\s*=\s*(?:"([^"]*)"|''([^'']*)'')"""
_FRAMES = "STRUCT(name VARCHAR, members STRUCT(k VARCHAR, v VARCHAR)[])[]"

# &#65; and &#x41;, then the five names; the ampersand last.
macro(
    "kf_xml_numbers(t) := array_to_string(list_transform(string_split(t, '&#'), lambda p, i: CASE WHEN i = 1 THEN p "
    "WHEN regexp_matches(p, '^[0-9]{1,7};') THEN kf_char(split_part(p, ';', 1)::BIGINT) || p[instr(p, ';') + 1:] "
    "WHEN regexp_matches(p, '^x[0-9A-Fa-f]{1,6};') THEN kf_char(('0' || split_part(p, ';', 1))::BIGINT) "
    "|| p[instr(p, ';') + 1:] ELSE '&#' || p END), '')"
)
macro(
    "kf_xml_text(t) := CASE WHEN contains(t, '&') THEN replace(replace(replace(replace(replace(kf_xml_numbers(t), "
    "'&lt;', '<'), '&gt;', '>'), '&quot;', '\"'), '&apos;', ''''), '&amp;', '&') ELSE t END"
)
macro(
    f"kf_xml_attributes(t) := list_transform(regexp_extract_all(t, '{_ATTRIBUTE}'), lambda a: "
    "list_transform([regexp_extract(a, '([^=]*)=(.*)', ['name', 'quoted'])], lambda q: {'k': '@' || trim(q.name), "
    "'v': to_json(kf_xml_text(trim(q.quoted)[2:-2]))::VARCHAR})[1])"
)
macro(
    "kf_xml_group(m, key) := list_transform([list_filter(m, lambda o: o.k = key)], lambda same: CASE WHEN len(same) "
    "= 1 "
    "THEN same[1].v ELSE '[' || array_to_string(list_transform(same, lambda o: o.v), ',') || ']' END)[1]"
)
macro(
    "kf_xml_value(members) := list_transform([members], lambda m: CASE WHEN len(m) = 0 THEN 'null' "
    "WHEN len(m) = 1 AND m[1].k = '#text' THEN m[1].v ELSE '{' || array_to_string(list_transform(kf_first_keys(m), "
    "lambda d: to_json(d.k)::VARCHAR || ':' || kf_xml_group(m, d.k)), ',') || '}' END)[1]"
)
macro(
    "kf_xml_kind(t) := CASE WHEN t LIKE '<!--%' OR t LIKE '<?%' OR t LIKE '<!DOCTYPE%' THEN 'skip' "
    "WHEN t LIKE '<![CDATA[%' THEN 'text' WHEN t LIKE '</%' THEN 'close' WHEN t LIKE '<%/>' THEN 'empty' "
    r"WHEN t = '<' THEN 'wrong' WHEN t LIKE '<%' THEN 'open' WHEN regexp_full_match(t, '\s*') THEN 'skip' ELSE "
    r"'text' END"
)
macro(
    r"kf_xml_token(t) := {'kind': kf_xml_kind(t), 'name': regexp_extract(t, '^</?\s*([^\s/>]+)', 1), "
    "'attributes': CASE WHEN t LIKE '<%' THEN kf_xml_attributes(t) END, "
    "'content': CASE WHEN t LIKE '<![CDATA[%' THEN to_json(substring(t, 10, length(t) - 12))::VARCHAR "
    r"WHEN t NOT LIKE '<%' THEN to_json(kf_xml_text(trim(t, e' \t\r\n')))::VARCHAR END}"
)
# What a text, an empty or a closed element adds: to which stack, under which name, and what.
macro(
    "kf_xml_added(st, t) := {'stack': CASE t.kind WHEN 'close' THEN st[1:-2] ELSE st END, "
    "'k': CASE t.kind WHEN 'close' THEN st[-1].name WHEN 'text' THEN '#text' ELSE t.name END, "
    "'v': CASE t.kind WHEN 'text' THEN t.content "
    "ELSE kf_xml_value(CASE t.kind WHEN 'close' THEN st[-1].members ELSE t.attributes END) END}"
)
macro(
    "kf_xml_step(st, t) := CASE WHEN st IS NULL OR t.kind = 'wrong' THEN NULL WHEN t.kind = 'skip' THEN st "
    "WHEN t.kind = 'open' THEN list_append(st, {'name': t.name, 'members': t.attributes}) "
    "WHEN t.kind = 'close' AND (len(st) = 1 OR st[-1].name <> t.name) THEN NULL "
    "ELSE list_transform([kf_xml_added(st, t)], lambda w: list_append(w.stack[1:-2], {'name': w.stack[-1].name, "
    "'members': list_append(w.stack[-1].members, {'k': w.k, 'v': w.v})}))[1] END"
)
macro(
    "kf_xml_root(stack) := list_transform([stack], lambda st: CASE WHEN len(st) = 1 AND len(st[1].members) = 1 "
    "AND st[1].members[1].k <> '#text' "
    "THEN '{' || to_json(st[1].members[1].k)::VARCHAR || ':' || st[1].members[1].v || '}' END)[1]"
)
macro(
    f"kf_xml(x) := CASE WHEN x LIKE '%<%>%' THEN kf_xml_root(list_reduce(list_transform(regexp_extract_all(x, "
    f"'{_TOKEN}'), "
    f"lambda t: kf_xml_token(t)), lambda st, t: kf_xml_step(st, t), [{{'name': '', 'members': []}}]::{_FRAMES})) END"
)
function("parse_xml", "string -> dynamic", duckdb="kf_xml({0})")
