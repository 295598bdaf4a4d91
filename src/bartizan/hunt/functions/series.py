"""series of the language."""
