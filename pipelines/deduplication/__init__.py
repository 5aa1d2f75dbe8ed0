"""Deduplication over files: small steps, each a plain function of a plan and a part, in bounded memory."""
