"""The answer to a question: what would have been kept, and how sure that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.kinds import comparison_of
from pipelines.look import FinishedRun
from pipelines.what_if.changes import GAINED, GROUPS, LOST, OPEN, Changes, changes_of
from pipelines.what_if.decisions import Decided, decide_again
from pipelines.what_if.records import UNDETERMINED
from pipelines.what_if.samples import samples_of

_UNMEASURED = "a rule lets them pass now that stopped them, and this stage never measured them"
_UNCOMPARED = "every rule lets them pass now, and they were never compared with other documents"
_UNPAIRED = "the kept document that they repeat goes, or one of theirs may return, and not all of their pairs are known"
_UNSETTLED = "an entry goes with which they were compared, and what it said or repeated counts no more"


@dataclass(frozen=True)
class WhatIf:
    """What a finished run would have kept with other thresholds.

    Attributes:
        exact: nothing is undetermined: what is kept is what a run with these thresholds keeps, document by document.
        undetermined: documents of which this run does not tell whether they would be kept; they count as not kept.
        why: of these, how many by the stage that would have to tell, and why it cannot.
        contingent: documents that are kept provided that no undetermined one turns out to be a near-duplicate.
        records: all there are.
        kept: documents ``before``, ``after``, ``lost`` and ``gained``.
        tokens: the same in tokens of the published text; an undetermined document's may be unknown, and count 0.
        reasons: records by verdict, stage and rule, before and after, in the order of the stages.
        languages, domains: as ``kept``, by group; documents without one are left out.
        samples: documents by way: ``lost``, ``gained``, ``undetermined``; in the order of ids.
    """

    exact: bool
    undetermined: int
    why: list[dict[str, Any]]
    contingent: int
    records: int
    kept: dict[str, int]
    tokens: dict[str, int]
    reasons: list[dict[str, Any]]
    languages: dict[str, dict[str, int]]
    domains: dict[str, dict[str, int]]
    samples: dict[str, list[dict[str, Any]]]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def what_if(run: FinishedRun, thresholds: Mapping[str, Any], samples: int = 5) -> WhatIf:
    """What a finished run would have kept with other thresholds.

    Args:
        thresholds: by ``stage.rule``; see :func:`pipelines.what_if.question.ask`.
        samples: documents to show of each way that fates change.

    Raises:
        InputError: for thresholds that the run's rules cannot have.
    """
    decided = decide_again(run, thresholds)
    changes = changes_of(decided)
    counts = _counts(decided)
    why = _why(decided, counts[1])
    undetermined = sum(reason["documents"] for reason in why)
    after = int(counts[1][decided.kept])
    compared = comparison_of(run.run["recipe"]) is not None
    return WhatIf(
        exact=undetermined == 0,
        undetermined=undetermined,
        why=why,
        contingent=after if undetermined and compared else 0,
        records=decided.records.count,
        kept=_four(int(counts[0][decided.kept]), changes.documents),
        tokens=_four(run.statistics["tokens"]["published"], changes.tokens),
        reasons=_reasons(decided, counts),
        languages=_groups(run, changes, GROUPS[0]),
        domains=_groups(run, changes, GROUPS[1]),
        samples=samples_of(decided, samples),
    )


def _counts(decided: Decided) -> np.ndarray:
    """Records by time (before, after) and code."""
    codes = len(decided.records.reasons)

    def count(chunk: Any) -> np.ndarray:
        both = decided.records.before[chunk.span], decided.after[chunk.span]
        return np.stack([np.bincount(part, minlength=codes) for part in both])

    return np.asarray(np.sum(decided.records.over_chunks(count), axis=0))


def _four(before: int, changed: Mapping[str, int]) -> dict[str, int]:
    lost, gained = changed.get(LOST, 0), changed.get(GAINED, 0)
    return {"before": before, "after": before - lost + gained, "lost": lost, "gained": gained}


def _groups(run: FinishedRun, changes: Changes, column: str) -> dict[str, dict[str, int]]:
    known = {name: counts.get("kept", {}).get("documents", 0) for name, counts in run.statistics[f"{column}s"].items()}
    changed = changes.groups[column]
    names = sorted(({name for name, kept in known.items() if kept} | set(changed)) - {""})
    none: Counter[str] = Counter()
    return {
        name: {**_four(known.get(name, 0), changed.get(name, none)), OPEN: changed.get(name, none)[OPEN]}
        for name in names
    }


def _why(decided: Decided, counts: np.ndarray) -> list[dict[str, Any]]:
    last = decided.records.stages[-1].name
    said = {
        last: _UNCOMPARED if comparison_of(decided.run.run["recipe"]) else _UNMEASURED,
        "deduplication": _UNPAIRED,
        "hygiene": _UNSETTLED,
    }
    return [
        {"stage": reason.stage, "documents": int(count), "why": said.get(reason.stage, _UNMEASURED)}
        for reason, count in zip(decided.records.reasons, counts, strict=True)
        if reason.verdict == UNDETERMINED and count
    ]


def _reasons(decided: Decided, counts: np.ndarray) -> list[dict[str, Any]]:
    order = [stage.name for stage in decided.records.stages]
    place = {name: number for number, name in enumerate([*order, "deduplication", "hygiene", ""])}
    found = [
        (place[reason.stage], code, reason)
        for code, reason in enumerate(decided.records.reasons)
        if counts[0][code] or counts[1][code]
    ]
    return [
        {
            "verdict": reason.verdict,
            "stage": reason.stage or None,
            "rule": reason.rule or None,
            "before": int(counts[0][code]),
            "after": int(counts[1][code]),
        }
        for _, code, reason in sorted(found, key=lambda entry: entry[:2])
    ]
