"""The parser: the text of a query to its tree, or to what is wrong with it.

Written by hand: a lexer, then descent by the kind of the next token with a look ahead of a few, precedence climbing
for expressions. Time and memory are linear in the length of the text; length, number of tokens, depth of brackets and
height of expressions are limited, so whoever walks the tree may recurse.

Source: Kusto Query Language, "Overview", "Query statements".
"""

from bartizan.hunt import tree
from bartizan.hunt.fault import KqlError
from bartizan.hunt.lexer import END, tokens
from bartizan.hunt.parser.statements import Statements

__all__ = ["faults", "parse"]


def parse(text: str) -> tree.Query:
    """The tree of the query. Raises its first fault as KqlError, located: phase parse; if there is none of it, bind
    where the text is well formed but cannot mean anything (`datetime(x)`), plan for what is known and not supported."""
    query, found = _read(text)
    if found:
        raise min(found, key=lambda fault: (fault.phase != "parse", fault.at))
    return query


def faults(text: str) -> list[KqlError]:
    """All that is wrong, in the order of the text; empty when `parse` takes it. Later faults may follow from earlier
    ones; after 20 no more are looked for."""
    return sorted(_read(text)[1], key=lambda fault: fault.at)


def _read(text: str) -> tuple[tree.Query, list[KqlError]]:
    query = tree.Query(statements=[], results=[], at=0, end=len(text))
    parser: Statements | None = None
    try:
        stripped = tokens(text)
        if stripped[0].kind == END:
            raise KqlError("parse", "the query is empty", 0)
        if stripped[0].kind == ".":
            raise KqlError("parse", "a command, which begins with '.', is not a query", stripped[0].at)
        parser = Statements(text, stripped)
        query = parser.query()
        found = parser.found
    except KqlError as fault:
        found = [*(parser.found if parser else []), fault]
    except RecursionError:
        # The limits keep the parser far from this unless its caller stands deep already.
        at = parser.token.at if parser else 0
        found = [KqlError("parse", "nested too deeply", at)]
    for each in found:
        each.locate(text)
    return query, found
