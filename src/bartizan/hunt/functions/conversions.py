"""conversions of the language."""
