"""Evaluations: runs that ask models something: answers, losses, costs, comparisons."""
