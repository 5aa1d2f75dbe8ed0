"""Columns of a ledger as arrays, and the thresholds that hold for its rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curation.stage import Rule


def encoded(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """A column of words as indices into its different values; null is the empty word."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], pa.string())
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    values = [*array.dictionary.to_pylist(), ""]
    return np.asarray(array.indices.fill_null(len(values) - 1)), values


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers or truth values as ``float64[n]``, null as NaN."""
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def limit_of(rule: Rule, language: str | None) -> float:
    """Threshold of a rule for a language, NaN where it is switched off."""
    limit = rule.threshold_of(language or "und")
    return np.nan if limit is None else limit


def limits_of(rule: Rule, languages: pa.ChunkedArray) -> np.ndarray:
    """Threshold of a rule for each row, ``float64[n]``."""
    indices, codes = encoded(languages)
    return np.asarray(np.array([limit_of(rule, code) for code in codes], np.float64)[indices])
