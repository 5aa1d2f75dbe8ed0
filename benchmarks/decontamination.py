"""N-gram decontamination: ours, a set of tuples in plain Python, and datatrove's filter; rates as JSON.

    GRISTMILL_DATA=... python benchmarks/decontamination.py [--megabytes 20] [--peer .venv-peers/bin/python]

The index holds GSM8K, HumanEval, CMMLU and AGIEval.  Documents are real English and Chinese texts, and English ones of
which one in a hundred has a benchmark item in it.  CPU seconds of one thread, the best of three for ours; the others
are slower by so much that they get the first part of the documents, once.  The plain twin looks for the same 13 words
(16 characters of Chinese) in a set of tuples and tells yes or no; datatrove's filter tells yes or no by hashes of 12
words of its English tokeniser, and stops at the first.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILES = {"gsm8k": "gsm8k-test", "humaneval": "humaneval", "cmmlu": "cmmlu-zh", "agieval": "agieval"}
ENGLISH = ("abc-news-en", "c4-sample-en", "gutenberg-en", "state-of-the-union-en", "english-web-treebank")
CHINESE = ("wikipedia-zh-hans", "wikipedia-zh-hant", "chinanews-zh", "csl-abstracts-zh")
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_HAN = re.compile(r"[\u3400-\u9fff]")


def documents(folder: Path, names: tuple[str, ...], size: int) -> list[str]:
    """Real texts of at least ``size`` bytes together, from the beginning again where they do not suffice."""
    texts: list[str] = []
    for name in names:
        with gzip.open(folder / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            texts += [text for line in lines if (text := json.loads(line)["text"])]
    random.Random(1).shuffle(texts)
    return cut(texts * (size // sum(len(text.encode()) for text in texts) + 1), size)


def cut(texts: list[str], size: int) -> list[str]:
    """The first texts, until they have ``size`` bytes."""
    chosen, total = [], 0
    for text in texts:
        if total >= size:
            break
        chosen.append(text)
        total += len(text.encode())
    return chosen


def planted(texts: list[str], items: list[str]) -> list[str]:
    """The texts, one in a hundred with an item in the middle."""
    rng = random.Random(2)
    return [
        f"{text[: len(text) // 2]}\n{rng.choice(items)}\n{text[len(text) // 2 :]}" if rng.random() < 0.01 else text
        for text in texts
    ]


def rate(function: Callable[[], int], texts: list[str], rounds: int = 1) -> dict[str, Any]:
    """Megabytes a CPU second, the best of some rounds, and how many documents were found."""
    size, best, found = sum(len(text.encode()) for text in texts), float("inf"), 0
    for _ in range(rounds):
        start = time.process_time()
        found = function()
        best = min(best, time.process_time() - start)
    return {"megabytes": round(size / 1e6, 2), "mb_per_second": round(size / best / 1e6, 2), "found": found}


def plain_grams(text: str) -> set[tuple[str, ...]]:
    """Runs of 13 words, of 16 characters where most are Chinese."""
    words = _WORD.findall(text.lower())
    size = 16 if 2 * len(_HAN.findall(text)) > len(words) else 13
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}


def by_datatrove(source: Path) -> None:
    """In the peer's environment: index the items, filter the documents, print the rate."""
    from datatrove.data import Document
    from datatrove.pipeline.decont.n_grams import NGramsDecontFilter
    from datatrove.utils.text import ngrams, simplify_text

    given = json.loads(source.read_text(encoding="utf-8"))
    step = NGramsDecontFilter(str(source.parent))
    config, start = step.config, time.process_time()
    step._index_hashes = {}
    for item in given["items"]:
        words = step.tokenizer.word_tokenize(simplify_text(item, config.norm_config))
        for gram in map(" ".join, ngrams(words, config.n_grams)):
            step._index_hashes[step.hash_func(gram)] = "benchmark"
    index = time.process_time() - start
    texts = given["documents"]
    filtered = [Document(text=text, id=str(number)) for number, text in enumerate(texts)]
    done = rate(lambda: sum(step.filter(document) is not True for document in filtered), texts)
    print(json.dumps({"index_seconds": round(index, 2), **done}))


def ask_datatrove(peer: Path, items: list[str], texts: list[str]) -> dict[str, Any]:
    """The peer's rate, or why there is none."""
    if not peer.exists():
        return {"skipped": f"there is no {peer}"}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "given.json"
        source.write_text(json.dumps({"items": items, "documents": texts}), encoding="utf-8")
        done = subprocess.run([str(peer), __file__, "--datatrove", str(source)], capture_output=True, text=True)
    if done.returncode:
        return {"skipped": done.stderr.strip().splitlines()[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measured(folder: Path, megabytes: float, peer: Path) -> dict[str, Any]:
    """All rates."""
    import numpy as np
    import pyarrow as pa

    from curation.decontamination import Cut, index_of, read_benchmark, search

    benchmarks = [(name, read_benchmark(name, folder / "benchmarks" / f"{f}.jsonl.gz")) for name, f in FILES.items()]
    items = [text for _, benchmark in benchmarks for texts in benchmark.items for text in texts]
    index_of(tuple(benchmarks), Cut(13, 16, 8, 9))  # compiles
    start = time.process_time()
    index = index_of(tuple(benchmarks), Cut(13, 16, 8, 10))
    seconds = time.process_time() - start
    arrays = [*index.table, index.hashes, index.offsets, index.texts, index.text_grams, index.text_item]
    result: dict[str, Any] = {
        "index": {
            "items": len(index.items),
            "ngrams": int(index.table.starts.size),
            "ignored": index.ignored,
            "silent_items": len(index.silent),
            "seconds": round(seconds, 2),
            "megabytes": round(sum(np.asarray(array).nbytes for array in arrays) / 1e6, 1),
        }
    }
    english = documents(folder, ENGLISH, int(megabytes * 1e6))
    mixed = planted(english, items)
    result["planted"] = sum(text != before for text, before in zip(mixed, english, strict=True))
    kinds = {
        "english": english,
        "english, 1 % planted": mixed,
        "chinese": documents(folder, CHINESE, int(megabytes * 1e6)),
    }
    plain = {gram for item in items for gram in plain_grams(item)}
    for kind, texts in kinds.items():
        column = pa.array(texts, pa.large_string())
        few = cut(texts, 4_000_000)
        result[kind] = {
            "documents": len(texts),
            "gristmill": rate(lambda column=column: len(search(column, index, 1)), texts, 3),  # type: ignore[misc]
            "sets of tuples": rate(lambda few=few: sum(not plain.isdisjoint(plain_grams(t)) for t in few), few),  # type: ignore[misc]
        }
        if kind != "chinese":
            result[kind]["datatrove"] = ask_datatrove(peer, items, cut(texts, 1_000_000))
    return result


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20, help="of documents of each kind (20)")
    parser.add_argument("--peer", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--datatrove", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.datatrove:
        by_datatrove(given.datatrove)
        return
    folder = os.environ.get("GRISTMILL_DATA")
    if not folder:
        sys.exit("set GRISTMILL_DATA to a folder with benchmarks/ and text/")
    print(json.dumps(measured(Path(folder), given.megabytes, given.peer), indent=2))


if __name__ == "__main__":
    main()
