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
    f"{{'k': '@' || regexp_extract(a, '{_ATTRIBUTE}', 1), "
    f"'v': to_json(kf_xml_text(regexp_extract(a, '{_ATTRIBUTE}', 2) || regexp_extract(a, '{_ATTRIBUTE}', 3)))::VARCHAR}})"
)
macro(
    "kf_xml_group(m, key) := list_transform([list_filter(m, lambda o: o.k = key)], lambda same: CASE WHEN len(same) "
    "= 1 "
    "THEN same[1].v ELSE '[' || array_to_string(list_transform(same, lambda o: o.v), ',') || ']' END)[1]"
)
macro(
    "kf_xml_value(m) := CASE WHEN len(m) = 0 THEN 'null' WHEN len(m) = 1 AND m[1].k = '#text' THEN m[1].v "
    "ELSE '{' || array_to_string(list_transform(kf_first_keys(m), lambda d: to_json(d.k)::VARCHAR || ':' || "
    "kf_xml_group(m, d.k)), ',') || '}' END"
)
macro(
    "kf_xml_put(st, key, val) := list_append(st[1:-2], {'name': st[-1].name, "
    "'members': list_append(st[-1].members, {'k': key, 'v': val})})"
)
macro(r"kf_xml_name(t) := regexp_extract(t, '^</?\s*([^\s/>]+)', 1)")
macro(
    "kf_xml_close(st, t) := CASE WHEN len(st) > 1 AND st[-1].name = kf_xml_name(t) "
    "THEN kf_xml_put(st[1:-2], st[-1].name, kf_xml_value(st[-1].members)) END"
)
macro(
    "kf_xml_step(st, t) := CASE WHEN st IS NULL OR t = '<' THEN NULL WHEN t LIKE '<!--%' OR t LIKE '<?%' "
    "OR t LIKE '<!DOCTYPE%' THEN st "
    "WHEN t LIKE '<![CDATA[%' THEN kf_xml_put(st, '#text', to_json(substring(t, 10, length(t) - 12))::VARCHAR) "
    "WHEN t LIKE '</%' THEN kf_xml_close(st, t) "
    "WHEN t LIKE '<%/>' THEN kf_xml_put(st, kf_xml_name(t), kf_xml_value(kf_xml_attributes(t))) "
    "WHEN t LIKE '<%' THEN list_append(st, {'name': kf_xml_name(t), 'members': kf_xml_attributes(t)}) "
    r"WHEN regexp_full_match(t, '\s*') THEN st "
    r"ELSE kf_xml_put(st, '#text', to_json(kf_xml_text(trim(t, e' \t\r\n')))::VARCHAR) END"
)
macro(
    f"kf_xml(x) := CASE WHEN x LIKE '%<%>%' THEN kf_xml_root(list_reduce(regexp_extract_all(x, '{_TOKEN}'), "
    f"lambda st, t: kf_xml_step(st, t), [{{'name': '', 'members': []}}]::{_FRAMES})) END"
)
macro(
    "kf_xml_root(st) := CASE WHEN len(st) = 1 AND len(st[1].members) = 1 AND st[1].members[1].k <> '#text' "
    "THEN '{' || to_json(st[1].members[1].k)::VARCHAR || ':' || st[1].members[1].v || '}' END"
)
function("parse_xml", "string -> dynamic", duckdb="kf_xml({0})")
