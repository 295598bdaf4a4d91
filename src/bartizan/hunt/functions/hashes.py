"""Hashes of values: of a text its bytes in UTF-8, of another value its text.

Source: Kusto Query Language, "hash_md5()", "hash_sha1()", "hash_sha256()".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import function
from bartizan.hunt.functions.conversions import text_of
from bartizan.hunt.plan import Apply


def _hash(name: str, args: Sequence[str], apply: Apply) -> str:
    if apply.args[0].type not in ("string", "datetime", "dynamic", "guid", "int", "long"):
        raise KqlError("plan", f"hash_{name}() of a {apply.args[0].type} is not supported; turn it into a string first")
    return f"{name}({text_of(args, apply, 0)})"


for _name in ("md5", "sha1", "sha256"):
    function(f"hash_{_name}", "any -> string", duckdb=partial(_hash, _name))
