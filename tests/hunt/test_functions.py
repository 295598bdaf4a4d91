"""Functions of texts, conversions and conditions: from the Kusto documentation and from what its engine gave."""

import math
from typing import Any

import pytest
from tests.hunt.calls import Given, boolean, call, decimal, dynamic, guid, instant, long, real, span, string, whole

HOUR = 36_000_000_000
DAY = 24 * HOUR

TO_TEXT: list[tuple[Given, str]] = [
    (whole(-5), "-5"),
    (whole(None), ""),
    (real(1.0), "1.0"),
    (real(1 / 3), "0.3333333333333333"),
    (real(-0.0), "-0.0"),
    (real(math.inf), "inf"),
    (real(math.nan), "NaN"),
    (real(None), ""),
    (decimal("100"), "100"),
    (decimal("1.50"), "1.5"),
    (boolean(True), "true"),
    (span(DAY + 2 * HOUR), "1.02:00:00"),
    (span(-(DAY + 2 * HOUR + 3 * 600_000_000 + 4 * 10_000_000)), "-1.02:03:04"),
    (span(1), "00:00:00.0000001"),
    (instant("2017-10-15 12:00"), "2017-10-15T12:00:00.0000000Z"),
    (guid("82B8BE2D-DFA7-4BD1-8F63-24AD26D31449"), "82b8be2d-dfa7-4bd1-8f63-24ad26d31449"),
    (dynamic(True), "true"),
    (dynamic(None), ""),
    (dynamic("5"), "5"),
    (dynamic({"a": [1, 2.0]}), '{"a":[1,2.0]}'),
]


@pytest.mark.parametrize(("given", "expected"), TO_TEXT)
def test_a_value_as_text(given: Given, expected: str) -> None:
    """tostring gives Kusto's text of each type; strcat and reverse use the same."""
    assert call("tostring", given) == expected
    assert call("strcat", given, string("!")) == expected + "!"
    assert call("reverse", given) == expected[::-1]


