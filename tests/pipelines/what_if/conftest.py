"""Runs to ask, and the runs that tell whether the answer is right."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import yaml

from pipelines.ledger import DUPLICATE, KEPT
from pipelines.look import FinishedRun
from pipelines.recipe import load_recipe
from pipelines.reuse import reuse
from pipelines.thresholds import with_thresholds
from pipelines.what_if import compare, decisions
from pipelines.what_if.answer import WhatIf, what_if
from pipelines.what_if.decisions import decide_again, kept_ids, undetermined_ids
from tests.support.runs import rows, run_recipe, write_recipe

Agree = Callable[[Path, list[Path], Path, Mapping[str, Any]], list[WhatIf]]


def fork(recipe: Path, shards: list[Path], output: Path, thresholds: Mapping[str, Any]) -> Path:
    """Really run what the question is about, beside the run that was asked."""
    plain = yaml.safe_load(recipe.read_text())
    changed = with_thresholds(load_recipe(recipe), plain, thresholds)
    target = output.parent / "fork"
    shutil.rmtree(target, ignore_errors=True)
    reuse(str(output), str(target))
    run_recipe(write_recipe(recipe.parent, yaml.safe_dump(changed), "fork.yaml"), shards, target)
    return target


def agree_with_fork(recipe: Path, shards: list[Path], output: Path, thresholds: Mapping[str, Any]) -> list[WhatIf]:
    """Ask with evidence and texts, with evidence, and with the ledger alone; run; compare document by document."""
    target = fork(recipe, shards, output, thresholds)
    before = {row["id"]: row for row in rows(output)}
    after = {row["id"]: row for row in rows(target)}
    runs = FinishedRun(str(output)), FinishedRun(str(target))
    answers = [_agreed(*runs, thresholds, before, after)]
    with patch.object(compare, "MOST_DOCUMENTS", 0):
        answers.append(_agreed(*runs, thresholds, before, after))
        with patch.object(decisions, "evidence_of", lambda *_: None):
            answers.append(_agreed(*runs, thresholds, before, after, sure=False))
    return answers


def fates(run: FinishedRun, thresholds: Mapping[str, Any]) -> dict[str, tuple[str, str | None, str | None]]:
    """Verdict, stage and rule that an answer gives to each record, by id."""
    decided = decide_again(run, thresholds)
    ids = [id_ for chunk in decided.records.chunks for id_ in decided.records.read(chunk, ["id"])["id"].to_pylist()]
    reasons = [decided.records.reasons[code] for code in decided.after]
    found = {id_: (r.verdict, r.stage or None, r.rule or None) for id_, r in zip(ids, reasons, strict=True)}
    assert len(found) == len(reasons)
    return found


def _agreed(
    asked: FinishedRun, forked: FinishedRun, thresholds: Mapping[str, Any], before: dict[str, Any],
    after: dict[str, Any], sure: bool = True,
) -> WhatIf:  # fmt: skip
    answer = what_if(asked, thresholds)
    kept, unknown = set(kept_ids(asked, thresholds)), set(undetermined_ids(asked, thresholds))
    truth = {id_ for id_, row in after.items() if row["verdict"] == "kept"}
    assert len(unknown) == answer.undetermined == sum(why["documents"] for why in answer.why)
    assert answer.exact == (not unknown) and not kept & unknown
    assert answer.kept["after"] == len(kept)
    if not truth & unknown:
        assert kept == truth
    # A document that is kept provided that nothing undetermined resembles it can only go as a duplicate, and only
    # a duplicate can return for it.
    assert {after[id_]["verdict"] for id_ in kept - truth} <= {"duplicate"}
    assert {before[id_]["verdict"] for id_ in truth - kept - unknown} <= {"duplicate"}
    if asked.run["recipe"]["deduplication"] is None:
        assert kept == truth - unknown
    said = fates(asked, thresholds)
    if sure and {why["stage"] for why in answer.why} <= {"deduplication"}:
        # No document is there that the run did not compare: what is determined is what the fork decides.  (The
        # ledger alone does not know what one that is undetermined may resemble.)
        assert {id_: after[id_]["verdict"] for id_ in said.keys() - unknown} == {
            id_: said[id_][0] for id_ in said.keys() - unknown
        }
    if answer.exact:
        assert said == {id_: (row["verdict"], row["stage"], row["rule"]) for id_, row in after.items()}
        _same_counts(answer, forked, after)
    assert {verdict for verdict, stage, _ in said.values() if stage is None} <= {KEPT}
    assert {stage for verdict, stage, _ in said.values() if verdict == DUPLICATE} <= {"deduplication"}
    return answer


def _same_counts(answer: WhatIf, forked: FinishedRun, after: dict[str, dict[str, Any]]) -> None:
    counted = Counter((row["verdict"], row["stage"], row["rule"]) for row in after.values())
    said = {(row["verdict"], row["stage"], row["rule"]): row["after"] for row in answer.reasons if row["after"]}
    assert counted == said
    assert answer.tokens["after"] == forked.statistics["tokens"]["published"]
    for kind in ("languages", "domains"):
        groups = {name: counts["kept"]["documents"] for name, counts in forked.statistics[kind].items()}
        told = {name: counts["after"] for name, counts in getattr(answer, kind).items()}
        assert {name: count for name, count in groups.items() if count} == {n: c for n, c in told.items() if c}


@pytest.fixture(scope="session")
def agree() -> Agree:
    return agree_with_fork
