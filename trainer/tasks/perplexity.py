"""How well a language model foretells published versions: corpora, and what the assistant says in conversations.

A row of ``documents.jsonl`` has ``dataset`` (its number in the job), ``id``, ``language``, ``domain``, ``tokens`` that
are foretold, ``bytes`` of their text, and ``loss``: the sum of their nats.  The mark that ends a document or an answer
is a token without bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from trainer.data.dataset import Dataset, open_dataset
from trainer.data.documents import Ragged
from trainer.data.encode import encoded
from trainer.data.tokenizer import Vocabulary
from trainer.errors import DataError
from trainer.evaluate.perplexity import Measured, document_losses, summary
from trainer.infer.prompts import Split, rows_of
from trainer.infer.respond import language_model
from trainer.infer.rows import write_rows
from trainer.job import Job
from trainer.model_folder import Model
from trainer.ranges import POSITIVE, Checked, Range
from trainer.train.device import compute_type, pick_device
from trainer.train.metrics import Voice

AT_ONCE = 1024  # documents that are sorted by length together
GROUPS = 50  # of a kind, in the result
LABELS = ("language", "domain")


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """What is read, and how.

    Attributes:
        first: documents of each dataset; by default all.
        split: ``train`` or ``held-out``: only rows of datasets that say so.
        tokens: of a window; longer documents are read by several (``trainer.evaluate.perplexity``).
        batch_tokens: that are read together.
        precision, device: of the arithmetic.
    """

    first: int | None = field(default=None, metadata={"limit": POSITIVE})
    split: Split | None = None
    tokens: int = field(default=1024, metadata={"limit": Range(2, None)})
    batch_tokens: int = field(default=8192, metadata={"limit": POSITIVE})
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str | None = None


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Measure all documents."""
    job.check_roles(("model",))
    datasets = [open_dataset(d["location"], None, d.get("manifest_digest")) for d in job.needed_datasets()]
    for dataset in datasets:
        if dataset.kind == "preferences":
            raise DataError(f"{dataset.location}: these are preferences; corpora and instructions can be foretold")
    model = language_model(job.needed_model("model"), "model")
    measured: list[Measured] = []

    def rows() -> Iterator[Mapping[str, Any]]:
        for number, dataset in enumerate(datasets):
            for name, each in _documents(dataset, model, job, config):
                measured.append(each)
                yield {"dataset": number, "id": name, **each._asdict()}

    written = write_rows(job.output / "documents.jsonl", rows())
    if not sum(each.tokens for each in measured):
        raise DataError("there is no document with a token to foretell")
    return {"path": "documents.jsonl", "rows": written, **summary(measured), **_by_label(measured)}


def _documents(dataset: Dataset, model: Model, job: Job, config: Config) -> Iterator[tuple[str, Measured]]:
    """Figures of each document that has any, by its id."""
    device, voice = pick_device(config.device), Voice(None)
    module = model.module.to(device).eval()
    entry = encoded(dataset, model.tokenizer, job.output / "tokens")
    tokens = Ragged([entry], "tokens")
    learned = Ragged([entry], "learned") if dataset.kind == "instructions" else None
    done, total = 0, min(dataset.rows, config.first or dataset.rows)
    for some in _named(dataset, config):
        numbers = [number for number, _ in some]
        documents = [np.asarray(tokens[number]) for number in numbers]
        counted = [np.asarray(learned[number]) for number in numbers] if learned else None
        losses = document_losses(
            module, documents, counted, tokens=config.tokens, padding=model.tokenizer.pad,
            batch_tokens=config.batch_tokens, device=device, dtype=compute_type(config.precision),
        )  # fmt: skip
        for at, (loss, (number, row)) in enumerate(zip(losses, some, strict=True)):
            if loss.tokens:
                size = _bytes(documents[at], counted[at] if counted else None, model.tokenizer)
                labels = (row.get(label) for label in LABELS)
                yield str(row.get("id", number)), Measured(loss.total, loss.tokens, size, *labels)
        done += len(some)
        voice.progress(done, total, "perplexity")


def _named(dataset: Dataset, config: Config) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Numbers of rows with what they are called, some at a time."""
    columns = [name for name in ("id", *LABELS, "split") if name in dataset.schema.names]
    begin, left = 0, config.first if config.first is not None else dataset.rows
    for batch in dataset.batches(columns, AT_ONCE):
        numbered = batch.append_column("number", np.arange(begin, begin + batch.num_rows))
        some = [(row["number"], row) for row in rows_of(numbered, config.split)][:left]
        begin, left = begin + batch.num_rows, left - len(some)
        if some:
            yield some
        if not left:
            return


def _bytes(tokens: np.ndarray, counted: np.ndarray | None, tokenizer: Vocabulary) -> int:
    """UTF-8 of the text of the tokens that count."""
    return len(tokenizer.decode(tokens if counted is None else tokens[counted]).encode())


def _by_label(measured: Sequence[Measured]) -> Mapping[str, Any]:
    """Figures of each language and domain, most tokens first."""
    found: dict[str, Any] = {}
    for label in LABELS:
        groups: dict[str, list[Measured]] = defaultdict(list)
        for each in measured:
            groups[getattr(each, label) or "none"].append(each)
        largest = sorted(groups, key=lambda name: (-sum(each.tokens for each in groups[name]), name))[:GROUPS]
        found[f"by_{label}"] = {name: summary(groups[name]) for name in largest}
        if len(groups) > GROUPS:
            found[f"{label}s_left_out"] = len(groups) - GROUPS
    return found
