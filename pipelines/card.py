"""The dataset card: what a corpus is, where it came from, what was taken away and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.funnel import check_funnel, funnel

if TYPE_CHECKING:
    from pipelines.plan import Plan

_HEAD = """---
configs:
- config_name: default
  data_files: corpus/*.parquet
- config_name: ledger
  data_files: ledger/*.parquet
---

# {name}

{description}

{kept:,} documents with {published:,} tokens, from {read:,} records of {shards:,} shards.
A token is a word; a character of a script written without spaces is one.

## What became of every record

| stage | reason | verdict | documents | tokens |
|---|---|---|---:|---:|
"""

_TAIL = """
## By language

| language | kept | dropped | duplicate | quarantined |
|---|---:|---:|---:|---:|
{languages}

## Files

- `corpus/`: what is kept.
- `ledger/`: one row for each record read: verdict, deciding rule, value, threshold, witness, every measure.
- `dropped/`: texts of what is not kept ({retention}).
- `statistics.json`: counts and histograms. `run.json`: recipe, shards, models, versions. `manifest.json`: digests.

Similarity is `{definition}`; a document is a near-duplicate only when its exact Jaccard similarity with a kept
document is above {threshold}, and the ledger names that document.
"""


def dataset_card(plan: Plan, statistics: Mapping[str, Any]) -> str:
    """``README.md`` of a finished run; fails when the funnel does not add up."""
    check_funnel(statistics)
    recipe = plan.recipe.recipe
    head = _HEAD.format(
        name=recipe.name,
        description=recipe.description.strip(),
        kept=statistics["records"]["kept"],
        published=statistics["tokens"]["published"],
        read=statistics["records"]["read"],
        shards=len(plan.shards),
    )
    lines = [
        f"| {row.stage} | {row.reason} | {row.verdict} | {row.documents:,} | {row.tokens:,} |"
        for row in funnel(statistics)
    ]
    verdicts = ("kept", "dropped", "duplicate", "quarantined")
    languages = [
        f"| {name} | " + " | ".join(f"{counts[v]['documents']:,}" for v in verdicts) + " |"
        for name, counts in sorted(statistics["languages"].items())
    ]
    deduplication = recipe.deduplication
    tail = _TAIL.format(
        languages="\n".join(languages),
        retention=recipe.retention.dropped_texts,
        definition=deduplication.definition if deduplication else "not computed",
        threshold=deduplication.threshold if deduplication else "–",
    )
    return head + "\n".join(lines) + "\n" + tail