CONVERTED: list[tuple[str, Given, Any]] = [
    ("tolong", string("42"), 42),
    ("tolong", string("42.0"), None),
    ("tolong", string("abc"), None),
    ("tolong", string(""), None),
    ("tolong", string("1_000"), None),
    ("tolong", string("9223372036854775807"), 2**63 - 1),
    ("tolong", string("9223372036854775808"), None),
    ("tolong", string("-9223372036854775808"), -(2**63)),
    ("tolong", string("0x7FFFFFFFFFFFFFFF"), 2**63 - 1),
    ("tolong", string("0xFFFFFFFFFFFFFFFF"), -1),
    ("toint", string("0X1f"), 31),
    ("toint", string("-0x10"), None),
    ("toint", string("0x7FFFFFFF"), 2**31 - 1),
    ("toint", real(2.9), 2),
    ("toint", real(-2.9), -2),
    ("toint", real(1e30), 2**31 - 1),
    ("tolong", real(1e30), 2**63 - 1),
    ("tolong", real(-1e19), -(2**63)),
    ("toint", span(HOUR), 1640261632),
    ("tolong", span(DAY), DAY),
    ("toint", boolean(True), 1),
    ("toint", dynamic(1.5), 1),
    ("toint", dynamic("5"), 5),
    ("toint", dynamic("1.5"), None),
    ("toint", dynamic(True), 1),
    ("toint", dynamic("true"), None),
    ("toint", dynamic(2**63 - 1), -1),
    ("toint", dynamic(-(2**63)), 0),
    ("toint", dynamic(1.7e308), 2**31 - 1),
    ("tolong", dynamic(1.7e308), 2**63 - 1),
    ("tolong", dynamic([1, 2]), None),
    ("todouble", string("1.5e10"), 1.5e10),
    ("todouble", string("-0"), -0.0),
    ("todouble", string("1_000"), None),
    ("todouble", string("1,234"), None),
    ("todouble", string(".5"), 0.5),
    ("todouble", string("Inf"), "Infinity"),
    ("todouble", string("NaN"), "NaN"),
    ("todouble", string("0b101"), None),
    ("todouble", dynamic(True), 1.0),
    ("todouble", dynamic("1.5"), 1.5),
    ("todecimal", string("123.45678"), "123.45678"),
    ("todecimal", real(0.1), "0.1"),
    ("tobool", string("tRuE"), True),
    ("tobool", string("-1"), True),
    ("tobool", string("0"), False),
    ("tobool", string("1.0"), None),
    ("tobool", string("yes"), None),
    ("tobool", dynamic("true"), True),
    ("tobool", dynamic("1.5"), None),
    ("tobool", dynamic(0), False),
    ("todatetime", string("2020-01-01"), "2020-01-01T00:00:00Z"),
    ("todatetime", string("2020-13-01"), None),
    ("todatetime", string("2020-02-30"), None),
    ("todatetime", string("not-a-date"), None),
    ("todatetime", string("2020-06-15T13:45:09.1234567Z"), "2020-06-15T13:45:09.123456Z"),
    ("todatetime", string("2020-06-15 13:45:09"), "2020-06-15T13:45:09Z"),
    ("todatetime", string("2020-06-15T13:45:09+02:00"), "2020-06-15T11:45:09Z"),
    ("todatetime", string("Sat, 8 Nov 14 15:05:02 GMT"), "2014-11-08T15:05:02Z"),
    ("todatetime", string("Saturday, 08-Nov-14 15:05:02 UTC"), "2014-11-08T15:05:02Z"),
    ("todatetime", string("8/22/2021 10:00:00 PM"), "2021-08-22T22:00:00Z"),
    ("todatetime", long(0), "0001-01-01T00:00:00Z"),
    ("todatetime", long(-1), None),
    ("todatetime", dynamic("2020-01-01"), "2020-01-01T00:00:00Z"),
    ("totimespan", string("1.02:03:04.5"), "1.02:03:04.5000000"),
    ("totimespan", string("01:00:00"), "01:00:00"),
    ("totimespan", string("-00:30"), "-00:30:00"),
    ("totimespan", string("1d"), "1.00:00:00"),
    ("totimespan", string("90m"), "01:30:00"),
    ("totimespan", string("5ms"), "00:00:00.0050000"),
    ("totimespan", string("25:00"), None),
    ("totimespan", string("abc"), None),
    ("totimespan", long(10_000_000), "00:00:01"),
    ("toguid", string("82b8be2d-dfa7-4bd1-8f63-24ad26d31449"), "82b8be2d-dfa7-4bd1-8f63-24ad26d31449"),
    ("toguid", string("x"), None),
    ("parse_json", string("null"), None),
    ("parse_json", string(""), None),
    ("parse_json", string("not json"), "not json"),
    ("parse_json", string('[1,"3\t"]'), '[1,"3\t"]'),
    ("parse_json", string('{"a":[1,null]}'), {"a": [1, None]}),
    ("parse_json", string("NaN"), "NaN"),
    ("parse_json", string('{"a":"nan"}'), {"a": "nan"}),
    ("todynamic", long(5), 5),
    ("todynamic", dynamic({"a": 1}), {"a": 1}),
    ("gettype", dynamic(None), "null"),
    ("gettype", dynamic(1), "long"),
    ("gettype", dynamic(1.5), "double"),
    ("gettype", dynamic({}), "dictionary"),
    ("gettype", dynamic([1]), "array"),
    ("gettype", dynamic("a"), "string"),
    ("gettype", real(1.5), "real"),
    ("gettype", span(1), "timespan"),
]


@pytest.mark.parametrize(("name", "given", "expected"), CONVERTED)
def test_a_value_of_another_type(name: str, given: Given, expected: Any) -> None:
    """A conversion gives the value, or null where there is none."""
    assert repr(call(name, given)) == repr(expected)


