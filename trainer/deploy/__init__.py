"""What comes after training: which of two models is better, what a model costs, where to begin.  See docs/deploying.md.

``statistics``, ``compare`` and ``advise`` need no torch, so that a service can ask them.
"""
