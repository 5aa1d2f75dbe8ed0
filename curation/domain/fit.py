"""Make a domain classifier from labelled text: read, train, evaluate, put the directory in place at once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.domain.classifier import CHARACTERS_PER_TOKEN, DomainClassifier
from curation.domain.evaluation import confusion_table, evaluate
from curation.domain.labelled import Labelled, LabelledSet, read_labelled
from curation.domain.model_directory import check_files, digest
from curation.errors import InputError


@dataclass(frozen=True)
class FitOptions:
    """How to train.

    Attributes:
        epochs: passes over the training documents.
        learning_rate: peak of AdamW's, after a linear rise and before a linear fall to 0.
        batch_tokens: padded tokens of a training step, at least one document.
        max_tokens: tokens that are read of each document, in training and by the classifier that is made.
        held_out_share: share of the documents of each label on which the result is evaluated.
        max_per_label: greatest number of documents taken of each label; None for all.
        balance: weigh labels so that rare ones count as much as frequent ones.
        extend_vocabulary: give characters that a WordPiece vocabulary lacks (Chinese ones, for an English
            base model) entries of their own.
        seed: of the new weights, the order of documents and dropout.
        device: as for ``DomainClassifier``.
        threads: of the processor; another number may change the last bits of the weights.
    """

    epochs: int = 3
    learning_rate: float = 1e-4
    batch_tokens: int = 2048
    max_tokens: int = 128
    held_out_share: float = 0.1
    max_per_label: int | None = None
    balance: bool = False
    extend_vocabulary: bool = True
    seed: int = 0
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        ranges = {
            "epochs": (1, 1000),
            "learning_rate": (1e-8, 1.0),
            "batch_tokens": (8, 1 << 24),
            "max_tokens": (8, 1 << 16),
            "seed": (0, (1 << 63) - 1),
            "threads": (1, 1024),
        }
        for name, (least, greatest) in ranges.items():
            if not least <= getattr(self, name) <= greatest:
                raise InputError(f"{name} must lie between {least} and {greatest}, it is {getattr(self, name)}")


@dataclass(frozen=True)
class Progress:
    """A training step that was done: ``step`` of ``steps`` in all, its epoch (from 1) and its loss."""

    epoch: int
    step: int
    steps: int
    loss: float


def fit_domain(
    labelled: Sequence[str | Path],
    base: str | Path,
    output: str | Path,
    *,
    options: FitOptions | None = None,
    text_field: str = "text",
    label_field: str = "label",
    label_map: Mapping[str, str | None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Fine-tune a pretrained encoder to tell labels apart.

    On a processor, equal files, base model, options and library versions give equal weights.  ``output``
    appears whole or not at all, and holds no clock, path or host name.

    Args:
        labelled: files for ``read_labelled``, which also explains ``label_map``.
        base: model directory of an encoder or classifier, safetensors with a fast tokenizer.
        output: directory to make; must not exist.
        options: how to train.
        text_field, label_field: columns of the files.
        on_progress: called after every training step.

    Returns:
        The evaluation, as stored in ``evaluation.json`` in the new directory (and, to be read by people, in
        ``confusion.md``).

    Raises:
        InputError: for unusable files, base model, options or output, and if training diverges.
    """
    options = options or FitOptions()
    base, output = Path(base), Path(output)
    check_files(base)
    if output.exists():
        raise InputError("is there already; give a directory that does not exist", str(output))
    found = read_labelled(
        labelled,
        text_field=text_field,
        label_field=label_field,
        label_map=label_map,
        held_out_share=options.held_out_share,
        max_per_label=options.max_per_label,
        max_characters=CHARACTERS_PER_TOKEN * options.max_tokens,
    )
    from curation.domain.training import train  # torch

    trained = train(base, found, options, on_progress)
    with _appearing(output) as folder:
        trained.save(folder)
        evaluation = _evaluation(folder, found, options, base) | {"vocabulary": trained.vocabulary}
        text = json.dumps(evaluation, ensure_ascii=False, indent=2) + "\n"
        (folder / "evaluation.json").write_text(text, encoding="utf-8")
        (folder / "confusion.md").write_text(confusion_table(evaluation["held_out"]), encoding="utf-8")
    return evaluation


def _evaluation(folder: Path, found: LabelledSet, options: FitOptions, base: Path) -> dict[str, Any]:
    """Score the held-out documents with the stored classifier, as the stage will."""
    classifier = DomainClassifier(
        folder,
        device=options.device,
        max_tokens=options.max_tokens,
        threads=options.threads,
        precision="float32",
    )
    scores = classifier.scores([document.text for document in found.held_out])
    judged = ~np.isnan(scores).any(axis=1)
    expected = np.array([found.labels.index(document.label) for document in found.held_out])
    return {
        "base": digest(base),
        "options": asdict(options),
        "documents": {
            "training": _by_label(found, found.training),
            "held_out": _by_label(found, found.held_out),
            "held_out_without_tokens": int((~judged).sum()),
            "duplicates": found.duplicates,
            "conflicting": found.conflicting,
            "left_out": found.left_out,
            "over_limit": found.over_limit,
        },
        "held_out": evaluate(expected[judged], scores[judged].argmax(axis=1), found.labels),
    }


def _by_label(found: LabelledSet, documents: Sequence[Labelled]) -> dict[str, int]:
    counts = Counter(document.label for document in documents)
    return {label: counts[label] for label in found.labels}


@contextmanager
def _appearing(output: Path) -> Iterator[Path]:
    """A folder that takes the place of ``output`` when the block ends well, and vanishes otherwise."""
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        folder.chmod(0o755)
        yield folder
        for path in folder.iterdir():
            _sync(path)
        _sync(folder)
        if output.exists():
            raise InputError("appeared while the model was being trained", str(output))
        os.rename(folder, output)
        _sync(output.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
