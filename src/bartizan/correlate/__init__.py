"""Alerts become incidents: which belong together, why, and which to look at first."""
