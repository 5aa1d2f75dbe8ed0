"""Speed of normalisation + SentencePiece + KenLM beside CCNet's chain, on the same documents.

    python -m benchmarks.perplexity LANGUAGE MODEL CORPUS... [--documents 1500] [--rounds 3]

One process, one thread, processor time.  The chains take turns in every round, the best round of each
counts, and both must give the same perplexities bit for bit.  The plain chain does what cc_net does for
each document: character by character in Python, pieces as strings, score and count per line.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import sentencepiece

from curation.batch import text_buffers
from curation.perplexity.corpus import read_documents
from curation.perplexity.files import find_model
from curation.perplexity.normalise import normalise_utf8
from curation.perplexity.scorer import load_scorer
from curation.perplexity.script import to_simplified
from tests.perplexity.twins import ccnet_perplexity


def seconds(call: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print documents and megabytes per second of both chains and of our steps, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("language")
    parser.add_argument("model", type=Path)
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    every = itertools.chain.from_iterable(map(read_documents, given.corpus))
    texts = list(itertools.islice((text for text in every if text.strip()), given.documents))
    column = pa.array(texts, pa.large_string())
    size = sum(len(text.encode()) for text in texts)

    files = find_model(given.language, given.model)
    scorer = load_scorer(files)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(files.pieces))
    language_model = kenlm.Model(str(files.language_model))
    normalised = normalise_utf8(*text_buffers(column))
    ours = scorer.score(normalised).perplexity
    theirs = [ccnet_perplexity(text, pieces, language_model) for text in texts]
    if not np.array_equal(ours, np.array(theirs, float), equal_nan=True):
        raise SystemExit("the chains give different perplexities")

    calls: dict[str, Callable[[], object]] = {
        "plain chain": lambda: [ccnet_perplexity(text, pieces, language_model) for text in texts],
        "this chain": lambda: scorer.score(normalise_utf8(*text_buffers(column))),
        "  normalise": lambda: normalise_utf8(*text_buffers(column)),
        "  SentencePiece and KenLM": lambda: scorer.score(normalised),
        "(to simplified)": lambda: to_simplified(column),
    }
    best = {name: seconds(call) for name, call in calls.items()}
    for _ in range(given.rounds - 1):
        best = {name: min(best[name], seconds(call)) for name, call in calls.items()}
    print(f"{len(texts)} documents, {size / len(texts):.0f} bytes each, best of {given.rounds} rounds")
    for name, taken in best.items():
        print(f"{name:28s}{len(texts) / taken:9.0f} documents/s {size / taken / 1e6:7.2f} MB/s")
    print(f"ratio {best['plain chain'] / best['this chain']:.2f}")


if __name__ == "__main__":
    main()
