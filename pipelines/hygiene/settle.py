"""What needs a number of every entry: split and balance, the figures for the card, and the decisions themselves.

Some 150 bytes of each entry that is left are held here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curation.pair_sets.clusters import Clusters
from curation.pair_sets.length_bias import LengthBias, Lengths, balance, length_bias
from curation.pair_sets.numbering import from_binary, numbered, order_by
from curation.pair_sets.split import split
from pipelines.deduplication.work import Work
from pipelines.hygiene import decisions as decided
from pipelines.hygiene.clusters import held_out_shards
from pipelines.hygiene.decisions import OUTCOME, RULES, SPLIT
from pipelines.hygiene.judge import NONE
from pipelines.hygiene.judging import JUDGED, first_examples, summed, tasks_of
from pipelines.hygiene.parameters import hygiene_of


@dataclass(frozen=True)
class _Entries:
    """All entries that are left, shard after shard.

    Attributes:
        firsts: ``int64[shards + 1]``, where each shard begins.
        id: ``uint64[n, 2]``.
        text_hash: ``uint64[n, 2]``, of the prompt.
        language: ``string[n]``.
        words: ``int32[n, answers]``.
        answers: ``uint64[n, answers, 2]``, digests.
    """

    firsts: np.ndarray
    id: np.ndarray
    text_hash: np.ndarray
    language: pa.Array
    words: np.ndarray
    answers: np.ndarray

    def __len__(self) -> int:
        return len(self.id)

    @property
    def lengths(self) -> Lengths | None:
        """Of both answers; None for instructions, which have one."""
        return Lengths(self.words[:, 0], self.words[:, 1], self.language) if self.words.shape[1] == 2 else None


def run_settle(work: Work, _: int) -> None:
    """Decide the rest and write what becomes of every entry."""
    entries = _entries(work)
    outcome, prompt = _within_clusters(work, entries)
    _balance(work, entries, outcome)
    split_of = _split(work, entries, prompt)
    writer = work.decisions_writer()
    spans = [slice(*entries.firsts[shard : shard + 2]) for shard in range(work.shards)]
    told = (outcome["code"] != NONE) | (outcome["contradiction"] > 0) | (outcome["overlap_origin"] > 0)
    told |= (outcome["cluster_size"] > 1) | (outcome["copies"] > 1)
    writer.write("outcome", OUTCOME, (outcome[span][told[span]] for span in spans))
    writer.write("split", SPLIT, (split_of[span] for span in spans))
    writer.commit(
        documents=np.diff(entries.firsts).tolist(),
        datasets=work.step("clusters", 0).facts["datasets"],
        key=work.plan.deduplication_key(),
        summary=_summary(work, entries, outcome, prompt, split_of),
    )


def _entries(work: Work) -> _Entries:
    answers = ("chosen", "rejected") if work.plan.recipe.recipe.kind == "preferences" else ("response",)
    words, digests = [f"{side}_words" for side in answers], [f"{side}_digest" for side in answers]
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "text_hash", "language", *words, *digests)}
    firsts = [0]
    for shard in range(work.shards):
        count = 0
        for table in work.documents(shard, list(columns)):
            count += len(table)
            for name, parts in columns.items():
                parts.append(_compact(table.column(name), name))
        firsts.append(firsts[-1] + count)

    def joined(name: str, empty: np.ndarray) -> np.ndarray:
        return np.concatenate([empty, *columns[name]])

    pairs, numbers = np.empty((0, 2), np.uint64), np.empty(0, np.int32)
    language = pa.chunked_array(columns["language"], pa.string()).combine_chunks()
    return _Entries(
        np.array(firsts, np.int64), joined("id", pairs), joined("text_hash", pairs), language,
        np.stack([joined(name, numbers) for name in words], axis=1),
        np.stack([joined(name, pairs) for name in digests], axis=1),
    )  # fmt: skip


def _compact(column: pa.ChunkedArray, name: str) -> Any:
    """A column of a batch in the least room."""
    if name == "id":
        ids = np.frombuffer(bytes.fromhex("".join(column.to_pylist())), ">u8")
        return ids.reshape(-1, 2).astype(np.uint64)
    if name == "language":
        return column.combine_chunks()
    if name.endswith("_words"):
        return column.to_numpy().astype(np.int32)
    return from_binary(column.combine_chunks())


def _within_clusters(work: Work, entries: _Entries) -> tuple[np.ndarray, np.ndarray]:
    """What the steps before decided, ``OUTCOME[n]``; the cluster of each prompt, ``int64[n]``."""
    outcome = decided.whole(np.empty(0, OUTCOME), len(entries))
    prompt = -1 - np.arange(len(entries))  # alone, until a cluster says otherwise
    threshold = float(work.threshold)
    for shard in range(work.shards):
        first = int(entries.firsts[shard])
        own = outcome[first : int(entries.firsts[shard + 1])]
        own["row"] = np.arange(len(own))
        clusters = work.step("clusters", 0).read("clusters", shard)
        rows = clusters["row"].astype(np.int64)
        prompt[first + rows] = clusters["cluster"]
        own["cluster"][rows], own["cluster_size"][rows] = clusters["name"], clusters["entries"]
        for name in ("overlap", "shared", "union"):
            own[name if name == "overlap" else f"overlap_{name}"][rows] = clusters[name]
        own["overlap_origin"][rows] = clusters["origin"]
        for task in range(len(tasks_of(work)) - 1):
            judged = work.step("judge", task).read("judged", shard)
            at = judged["row"].astype(np.int64)
            for name in JUDGED.names[1:]:  # type: ignore[index]
                own[name][at] = judged[name]
        repeated = decided.repeats(own)
        own["value"][repeated] = (own["shared"] / np.maximum(own["union"], 1))[repeated]
        own["threshold"][repeated] = threshold
        _go_by_prompt(own, clusters, rows, hygiene_of(work).overlap == "drop", threshold)
    return outcome, numbered(prompt)


def _go_by_prompt(own: np.ndarray, clusters: np.ndarray, rows: np.ndarray, overlaps: bool, threshold: float) -> None:
    """Entries that went before any comparison, for what their prompt is like."""
    leaks = clusters["leaks"] > 0
    at = rows[leaks]
    own["code"][at], own["value"][at] = decided.LEAK, clusters["leaks"][leaks]
    own["witness"][at], own["origin"][at] = clusters["leak"][leaks], 0
    if overlaps:
        like = (clusters["origin"] > 0) & ~leaks
        at = rows[like]
        own["code"][at], own["threshold"][at] = decided.OVERLAP, threshold
        own["value"][at] = clusters["shared"][like] / clusters["union"][like]
        own["witness"][at], own["origin"][at] = clusters["overlap"][like], clusters["origin"][like]
        own["shared"][at], own["union"][at] = clusters["shared"][like], clusters["union"][like]


def _balance(work: Work, entries: _Entries, outcome: np.ndarray) -> None:
    """Take pairs away until the longer answer wins as often as is wanted; what repeats one of them goes with it."""
    band, lengths = hygiene_of(work).length_balance, entries.lengths
    if band is None or lengths is None:
        return
    findings = balance(lengths, entries.id, band, seed=work.parameters.seed, kept=outcome["code"] == NONE)
    gone = np.zeros(len(entries), bool)
    gone[findings.row[findings.dropped]] = True
    repeats = np.flatnonzero(decided.repeats(outcome) & (outcome["origin"] == 0))
    ids = np.ascontiguousarray(entries.id.astype(">u8")).view("V16").reshape(-1)
    witness = np.ascontiguousarray(outcome["witness"]).view("V16").reshape(-1)
    gone[repeats[np.isin(witness[repeats], ids[gone])]] = True
    outcome["code"][gone], outcome["value"][gone] = decided.BALANCE, lengths.difference[gone]
    for name in ("witness", "shared", "union"):
        outcome[name][gone] = 0
    outcome["threshold"][gone] = np.nan


def _split(work: Work, entries: _Entries, prompt: np.ndarray) -> np.ndarray:
    """The side of each entry, ``SPLIT[n]``; of those that are not kept too."""
    wanted = hygiene_of(work).held_out
    if wanted is None:
        return np.full(len(entries), decided.NO_SPLIT, SPLIT)
    if wanted.share is None:
        held_out = np.repeat(held_out_shards(work)[: work.shards], np.diff(entries.firsts))
    else:
        clusters = Clusters(prompt, _names(prompt, entries.text_hash), numbered(entries.text_hash))
        language = entries.language if wanted.by_language else None
        held_out = split(clusters, wanted.share, seed=wanted.seed, language=language).held_out
    return np.where(held_out, decided.HELD_OUT, decided.TRAIN).astype(SPLIT)


def _names(prompt: np.ndarray, text_hash: np.ndarray) -> np.ndarray:
    """The least hash of a cluster's prompts: it names the cluster alike in every run that has the same prompts."""
    order = order_by(text_hash)[::-1]
    name = np.empty((1 + int(prompt.max(initial=-1)), 2), np.uint64)
    name[prompt[order]] = text_hash[order]
    named: np.ndarray = name[prompt]
    return named


