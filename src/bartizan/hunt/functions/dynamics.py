"""dynamics of the language."""
