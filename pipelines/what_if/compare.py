"""Deduplication of a small run once more, from its published texts.

It tells what stored pairs cannot: the pairs of documents of a large family that were both not kept; and all that are
not those of a duplicate and its witness, where a run has no evidence any more.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.look import FinishedRun
from pipelines.what_if.codes import Codes
from pipelines.what_if.order import priority_of, ranks
from pipelines.what_if.records import Records
from pipelines.what_if.texts import texts_by_row

MOST_DOCUMENTS = 50_000
MOST_TOKENS = 3_000_000  # of all texts together: some seconds


def compare_again(run: FinishedRun, records: Records, after: np.ndarray, codes: Codes) -> np.ndarray | None:
    """Codes after a whole deduplication of what is left.

    Args:
        after: codes of all records, those left for deduplication as the run had them.

    Returns:
        New codes; None where there is too much to compare, a text is not stored, or texts of earlier corpora
        would have to be compared.
    """
    parameters = run.run["recipe"]["deduplication"]
    left = codes.are_left(after)
    if np.count_nonzero(left) > MOST_DOCUMENTS:
        return None
    rows = np.flatnonzero(left)
    columns = ["id", "token_count", "witness_dataset", *(name for name, _ in priority_of(run.run))]
    table = records.rows(rows, list(dict.fromkeys(columns)))
    own = np.asarray(table.column("witness_dataset").is_null())
    rows, table = rows[own], table.filter(pa.array(own))  # a duplicate of an earlier corpus removes nobody
    if (pc.sum(table.column("token_count")).as_py() or 0) > MOST_TOKENS or not _same_shingles(run):
        return None
    texts = texts_by_row(run, records, rows, table.column("id").to_pylist())
    if len(texts) < len(rows):
        return None
    # Numba's kernels are loaded only now: most questions do without.
    from curation.duplicates.bands import bands_for
    from curation.duplicates.find import find_duplicates

    threshold = Fraction(parameters["threshold"])
    found = find_duplicates(
        pa.array([texts[id_] for id_ in table.column("id").to_pylist()], pa.large_string()),
        rank=ranks(table, priority_of(run.run)),
        threshold=threshold,
        definition=parameters["definition"],
        bands=bands_for(threshold, parameters["recall"]),
        scheme=parameters["scheme"],
        seed=parameters["seed"],
    )
    if run.run["earlier"] and (found.kept & (after[rows] == codes.near)).any():
        return None
    result = after.copy()
    result[rows] = np.array([codes.kept, codes.exact, codes.near])[found.kind]
    return result


def _same_shingles(run: FinishedRun) -> bool:
    """Whether texts are cut as the run cut them."""
    from curation.duplicates.shingles import facts

    return any(stage["stage"] == "sketch" and stage["facts"] == facts() for stage in run.run["stages"])
