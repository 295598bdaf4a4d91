"""Functions of a row's place in an order: row numbers, ranks, running sums, neighbours, sessions.

Their SQL is not a text before one OVER: most begin anew where a condition holds, which takes two steps; the emitter of
an engine writes them (`duckdb.windows`). Here stands what they take and give.

Source: Kusto Query Language, "Window functions overview" and the page of each.
"""

from bartizan.hunt.functions import window

window("row_number", "long? bool? -> long")
for _type in ("long", "real", "decimal", "timespan", "int"):
    window("row_cumsum", f"{_type} bool? -> {_type}")
window("row_rank_dense", "any bool? -> long")
window("row_rank_min", "any bool? -> long")
window("prev", "any long? any? -> any")
window("next", "any long? any? -> any")
window("row_window_session", "datetime timespan timespan bool? -> datetime")
