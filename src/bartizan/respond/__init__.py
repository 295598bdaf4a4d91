"""Reactions: change notifications."""
