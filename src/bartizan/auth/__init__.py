"""Tokens: the own authority, verification, permissions."""
