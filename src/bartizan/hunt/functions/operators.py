"""Operators: arithmetic, comparisons, logic, membership and the searches in strings.

What holds for all of them: a null makes a number, instant or span null; whole numbers wrap around at 64 bits and are
divided towards zero, by zero to null; a remainder is never negative; a real that is no number (NaN) compares false with
everything, itself too (but for `!=`); `==` and `!=` of a null and a value are false and true, of two nulls null.

A term is a run of letters and digits of any script; `has` finds its text where no letter or digit goes on at either
end. `duckdb_true` is what may stand in a filter, where a null is as good as false: what DuckDB's statistics understand.

Source: Kusto Query Language, "Numerical operators", "Datetime / timespan arithmetic", "String operators",
"Logical (binary) operators", "in operator", "between operator".
"""

from collections.abc import Callable, Sequence
from math import isnan
from re import compile as pattern
from re import escape

from bartizan.hunt.duckdb.literal import as_json, once, text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import APART, TOGETHER, Say, function
from bartizan.hunt.functions.strings import regex
from bartizan.hunt.plan import Apply, Expression, Value
from bartizan.hunt.tree import Scalar

TICKS_A_MICROSECOND = 10
_WILD = pattern(r"[%_]")  # DuckDB's ILIKE has no escape unless it is told
OUTSIDE = r"[^\p{L}\p{N}]"  # what ends a term
COMPARED: tuple[Scalar, ...] = ("bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid")


def number(one: Expression) -> bool:
    """Whether it is a constant that is a number: never null, never NaN."""
    return isinstance(one, Value) and one.value is not None and not (one.type == "real" and isnan(one.value))


# ------------------------------------------------------------------ arithmetic


def _long(sign: str) -> str:
    return "kql_wrap({0}::HUGEINT " + sign + " {1})"


def _decimals(sign: str) -> Callable[[Sequence[str], Apply], str]:
    """Null where the result is beyond the 20 digits before the point."""
    return lambda args, apply: once(
        args,
        lambda a, b: f"CASE WHEN abs({a}::DOUBLE {sign} {b}::DOUBLE) < 1e20 THEN {a} {sign} {b} END::DECIMAL(38,18)",
    )


def _divide(args: Sequence[str], apply: Apply) -> str:
    left, right = args
    divisor = apply.args[1]
    if isinstance(divisor, Value) and divisor.value not in (None, 0, -1):
        return f"({left} // {right})"
    return f"kql_wrap({left}::HUGEINT // nullif({right}, 0))"


def _remainder(args: Sequence[str], apply: Apply) -> str:
    left, right = args
    divisor = apply.args[1]
    if isinstance(divisor, Value) and isinstance(divisor.value, int) and 0 < divisor.value < 2**62:
        return f"(({left} % {right} + {right}) % {right})"
    return once(args, _floored)


def _floored(a: str, b: str) -> str:
    size = f"abs(nullif({b}, 0)::HUGEINT)"
    return f"((({a} % {size} + {size}) % {size})::BIGINT)"


def _remainder_real(args: Sequence[str], apply: Apply) -> str:
    return once(args, _floored_real)


def _floored_real(a: str, b: str) -> str:
    return f"CASE WHEN {a} % {b} < 0 THEN {a} % {b} + abs({b}) ELSE {a} % {b} END"


def _shift(instant: str, sign: str, span: str, ticks: Expression) -> str:
    """An instant and a span: the microsecond in which the tick lies."""
    if isinstance(ticks, Value) and isinstance(ticks.value, int) and ticks.value % TICKS_A_MICROSECOND == 0:
        return f"kql_clamp_time(epoch_us({instant})::HUGEINT {sign} ({ticks.value // TICKS_A_MICROSECOND}))"
    return f"kql_clamp_time(kql_microseconds(epoch_us({instant})::HUGEINT * {TICKS_A_MICROSECOND} {sign} {span}))"


def _shifted(sign: str, instant: int = 0) -> Callable[[Sequence[str], Apply], str]:
    """`instant`: which of the arguments it is."""
    return lambda args, apply: _shift(args[instant], sign, args[1 - instant], apply.args[1 - instant])


