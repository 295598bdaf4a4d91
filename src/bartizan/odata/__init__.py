"""OData: text to tree, the tree over one object in memory, the query options."""

from bartizan.odata.bind import bind, bind_order, bind_search
from bartizan.odata.evaluate import compile_predicate, matches, sort_key
from bartizan.odata.options import Position, QueryOptions, decode_token, encode_token, parse_options
from bartizan.odata.parse import Expand, parse_expand, parse_filter, parse_orderby, parse_search, parse_select

__all__ = [
    "Expand",
    "Position",
    "QueryOptions",
    "bind",
    "bind_order",
    "bind_search",
    "compile_predicate",
    "decode_token",
    "encode_token",
    "matches",
    "parse_expand",
    "parse_filter",
    "parse_options",
    "parse_orderby",
    "parse_search",
    "parse_select",
    "sort_key",
]