CONDITIONS: list[tuple[str, list[Given], Any]] = [
    ("isempty", [string("")], True),
    ("isempty", [string(" ")], False),
    ("isempty", [dynamic(None)], True),
    ("isnotempty", [dynamic("")], False),
    ("isempty", [long(None)], True),
    ("isnull", [string("")], False),
    ("isnull", [dynamic(None)], True),
    ("isnotnull", [real(0.0)], True),
    ("isnan", [real(math.nan)], True),
    ("isfinite", [real(math.inf)], False),
    ("iff", [boolean(None), string("a"), string("b")], "b"),
    ("iff", [boolean(True), long(None), long(1)], None),
    ("iff", [boolean(False), whole(1), real(2.5)], 2.5),
    ("iff", [boolean(True), dynamic("5"), string("b")], "5"),
    ("case", [boolean(False), string("a"), boolean(True), string("b"), string("c")], "b"),
    ("coalesce", [whole(None), whole(None), long(5), long(7)], 5),
    ("coalesce", [string(""), string("b")], "b"),
    ("max_of", [long(10), long(1), long(-3), long(17)], 17),
    ("max_of", [whole(None), long(3)], 3),
    ("min_of", [whole(None), whole(None)], None),
    ("min_of", [real(math.nan), real(1.0)], "NaN"),
    ("max_of", [real(math.nan), real(1.0)], "NaN"),
    ("around", [long(5), long(7), long(2)], True),
    ("around", [instant("2021-01-01 01:31"), instant("2021-01-01 01:30"), span(600_000_000)], True),
]


@pytest.mark.parametrize(("name", "given", "expected"), CONDITIONS)
def test_a_condition(name: str, given: list[Given], expected: Any) -> None:
    assert call(name, *given) == expected


