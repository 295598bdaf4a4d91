"""networks of the language."""
