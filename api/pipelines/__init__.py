"""Pipelines: recipes with names, in revisions that never change."""
