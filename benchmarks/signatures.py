"""Text to MinHash signature, shingling included: ours, datasketch's and rensa's, in one process.

    python benchmarks/signatures.py --documents 2000

Every contender gets the same Python strings or the same Arrow column of them, and turns each into 128 minima
over its word 5-grams on one thread.  Peers get the shingler that their users write: ``\\w+`` of the lower-cased
text, five words joined by spaces, repeats dropped, in the form each of them takes fastest: xxhash and
``update_batch`` with shared permutations for datasketch, one matrix from sets of bytes for rensa (timed when it
can be imported).  CPU seconds of this process, best of three.

With ``GRISTMILL_DATA`` set, documents are paragraphs of real English prose put together to about 5 KB each;
without it, random words.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa

from curation.duplicates.shingles import shingle_sets
from curation.duplicates.signature import signatures

PERMUTATIONS = 128
_SOURCES = ("abc-news-en", "c4-sample-en", "gutenberg-en", "state-of-the-union-en")
_WORD = re.compile(r"\w+")


def documents(count: int, size: int) -> list[str]:
    """``count`` texts of at least ``size`` characters, of real paragraphs where there are any."""
    random = Random(1)
    folder = os.environ.get("GRISTMILL_DATA")
    if folder:
        pieces = [piece for name in _SOURCES for piece in _paragraphs(Path(folder) / "text" / f"{name}.jsonl.gz")]
    else:
        vocabulary = ["".join(random.choices("etaoinshrdlu", k=random.randint(2, 10))) for _ in range(20_000)]
        pieces = [" ".join(random.choices(vocabulary, k=random.randint(20, 90))) for _ in range(5_000)]
    texts = []
    for _ in range(count):
        chosen: list[str] = []
        while sum(map(len, chosen)) < size:
            chosen.append(random.choice(pieces))
        texts.append("\n\n".join(chosen))
    return texts


def _paragraphs(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [piece for text in texts for piece in text.split("\n\n") if 100 < len(piece) < 2000]


def peer_shingles(text: str) -> set[bytes]:
    """Word 5-grams as most people write them."""
    words = _WORD.findall(text.lower())
    return {" ".join(words[start : start + 5]).encode() for start in range(max(1, len(words) - 4))}


def by_datasketch(texts: list[str]) -> object:
    """datasketch 2, ``affine32``, the way it is fastest without code of one's own."""
    from datasketch import MinHash
    from xxhash import xxh32_intdigest

    first = MinHash(num_perm=PERMUTATIONS, hashfunc=xxh32_intdigest, scheme="affine32")
    results = []
    for text in texts:
        minhash = first.copy()
        minhash.update_batch(peer_shingles(text))
        results.append(minhash.hashvalues)
    return np.array(results)


def by_rensa(texts: list[str]) -> object:
    """rensa's R-MinHash, one matrix from sets of bytes."""
    from rensa import RMinHash

    return RMinHash.digest_matrix_from_token_byte_sets([peer_shingles(text) for text in texts], PERMUTATIONS, 42)


def cpu_seconds(function: Callable[[], object]) -> float:
    """Best of three; the first run, which may compile, is not counted."""
    function()
    times = []
    for _ in range(3):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print one line for each contender."""
    os.environ["RAYON_NUM_THREADS"] = "1"  # rensa is imported after this
    parser = argparse.ArgumentParser(description="Text to MinHash signature, with peers on the same documents.")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--size", type=int, default=5000, help="characters in a document, at least (5000)")
    arguments = parser.parse_args()
    texts = documents(arguments.documents, arguments.size)
    column = pa.array(texts, pa.large_string())
    contenders: dict[str, Callable[[], object]] = {
        "gristmill affine32": lambda: signatures(column, num_perm=PERMUTATIONS),
        "gristmill affine64": lambda: signatures(column, num_perm=PERMUTATIONS, scheme="affine64"),
        "gristmill, from Python strings": lambda: signatures(pa.array(texts, pa.large_string()), num_perm=PERMUTATIONS),
        "gristmill shingle sets": lambda: shingle_sets(column),
        "datasketch 2 affine32": lambda: by_datasketch(texts),
        "rensa R-MinHash": lambda: by_rensa(texts),
        "peers' shingles alone": lambda: [peer_shingles(text) for text in texts],
    }
    size = sum(len(text.encode()) for text in texts)
    words = float(signatures(column, num_perm=1).words.mean())
    print(f"{len(texts)} documents, {size / len(texts):.0f} bytes and {words:.0f} words each, one thread")
    ours = 0.0
    for name, function in contenders.items():
        try:
            rate = len(texts) / cpu_seconds(function)
        except ImportError as missing:
            print(f"{name:32} not timed: {missing}")
            continue
        ours = ours or rate
        megabytes = rate * size / len(texts) / 1e6
        print(f"{name:32} {rate:9.0f} documents/s {megabytes:8.1f} MB/s   {ours / rate:6.1f} x slower")


if __name__ == "__main__":
    main()
