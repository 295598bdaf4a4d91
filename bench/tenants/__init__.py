"""Labelled sign-ins of tenants that never were, by an author who did not write the development stream."""