macro(f"kql_microseconds(ticks) := (ticks + {10**30}::HUGEINT) // {TICKS_A_MICROSECOND} - {10**29}::HUGEINT")


# Before the instant less a span: of a dynamic value an instant is expected.
function("-", "datetime datetime -> timespan",
         duckdb=f"((epoch_us({{0}}) - epoch_us({{1}})) * {TICKS_A_MICROSECOND})")  # fmt: skip
for _sign in "+-*":
    function(_sign, "long long -> long", duckdb=_long(_sign))
    function(_sign, "real real -> real", duckdb=f"({{0}} {_sign} {{1}})")
for _sign in "+-":
    function(_sign, "decimal decimal -> decimal", duckdb=_decimals(_sign))
    function(_sign, "datetime timespan -> datetime", duckdb=_shifted(_sign))
    function(_sign, "timespan timespan -> timespan", duckdb=_long(_sign))
# The product of two decimals of 18 places has 36; as reals where the digits do not suffice.
function("*", "decimal decimal -> decimal", duckdb="try_cast({0}::DOUBLE * {1}::DOUBLE AS DECIMAL(38,18))")
function("/", "decimal decimal -> decimal",
         duckdb="try_cast({0}::DOUBLE / nullif({1}, 0)::DOUBLE AS DECIMAL(38,18))")  # fmt: skip
function("%", "decimal decimal -> decimal", duckdb=_remainder_real)
function("+", "timespan datetime -> datetime", duckdb=_shifted("+", instant=1))
function("/", "long long -> long", duckdb=_divide)
function("/", "real real -> real", duckdb="({0} / {1})")
function("%", "long long -> long", duckdb=_remainder)
function("%", "real real -> real", duckdb=_remainder_real)
function("*", "timespan long -> timespan", duckdb=_long("*"))
function("*", "long timespan -> timespan", duckdb=_long("*"))
function("*", "timespan real -> timespan", duckdb="try_cast(trunc({0} * {1}) AS BIGINT)")
function("*", "real timespan -> timespan", duckdb="try_cast(trunc({0} * {1}) AS BIGINT)")
function("/", "timespan timespan -> real", duckdb="({0} / nullif({1}, 0)::DOUBLE)")
function("/", "timespan long -> timespan", duckdb=_divide)
function("/", "timespan real -> timespan", duckdb="try_cast(trunc({0} / nullif({1}, 0)) AS BIGINT)")
function("%", "timespan timespan -> timespan", duckdb=_remainder)
function("-", "int -> int", duckdb=f"(CASE WHEN {{0}} > {-(2**31)} THEN -{{0}} ELSE {{0}} END)")
function("-", "long -> long", duckdb="kql_wrap(-({0}::HUGEINT))")
function("-", "real -> real", duckdb="(-{0})")
function("-", "decimal -> decimal", duckdb="(-{0})")
function("-", "timespan -> timespan", duckdb="kql_wrap(-({0}::HUGEINT))")
for _type in ("int", "long", "real", "decimal", "timespan"):
    function("+", f"{_type} -> {_type}", duckdb="{0}")

# Of two dynamic values what their numbers give, dynamic again: a whole number where both are. The rest gives null.
macro("kql_number(x) := CASE WHEN json_type(x) IN ('BIGINT', 'UBIGINT', 'DOUBLE') THEN try_cast(x AS DOUBLE) END")
macro("kql_whole(x) := CASE WHEN json_type(x) IN ('BIGINT', 'UBIGINT') THEN try_cast(x AS BIGINT) END")


def _of_dynamics(sign: str, whole: str) -> None:
    """`whole`: what two whole numbers x and y give."""
    name = {"+": "sum", "-": "difference", "*": "product", "/": "ratio", "%": "rest"}[sign]
    numbers = ["kql_number(x)", "kql_number(y)"]
    real = once(numbers, _floored_real) if sign == "%" else f"{numbers[0]} {sign} {numbers[1]}"
    macro(
        f"kql_{name}(x, y) := CASE WHEN kql_whole(x) IS NOT NULL AND kql_whole(y) IS NOT NULL "
        f"THEN ({whole})::VARCHAR ELSE {as_json(f'({real})', 'real')} END"
    )
    function(sign, "dynamic dynamic -> dynamic", duckdb=f"kql_{name}({{0}}, {{1}})")