def _summary(
    work: Work, entries: _Entries, outcome: np.ndarray, prompt: np.ndarray, split_of: np.ndarray
) -> dict[str, Any]:
    kept = outcome["code"] == NONE
    judged = [work.step("judge", task).facts for task in range(len(tasks_of(work)) - 1)]
    return {
        "entries": len(entries),
        "prompts": 1 + int(prompt.max(initial=-1)),
        "largest_prompt": int(np.bincount(prompt).max(initial=0)),
        "overlapping": int((outcome["overlap_origin"] > 0).sum()),
        **summed([facts["summary"] for facts in judged]),
        "dropped": {str(RULES[code]): int((outcome["code"] == code).sum()) for code in range(1, len(RULES))},
        "length_bias": _biases(entries, kept),
        "split": _split_facts(entries, prompt, kept, split_of),
        "examples": first_examples([example for facts in judged for example in facts["examples"]]),
    }


def _biases(entries: _Entries, kept: np.ndarray) -> dict[str, Any] | None:
    """How well length predicts the label, of all entries and of those that stay."""
    lengths = entries.lengths
    if lengths is None:
        return None
    reports = {"before": length_bias(lengths), "after": length_bias(lengths, kept)}
    return {
        when: {"all": _plain(report.overall), "languages": {name: _plain(b) for name, b in report.by_language.items()}}
        for when, report in reports.items()
    }


def _plain(bias: LengthBias) -> dict[str, Any]:
    """Figures as JSON has them: nothing where there is no number."""
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in asdict(bias).items()}


def _split_facts(
    entries: _Entries, prompt: np.ndarray, kept: np.ndarray, split_of: np.ndarray
) -> dict[str, Any] | None:
    """Entries that stay, by side and language; what still stands on both sides."""
    if not len(split_of) or split_of[0] == decided.NO_SPLIT:
        return None
    train, held_out = kept & (split_of == decided.TRAIN), kept & (split_of == decided.HELD_OUT)
    answers = numbered(entries.answers.reshape(-1, 2)).reshape(entries.answers.shape[:2])
    shared = np.isin(answers[held_out], answers[train]).any(axis=1)
    languages = np.array(entries.language.fill_null("und").to_pylist(), str)
    return {
        "train": int(train.sum()),
        "held_out": int(held_out.sum()),
        "prompts_on_both_sides": len(np.intersect1d(prompt[train], prompt[held_out])),
        "held_out_with_an_answer_of_train": int(shared.sum()),
        "languages": {
            str(name): [int((train & (languages == name)).sum()), int((held_out & (languages == name)).sum())]
            for name in np.unique(languages[kept])
        },
    }
