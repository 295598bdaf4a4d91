"""geo of the language."""