for _sign in "+-*":
    _of_dynamics(_sign, f"kql_wrap(kql_whole(x)::HUGEINT {_sign} kql_whole(y))")
_of_dynamics("/", "kql_wrap(kql_whole(x)::HUGEINT // nullif(kql_whole(y), 0))")
_of_dynamics("%", once(["kql_whole(x)", "kql_whole(y)"], _floored))
function("-", "dynamic -> dynamic", duckdb="kql_difference('0', {0})")


# ------------------------------------------------------------------ comparisons


def _equal(args: Sequence[str], apply: Apply) -> str:
    left, right = args
    type_ = apply.args[0].type
    if type_ == "string":
        return f"({left} = {right})"
    if any(number(each) for each in apply.args):
        return f"({left} IS NOT DISTINCT FROM {right})"
    return once(args, lambda a, b: f"CASE WHEN {a} IS NULL AND {b} IS NULL THEN NULL "
                                   f"ELSE {a} IS NOT DISTINCT FROM {b}{_no_nan(type_, a)} END")  # fmt: skip


def _equal_true(args: Sequence[str], apply: Apply) -> str:
    left, right = args
    if apply.args[0].type == "real" and not any(number(each) for each in apply.args):
        return once(args, lambda a, b: f"({a} = {b} AND NOT isnan({a}))")
    return f"({left} = {right})"


def _unequal(args: Sequence[str], apply: Apply) -> str:
    left, right = args
    type_ = apply.args[0].type
    if type_ == "string":
        return f"({left} <> {right})"
    if any(number(each) for each in apply.args):
        return f"({left} IS DISTINCT FROM {right})"
    return once(args, lambda a, b: f"CASE WHEN {a} IS NULL AND {b} IS NULL THEN NULL "
                                   f"ELSE {a} IS DISTINCT FROM {b}{_or_nan(type_, a)} END")  # fmt: skip


def _no_nan(type_: Scalar, sql: str) -> str:
    return f" AND NOT coalesce(isnan({sql}), FALSE)" if type_ == "real" else ""


def _or_nan(type_: Scalar, sql: str) -> str:
    return f" OR coalesce(isnan({sql}), FALSE)" if type_ == "real" else ""


def _ordered(sign: str) -> Callable[[Sequence[str], Apply], str]:
    """DuckDB has NaN above all numbers: the greater side of a comparison must not be it, nor both sides equal ones."""

    def say(args: Sequence[str], apply: Apply) -> str:
        left, right = args
        great = 0 if sign[0] == ">" else 1
        if apply.args[0].type != "real" or number(apply.args[great]):
            return f"({left} {sign} {right})"
        return once(args, lambda *both: f"({both[0]} {sign} {both[1]} AND NOT isnan({both[great]}))")

    return say


for _type in COMPARED:
    function("==", f"{_type} {_type} -> bool", duckdb=_equal, duckdb_true=_equal_true)
    function("!=", f"{_type} {_type} -> bool", duckdb=_unequal)
    for _sign in ("<", "<=", ">", ">="):
        function(_sign, f"{_type} {_type} -> bool", duckdb=_ordered(_sign))


def _between(args: Sequence[str], apply: Apply) -> str:
    """`x >= low and x <= high`, each with its own nulls."""
    of, low, high = args
    if apply.args[0].type != "real" or number(apply.args[2]):
        return f"({of} BETWEEN {low} AND {high})"
    return once(args, lambda x, least, most: f"({x} BETWEEN {least} AND {most} AND NOT isnan({x}) "
                                             f"AND NOT isnan({most}))")  # fmt: skip


