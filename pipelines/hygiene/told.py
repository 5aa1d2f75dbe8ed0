"""The figures of a set in words, for the card and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Line = tuple[str, str]
ENOUGH = 30


def told(summary: Mapping[str, Any]) -> list[Line]:
    """What was looked at and what was found: a line for each figure."""
    lines = [
        ("entries compared", _n(summary["entries"])),
        ("prompts, near-duplicates counted as one", _n(summary["prompts"])),
        ("most entries of one prompt", _n(summary["largest_prompt"])),
        ("entries whose prompt is like a text of an earlier corpus", _n(summary["overlapping"])),
        (
            "entries that repeat another on every side: exactly, nearly",
            f"{_n(summary['exact'])}, {_n(summary['near'])}",
        ),
    ]
    if "comparisons" in summary:
        lines += _contradictions(summary)
    if summary["length_bias"]:
        lines.append(("the longer answer was chosen: before, after", _both(summary["length_bias"], "accuracy")))
        lines.append(("area under the curve of length: before, after", _both(summary["length_bias"], "auc")))
    if summary["split"]:
        lines += _split(summary["split"])
    return lines


def _contradictions(summary: Mapping[str, Any]) -> list[Line]:
    return [
        ("answers compared two by two, under prompts that more than one entry has", _n(summary["comparisons"])),
        (
            "of these with labels both ways: comparisons, pairs, settled",
            f"{_n(summary['conflicts'])}, {_n(summary['conflicting_pairs'])}, {_n(summary['conflicts_settled'])}",
        ),
        ("pairs against an earlier pair", _n(summary["conflicts_with_earlier"])),
        (
            "cycles of preferences: groups, pairs, answers of the largest",
            f"{_n(summary['cycles'])}, {_n(summary['cyclic_pairs'])}, {_n(summary['largest_cycle'])}",
        ),
    ]


def _split(split: Mapping[str, Any]) -> list[Line]:
    return [
        ("entries for training, held out", f"{_n(split['train'])}, {_n(split['held_out'])}"),
        ("prompts on both sides", _n(split["prompts_on_both_sides"])),
        ("held-out entries with an answer that stands in train too", _n(split["held_out_with_an_answer_of_train"])),
    ]


def length_rows(bias: Mapping[str, Any]) -> list[list[str]]:
    """By language: pairs that stay, how often the longer answer was chosen, and the area under the curve.

    Languages of fewer than ``ENOUGH`` pairs are one line without figures: these would say nothing.
    """
    before, after = bias["before"]["languages"], bias["after"]["languages"]
    few = [name for name in before if before[name]["pairs"] < ENOUGH]
    rest = sum(after.get(name, {"pairs": 0})["pairs"] for name in few)
    return _length_rows(before, after, few) + ([[f"{len(few)} more", _n(rest), "", ""]] if few else [])


def _length_rows(before: Mapping[str, Any], after: Mapping[str, Any], few: list[str]) -> list[list[str]]:
    return [
        [
            name,
            _n(after.get(name, {"pairs": 0})["pairs"]),
            *(
                f"{_figure(before[name], figure)} → {_figure(after.get(name, {}), figure)}"
                for figure in ("accuracy", "auc")
            ),
        ]
        for name in sorted(set(before) - set(few))
    ]


def _both(bias: Mapping[str, Any], figure: str) -> str:
    return ", ".join(_figure(bias[when]["all"], figure) for when in ("before", "after"))


def _figure(bias: Mapping[str, Any], name: str) -> str:
    """A share with its 95 % interval."""
    if bias.get(name) is None:
        return "–"
    return f"{bias[name]:.3f} ({bias[f'{name}_low']:.3f} to {bias[f'{name}_high']:.3f})"


def _n(count: int) -> str:
    return f"{count:,}"
