"""numbers of the language."""