for _type in ("long", "real", "decimal", "string", "datetime", "timespan"):
    function("between", f"{_type} {_type} {_type} -> bool", duckdb=_between)
    function(
        "!between", f"{_type} {_type} {_type} -> bool", duckdb=lambda args, apply: f"(NOT {_between(args, apply)})"
    )


def _between_span(args: Sequence[str], apply: Apply) -> str:
    """From an instant on for a span."""
    return once(args, lambda x, first, span: f"({x} BETWEEN {first} AND {_shift(first, '+', span, apply.args[2])})")


function("between", "datetime datetime timespan -> bool", duckdb=_between_span)
function("!between", "datetime datetime timespan -> bool",
         duckdb=lambda args, apply: f"(NOT {_between_span(args, apply)})")  # fmt: skip


# ------------------------------------------------------------------ logic

function("and", "bool bool bool* -> bool", duckdb=lambda args, _: f"({' AND '.join(args)})")
function("or", "bool bool bool* -> bool", duckdb=lambda args, _: f"({' OR '.join(args)})")
function("not", "bool -> bool", duckdb="(NOT {0})")


# ------------------------------------------------------------------ searches in strings


def _lower(sql: str, one: Expression) -> str:
    return text(one.value.lower()) if isinstance(one, Value) and isinstance(one.value, str) else f"lower({sql})"


def _folded(args: Sequence[str], apply: Apply) -> list[str]:
    return [_lower(each, one) for each, one in zip(args, apply.args, strict=True)]


def _negated(say: Say) -> Say:
    def negative(args: Sequence[str], apply: Apply) -> str:
        return f"(NOT {say.format(*args) if isinstance(say, str) else say(args, apply)})"

    return negative


def _search(name: str, say: Say) -> None:
    """A search in a string and its negative."""
    function(name, "string string -> bool", duckdb=say)
    function(f"!{name}", "string string -> bool", duckdb=_negated(say))


def _cheap(template: str) -> Callable[[Sequence[str], Apply], str]:
    return lambda args, apply: template.format(*_folded(args, apply))


def _like(of: str, needle: str, before: str = "%", after: str = "%") -> str:
    """ILIKE of a text that has no wildcard: the fastest search without regard to case; '' for others."""
    return "" if _WILD.search(needle) else f"{of} ILIKE {text(before + needle + after)}"


def _folding(before: str, after: str, template: str) -> Callable[[Sequence[str], Apply], str]:
    def say(args: Sequence[str], apply: Apply) -> str:
        needle = apply.args[1]
        known = isinstance(needle, Value) and isinstance(needle.value, str)
        like = _like(args[0], needle.value, before, after) if isinstance(needle, Value) and known else ""
        return f"({like})" if like else template.format(*_folded(args, apply))

    return say


def term(needle: str, *, left: bool, right: bool, fold: bool) -> str:
    """The regular expression that finds a needle at the bounds of terms. An end of the needle that is itself no letter
    or digit is a bound."""
    start = rf"(?:^|{OUTSIDE})" if left and needle[:1].isalnum() else ""
    end = rf"(?:$|{OUTSIDE})" if right and needle[-1:].isalnum() else ""
    return f"{'(?is)' if fold else '(?s)'}{start}{re2(needle)}{end}"


def re2(needle: str) -> str:
    """A text as a regular expression that finds just it."""
    return escape(needle).replace("\\\n", "\\n").replace("\0", r"\x00")


def _term(*, left: bool, right: bool, fold: bool) -> Callable[[Sequence[str], Apply], str]:
    def say(args: Sequence[str], apply: Apply) -> str:
        of = args[0]
        wanted = apply.args[1]
        if not (isinstance(wanted, Value) and isinstance(wanted.value, str)):
            return _moving_term(args, left=left, right=right, fold=fold)
        if not wanted.value:
            return f"({of} IS NOT NULL)"
        return f"({_exact_term(of, wanted.value, left=left, right=right, fold=fold)})"

    return say


