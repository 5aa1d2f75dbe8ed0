"""Faults planted into real preference data: each is found, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.duplicates.find import similarities
from curation.pair_sets.clusters import Clusters, cluster, near_duplicates
from curation.pair_sets.conflicts import find_conflicts
from curation.pair_sets.cycles import find_cycles
from curation.pair_sets.length_bias import Lengths, balance, length_bias
from curation.pair_sets.pairs import PairSet, Responses
from curation.pair_sets.split import leaks, split
from tests.pair_sets import twins
from tests.pair_sets.build import Row, by_row, digests, ids, pair_set
from tests.pair_sets.real import Pair, all_pairs, real_pairs


def clustered(texts: list[str]) -> Clusters:
    """Clusters of texts that may repeat, named by digest."""
    kinds = sorted(set(texts))
    place = {text: number for number, text in enumerate(kinds)}
    left, right = near_duplicates(pa.array(kinds, pa.large_string()))
    found = cluster(digests(kinds), digests(kinds), left, right)
    rows = np.array([place[text] for text in texts], np.int64)
    return Clusters(found.number[rows], found.name[rows], found.digest[rows])


def rows_of(pairs: list[Pair]) -> list[Row]:
    prompts = clustered([pair.prompt for pair in pairs]).number.tolist()
    return [
        Row(number, prompt, pair.chosen, pair.rejected, ranking=pair.ranking, text=pair.prompt)
        for number, (pair, prompt) in enumerate(zip(pairs, prompts, strict=True))
    ]


def response_clusters(pairs: list[Pair]) -> Responses:
    number = clustered([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]).number
    return Responses(number[: len(pairs)], number[len(pairs) :])


def reworded(text: str) -> str:
    """One word more in the middle: another text, and the same words otherwise."""
    half = text.index(" ", len(text) // 2)
    return f"{text[:half]} indeed{text[half:]}"


@pytest.fixture(scope="module")
def untouched(real_data: Path) -> list[Pair]:
    """Without pairs of one text, and each pair once."""
    return [pair for pair in dict.fromkeys(all_pairs(real_data)) if pair.chosen != pair.rejected]


def test_untouched_data_holds_no_conflict(untouched: list[Pair]) -> None:
    pairs = pair_set(rows_of(untouched))
    for clusters in (None, response_clusters(untouched)):
        found = find_conflicts(pairs, clusters=clusters)
        assert not len(found.groups) and not len(find_cycles(pairs, clusters=clusters).groups)


def test_repeated_pairs_of_the_files(real_data: Path) -> None:
    counts = {}
    for kind in ("hh", "dpo-en", "dpo-zh", "oasst", "autoj"):
        drawn = rows_of(real_pairs(real_data, kind))
        result = find_conflicts(pair_set(drawn))
        assert by_row(result.findings) == twins.conflicts(drawn, "majority")
        counts[kind] = result.summary.duplicates
    assert counts == {"hh": 0, "dpo-en": 5, "dpo-zh": 11, "oasst": 2, "autoj": 0}


def test_annotators_of_one_set_contradict_each_other_and_themselves(real_data: Path) -> None:
    drawn = rows_of(real_pairs(real_data, "pandalm"))
    pairs = pair_set(drawn)
    conflicts = find_conflicts(pairs, "majority")
    assert by_row(conflicts.findings) == twins.conflicts(drawn, "majority")
    assert conflicts.summary.conflicts == conflicts.summary.settled == 63
    alive = conflicts.findings.kept(len(drawn))
    cycles = find_cycles(pairs, "keep", alive=alive)
    assert set(by_row(cycles.findings)) == set(twins.cyclic(twins.edges(drawn, alive)))
    assert [walk.size for walk in cycles.examples] == [3]  # how to make holidays more eco-friendly: three answers


@pytest.mark.parametrize("seed", [1, 2])
def test_swapped_labels_are_all_found_and_no_others(untouched: list[Pair], seed: int) -> None:
    dice = random.Random(seed)
    planted = dice.sample(range(len(untouched)), 80)
    swapped = [Pair(pair.prompt, pair.rejected, pair.chosen) for pair in map(untouched.__getitem__, planted)]
    result = find_conflicts(pair_set(rows_of(untouched + swapped)), "drop-both")
    expected = {(row, len(untouched) + number) for number, row in enumerate(planted)}
    assert {tuple(group.tolist()) for group in result.groups} == expected
    witnesses = {row: witness for row, (_, _, witness, _) in by_row(result.findings).items()}
    assert witnesses == {row: other for pair in expected for row, other in (pair, pair[::-1])}
    assert result.findings.dropped.all()


def test_swapped_near_copies_are_found_by_clusters_only(untouched: list[Pair]) -> None:
    long = [n for n, pair in enumerate(untouched) if min(part.count(" ") for part in pair[:3]) > 60]
    long = [n for n in long if not clustered_together(untouched[n]) and all(map(stays_near, untouched[n][:3]))]
    planted = random.Random(3).sample(long, 60)
    copies = [Pair(*(reworded(part) for part in (pair.prompt, pair.rejected, pair.chosen)))
              for pair in map(untouched.__getitem__, planted)]  # fmt: skip
    both = untouched + copies
    pairs = pair_set(rows_of(both))
    expected = {frozenset({row, len(untouched) + number}) for number, row in enumerate(planted)}
    assert not len(find_conflicts(pairs).groups)
    found = find_conflicts(pairs, clusters=response_clusters(both)).groups
    assert {frozenset(group.tolist()) for group in found} == expected
    repeats = [Pair(reworded(pair.prompt), reworded(pair.chosen), reworded(pair.rejected))
               for pair in map(untouched.__getitem__, planted)]  # fmt: skip
    both = untouched + repeats
    before = find_conflicts(pair_set(rows_of(untouched)), clusters=response_clusters(untouched))
    after = find_conflicts(pair_set(rows_of(both)), clusters=response_clusters(both))
    found_rows = {row: found for row, found in by_row(after.findings).items() if row >= len(untouched)}
    assert {row: found[0] for row, found in found_rows.items()} == {
        len(untouched) + number: "pair-near-duplicate" for number in range(60)
    }
    assert len(after.findings) - len(found_rows) == len(before.findings)


def stays_near(text: str) -> bool:
    """Spaces alone do not say how long a text is: some are indentation."""
    common, union = similarities(pa.array([text]), pa.array([reworded(text)]))
    return bool(5 * common[0] > 4 * union[0])


def clustered_together(pair: Pair) -> bool:
    return len(set(clustered([pair.chosen, pair.rejected]).number.tolist())) == 1


@pytest.mark.parametrize("policy", ["drop-component", "keep-margin"])
def test_planted_cycles_are_all_found_and_no_others(untouched: list[Pair], policy: str) -> None:
    dice = random.Random(4)
    prompts = dice.sample(sorted({pair.prompt for pair in untouched if pair.ranking < 0}), 25)
    answers = sorted({pair.rejected for pair in untouched if len(pair.rejected) > 20})
    planted, rings = list(untouched), []
    for number, prompt in enumerate(prompts):
        length = 3 + number % 5
        ring = dice.sample(answers, length)
        rings.append(list(range(len(planted), len(planted) + length)))
        planted += [Pair(prompt, ring[step], ring[(step + 1) % length]) for step in range(length)]
    drawn = [row._replace(margin=dice.random()) for row in rows_of(planted)]
    result = find_cycles(pair_set(drawn), policy)  # type: ignore[arg-type]
    assert sorted(sorted(group.tolist()) for group in result.groups) == rings
    assert {frozenset(walk.tolist()) for walk in result.examples} == {frozenset(ring) for ring in rings}
    gone = set(result.findings.row[result.findings.dropped].tolist())
    weakest = {min(ring, key=lambda row: drawn[row].margin) for ring in rings}
    assert gone == (weakest if policy == "keep-margin" else {row for ring in rings for row in ring})
    assert not len(find_conflicts(pair_set(drawn)).groups)


def test_a_biased_language_is_seen_and_evened_out(untouched: list[Pair]) -> None:
    chinese = [sum("\u4e00" <= letter <= "\u9fff" for letter in pair.prompt) > 3 for pair in untouched]
    dice = random.Random(5)
    turned = []
    for pair, zh in zip(untouched, chinese, strict=True):  # in one language the longer one wins nine times of ten
        wrong = zh and (len(pair.chosen) < len(pair.rejected)) and dice.random() < 0.9
        turned.append(Pair(pair.prompt, pair.rejected, pair.chosen) if wrong else pair)
    sides = ([len(pair.chosen) for pair in turned], [len(pair.rejected) for pair in turned])
    language = pa.array(["zh" if zh else "en" for zh in chinese])
    lengths = Lengths(*(np.array(side, np.int32) for side in sides), language)
    before = length_bias(lengths)
    assert before.by_language["zh"].accuracy_low > 0.9 and before.by_language["zh"].auc_low > 0.85
    assert before.by_language["en"].accuracy_high < 0.5  # refusals are short, and chosen
    found = balance(lengths, ids(range(len(turned))))
    after = length_bias(lengths, found.kept(len(turned)))
    for bias in after.by_language.values():
        assert 0.45 <= bias.accuracy <= 0.55
    assert {int(np.sign(value)) for value, zh in zip(found.value, np.array(chinese)[found.row], strict=True) if zh} == {
        1
    }


def test_a_split_of_rows_leaks_and_one_of_clusters_does_not(real_data: Path) -> None:
    found = real_pairs(real_data, "oasst")
    pairs: PairSet = pair_set(rows_of(found))
    by_number = np.arange(len(found)) % 10 == 0
    assert leaks(pairs, by_number).summary.prompt_leaks > 80
    held_out = split(clustered([pair.prompt for pair in found]), "0.1").held_out
    assert 0.05 < held_out.mean() < 0.15 and leaks(pairs, held_out).summary.prompt_leaks == 0
