"""Checks of all entries of a run together, over files and within bounded memory.

The steps of :mod:`pipelines.deduplication` find which prompts are near-duplicates, with proof.  Then:

* ``clusters`` joins them: which entries belong together, and which prompts resemble an earlier text.
* ``gather`` fetches what is to be compared of entries that do not stand alone, cut by cluster.
* ``judge`` decides within clusters, some at a time: what contradicts, what repeats.
* ``settle`` does what needs a number of every entry: the split, the balance of lengths, the figures for the card.
"""