def _exact_term(of: str, needle: str, *, left: bool, right: bool, fold: bool) -> str:
    """A cheap test that few rows pass, then the exact one."""
    cheap = _like(of, needle) if fold else f"contains({of}, {text(needle)})"
    exact = f"regexp_matches({of}, {text(term(needle, left=left, right=right, fold=fold))})"
    return f"{cheap} AND {exact}" if cheap else exact


# Each term between two marks, so that a needle which is marked too is found just where its ends are ends of terms.
macro(r"kf_terms(x) := regexp_replace(x, '[\p{L}\p{N}]+', chr(2) || '\0' || chr(3), 'g')")


def _moving_term(args: Sequence[str], *, left: bool, right: bool, fold: bool) -> str:
    """The needle is known only with the row. A regular expression for each row would take a millisecond to make."""

    def body(of: str, needle: str) -> str:
        if fold:
            of, needle = f"lower({of})", f"lower({needle})"
        marked = f"kf_terms({needle})"
        marked = marked if left else f"ltrim({marked}, chr(2))"
        marked = marked if right else f"rtrim({marked}, chr(3))"
        return f"CASE WHEN NOT contains({of}, {needle}) THEN FALSE ELSE contains(kf_terms({of}), {marked}) END"

    return once(args, body)


for _name, _left, _right in (("has", True, True), ("hasprefix", True, False), ("hassuffix", False, True)):
    _search(_name, _term(left=_left, right=_right, fold=True))
    _search(f"{_name}_cs", _term(left=_left, right=_right, fold=False))
function(":", "string string -> bool", duckdb=_term(left=True, right=True, fold=True))
_search("contains", _folding("%", "%", "contains({0}, {1})"))
_search("contains_cs", "contains({0}, {1})")
_search("startswith", _folding("", "%", "starts_with({0}, {1})"))
_search("startswith_cs", "starts_with({0}, {1})")
_search("endswith", _folding("%", "", "ends_with({0}, {1})"))
_search("endswith_cs", "ends_with({0}, {1})")
function("=~", "string string -> bool", duckdb=_cheap("({0} = {1})"))
function("!~", "string string -> bool", duckdb=_cheap("({0} <> {1})"))


def _matches(args: Sequence[str], apply: Apply) -> str:
    """A regular expression that comes with the row may be none: nothing matches it. TRY takes no subqueries, which are
    lifted out of it."""
    wanted = apply.args[1]
    if isinstance(wanted, Value):
        return f"regexp_matches({args[0]}, {text(regex(wanted.value))})"
    return f"coalesce({once(args, lambda of, each: f'TRY(regexp_matches({of}, {each}))')}, FALSE)"


function("matches regex", "string string -> bool", duckdb=_matches)


function(TOGETHER, "string string* -> string", duckdb=f"concat_ws(chr({ord(APART)}), {{args}})")


# ------------------------------------------------------------------ membership


def _texts(name: str) -> str:
    """The elements of a dynamic array as texts; another value is the only element."""
    return f"coalesce(CASE json_type({name}) WHEN 'ARRAY' THEN json_extract_string({name}, '$[*]') " \
           f"ELSE [json_extract_string({name}, '$')] END, [])"  # fmt: skip


def _in(*, fold: bool, negated: bool) -> Callable[[Sequence[str], Apply], str]:
    """Never null: a null is in no list."""

    def say(args: Sequence[str], apply: Apply) -> str:
        folds = fold and apply.args[0].type == "string"  # nothing else has case
        of, *items = _folded(args, apply) if folds else args
        plain, lists = [], []
        for sql, given, one in zip(items, args[1:], apply.args[1:], strict=True):
            if one.type != "dynamic":
                plain.append(sql)
            elif isinstance(one, Value) and apply.args[0].type == "string":
                plain += [text(each.lower() if fold else each) for each in _needles(one)]
            else:
                lists.append(given)
        found = [f"{of} IN ({', '.join(plain)})"] if plain else []
        for each in lists:
            members = once([each], _texts)
            sought = _as_text(of, apply.args[0].type)
            if fold:
                members, sought = f"list_transform({members}, lambda m: lower(m))", f"lower({sought})"
            found.append(f"list_contains({members}, {sought})")
        sql = f"({' OR '.join(found) or 'FALSE'})"
        if not negated:
            return sql if apply.args[0].type == "string" else f"coalesce({sql}, FALSE)"
        return f"(NOT {sql})" if apply.args[0].type == "string" else f"(NOT coalesce({sql}, FALSE))"

    return say


