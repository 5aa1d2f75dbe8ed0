"""The trainer's data: documents and tokens a second and core, from Parquet and from the cache; fill, losses, crossings.

    python benchmarks/trainer_data.py                              # every text of GRISTMILL_DATA, milled first
    python benchmarks/trainer_data.py runs/web --tokens 4096 --chunk 512 --vocabulary 16384
    PYTHONPATH=folder/with/tiktoken python benchmarks/trainer_data.py --peer

``--peer`` has the same documents go through a loader as nanochat's is described: tokens by tiktoken with the same
vocabulary, each row from a buffer of a thousand documents the longest that fits, and where none does, one that is
cropped.  One line of JSON each; seconds are of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy as np
import torch

from trainer.data.batches import Packed
from trainer.data.dataset import Dataset, open_dataset
from trainer.data.documents import Documents
from trainer.data.encode import encoded
from trainer.data.segments import WORDS
from trainer.data.tokenizer import BpeTokenizer, fit

RECIPE = "name: text\nstages: [{stage: extraction}]\nlimits: {max_quarantined_share: 1}\n"


def milled(folder: Path) -> Path:
    """All texts of ``GRISTMILL_DATA`` as one published version."""
    from tests.support.runs import run_recipe, write_recipe

    data = Path(os.environ["GRISTMILL_DATA"])
    inputs = [path for name in ("text", "domains") for path in sorted((data / name).glob("*.jsonl.gz"))]
    run_recipe(write_recipe(folder, RECIPE), inputs, folder / "out", workers=2, backend="inline")
    return folder / "out"


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the seconds of processor that it took."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def say(what: str, seconds: float, documents: int, tokens: int, **more: Any) -> None:
    rates = {"documents_per_second": round(documents / seconds), "tokens_per_second": round(tokens / seconds)}
    print(json.dumps({"what": what, "seconds": round(seconds, 3), **rates, **more}), flush=True)


def through(documents: Documents, tokenizer: BpeTokenizer, arguments: argparse.Namespace) -> dict[str, Any]:
    """One epoch of packed rows, counted."""
    order = documents.mixture(documents.train(), 1)
    stream = Packed(
        documents, order, rows=8, tokens=arguments.tokens, chunk=arguments.chunk, padding=tokenizer.pad, epochs=1
    )
    counts = {"rows": 0, "real": 0, "targets": 0, "pieces": 0, "crossings": 0, "begins": 0}
    spent = 0.0
    while True:
        batch, seconds = clocked(lambda: next(stream, None))
        spent += seconds
        if batch is None:
            return {**counts, "seconds": spent}
        tokens, owner, targets = (array.numpy() for array in batch)
        counts["rows"] += int((owner >= 0).any(1).sum())
        counts["real"] += int((owner >= 0).sum())
        counts["targets"] += int((targets >= 0).sum())
        counts["pieces"] += int(
            ((owner >= 0) & (owner != np.pad(owner, ((0, 0), (1, 0)), constant_values=-1)[:, :-1])).sum()
        )
        counts["begins"] += int((tokens == tokenizer.bos).sum())
        inside = (owner[:, 1:] == owner[:, :-1]) & (owner[:, 1:] >= 0)  # a begin inside a document: two were joined
        counts["crossings"] += int((inside & (tokens[:, 1:] == tokenizer.bos)).sum())


def ours(dataset: Dataset, tokenizer: BpeTokenizer, cache: Path, arguments: argparse.Namespace) -> None:
    fresh = BpeTokenizer(tokenizer.to_json())  # which remembers no word
    entry, making = clocked(lambda: encoded(dataset, fresh, cache))
    documents = Documents([entry])
    total, count = int(documents.ragged("tokens").lengths.sum()), documents.rows
    say("parquet to cache", making, count, total)
    _, opening = clocked(lambda: encoded(dataset, fresh, cache))
    say("cache opened, digests compared", opening, count, total)
    found = through(documents, tokenizer, arguments)
    facts = {
        "fill": round(found["real"] / (found["rows"] * arguments.tokens), 5),
        "lost_tokens": total - found["real"],
        "tokens_not_learned": total - count - found["targets"],
        "crossings": found["crossings"],
        "documents_lost": count - found["begins"],
        "pieces_cut_off": found["pieces"] - count,
        "longer_than_a_row": int((documents.ragged("tokens").lengths > arguments.tokens).sum()),
        "rows": found["rows"],
    }
    say("cache to batches", found["seconds"], count, total, **facts)
    say("parquet to batches", making + found["seconds"], count, total)


def peer(dataset: Dataset, tokenizer: BpeTokenizer, arguments: argparse.Namespace) -> None:
    """Tokens and rows as the loader of nanochat makes them, in words of our own."""
    import tiktoken

    characters = {character: byte for byte, character in _characters()}
    vocabulary = json.loads(tokenizer.to_json())["model"]["vocab"]
    ranks = {bytes(characters[c] for c in token): rank for token, rank in vocabulary.items()}
    encoding = tiktoken.Encoding("same", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})
    width = arguments.tokens + 1

    def documents() -> Iterator[list[int]]:
        for batch in dataset.batches(["text"], 128):
            for tokens in encoding.encode_ordinary_batch(batch.column(0).to_pylist(), num_threads=1):
                yield [tokenizer.bos, *tokens]

    def rows() -> tuple[int, int, int]:
        source, buffer, used, read, count = documents(), [], 0, 0, 0
        row = torch.empty(width, dtype=torch.long)
        while True:
            place = 0
            while place < width:
                while len(buffer) < 1000 and (document := next(source, None)) is not None:
                    buffer.append(document)
                    read, count = read + len(document), count + 1
                if not buffer:
                    return used, read, count
                fitting = [n for n, document in enumerate(buffer) if len(document) <= width - place]
                if fitting:
                    document = buffer.pop(max(fitting, key=lambda n: len(buffer[n])))
                else:
                    document = buffer.pop(min(range(len(buffer)), key=lambda n: len(buffer[n])))[: width - place]
                row[place : place + len(document)] = torch.tensor(document, dtype=torch.long)
                place += len(document)
                used += len(document)
            row[:-1].clone(), row[1:].clone()

    (used, read, count), seconds = clocked(rows)
    say("peer: parquet to batches", seconds, count, used, lost_share=round(1 - used / read, 4), tokens_read=read)
    _, alone = clocked(lambda: sum(1 for _ in documents()))
    say("peer: tokens alone", alone, count, read)


def _characters() -> list[tuple[int, str]]:
    """The character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [*((byte, chr(byte)) for byte in shown), *((byte, chr(256 + n)) for n, byte in enumerate(hidden))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "dataset", nargs="?", help="a published dataset version; without it all texts of GRISTMILL_DATA"
    )
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=16384)
    parser.add_argument("--peer", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        location = arguments.dataset or str(milled(Path(folder)))
        dataset = open_dataset(location, "corpus")
        tokenizer, seconds = clocked(lambda: fit(dataset.texts(), arguments.vocabulary))
        size = sum(len(text.encode()) for text in dataset.texts())
        print(json.dumps({"what": "fit", "seconds": round(seconds, 1), "vocabulary": tokenizer.size,
                          "documents": dataset.rows, "text_mb": round(size / 1e6, 1)}), flush=True)  # fmt: skip
        ours(dataset, tokenizer, Path(folder) / "cache", arguments)
        if arguments.peer:
            peer(dataset, tokenizer, arguments)


if __name__ == "__main__":
    main()
