"""Conditional access: a policy compiled, a sign-in asked of, the verdict of all of a tenant's policies."""
