"""strings of the language."""
