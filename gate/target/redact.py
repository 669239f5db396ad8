"""The house's one way of hiding secrets, under this room's name."""

from gate.redact import redact, secrets_of

__all__ = ["redact", "secrets_of"]
