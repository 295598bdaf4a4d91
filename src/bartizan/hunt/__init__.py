"""Hunting: a text in Kusto's query language becomes a tree (`parser`), a bound plan (`binder`, `plan`) and the SQL of an
engine (`duckdb`); the rooms of functions are in `functions`."""
