"""Detections that a tenant's own people make: rules that search the lake on schedule, indicators that are matched as
things arrive.

What they find becomes an alert like any other. Queries and orders of actions are handed in by `app`.
"""
