"""Datasets: immutable versions of what runs published, aliases, files."""
