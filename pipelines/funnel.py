"""The funnel: documents and tokens in, each reason, kept.  Read from statistics, for people and machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curation.errors import RunError


@dataclass(frozen=True)
class Row:
    """One line of the funnel.

    Attributes:
        stage: where documents were lost, or ``""`` for the first and last line.
        reason: rule, error class, ``read`` or ``kept``.
        verdict: ``read``, ``dropped``, ``duplicate``, ``quarantined`` or ``kept``.
        documents, tokens: how many; tokens as extracted, 0 before extraction.
    """

    stage: str
    reason: str
    verdict: str
    documents: int
    tokens: int


def funnel(statistics: Mapping[str, Any]) -> list[Row]:
    """All lines in the order of the stages; the losses add up to the difference of first and last."""
    rows = [Row("", "read", "read", statistics["records"]["read"], statistics["tokens"]["extracted"])]
    for name in statistics["stages_in_order"]:
        counts = statistics["stages"].get(name)
        if counts is None:
            continue
        for rule, lost in _largest_first(counts["dropped"]):
            rows.append(Row(name, rule, "dropped", lost["documents"], lost["tokens"]))
        for error, lost in _largest_first(counts["quarantined"]):
            rows.append(Row(name, error, "quarantined", lost["documents"], lost["tokens"]))
    comparing = "hygiene" if "hygiene" in statistics["stages"] else "deduplication"
    for kind in ("exact", "near"):
        lost = statistics["deduplication"][kind]
        if lost["documents"]:
            rows.append(Row(comparing, kind, "duplicate", lost["documents"], lost["tokens"]))
    kept = statistics["deduplication"]["kept"]
    rows.append(Row("", "kept", "kept", kept["documents"], kept["tokens"]))
    return rows


def check_funnel(statistics: Mapping[str, Any]) -> None:
    """In = kept + dropped + duplicate + quarantined, at every stage and in all.

    Raises:
        RunError: naming the stage where documents or tokens are missing.
    """
    previous = None
    for name in statistics["stages_in_order"]:
        counts = statistics["stages"].get(name)
        if counts is None:
            continue
        for unit in ("documents", "tokens"):
            out = counts["kept"][unit] + sum(
                lost[unit] for kind in ("dropped", "quarantined") for lost in counts[kind].values()
            )
            if counts["in"][unit] != out:
                raise RunError(f"stage {name!r}: {counts['in'][unit]} {unit} in, {out} accounted for")
            if previous and previous[1]["kept"][unit] != counts["in"][unit]:
                raise RunError(f"{unit} lost between stages {previous[0]!r} and {name!r}")
        previous = (name, counts)
    records = statistics["records"]
    if records["read"] != sum(count for verdict, count in records.items() if verdict != "read"):
        raise RunError(f"{records['read']} records were read, verdicts are {records}")
    lines = funnel(statistics)
    if lines[0].documents != sum(line.documents for line in lines[1:]):
        raise RunError("the funnel does not add up to the records read")


def _largest_first(lost: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(lost.items(), key=lambda entry: (-entry[1]["documents"], entry[0]))
