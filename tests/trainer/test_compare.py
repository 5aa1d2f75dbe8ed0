"""A test of two variants may be looked at as often as one likes, finds what is there, and treats both alike."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.trainer.published import pair, publish
from trainer.data.tokenizer import ByteTokenizer, fit
from trainer.deploy.compare import Costs, OutcomeRule, Rule, compare, compare_outcomes, decide, read_outcomes, table
from trainer.deploy.statistics import (
    SHARES_K,
    Sequential,
    bootstrap,
    detectable_now,
    minimum_detectable,
    sample_ratio,
)
from trainer.errors import ConfigError, DataError
from trainer.main import main
from trainer.model_folder import Model, save_model
from trainer.models import build
from trainer.models.heads import ScalarHead


def ever_out(difference_SN: np.ndarray, bound: float, alpha: float, mean: float = 0.0) -> np.ndarray:
    """For each simulation, after how many samples ``mean`` was first left out (a large number: never); all at once."""
    first_S = np.full(len(difference_SN), 1 << 30)
    for side in (1, -1):
        payoff_SN = (bound + side * difference_SN) / (bound + side * mean)
        wealth_SN = np.mean([np.exp(np.cumsum(np.log1p(f * (payoff_SN - 1)), 1)) for f in SHARES_K], 0)
        out_SN = wealth_SN >= 2 / alpha
        first_S = np.minimum(first_S, np.where(out_SN.any(1), out_SN.argmax(1) + 1, 1 << 30))
    return first_S


def drawn(kind: str, seed: int, shape: tuple[int, int], mean: float = 0.0) -> np.ndarray:
    """Differences within ±1 whose mean is known."""
    random = np.random.default_rng(seed)
    if kind == "normal":
        return np.clip(random.normal(mean, 0.1, shape), mean - 1 + abs(mean), mean + 1 - abs(mean))
    if kind == "wins":
        return np.where(random.random(shape) < (1 + mean) / 2, 1.0, -1.0)
    if kind == "outcomes":
        return (random.random(shape) < 0.2 + mean).astype(float) - (random.random(shape) < 0.2)
    rare = 0.02  # hardly ever anything but a little below 0, and once in a while far above
    return np.where(random.random(shape) < rare, 0.98, -0.98 * rare / (1 - rare)) + mean


# What is promised: a wrong verdict at any time has a chance of alpha at the most.


@pytest.mark.parametrize("kind", ["normal", "wins", "outcomes", "skewed"])
def test_looking_after_every_sample_misleads_no_more_often_than_promised(kind: str) -> None:
    simulations, alpha = 2000, 0.1
    wrong = int((ever_out(drawn(kind, 7, (simulations, 500)), 1.0, alpha) <= 500).sum())
    # 0.001: the chance to be refused here of a test that misleads with a chance of just alpha
    assert wrong <= stats.binom.ppf(0.999, simulations, alpha)


def test_a_test_for_one_look_would_not_keep_that_promise() -> None:
    difference_SN = drawn("normal", 7, (1000, 500))
    counts_N = np.arange(1, 501)
    means_SN = np.cumsum(difference_SN, 1) / counts_N
    deviations_SN = np.sqrt(np.maximum(np.cumsum(difference_SN**2, 1) / counts_N - means_SN**2, 1e-12))
    z_SN = np.abs(means_SN) / (deviations_SN / np.sqrt(counts_N))
    assert (z_SN[:, 20:] > 1.645).any(1).mean() > 0.3  # alpha 0.1


@pytest.mark.parametrize(
    ("kind", "mean", "samples"), [("normal", 0.03, 500), ("wins", 0.2, 700), ("outcomes", 0.15, 700)]
)
def test_what_is_there_is_found(kind: str, mean: float, samples: int) -> None:
    first_S = ever_out(drawn(kind, 3, (500, samples), mean), 1.0, 0.05)
    assert (first_S <= samples).mean() > 0.9


def test_the_interval_is_what_the_bets_leave_over() -> None:
    difference_N = drawn("outcomes", 1, (1, 300), 0.2)[0]
    found = Sequential(difference_N, 1.0, 0.05)
    for mean in np.linspace(-0.9, 0.9, 37):
        out = wealth_at_end(difference_N, 1.0, float(mean)) >= 2 / 0.05
        assert (mean < found.interval.low or mean > found.interval.high) == out
        assert found.above(float(mean)) == (out and mean < found.interval.low)
        assert found.below(float(mean)) == (out and mean > found.interval.high)

    for end in found.interval:
        assert wealth_at_end(difference_N, 1.0, end) == pytest.approx(2 / 0.05)


def wealth_at_end(difference_N: np.ndarray, bound: float, mean: float) -> float:
    """Of the one of both sides that is richer; both began with 1."""
    wealth = []
    for side in (1, -1):
        payoff_N = (bound + side * difference_N) / (bound + side * mean)
        wealth.append(np.mean([math.prod(1 - f + f * payoff for payoff in payoff_N) for f in SHARES_K]))
    return float(max(wealth))


@pytest.mark.parametrize("side", [1, -1])
def test_so_many_times_the_same_samples_and_not_one_less_decide(side: int) -> None:
    seen_N = side * np.array([0.3, -0.2, 0.1, 0.0, 0.05])
    found = Sequential(seen_N, 0.5)
    times = found.times_above(0.0) if side > 0 else found.times_below(0.0)
    assert times > 3 and math.isinf(found.times_below(0.0) if side > 0 else found.times_above(0.0))
    for copies, decided in ((math.floor(times), False), (math.ceil(times), True)):
        many = Sequential(np.tile(seen_N, copies), 0.5)
        assert (many.above(0.0) if side > 0 else many.below(0.0)) == decided


bounded = st.lists(st.floats(-1, 1, width=32), max_size=60).map(np.array)


@settings(max_examples=150, deadline=None)
@given(bounded, st.randoms())
def test_intervals_hold_the_mean_and_know_no_order(difference_N: np.ndarray, random: Any) -> None:
    interval = Sequential(difference_N, 1.0).interval
    if len(difference_N):
        assert interval.low <= difference_N.mean() <= interval.high
    else:
        assert interval == (-1.0, 1.0)
    shuffled = list(difference_N)
    random.shuffle(shuffled)
    assert Sequential(np.array(shuffled), 1.0).interval == interval
    longer = Sequential(np.concatenate([difference_N] * 3), 1.0).interval
    assert longer.high - longer.low <= interval.high - interval.low + 1e-9


@pytest.mark.parametrize("strange", [[2.0], [math.nan], [0.1, -1.01]])
def test_differences_beyond_the_bound_are_refused(strange: list[float]) -> None:
    with pytest.raises(DataError, match="±1"):
        Sequential(np.array(strange), 1.0)


# The bootstrap, and figures for planning.


@pytest.mark.parametrize(("method", "scipys"), [("bca", "BCa"), ("percentile", "percentile")])
def test_the_bootstrap_is_that_of_scipy(method: Any, scipys: Any) -> None:
    values_N = np.random.default_rng(5).exponential(1.0, 25) ** 2  # skewed: both methods differ
    found = bootstrap(values_N, 0.1, method=method, resamples=40_000)
    wanted = stats.bootstrap(
        (values_N,), np.mean, confidence_level=0.9, n_resamples=40_000, method=scipys, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found == pytest.approx((wanted.low, wanted.high), abs=0.01 * values_N.std())
    other = bootstrap(values_N, 0.1, method="percentile" if method == "bca" else "bca", resamples=40_000)
    assert abs(other.low - found.low) > 0.01 * values_N.std()


def test_bootstrap_intervals_hold_the_mean_as_often_as_they_say() -> None:
    random = np.random.default_rng(11)
    held = 0
    for seed in range(400):
        interval = bootstrap(random.gamma(2.0, 1.0, 100), 0.1, resamples=400, seed=seed)
        held += interval.low <= 2.0 <= interval.high
    low, high = stats.binom.ppf((0.001, 0.999), 400, 0.9)
    assert low <= held <= high


def test_the_bootstrap_follows_from_its_seed_and_needs_samples() -> None:
    values_N = np.random.default_rng(0).normal(size=50)
    assert bootstrap(values_N, 0.05, seed=3) == bootstrap(values_N, 0.05, seed=3) != bootstrap(values_N, 0.05, seed=4)
    assert bootstrap(np.full(9, 0.25), 0.05) == (0.25, 0.25)
    with pytest.raises(DataError, match="no samples"):
        bootstrap(np.zeros(0), 0.05)


def test_a_difference_as_large_as_the_detectable_one_is_found_that_often() -> None:
    samples, deviation = 150, 0.1
    least = minimum_detectable(deviation, samples, alpha=0.05, power=0.8)
    assert least == pytest.approx((1.959964 + 0.841621) * deviation / math.sqrt(samples), rel=1e-5)
    random = np.random.default_rng(2)
    p = stats.ttest_1samp(random.normal(least, deviation, (4000, samples)), 0, axis=1).pvalue
    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.025)


def test_the_detectable_difference_of_a_sequential_test_is_found_that_often() -> None:
    samples = 300
    least = detectable_now(Sequential(drawn("normal", 1, (1, samples))[0], 1.0), 0.8)
    found = [Sequential(row, 1.0).above(0) for row in drawn("normal", 4, (400, samples), least)]
    assert 0.7 <= np.mean(found) <= 0.9
    assert least > minimum_detectable(0.1, samples)  # the price of looking at any time


@pytest.mark.parametrize(("a", "b", "share"), [(100, 100, 0.5), (5, 20, 0.5), (30, 270, 0.1), (0, 3, 0.5)])
def test_the_split_of_units_is_tested_by_chi_square(a: int, b: int, share: float) -> None:
    found = sample_ratio(a, b, share)
    wanted = stats.chisquare([a, b], [(a + b) * share, (a + b) * (1 - share)])
    assert (found.chi_square, found.p) == pytest.approx((wanted.statistic, wanted.pvalue))


def test_a_sound_split_is_hardly_ever_suspected_however_often_one_looks() -> None:
    random = np.random.default_rng(8)
    suspected = 0
    for _ in range(200):
        a_N = np.cumsum(random.random(300) < 0.3)
        suspected += any(sample_ratio(int(a), n - int(a), 0.3).p_always < 0.05 for n, a in enumerate(a_N, 1))
    assert suspected <= stats.binom.ppf(0.999, 200, 0.05)
    assert sample_ratio(550, 450).p_always < 0.2 and sample_ratio(600, 400).p_always < 1e-6
    assert sample_ratio(0, 0).p_always == 1.0
    # one over the Bayes factor: all numbers of A alike likely, against the binomial of the plan
    for a, b, share in ((80, 20, 0.5), (40, 60, 0.2), (3, 40, 0.7)):
        found, wanted = sample_ratio(a, b, share).p_always, (a + b + 1) * stats.binom.pmf(a, a + b, share)
        assert found == pytest.approx(min(1, wanted)) and found < 1


# The verdict.


def mirrored(verdict: str) -> str:
    return {"A": "B", "B": "A"}.get(verdict, verdict)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=80),
    st.sampled_from([0.0, 0.1, 0.4]), st.sampled_from([None, (1, 1), (1, 3), (3, 1)]),
    st.sampled_from(["higher", "lower"]),
)  # fmt: skip
def test_swapping_the_variants_swaps_the_verdict(
    pairs: list[tuple[int, int]], margin: float, prices: tuple[int, int] | None, better: Any
) -> None:
    a_N, b_N = np.array(pairs, float).reshape(-1, 2).T / 8
    rule = Rule(alpha=0.2, margin=margin, resamples=50)
    costs, other = (Costs(a=p[0], b=p[1]) if p else None for p in (prices, prices and prices[::-1]))
    one = compare(a_N, b_N, bound=1.0, rule=rule, costs=costs, better=better)
    two = compare(b_N, a_N, bound=1.0, rule=rule, costs=other, better=better)
    assert (mirrored(two["verdict"]), mirrored(two["quality"])) == (one["verdict"], one["quality"])
    assert two["more_samples"] == one["more_samples"] and (one["more_samples"] is None or one["verdict"] == "not yet")
    if pairs:
        assert (-two["high"], -two["low"]) == pytest.approx((one["low"], one["high"]), abs=1e-9)
    opposite = compare(a_N, b_N, bound=1.0, rule=rule, costs=costs, better="lower" if better == "higher" else "higher")
    if costs is None:
        assert mirrored(opposite["verdict"]) == one["verdict"]


@pytest.mark.parametrize(
    ("mean", "margin", "costs", "verdict", "quality", "why"),
    [
        (0.05, 0.0, None, "A", "A", "A is better"),
        (-0.05, 0.0, (2, 1), "B", "B", "and cheaper"),
        (0.05, 0.02, (2, 1), "A", "A", "better by more than 0.02, and dearer"),
        (0.0, 0.03, (2, 1), "B", "tie", "differ by less than 0.03, and B is cheaper"),
        (0.0, 0.03, (1, 1), "either", "tie", "cost the same"),
        (0.0, 0.03, None, "either", "tie", "nobody said"),
        (0.0, 0.0, (2, 1), "not yet", "not yet", "do not tell"),
        (0.03, 0.03, None, "not yet", "not yet", "do not tell"),
        (0.03, 0.03, (1, 2), "A", "not yet", "not worse by 0.03"),  # whether it is better does not matter
        (0.03, 0.03, (2, 1), "not yet", "not yet", "do not tell"),
    ],
)  # fmt: skip
def test_quality_and_cost_make_one_verdict(
    mean: float, margin: float, costs: tuple[float, float] | None, verdict: str, quality: str, why: str
) -> None:
    difference_N = np.random.default_rng(1).normal(0, 0.05, 3000)
    difference_N += mean - difference_N.mean()
    prices = Costs(a=costs[0], b=costs[1]) if costs else None
    found = decide(Sequential(np.clip(difference_N, -0.5, 0.5), 0.5), Rule(margin=margin), prices)
    assert (found.choice, found.quality) == (verdict, quality) and why in found.why


def test_the_samples_that_are_still_needed_are_about_those() -> None:
    difference_N = drawn("normal", 1, (1, 4000), 0.02)[0]
    few = decide(Sequential(difference_N[:200], 1.0), Rule())
    assert few.choice == "not yet" and few.more is not None
    copies = np.tile(difference_N[:200], 20)  # what "if they are like those" means
    assert decide(Sequential(copies[: 200 + few.more + 200], 1.0), Rule()).choice == "A"
    assert decide(Sequential(copies[: max(200, few.more)], 1.0), Rule()).choice == "not yet"
    even = np.array([0.1, -0.1] * 50)
    assert decide(Sequential(even, 1.0), Rule()).more is None
    assert decide(Sequential(np.zeros(0), 1.0), Rule()).more is None


def test_what_is_beyond_the_bound_counts_as_the_bound_and_is_said() -> None:
    a_N = np.array([5.0, 0.1, 0.2, -9.0])
    found = compare(a_N, np.zeros(4), bound=0.5, rule=Rule())
    assert found["clipped"] == 2 and found["mean"] == pytest.approx((0.5 + 0.1 + 0.2 - 0.5) / 4)
    assert "2 beyond ±0.5" in table(found)
    with pytest.raises(DataError, match="pair 1"):
        compare(np.array([0.0, math.inf]), np.zeros(2), bound=1, rule=Rule())
    with pytest.raises(DataError, match="no pairs"):
        compare(np.zeros(3), np.zeros(2), bound=1, rule=Rule())


# Outcomes that people collected.


def outcomes(count: int, a: float, b: float, share: float = 0.5, seed: int = 1) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    sides = np.where(random.random(count) < share, "A", "b")
    return [
        {"unit": f"user-{n}", "variant": str(side), "outcome": int(random.random() < (a if side == "A" else b))}
        for n, side in enumerate(sides)
    ]


def test_outcomes_of_units_are_compared_as_they_come() -> None:
    rows = outcomes(3000, 0.6, 0.45)
    found = compare_outcomes(rows, rule=Rule())
    assert (found["verdict"], found["quality"]) == ("A", "A") and found["low"] > 0
    a = [row["outcome"] for row in rows if row["variant"] == "A"]
    b = [row["outcome"] for row in rows if row["variant"] == "b"]
    pairs = min(len(a), len(b))
    assert found["samples"] == pairs and found["sample_ratio"]["counts"] == {"A": len(a), "B": len(b)}
    assert found["mean"] == pytest.approx(np.mean(a[:pairs]) - np.mean(b[:pairs]))
    shorter = compare_outcomes(rows, rule=Rule(), outcomes=OutcomeRule(better="lower"))
    assert shorter["verdict"] == "B"


def test_a_split_that_was_not_planned_gives_no_verdict() -> None:
    rows = outcomes(3000, 0.9, 0.1, share=0.4)
    found = compare_outcomes(rows, rule=Rule())
    assert found["verdict"] == "not yet" and "not the split that was planned" in found["why"]
    assert "more samples" not in table(found)
    assert compare_outcomes(rows, rule=Rule(), outcomes=OutcomeRule(share_a=0.4))["verdict"] == "A"


def test_a_live_test_under_no_difference_misleads_no_more_often_than_promised() -> None:
    wrong = sum(
        compare_outcomes(outcomes(200, 0.5, 0.5, seed=seed), rule=Rule(alpha=0.2, resamples=20))["verdict"] != "not yet"
        for seed in range(100)
    )
    assert wrong <= stats.binom.ppf(0.999, 100, 0.2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"unit": 1, "variant": "A"}, "outcome 1 is no object with"),
        ({"unit": 1, "variant": "C", "outcome": 1}, "A or B, not 'C'"),
        ({"unit": 1, "variant": "A", "outcome": 2}, "no number from 0 to 1"),
        ({"unit": 1, "variant": "A", "outcome": "yes"}, "no number from 0 to 1"),
        ({"unit": 1, "variant": "A", "outcome": math.nan}, "no number from 0 to 1"),
        ({"unit": 0, "variant": "A", "outcome": 1}, "a second outcome"),
        ({"unit": 0, "variant": "B", "outcome": 1}, "both variants"),
    ],
)
def test_outcomes_that_are_none_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare_outcomes([{"unit": 0, "variant": "A", "outcome": 1}, row], rule=Rule())


def test_outcomes_are_read_line_by_line() -> None:
    assert read_outcomes('{"unit": 1}\n\n{"unit": 2}\n') == [{"unit": 1}, {"unit": 2}]
    with pytest.raises(DataError, match="line 2"):
        read_outcomes('{"unit": 1}\n{"unit"')
    with pytest.raises(ConfigError, match="are none"):
        OutcomeRule(low=1, high=1)


def test_no_outcomes_are_no_verdict() -> None:
    found = compare_outcomes([], rule=Rule())
    assert (found["verdict"], found["mean"], found["samples"]) == ("not yet", None, 0)
    assert json.loads(json.dumps(found)) == found and table(found).startswith("verdict: not yet")


def test_judging_needs_no_torch() -> None:
    code = "import sys, trainer.deploy.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# The task.

BYTES = ByteTokenizer()
TEXTS = [f"{'ab' * (8 + n % 5)} {n % 7}" for n in range(60)]


def saved(folder: Path, tokenizer: Any = BYTES, reward: bool = False, sharp: bool = False, layers: int = 1) -> str:
    """A model to which all tokens are alike; a sharp one knows that b follows a, and a follows b."""
    plain = {"family": "dense", "width": 16, "layers": layers, "heads": 2, "vocab": tokenizer.size}
    module = build(plain, 1)
    if not reward:
        module.head.weight.data.zero_()
    for block in module.blocks if sharp else ():
        block.attention.out.weight.data.zero_()
        block.feed.down.weight.data.zero_()
    for one, other in (("a", "b"), ("b", "a")) if sharp else ():
        module.head.weight.data[ord(other)] = 2 * torch.nn.functional.normalize(
            module.embedding.weight.data[ord(one)], dim=0
        )
    kind: Any = "reward" if reward else "language"
    save_model(folder, Model(kind, plain, ScalarHead(module, 2) if reward else module, tokenizer, {"stage": "sft"}))
    return str(folder)


def run(
    folder: Path, models: dict[str, str], dataset: Path | None, capsys: pytest.CaptureFixture[str], **config: Any
) -> dict[str, Any]:
    plain = {
        "task": "compare", "config": config, "output": str(folder / "out"),
        "models": [{"role": role, "name": role, "version": 1, "location": place} for role, place in models.items()],
        "datasets": [{"name": "d", "version": 1, "location": str(dataset)}] if dataset else [],
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(plain))
    code = main(["--job", str(folder / "job.json")])
    said = capsys.readouterr()
    if code:
        return {"refused": said.err}
    result = json.loads((folder / "out" / "result.json").read_text())
    assert said.out.strip().splitlines()[-1] == json.dumps(
        {"type": "result", "task": "compare", **result}, ensure_ascii=False
    )
    return result


def test_models_are_compared_on_the_same_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = publish(tmp_path / "d", "corpus", [{"id": f"i{n}", "text": text} for n, text in enumerate(TEXTS)])
    models = {"a": saved(tmp_path / "a"), "b": saved(tmp_path / "b", sharp=True, layers=2)}
    result = run(tmp_path, models, corpus, capsys, bound=8.0)
    assert result["verdict"] == "B" and result["samples"] == 60 and result["unit"] == "bits per byte"
    assert result["b_mean"] < result["a_mean"] and result["mean"] == pytest.approx(
        result["b_mean"] - result["a_mean"], abs=1e-6
    )
    assert result["costs"]["b"] > result["costs"]["a"] and "and dearer" in result["why"]
    rows = [json.loads(line) for line in (tmp_path / "out" / "a" / "documents.jsonl").read_text().splitlines()]
    assert result["a_mean"] == pytest.approx(np.mean([row["loss"] / math.log(2) / row["bytes"] for row in rows]))
    assert result["table"] == table(result) and result["models"][0] == {"role": "a", "name": "a", "version": 1}


def test_models_with_other_tokenizers_are_compared_by_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = publish(tmp_path / "d", "corpus", [{"id": f"i{n}", "text": text} for n, text in enumerate(TEXTS)])
    models = {"a": saved(tmp_path / "a"), "b": saved(tmp_path / "b", tokenizer=fit(TEXTS, 300))}
    result = run(tmp_path, models, corpus, capsys, bound=8.0, rule={"margin": 0.2})
    # a text of n bytes costs its tokens and its end times log2 of the vocabulary
    sizes = [len(text) for text in TEXTS]
    assert result["a_mean"] == pytest.approx(np.mean([(n + 1) / n * math.log2(BYTES.size) for n in sizes]), rel=1e-4)
    assert result["b_mean"] < 0.7 * result["a_mean"] and result["verdict"] == "B"


def test_the_same_model_twice_is_a_tie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = publish(tmp_path / "d", "corpus", [{"id": f"i{n}", "text": text} for n, text in enumerate(TEXTS * 3)])
    one = saved(tmp_path / "a")
    result = run(tmp_path, {"a": one, "b": one}, corpus, capsys, bound=0.2, rule={"margin": 0.05})
    assert (result["verdict"], result["quality"], result["mean"]) == ("either", "tie", 0.0)
    cheaper = run(tmp_path, {"a": one, "b": one}, corpus, capsys, bound=0.2, rule={"margin": 0.05},
                  costs={"a": 3, "b": 2, "unit": "seconds"})  # fmt: skip
    assert cheaper["verdict"] == "B" and "B is cheaper" in cheaper["why"] and "1.5 times" in cheaper["table"]


def test_models_are_compared_by_their_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = publish(tmp_path / "d", "preferences", [pair(f"say {n}", "yes", "no") for n in range(30)])
    models = {
        "a": saved(tmp_path / "a"),
        "b": saved(tmp_path / "b", sharp=True),
        "reward": saved(tmp_path / "r", reward=True),
    }
    answers = {"sampling": {"new_tokens": 6}, "first": 30}
    result = run(tmp_path, models, pairs, capsys, evidence="answers", answers=answers)
    rows = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    won = sum({"a": 1, "tie": 0.5, "b": 0}[row["winner"]] for row in rows) / len(rows)
    assert result["samples"] == 30 and result["a_mean"] == pytest.approx(won)
    assert result["mean"] == pytest.approx(2 * won - 1)


def test_outcomes_are_compared_by_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(tmp_path, {}, None, capsys, evidence="outcomes", rows=outcomes(2000, 0.6, 0.4))
    assert result["verdict"] == "A" and result["evidence"] == "outcomes" and "units" in result["table"]


@pytest.mark.parametrize(
    ("models", "config", "message"),
    [
        ({"a": "a"}, {}, "role 'b'"),
        ({"a": "a", "b": "a"}, {"evidence": "answers"}, "role 'reward'"),
        ({"a": "a"}, {"evidence": "answers"}, "role 'b'"),
        ({"a": "a", "b": "a", "reward": "a"}, {}, "'reward'"),
        ({"a": "a", "b": "a"}, {"rows": [{"unit": 1}]}, "/config/rows"),
        ({"a": "a", "b": "a"}, {"evidence": "outcomes"}, "without models"),
        ({}, {"evidence": "outcomes", "rule": {"alpha": 0}}, "/config/rule/alpha"),
        ({}, {"evidence": "outcomes", "costs": {"a": 0, "b": 1}}, "/config/costs/a"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], models: dict[str, str], config: dict[str, Any], message: str
) -> None:
    corpus = publish(tmp_path / "d", "corpus", [{"id": "i", "text": "a text"}])
    place = saved(tmp_path / "a")
    refused = run(tmp_path, dict.fromkeys(models, place), corpus, capsys, **config)
    assert message in refused["refused"]
