"""Identities: what their sign-ins and their directory say of risk, access and posture."""
