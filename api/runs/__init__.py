"""Runs: states and what may cause them, submission, commands, events."""
