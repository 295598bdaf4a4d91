"""aggregates of the language."""
