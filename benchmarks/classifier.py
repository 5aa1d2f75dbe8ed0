"""Documents per second of ``DomainClassifier`` and of transformers' own text-classification pipeline.

    python benchmarks/classifier.py MODEL TEXTS... [--documents 256] [--max-tokens 512] [--device auto]

The same documents, model, machine, precision and number of threads for both.  TEXTS are JSONL(.gz) files with
a field ``text``; documents are taken from them in turn, in the order of the files.  The pipeline is timed at
each batch size asked for, and the best of them is what the ratio is made from.  A round warms up on part of
the documents; rounds of both alternate, and the median counts.

On a GPU both run in bfloat16.  Labels of both are compared: they must agree.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.domain import DomainClassifier
from curation.domain.offline import import_transformers, quiet

Labels = list[str]


def documents_of(paths: Sequence[Path], count: int) -> list[str]:
    """The first ``count`` texts of the files, taken from them in turn."""
    files = [_texts(path) for path in paths]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*files))
    return list(itertools.islice((text for text in turns if text), count))


def _texts(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"]


def ours(model: Path, arguments: argparse.Namespace) -> Callable[[list[str]], Labels]:
    """The classifier as the ``domain`` stage uses it."""
    classifier = DomainClassifier(
        model,
        device=arguments.device,
        max_tokens=arguments.max_tokens,
        token_budget=arguments.token_budget,
        threads=arguments.threads,
    )
    return lambda texts: [classifier.labels[number] for number in classifier.scores(texts).argmax(axis=1)]


def pipeline(model: Path, batch_size: int, arguments: argparse.Namespace) -> Callable[[list[str]], Labels]:
    """transformers' pipeline, told to truncate, with a batch size."""
    import torch

    cuda = arguments.device != "cpu" and torch.cuda.is_available()
    with quiet():
        run: Any = import_transformers().pipeline(
            "text-classification",
            model=str(model),
            device=0 if cuda else -1,
            dtype=torch.bfloat16 if cuda else torch.float32,
        )
    most = min(arguments.max_tokens, run.tokenizer.model_max_length)  # as ours: what the model was fitted to read
    options = {"truncation": True, "max_length": most, "batch_size": batch_size}
    return lambda texts: [found["label"] for found in run(texts, **options)]


def seconds(run: Callable[[list[str]], Labels], texts: list[str]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run(texts)
    return time.perf_counter() - start


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--token-budget", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    import_transformers()
    import torch

    torch.set_num_threads(arguments.threads)
    texts = documents_of(arguments.texts, arguments.documents)
    runs = {"ours": ours(arguments.model, arguments)}
    runs |= {f"pipeline, batch {size}": pipeline(arguments.model, size, arguments) for size in arguments.batch_sizes}
    labels = {name: run(texts[: len(texts) // 4]) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            times[name].append(seconds(run, texts))
    device = "cuda" if arguments.device != "cpu" and torch.cuda.is_available() else "cpu"
    print(f"{len(texts)} documents, {sum(map(len, texts)):,} characters; {device}, threads: {arguments.threads}")
    rates = {name: len(texts) / statistics.median(values) for name, values in times.items()}
    for name, rate in rates.items():
        same = float(np.mean([a == b for a, b in zip(labels["ours"], labels[name], strict=True)]))
        print(f"{name:20} {rate:10.1f} documents/s   labels as ours {same:.1%}")
    best = max(rate for name, rate in rates.items() if name != "ours")
    print(f"ours against the best pipeline: {rates['ours'] / best:.2f} times as fast")


if __name__ == "__main__":
    main()