def _as_text(sql: str, type_: Scalar) -> str:
    """As a member of a dynamic array reads."""
    match type_:
        case "datetime":
            return f"kql_time_text({sql})"
        case "timespan":
            return once([sql], "kql_span_text({0})".format)
        case "dynamic":
            return f"json_extract_string({sql}, '$')"
        case _:
            return sql if type_ == "string" else f"{sql}::VARCHAR"


for _name, _fold in (("in", False), ("in~", True)):
    for _mark, _negative in (("", False), ("!", True)):
        function(f"{_mark}{_name}", "T T* -> bool", duckdb=_in(fold=_fold, negated=_negative))
        function(f"{_mark}{_name}", "any dynamic -> bool", duckdb=_in(fold=_fold, negated=_negative))


def _has_list(*, every: bool) -> Callable[[Sequence[str], Apply], str]:
    def say(args: Sequence[str], apply: Apply) -> str:
        of, wanted = args[0], apply.args[1:]
        if all(isinstance(each, Value) for each in wanted):
            needles = [needle for each in wanted if isinstance(each, Value) for needle in _needles(each)]
            return _all_terms(of, needles) if every else _any_term(of, needles)
        one = _term(left=True, right=True, fold=True)
        found = []
        for sql, each in zip(args[1:], wanted, strict=True):
            if each.type == "dynamic":
                found.append(once([of, sql], lambda x, listed: _each_term(x, listed, every=every)))
            else:
                found.append(one([of, sql], Apply("bool", "has", [apply.args[0], each])))
        return f"({(' AND ' if every else ' OR ').join(found)})"

    return say


def _each_term(of: str, listed: str, *, every: bool) -> str:
    """The needles are the elements of an array that comes with the row."""
    moving = _moving_term([of, "m"], left=True, right=True, fold=True)
    tested = f"list_transform({_texts(listed)}, lambda m: {moving})"
    return f"coalesce(list_bool_{'and' if every else 'or'}({tested}), {str(every).upper()})"


def _needles(one: Value) -> list[str]:
    """The texts that a constant holds: the elements of an array, or itself."""
    if one.type == "dynamic" and isinstance(one.value, list):
        return [_needle(each) for each in one.value if each is not None]
    return [] if one.value is None else [_needle(one.value)]


def _needle(content: object) -> str:
    return content if isinstance(content, str) else str(content).lower() if isinstance(content, bool) else str(content)


def _any_term(of: str, needles: Sequence[str]) -> str:
    """One regular expression finds many needles faster than as many searches."""
    if "" in needles:
        return f"({of} IS NOT NULL)"
    if not needles:
        return "FALSE"
    if len(needles) == 1:
        return f"({_exact_term(of, needles[0], left=True, right=True, fold=True)})"
    plain = [each for each in needles if each[0].isalnum() and each[-1].isalnum()]
    others = [term(each, left=True, right=True, fold=True) for each in needles if each not in plain]
    joined = [f"(?is)(?:^|{OUTSIDE})(?:{'|'.join(map(re2, plain))})(?:$|{OUTSIDE})"] if plain else []
    return f"({' OR '.join(f'regexp_matches({of}, {text(each)})' for each in [*joined, *others])})"


def _all_terms(of: str, needles: Sequence[str]) -> str:
    found = [_exact_term(of, each, left=True, right=True, fold=True) for each in needles if each]
    return f"({' AND '.join(found) or f'{of} IS NOT NULL'})"


function("has_any", "string string* -> bool", duckdb=_has_list(every=False))
function("has_any", "string dynamic -> bool", duckdb=_has_list(every=False))
function("has_all", "string string* -> bool", duckdb=_has_list(every=True))
function("has_all", "string dynamic -> bool", duckdb=_has_list(every=True))
