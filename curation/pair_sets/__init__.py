"""Checks that look at all pairs of a preference set together.

Pure functions over NumPy arrays; what comes out depends on the pairs and never on the order they come in.  In order
of use: :mod:`~curation.pair_sets.clusters` (which prompts, and which responses, count as the same),
:mod:`~curation.pair_sets.conflicts` (repeated pairs and pairs with the labels swapped),
:mod:`~curation.pair_sets.cycles` (contradictions along three responses or more, among the pairs that the step
before left), :mod:`~curation.pair_sets.length_bias`, :mod:`~curation.pair_sets.split`.

Who owns what.  Two responses to prompts of one cluster are a *comparison*.  If its pairs point both ways, they are
the affair of conflicts; cycles are looked for among comparisons that point one way once conflicts are settled.  So no
swapped label is also a cycle, and no pair is dropped twice.  The pair that wins a conflict is a pair like any other
from then on and may lie on a longer cycle.
"""
