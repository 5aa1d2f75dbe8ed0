"""Trainings: runs of another kind, from dataset versions to models."""
