"""The nouns: Graph types, the alert, instants, ids."""
