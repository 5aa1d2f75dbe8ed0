"""Splits by prompt cluster, and leaks of existing ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from curation.pair_sets.clusters import Clusters, cluster
from curation.pair_sets.split import leaks, split
from tests.pair_sets.build import Row, digests, ids, pair_set, rows
from tests.pair_sets.twins import in_order

NONE = np.empty(0, np.int64)


def clusters_of(prompts: list[int]) -> Clusters:
    names = digests(prompts)
    return cluster(names, names, NONE, NONE)


PROMPTS = st.lists(st.integers(0, 12), max_size=60)


@given(PROMPTS, st.sampled_from(["0.05", "0.3", "0.9"]), st.booleans(), st.randoms(use_true_random=False))
def test_no_cluster_is_on_both_sides(prompts: list[int], share: str, stratified: bool, dice) -> None:
    languages = [("en", "zh", None)[dice.randrange(3)] for _ in prompts]
    column = pa.array(languages, pa.string()) if stratified else None
    result = split(clusters_of(prompts), share, language=column)
    sides: dict[int, set[bool]] = {}
    for prompt, side in zip(prompts, result.held_out.tolist(), strict=True):
        sides.setdefault(prompt, set()).add(side)
    assert all(len(side) == 1 for side in sides.values())
    assert result.clusters == len(sides) and result.held_out_clusters == sum(True in side for side in sides.values())
    order = dice.sample(range(len(prompts)), len(prompts))
    column = pa.array([languages[row] for row in order], pa.string()) if stratified else None
    moved = split(clusters_of([prompts[row] for row in order]), share, language=column)
    assert moved.held_out.tolist() == [result.held_out[row] for row in order]


def test_the_share_is_met_and_sides_stay() -> None:
    prompts = list(range(20_000))
    first = split(clusters_of(prompts), "0.1").held_out
    assert 0.093 < first.mean() < 0.107  # three standard deviations
    assert split(clusters_of(prompts[:5000]), "0.1").held_out.tolist() == first[:5000].tolist()
    more = split(clusters_of(prompts), "0.2").held_out
    assert not (first & ~more).any()
    other = split(clusters_of(prompts), "0.1", seed=2).held_out
    assert (first & other).sum() < 300


def test_languages_get_their_share_each() -> None:
    prompts = [number // 2 for number in range(8000)] + list(range(4000, 4400))
    languages = ["en"] * 8000 + ["zh"] * 400
    result = split(clusters_of(prompts), "0.1", language=pa.array(languages))
    assert result.by_language == {"en": (8000, 800), "zh": (400, 40)}
    mixed = split(
        clusters_of([0] * 4 + [1, 2, 2]), "0.7", language=pa.array(["zh", "en", "en", "zh", "zh", "en", "en"])
    )
    # The first counts as "en" with the third: six pairs, of which four or two fit but not all; one "zh" fits never.
    assert mixed.held_out.tolist() in ([True] * 4 + [False] * 3, [False] * 5 + [True] * 2)
    assert mixed.clusters == 3 and mixed.held_out_clusters == 1


def test_shares_are_checked() -> None:
    for wrong in ("0", 1, "much"):
        with pytest.raises(InputError, match="share"):
            split(clusters_of([1]), wrong)
    assert split(clusters_of([]), "0.5").clusters == 0
    assert split(clusters_of([]), "0.5", language=pa.array([], pa.string())).by_language == {}


@given(rows(prompts=6, answers=12), st.data())
def test_leaks_are_those_of_the_twin(drawn: list[Row], data: st.DataObject) -> None:
    held_out = data.draw(st.lists(st.booleans(), min_size=len(drawn), max_size=len(drawn)))
    result = leaks(pair_set(drawn), np.array(held_out, np.bool_))
    train = [row for row in in_order(drawn) if not held_out[row]]
    expected = set()
    for row, one in enumerate(drawn):
        if not held_out[row]:
            continue
        same = [other for other in train if drawn[other].prompt == one.prompt]
        if same:
            expected.add((row, "prompt-leak", float(len(same)), same[0], False))
        met = [[other for other in train for side in drawn[other][2:4] if side == text] for text in one[2:4]]
        if any(met):
            expected.add((row, "response-leak", float(len(met[0] + met[1])), (met[0] or met[1])[0], False))
    listed = result.findings.listed()
    assert {tuple(finding) for finding in listed} == expected and len(listed) == len(expected)
    assert [finding.row for finding in listed] == sorted(finding.row for finding in listed)
    counts = Counter(rule for _, rule, *_ in expected)
    assert (result.summary.prompt_leaks, result.summary.response_leaks) == (
        counts["prompt-leak"],
        counts["response-leak"],
    )
    out = [row for row, side in enumerate(held_out) if side]
    prompts = {drawn[row].prompt for row in out} & {drawn[row].prompt for row in train}
    texts = [{text for row in side for text in drawn[row][2:4]} for side in (out, train)]
    assert result.summary.shared_prompts == len(prompts) and result.summary.shared_responses == len(texts[0] & texts[1])


@given(rows(prompts=9))
def test_a_split_of_ours_leaks_no_prompt(drawn: list[Row]) -> None:
    pairs = pair_set(drawn)
    clusters = cluster(ids([row.prompt for row in drawn]), digests([row.prompt for row in drawn]), NONE, NONE)
    assert leaks(pairs, split(clusters, "0.4").held_out).summary.prompt_leaks == 0
