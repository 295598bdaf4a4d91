"""How a value is written in DuckDB's SQL. Everything that a user wrote goes into SQL through `text` or `value`: nothing
else puts user text into a statement.

Source: DuckDB manual, "Literal types".
"""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from functools import lru_cache
from math import isfinite, isnan
from re import compile as pattern
from typing import Any
from uuid import UUID
from zlib import crc32

from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Value
from bartizan.hunt.tree import Scalar

NATIVE: dict[Scalar, str] = {
    "bool": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "decimal": "DECIMAL(38,18)",
    "string": "VARCHAR",
    "datetime": "TIMESTAMP",
    "timespan": "BIGINT",
    "guid": "UUID",
    "dynamic": "VARCHAR",
}
TICKS_A_MICROSECOND = 10
MICROSECONDS_TO_1970 = 62_135_596_800_000_000  # from 0001-01-01
MOST_DECIMAL = Decimal(10) ** 20  # DECIMAL(38,18)
_PLAIN_KEY = pattern(r'[^"\\\x00]+')
_ATOM = pattern(r"""[\w.]+|"[^"]{1,80}"|\w+\([^()']{0,40}\)|\(?-?\d+\)?::\w+|'(?:[^']|''){0,80}'(?:::[\w(),]+)?""")


def text(content: str) -> str:
    """A string literal that reads back as `content`. Half a surrogate pair is no text: KqlError."""
    try:
        content.encode()
    except UnicodeEncodeError:
        raise KqlError("plan", "a text holds half a surrogate pair, which is no character") from None
    quoted = "'" + content.replace("'", "''") + "'"
    if "\0" not in content:
        return quoted
    return "(" + quoted.replace("\0", "' || chr(0) || '") + ")"


@lru_cache(maxsize=8192)
def identifier(name: str) -> str:
    """A quoted name of the storage's own tables and columns."""
    if "\0" in name:
        raise KqlError("plan", "a name holds the character 0")
    text(name)
    return '"' + name.replace('"', '""') + '"'


def value(one: Value) -> str:
    """A literal of exactly the type that stands for the Kusto type."""
    if one.value is None:
        return "''" if one.type == "string" else f"NULL::{NATIVE[one.type]}"
    return _WRITERS[one.type](one.value)


def _whole(native: str) -> Callable[[int], str]:
    return lambda number: f"({number})::{native}" if number < 0 else f"{number}::{native}"


def _real(number: float) -> str:
    return f"'{number!r}'::DOUBLE"


def _decimal(digits: str) -> str:
    try:
        with localcontext(prec=60):
            number = Decimal(digits).quantize(Decimal(1).scaleb(-18))
    except InvalidOperation:
        raise KqlError("plan", f"{digits} is no decimal of at most 20 digits before the point") from None
    if not number.is_finite() or abs(number) >= MOST_DECIMAL:
        raise KqlError("plan", f"the decimal {digits} is too large; at most 20 digits may stand before the point")
    return f"'{number:f}'::DECIMAL(38,18)"


def _datetime(ticks: int) -> str:
    return f"make_timestamp({ticks // TICKS_A_MICROSECOND - MICROSECONDS_TO_1970})"


def dynamic_text(content: Any) -> str:
    """A dynamic value as JSON text. What JSON has no number for is a string, as Kusto writes it."""
    return json.dumps(_finite(content), ensure_ascii=False, separators=(",", ":"))


def _finite(content: Any) -> Any:
    if isinstance(content, float) and not isfinite(content):
        return "NaN" if isnan(content) else "Infinity" if content > 0 else "-Infinity"
    if isinstance(content, list):
        return [_finite(each) for each in content]
    if isinstance(content, dict):
        return {key: _finite(each) for key, each in content.items()}
    return content


_WRITERS: dict[Scalar, Callable[[Any], str]] = {
    "bool": lambda flag: "TRUE" if flag else "FALSE",
    "int": _whole("INTEGER"),
    "long": _whole("BIGINT"),
    "real": _real,
    "decimal": lambda digits: _decimal(str(digits)),
    "string": text,
    "datetime": _datetime,
    "timespan": _whole("BIGINT"),
    "guid": lambda digits: f"'{UUID(str(digits))}'::UUID",
    "dynamic": lambda content: text(dynamic_text(content)),
}


def as_json(sql: str, type_: Scalar) -> str:
    """SQL of a scalar value as JSON text; NULL stays NULL."""
    match type_:
        case "dynamic":
            return f"{sql}::VARCHAR"
        case "bool" | "int" | "long":
            return f"{sql}::VARCHAR"
        case "real":
            return once(
                [sql],
                lambda x: (
                    f"(CASE WHEN isfinite({x}) THEN to_json({x})::VARCHAR WHEN isnan({x}) THEN '\"NaN\"' "
                    f"WHEN {x} > 0 THEN '\"Infinity\"' WHEN {x} < 0 THEN '\"-Infinity\"' END)"
                ),
            )
        case "string":
            return f"to_json({sql})::VARCHAR"
        case "decimal":
            return f"('\"' || rtrim(rtrim({sql}::VARCHAR, '0'), '.') || '\"')"
        case "datetime":
            return f"('\"' || kql_time_text({sql}) || '\"')"
        case "timespan":
            return f"('\"' || {once([sql], 'kql_span_text({0})'.format)} || '\"')"
        case "guid":
            return f"('\"' || {sql}::VARCHAR || '\"')"


def path_step(step: str | int) -> str | None:
    """A step of a JSON path (`."name"`, `[0]`, from the end `[#-1]`); None where a path cannot say the name."""
    if isinstance(step, int):
        return f"[{step}]" if step >= 0 else f"[#{step}]"
    return f'."{step}"' if _PLAIN_KEY.fullmatch(step) else None


def pointer(step: str) -> str:
    """The JSON pointer of a member whose name a path cannot say."""
    return "/" + step.replace("~", "~0").replace("/", "~1")


def atomic(sql: str) -> bool:
    """Whether an SQL text may stand as an operand as it is, and is cheap enough to stand twice."""
    return _ATOM.fullmatch(sql) is not None


def once(args: Sequence[str], body: Callable[..., str]) -> str:
    """`body` with texts that it may use any number of times: what is no plain column or literal becomes the argument
    of a lambda, so that nesting does not double the text with every level."""
    names = [each if atomic(each) else f"v{crc32(each.encode()):08x}" for each in args]
    lifted = {name: each for name, each in zip(names, args, strict=True) if name != each}
    if not lifted:
        return body(*names)
    if len(lifted) == 1:
        [(name, each)] = lifted.items()
        return f"list_transform([{each}], lambda {name}: {body(*names)})[1]"
    held = f"v{crc32(','.join(args).encode()):08x}s"
    packed = ", ".join(f"{name} := {each}" for name, each in lifted.items())
    inner = body(*(f"{held}.{name}" if name in lifted else name for name in names))
    return f"list_transform([struct_pack({packed})], lambda {held}: {inner})[1]"