TEXTS: list[tuple[str, list[Any], Any]] = [
    ("strlen", ["👨‍👩‍👧"], 5),
    ("string_size", ["café"], 5),
    ("strcat_delim", ["-", long(1), "a", string("")], "1-a-"),
    ("strcat_array", [[1, 2, 3], '"'], '1"2"3'),
    ("strrep", ["ABC", long(2)], "ABCABC"),
    ("strrep", [long(123), long(3), "."], "123.123.123"),
    ("strrep", [span(30_000_000), long(2), " "], "00:00:03 00:00:03"),
    ("strrep", ["a", long(-1)], ""),
    ("substring", ["abcdefghij", long(3), long(4)], "defg"),
    ("substring", ["abc", long(5), long(3)], ""),
    ("substring", ["abc", long(-1), long(2)], "c"),
    ("substring", ["short", long(-4), long(2)], "ho"),
    ("substring", ["", long(-3)], ""),
    ("substring", ["a😀b", long(1), long(1)], "😀"),
    ("substring", [long(12345), long(1)], "2345"),
    ("split", ["a,,b", ","], ["a", "", "b"]),
    ("split", ["", ","], [""]),
    ("split", ["aaa_bbb_ccc", "_", long(1)], ["bbb"]),
    ("extract", [r"<([a-z]+)", long(1), "<tag>text</tag>"], "tag"),
    ("extract", [r"key:.?(\w+)", long(1), "key:val"], "al"),
    ("extract", [r"(a)(?P<n>b)(?:x)?(c)", long(3), "abc"], "c"),
    ("extract", [r"(?<n>b)\(?[)(]?", long(0), "ab("], "b("),
    ("extract", ["a", long(1), "a"], ""),
    ("extract_all", [r"<(/?[a-z]+)", "<tag>text</tag>"], ["tag", "/tag"]),
    ("extract_all", [r"([;,|-])", "single"], None),
    ("extract_all", [r"(\w)(\w+)(\w)", [1, 3], "82b8be2d-dfa7"], [["8", "d"], ["d", "7"]]),
    ("extract_all", [r"(\w)(\d)", "a1b2"], [["a", "1"], ["b", "2"]]),
    ("replace_regex", ["x;y,z|w", "[;,|-]", "_"], "x_y_z_w"),
    ("replace_regex", ["ab", "(a)(b)", r"\2\1\0"], "baab"),
    ("replace", ["(b)", r"[\1]", "abc"], "a[b]c"),
    ("replace_string", ["it''s", "'", "''"], "it''''s"),
    ("replace_strings", ["A magic trick can turn a cat into a dog", ["cat", "dog"], ["dog", "pigeon"]],
     "A magic trick can turn a dog into a pigeon"),
    ("replace_strings", ["This is an", ["is", "This"], ["was", "This"]], "Thwas was an"),
    ("trim", ["[x_]", "__world__"], "_world_"),
    ("trim_start", ["x", "xxhelloxx"], "xhelloxx"),
    ("trim_end", [" ", "trailing  "], "trailing "),
    ("trim", ["1", "11"], ""),
    ("tolower", ["CAFÉ"], "café"),
    ("toupper", ["café"], "CAFÉ"),
    ("indexof", ["abcdefg", "cde"], 2),
    ("indexof", ["abcdefg", "cde", long(1), long(4)], 2),
    ("indexof", ["abcdefg", "cde", long(1), long(2)], -1),
    ("indexof", ["abcdefg", "cde", long(3), long(4)], -1),
    ("indexof", ["abcdefg", "cde", long(-5)], 2),
    ("indexof", [long(1234567), long(5), long(1), long(4)], 4),
    ("indexof", ["abcdefg", "cde", long(2), long(-1)], 2),
    ("indexof", ["abcdefgabcdefg", "cde", long(1), long(-1), long(2)], 9),
    ("indexof", ["abcdefgabcdefg", "cde", long(1), long(-1), long(3)], -1),
    ("indexof", ["O'Brien's", "'", long(3)], 7),
    ("indexof_regex", ["abcabc", "a.c"], 0),
    ("indexof_regex", ["abcabcdefg", "a.c", long(0), long(9), long(2)], 3),
    ("indexof_regex", ["abcabc", "a.c", long(1), long(-1), long(2)], -1),
    ("indexof_regex", ["ababaa", "a.a", long(0), long(-1), long(2)], -1),
    ("indexof_regex", ["abcabc", "a|ab", long(-1)], None),
    ("countof", ["it''s", "'"], 2),
    ("countof", ["aaaa", "aa"], 3),
    ("countof", ["ababa", "aba"], 2),
    ("countof", ["abcabc", "a.c", "regex"], 2),
    ("has_any_index", ["this is an example", ["this", "example"]], 0),
    ("has_any_index", ["this is an example", ["not", "example"]], 1),
    ("has_any_index", ["this is an example", ["exam"]], -1),
    ("has_any_index", ["Example number 2", [1, 2, 3]], 1),
    ("has_any_index", ["x", []], -1),
    ("translate", ["abc", "x", "abc"], "xxx"),
    ("translate", ["abc", "", "ab"], ""),
    ("translate", ["krasp", "otsku", "spark"], "kusto"),
    ("unicode_codepoints_from_string", ["é-K"], [233, 45, 75]),
    ("unicode_codepoints_to_string", [long(75), long(117), [115, 116], long(111)], "Kusto"),
    ("base64_encode_tostring", ["Kusto"], "S3VzdG8="),
    ("base64_decode_tostring", ["S3VzdG8="], "Kusto"),
    ("base64_decode_tostring", ["S3V"], ""),
    ("base64_decode_toarray", ["S3VzdG8="], [75, 117, 115, 116, 111]),
    ("base64_encode_fromarray", [[75, 117, 115, 116, 111]], "S3VzdG8="),
    ("url_decode", ["https%3a%2f%2fwww.bing.com%2f"], "https://www.bing.com/"),
    ("url_encode", ["https://www.bing.com/hello world"], "https%3a%2f%2fwww.bing.com%2fhello+world"),
    ("url_encode_component", ["https://www.bing.com/hello world/"], "https%3a%2f%2fwww.bing.com%2fhello%20world%2f"),
    ("hash_sha1", ["World"], "70c07ec18ef89c5309bbb0937f3a6342411e1fdd"),
    ("hash_sha1", [instant("2020-01-01")], "e903e533f4d636b4fc0dcf3cf81e7b7f330de776"),
    ("reverse", ["ab😀"], "😀ba"),
]  # fmt: skip


def given(content: Any) -> Given:
    """Texts and arrays as they stand; pairs are typed already."""
    if isinstance(content, tuple):
        return content
    return string(content) if isinstance(content, str) else dynamic(content)


