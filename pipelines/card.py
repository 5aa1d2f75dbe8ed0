"""The dataset card: what a corpus is, where it came from, what was taken away and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipelines.funnel import check_funnel, funnel
from pipelines.hygiene.told import length_rows, told

if TYPE_CHECKING:
    from pipelines.plan import Plan
    from pipelines.recipe import Recipe

_WHAT = {"corpus": "documents", "preferences": "pairs", "instructions": "instructions"}

_HEAD = """---
configs:
- config_name: default
  data_files: corpus/*-{key}.parquet
- config_name: ledger
  data_files: ledger/*-{key}.parquet
---

# {name}

{description}

{kept:,} {what} with {published:,} tokens, from {read:,} records of {shards:,} shards.
A token is a word; a character of a script written without spaces is one.

## What became of every record

| stage | reason | verdict | {what} | tokens |
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
{similarity}"""

_SIMILARITY = {
    "corpus": """
Similarity is `{definition}`; a document is a near-duplicate only when its exact Jaccard similarity with a kept
document is above {threshold}, and the ledger names that document.
""",
    "entries": """
Similarity is `{definition}`; an entry is a near-duplicate only when the exact Jaccard similarity of every side with
that of a kept entry is above {threshold}, and the ledger names that entry.
""",
}

_SET = """
## As a set

| what | figure |
|---|---|
{figures}
{lengths}{examples}"""

_LENGTHS = """
How well length alone predicts the label, with 95 % intervals: how often the longer answer was chosen (0.5 is none), and
the area under the curve of the difference in length. Before → after.

| language | pairs | longer chosen | area under the curve |
|---|---:|---|---|
{rows}
"""

_EXAMPLES = """
Entries that contradict each other, kept or not; the ledger has all of them in `contradicts`:

| what | entry | against |
|---|---|---|
{rows}
"""


def dataset_card(plan: Plan, statistics: Mapping[str, Any]) -> str:
    """``README.md`` of a finished run; fails when the funnel does not add up."""
    check_funnel(statistics)
    recipe = plan.recipe.recipe
    head = _HEAD.format(
        # ``datasets`` tells folders apart by their last names and the patterns only.
        key=plan.publication_key()[:8],
        name=recipe.name,
        description=recipe.description.strip(),
        kept=statistics["records"]["kept"],
        published=statistics["tokens"]["published"],
        read=statistics["records"]["read"],
        shards=len(plan.shards),
        what=_WHAT[recipe.kind],
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
    tail = _TAIL.format(
        languages="\n".join(languages), retention=recipe.retention.dropped_texts, similarity=_similarity(recipe)
    )
    return head + "\n".join(lines) + "\n" + _as_a_set(statistics.get("hygiene")) + tail


def _similarity(recipe: Recipe) -> str:
    if recipe.comparison is None:
        return f"\nThe {_WHAT[recipe.kind]} were not compared with one another.\n"
    told = _SIMILARITY["entries" if recipe.entries else "corpus"]
    return told.format(definition=recipe.comparison.definition, threshold=recipe.comparison.threshold)


def _as_a_set(summary: Mapping[str, Any] | None) -> str:
    """What was found among all entries together; nothing for documents."""
    if summary is None:
        return ""
    lengths = examples = ""
    if summary["length_bias"]:
        lengths = _LENGTHS.format(rows=_rows(length_rows(summary["length_bias"])))
    if summary["examples"]:
        examples = _EXAMPLES.format(rows=_rows([[kind, one, other] for _, kind, one, other in summary["examples"]]))
    return _SET.format(figures=_rows(told(summary)), lengths=lengths, examples=examples)


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
