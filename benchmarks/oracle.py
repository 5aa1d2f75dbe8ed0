"""The truth about near-duplicates: exact Jaccard similarity of all pairs, and a judge of kept lists.

Independent of ``curation.duplicates``: shingles are made by a regular expression and kept as strings, numbered
by a dictionary; intersections are counted over an inverted index; thresholds are compared as integers.
It takes what one machine can do by brute force, some ten thousand documents.

    python benchmarks/oracle.py documents.jsonl.gz kept.txt --threshold 0.8

prints, for the kept list of any tool (one id a line), the recall of true pairs, the orphans and the survivors.
"""

from __future__ import annotations

import argparse
import gzip
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import regex
from numba import njit

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[[{_UNSPACED}]&&[\p{{L}}\p{{M}}\p{{N}}]]|[[\p{{L}}\p{{M}}\p{{Nd}}]--[{_UNSPACED}]]+", regex.V1)


def words(text: str) -> list[str]:
    """The words of ``word-5gram/1``."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # ``regex`` may know a later version of Unicode than the interpreter, whose word is final.
    unknown = [character for character in set(folded) if unicodedata.category(character) == "Cn"]
    for character in unknown:
        folded = folded.replace(character, " ")
    found: list[str] = _WORD.findall(folded)
    return found


def shingles(text: str) -> set[tuple[str, ...]]:
    """The set of shingles of ``word-5gram/1``."""
    found = words(text)
    if not found:
        return {("", unicodedata.normalize("NFKC", text).casefold().strip())}
    if len(found) < 5:
        return {tuple(found)}
    return set(zip(found, found[1:], found[2:], found[3:], found[4:], strict=False))


@dataclass(frozen=True)
class Truth:
    """All pairs above a threshold.

    Attributes:
        left, right: ``int64[k]``, documents by row, ``left < right``.
        intersection, union: ``int64[k]``, numbers of shingles.
        sizes: ``int64[n]``, shingles of each document.
    """

    left: np.ndarray
    right: np.ndarray
    intersection: np.ndarray
    union: np.ndarray
    sizes: np.ndarray


def all_pairs(texts: Sequence[str], threshold: Fraction) -> Truth:
    """Every pair of texts whose similarity is above the threshold, strictly."""
    numbers: dict[tuple[str, ...], int] = {}
    sets = [sorted({numbers.setdefault(shingle, len(numbers)) for shingle in shingles(text)}) for text in texts]
    sizes = np.array([len(members) for members in sets], np.int64)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    members = np.array([member for one in sets for member in one], np.int64)
    owners = np.repeat(np.arange(len(texts)), sizes)
    by_shingle = np.argsort(members, kind="stable")  # so the owners of a shingle stay in rising order
    starts = np.searchsorted(members[by_shingle], np.arange(len(numbers) + 1))
    found = _count_all(offsets, members, owners[by_shingle], starts, threshold.numerator, threshold.denominator)
    return Truth(found[0], found[1], found[2], found[3], sizes)


@njit(cache=True, nogil=True)
def _count_all(offsets, members, owners, starts, p, q):  # type: ignore[no-untyped-def]
    total = offsets.size - 1
    shared = np.zeros(total, np.int64)
    found, pairs = 0, np.empty((4, 1024), np.int64)
    for document in range(total):
        shared[:document] = 0
        for place in range(offsets[document], offsets[document + 1]):
            shingle = members[place]
            for posting in range(starts[shingle], starts[shingle + 1]):
                if owners[posting] >= document:
                    break
                shared[owners[posting]] += 1
        size = offsets[document + 1] - offsets[document]
        for other in range(document):
            union = size + offsets[other + 1] - offsets[other] - shared[other]
            if q * shared[other] > p * union:
                if found == pairs.shape[1]:
                    wider = np.empty((4, 2 * found), np.int64)
                    wider[:, :found] = pairs
                    pairs = wider
                pairs[0, found], pairs[1, found] = other, document
                pairs[2, found], pairs[3, found] = shared[other], union
                found += 1
    return pairs[:, :found]


@dataclass(frozen=True)
class Judgement:
    """What a kept list is worth.

    Attributes:
        documents, kept, removed: counts.
        pairs: true pairs above the threshold.
        resolved: of these, pairs that are not both kept.
        surviving: of these, pairs that are both kept.
        recall: ``resolved / pairs``; 1 where there are none.
        orphans: removed documents that have no kept document above the threshold.
    """

    documents: int
    kept: int
    removed: int
    pairs: int
    resolved: int
    surviving: int
    recall: float
    orphans: int


def judge(truth: Truth, kept: np.ndarray) -> Judgement:
    """Judge which documents were kept, ``bool[n]``."""
    both = kept[truth.left] & kept[truth.right]
    witnessed = kept.copy()
    witnessed[truth.right[kept[truth.left]]] = True
    witnessed[truth.left[kept[truth.right]]] = True
    pairs, surviving = truth.left.size, int(both.sum())
    return Judgement(
        documents=kept.size,
        kept=int(kept.sum()),
        removed=int((~kept).sum()),
        pairs=pairs,
        resolved=pairs - surviving,
        surviving=surviving,
        recall=(pairs - surviving) / pairs if pairs else 1.0,
        orphans=int((~witnessed).sum()),
    )


def greedy(truth: Truth, rank: np.ndarray) -> np.ndarray:
    """What the greedy pass over all true pairs keeps, ``bool[n]``; the naive form."""
    before: list[list[int]] = [[] for _ in range(rank.size)]
    for left, right in zip(truth.left.tolist(), truth.right.tolist(), strict=True):
        first, last = (left, right) if rank[left] < rank[right] else (right, left)
        before[last].append(first)
    kept = np.zeros(rank.size, bool)
    for document in np.argsort(rank).tolist():
        kept[document] = not any(kept[other] for other in before[document])
    return kept


def read_documents(path: Path, id_key: str = "id", text_key: str = "text") -> Iterator[tuple[str, str]]:
    """Id and text of each line of a JSONL file, compressed with gzip or not."""
    with path.open("rb") as stored, gzip.open(stored) if path.suffix == ".gz" else stored as lines:
        for line in lines:
            if line.strip():
                record = json.loads(line)
                yield str(record[id_key]), record[text_key]


def main() -> None:
    """Judge a kept list from the command line."""
    parser = argparse.ArgumentParser(description="Recall, orphans and survivors of a kept list, by brute force.")
    parser.add_argument("documents", type=Path, help="JSONL, may be .gz")
    parser.add_argument("kept", type=Path, help="ids of the kept documents, one a line")
    parser.add_argument("--threshold", default="0.8", help="similarity that a pair must exceed (0.8)")
    parser.add_argument("--id", default="id", help="field of the id")
    parser.add_argument("--text", default="text", help="field of the text")
    arguments = parser.parse_args()
    documents = list(read_documents(arguments.documents, arguments.id, arguments.text))
    listed = set(arguments.kept.read_text(encoding="utf-8").split("\n")) - {""}
    unknown = listed - {name for name, _ in documents}
    if unknown:
        parser.error(f"{len(unknown)} kept ids are not in {arguments.documents}, among them {min(unknown)}")
    truth = all_pairs([text for _, text in documents], Fraction(arguments.threshold))
    judgement = judge(truth, np.array([name in listed for name, _ in documents]))
    print(json.dumps(asdict(judgement), indent=2))


if __name__ == "__main__":
    main()
