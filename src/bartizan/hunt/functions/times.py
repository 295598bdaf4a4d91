"""times of the language."""
