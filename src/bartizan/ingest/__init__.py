"""Ways in: receive, normalise, fold repeats, store."""
