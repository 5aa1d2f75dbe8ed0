"""Webhooks: what others are told, signed, retried, and never at a private address."""
