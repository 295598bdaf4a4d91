"""windows of the language."""
