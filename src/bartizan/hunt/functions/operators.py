"""operators of the language."""
