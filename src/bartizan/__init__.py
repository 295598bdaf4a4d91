"""Bartizan: a self-hosted security graph."""

__version__ = "0.1.0"