@pytest.mark.parametrize(("name", "args", "expected"), TEXTS)
def test_a_function_of_texts(name: str, args: list[Any], expected: Any) -> None:
    assert call(name, *map(given, args)) == expected


PARSED: list[tuple[str, list[Any], Any]] = [
    ("extract_json", ["$.a['b'][0]", '{"a":{"b":[5]}}'], "5"),
    ("extract_json", ["$.a", "no json"], ""),
    ("parse_csv", ['aa,"b,b ""x""",cc\nd,e'], ["aa", 'b,b "x"', "cc"]),
    ("parse_csv", [""], [""]),
    ("parse_url", ["scheme://username:password@host:1234/this/is/a/path?k1=v1&k2=v2#fragment"], {
        "Scheme": "scheme", "Host": "host", "Port": "1234", "Path": "/this/is/a/path", "Username": "username",
        "Password": "password", "Query Parameters": {"k1": "v1", "k2": "v2"}, "Fragment": "fragment"}),
    ("parse_urlquery", ["k1=v1&k2=v2&k3=v3"], {"Query Parameters": {"k1": "v1", "k2": "v2", "k3": "v3"}}),
    ("parse_path", [r"C:\temp\file.txt"], {
        "Scheme": "", "RootPath": "C:", "DirectoryPath": r"C:\temp", "DirectoryName": "temp", "Filename": "file.txt",
        "Extension": "txt", "AlternateDataStreamName": ""}),
    ("parse_path", ["file://C:/temp/file.txt:some.exe"], {
        "Scheme": "file", "RootPath": "C:", "DirectoryPath": "C:/temp", "DirectoryName": "temp",
        "Filename": "file.txt", "Extension": "txt", "AlternateDataStreamName": "some.exe"}),
    ("parse_path", [r"\\shared\users\temp\file.txt.gz"], {
        "Scheme": "", "RootPath": "", "DirectoryPath": r"\\shared\users\temp", "DirectoryName": "temp",
        "Filename": "file.txt.gz", "Extension": "gz", "AlternateDataStreamName": ""}),
    ("parse_path", ["/usr/lib/temp/file.txt"], {
        "Scheme": "", "RootPath": "", "DirectoryPath": "/usr/lib/temp", "DirectoryName": "temp",
        "Filename": "file.txt", "Extension": "txt", "AlternateDataStreamName": ""}),
    ("parse_command_line", ['echo "hello world!"', "windows"], ["echo", "hello world!"]),
    ("parse_command_line", [r'a "b\\" c\"d e\f', "windows"], ["a", "b\\", 'c"d', "e\\f"]),
    ("parse_command_line", ["", "windows"], None),
    ("parse_xml", ["<e/>"], {"e": None}),
    ("parse_xml", ["<e>text</e>"], {"e": "text"}),
    ("parse_xml", ['<e name="value">text</e>'], {"e": {"@name": "value", "#text": "text"}}),
    ("parse_xml", ["<e><a>text</a><b>t</b></e>"], {"e": {"a": "text", "b": "t"}}),
    ("parse_xml", ["<e><a>1</a> <a>2</a><a/></e>"], {"e": {"a": ["1", "2", None]}}),
    ("parse_xml", ["<e>text<a>x</a></e>"], {"e": {"#text": "text", "a": "x"}}),
    ("parse_xml", ["<?xml version='1.0'?><!-- <x> --><e a='1' b=\"&lt;&#65;&#x42;&amp;\"><![CDATA[<&>]]></e>"],
     {"e": {"@a": "1", "@b": "<AB&", "#text": "<&>"}}),
    ("parse_xml", ["<D><EventData><Data Name='Pid'>0x1</Data><Data Name='Cmd'>a b</Data></EventData></D>"],
     {"D": {"EventData": {"Data": [{"@Name": "Pid", "#text": "0x1"}, {"@Name": "Cmd", "#text": "a b"}]}}}),
    ("parse_xml", ["<a><b></a>"], None),
    ("parse_xml", ["no <b> xml"], None),
    ("parse_xml", [""], None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "expected"), PARSED)
def test_a_text_taken_apart(name: str, args: list[Any], expected: Any) -> None:
    assert call(name, *map(given, args)) == expected
