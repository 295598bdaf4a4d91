"""Threats to identities: one file per detection over keyed state; risk of sign-ins, users and workloads; conditional
access; posture.
"""
