"""How well a classifier does on held-out documents, for programs (JSON) and for people (Markdown)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def evaluate(expected: np.ndarray, predicted: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1, and precision, recall and F1 of each label.

    Precision of a label that was never predicted, and recall of one that never occurs, count as 0, as in
    scikit-learn; macro-F1 is the plain mean of F1 over all labels.

    Args:
        expected, predicted: ``int64[n]``, numbers of labels, n > 0.
        labels: their names.

    Returns:
        Plain data for JSON, rounded to 4 decimals; ``confusion[i][j]`` counts documents of label ``i`` that
        were given label ``j``.
    """
    size = len(labels)
    confusion = np.bincount(expected * size + predicted, minlength=size * size).reshape(size, size)
    hits = np.diagonal(confusion).astype(float)
    occurring, given = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(given, 1)
    recall = hits / np.maximum(occurring, 1)
    f1 = 2 * hits / np.maximum(occurring + given, 1)
    return {
        "documents": len(expected),
        "accuracy": round(float(hits.sum() / len(expected)), 4),
        "macro_f1": round(float(f1.mean()), 4),
        "labels": {
            label: {
                "precision": round(float(precision[number]), 4),
                "recall": round(float(recall[number]), 4),
                "f1": round(float(f1[number]), 4),
                "documents": int(occurring[number]),
            }
            for number, label in enumerate(labels)
        },
        "confusion": confusion.tolist(),
    }


def confusion_table(evaluation: dict[str, Any]) -> str:
    """The evaluation as a Markdown page: one row for each true label, one column for each given one."""
    labels = list(evaluation["labels"])
    names = [label.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for label in labels]
    lines = [
        f"Accuracy {evaluation['accuracy']:.2%}, macro-F1 {evaluation['macro_f1']:.2%} "
        f"on {evaluation['documents']:,} held-out documents.",
        "",
        "Rows: the label that is right. Columns: the label that was given.",
        "",
        "| | " + " | ".join(names) + " | precision | recall | F1 |",
        "|---" + "|---:" * (len(labels) + 3) + "|",
    ]
    for name, label, counts in zip(names, labels, evaluation["confusion"], strict=True):
        of_label = evaluation["labels"][label]
        shares = [f"{of_label[share]:.2%}" for share in ("precision", "recall", "f1")]
        lines.append(f"| {name} | " + " | ".join([*map(str, counts), *shares]) + " |")
    return "\n".join(lines) + "\n"
