"""Exact and near-duplicates: the definition of similarity, signatures, candidates, proof and choice.

Pure functions over Arrow and NumPy arrays.  In order of use: :mod:`~curation.duplicates.signature` (text to
signatures and text hashes), :mod:`~curation.duplicates.bands`, :mod:`~curation.duplicates.candidates`,
:mod:`~curation.duplicates.jaccard` (exact check), :mod:`~curation.duplicates.keep` (who stays, and why);
:func:`~curation.duplicates.find.find_duplicates` does them all in memory.
"""
