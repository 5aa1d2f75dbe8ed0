"""Advice leads everywhere, is what the trainer accepts, and rests on the trainer's own figures."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.published import publish
from trainer.config import from_dict
from trainer.deploy import facts
from trainer.deploy.advise import (
    TESTS,
    Advice,
    advise,
    checked,
    derived,
    language_weights,
    questions,
    table,
    walk,
)
from trainer.deploy.cost import BANDWIDTHS, count
from trainer.deploy.estimates import (
    active_parameters,
    cache_bytes,
    parameters,
    training_flops,
    training_memory,
    working_parameters,
)
from trainer.deploy.facts import DEVICES, RANGES, SIZES
from trainer.deploy.tree import ALIGNMENT_LEAVES, ALIGNMENT_TREE, FAMILY_TREE, LEAVES, QUESTIONS, TASKS
from trainer.errors import ConfigError
from trainer.main import main
from trainer.models import FAMILIES, build, configure
from trainer.models.accounting import training_flops as exact_flops
from trainer.tasks import train
from trainer.train.metrics import PEAKS

GRID: dict[str, list[Any]] = {
    "task": list(TASKS),
    "document_tokens": [None, 1024, 4096, 30_000],
    "domain": ["general", "law", "many"],
    "gpus": [0, 1],
    "gpu": ["H100", "L4"],
    "corpus_tokens": [1e8, 1e11],
    "instructions": [0, 10_000],
    "preferences": [0, 2_000, 5_000],
}


def grid() -> list[dict[str, Any]]:
    return [dict(zip(GRID, values, strict=True)) for values in itertools.product(*GRID.values())]


def test_every_branch_of_the_trees_is_taken_and_every_leaf_reached() -> None:
    reached: set[str] = set()
    taken: set[tuple[str, str]] = set()
    for answers in grid():
        full = checked(answers)
        known = {**full, **derived(full)}
        for tree, start in ((FAMILY_TREE, "task"), (ALIGNMENT_TREE, "shown")):
            leaf, path = walk(tree, start, known)
            reached.add(leaf)
            taken.update((step["node"], step["why"]) for step in path)
    assert reached == {*LEAVES, *ALIGNMENT_LEAVES}
    branches = {(name, branch.why) for tree in (FAMILY_TREE, ALIGNMENT_TREE) for name, node in tree.items()
                for branch in node.branches}  # fmt: skip
    assert taken == branches


def test_trees_are_whole() -> None:
    for tree, leaves in ((FAMILY_TREE, LEAVES), (ALIGNMENT_TREE, ALIGNMENT_LEAVES)):
        for name, node in tree.items():
            assert name not in leaves and node.branches[-1].test == "else"
            for branch in node.branches:
                assert branch.to in tree or branch.to in leaves
                assert branch.test in TESTS and branch.why
    known = checked({"task": "chat"})
    asked = {node.ask for tree in (FAMILY_TREE, ALIGNMENT_TREE) for node in tree.values()}
    assert asked <= {*known, *derived(known)}
    assert all(leaf.family in FAMILIES and leaf.why and leaf.stages[0] == "pretrain" for leaf in LEAVES.values())


def test_all_jobs_are_what_the_trainer_accepts() -> None:
    seen = set()
    for answers in grid():
        advice = advise(answers)
        for stage in advice.stages:
            config = from_dict(train.Config, stage["config"])
            assert config.stage == stage["stage"] and stage["datasets"] in train.KINDS[config.stage]
            assert (config.model is None) == (stage["start"] is not None)
            if config.model is not None:
                model = configure({**config.model, "vocab": config.tokenizer.size})
                assert model.parameters() == advice.estimates["parameters"]
                chunk = getattr(model, "chunk", 1)
                assert config.data.tokens % chunk == 0 and config.data.tokens < chunk << getattr(model, "levels", 30)
            seen.add((advice.family, config.stage))
        before = [stage["stage"] for stage in advice.stages]
        assert all(stage["start"] in before[:n] for n, stage in enumerate(advice.stages) if n)
    assert seen == set(itertools.product(FAMILIES, ("pretrain", "sft", "dpo", "reward", "ppo")))


def test_every_size_is_accepted_in_every_family() -> None:
    for name, family in itertools.product(SIZES, FAMILIES):
        if family != "assistant" or name in facts.EXPERT_SIZES:
            configure(plain(name, family))


def plain(name: str, family: str, **more: Any) -> dict[str, Any]:
    size = SIZES[name]
    settings = {"family": family, "width": size.width, "layers": size.layers, "heads": size.heads}
    special: dict[str, dict[str, Any]] = {
        "assistant": {"experts": 96, "active": 2, "kv_heads": 4}, "longdoc": {"chunk": 512, "pairs": 32}, "dense": {},
    }  # fmt: skip
    return {**settings, **special[family], **more}


# What numbers rest on is what the trainer says.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["small", "base", "medium"])
def test_counts_are_those_of_the_models(family: str, name: str) -> None:
    settings, vocab = plain(name, family), 5000
    config = configure({**settings, "vocab": vocab})
    assert parameters(settings, vocab) == config.parameters()
    assert active_parameters(settings, vocab) == config.active_parameters()
    for tokens in (1, 511, 512, 3000, 70_000):
        assert cache_bytes(settings, tokens) == config.cache_bytes(tokens, torch.bfloat16)
        assert cache_bytes(settings, tokens, 4) == config.cache_bytes(tokens, torch.float32)
    for row in (512, 2048, 8192, 32768):
        assert training_flops(settings, vocab, row) * row == pytest.approx(exact_flops(config, row), rel=0.03)
    for batch in (1, 7, 300):
        counted = count(config, 512, batch, 2, torch.bfloat16)
        weights = counted.token_bytes - batch * config.cache_bytes(513, torch.bfloat16)
        predictors = working_parameters(settings, vocab, batch) * 2 - weights  # read in training, not when decoding
        assert 0 <= predictors < 0.05 * weights or predictors == pytest.approx(0, abs=4)


@pytest.mark.parametrize(("family", "row"), [("dense", 1024), ("assistant", 1024), ("longdoc", 4096)])
def test_activations_are_about_those_that_modules_keep(family: str, row: int) -> None:
    kept = []
    for layers in (2, 4):  # the difference is of two layers with experts, and of nothing else
        settings = plain("tiny", family, layers=layers)
        module = build({**settings, "vocab": 300}, 1)
        weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
        found: dict[int, int] = {}
        alive: list[Tensor] = []

        def keep(tensor: Tensor, weights: set[int] = weights, found: dict[int, int] = found,
                 alive: list[Tensor] = alive) -> Tensor:  # fmt: skip
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                found[storage.data_ptr()] = storage.nbytes()
                alive.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(torch.randint(300, (1, row)), None, torch.bfloat16)
        kept.append((sum(found.values()), training_memory(settings, 300, (1, row), bf16=True, full=False)))
    measured = kept[1][0] - kept[0][0]
    estimated = sum(kept[1][1][1:]) - sum(kept[0][1][1:])
    assert estimated == pytest.approx(measured, rel=0.15)


def test_devices_are_those_of_the_trainer() -> None:
    for name, device in DEVICES.items():
        seen = name.replace("RTX ", "").replace("A100-80GB", "A100-SXM4-80GB")
        assert device.flops == next(peak for part, peak in PEAKS.items() if part in seen)
        assert device.bandwidth == next(peak for part, peak in BANDWIDTHS.items() if part in seen)


def test_ranges_are_those_of_the_configurations() -> None:
    for owner, rows in RANGES.items():
        for row in rows:
            *places, name = row["field"].strip("/").split("/")
            cls: Any = FAMILIES[owner][0] if places == ["model"] else train.Config
            for place in places if cls is train.Config else ():
                cls = {f.name: type(f.default_factory()) for f in dataclasses.fields(cls)
                       if f.default_factory is not dataclasses.MISSING}[place]  # fmt: skip
            metadata = {field.name: field.metadata for field in dataclasses.fields(cls)}[name]
            if "range" in metadata and "factor" not in row:
                assert (row["low"], row["high"]) == (metadata["range"].low, metadata["range"].high), row["field"]
            elif "limit" in metadata and "factor" not in row:
                assert row["low"] in metadata["limit"] and row["high"] in metadata["limit"]
    names = {"/model/chunk", "/model/gate_threshold", "/model/experts", "/model/active", "/dpo/beta", "/policy/clip"}
    assert names <= {row["field"] for rows in RANGES.values() for row in rows}


def test_where_to_start_lies_in_the_range() -> None:
    for answers in grid()[::17]:
        for row in advise(answers).ranges:
            assert row["low"] <= row["high"] and row["why"]
            assert row["start"] is None or row["low"] <= row["start"] <= row["high"]


def test_asking_needs_no_torch() -> None:
    code = (
        "import sys\nfrom trainer.deploy.advise import advise, table\n"
        "table(advise({'task': 'chat', 'instructions': 9, 'preferences': 900}))\n"
        "sys.exit(any(name.split('.')[0] == 'torch' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What is said follows from what is there.

ANSWERS = st.fixed_dictionaries(
    {"task": st.sampled_from(TASKS)},
    optional={
        "document_tokens": st.integers(1, 1_000_000),
        "domain": st.sampled_from(QUESTIONS["domain"].choices),
        "languages": st.dictionaries(st.sampled_from(["en", "zh", "de", "fr"]), st.floats(0.01, 1e9), min_size=1),
        "corpus_tokens": st.floats(1, 1e14), "instructions": st.integers(0, 10**7),
        "preferences": st.integers(0, 10**7), "gpus": st.integers(0, 64), "gpu": st.sampled_from(list(DEVICES)),
        "cpu_memory_gib": st.floats(1, 4096), "days": st.floats(0.01, 1000), "latency_ms": st.floats(0, 1e4),
        "batch": st.integers(1, 10_000),
    },
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(ANSWERS)
def test_any_answers_get_advice_that_fits_or_a_warning(answers: dict[str, Any]) -> None:
    advice = advise(answers)
    estimates = advice.estimates
    too_large = any("too large" in text for text in advice.warnings)
    assert too_large or estimates["training_bytes"] <= estimates["device_bytes"]
    assert too_large or estimates["training_seconds"] <= 86400 * advice.answers["days"]
    assert too_large or estimates["serving_weight_bytes"] + estimates["serving_cache_bytes"] < estimates["device_bytes"]
    assert estimates["epochs"] <= facts.MOST_EPOCHS * (1 + 1e-9)
    assert all(math.isfinite(figure) and figure > 0 for figure in estimates.values())
    assert json.loads(json.dumps(advice.to_dict(), allow_nan=False)) == advice.to_dict()
    for stage in advice.stages:
        from_dict(train.Config, stage["config"])
    text = table(advice)
    assert advice.family in text and all(stage["stage"] in text for stage in advice.stages)
    assert "estimated, not measured" in text and "MFU" in text


def rank(advice: Advice) -> int:
    return list(SIZES).index(advice.size)


@settings(max_examples=100, deadline=None)
@given(ANSWERS, st.sampled_from(["days", "cpu_memory_gib", "latency_ms"]))
def test_more_room_never_makes_a_model_smaller(answers: dict[str, Any], what: str) -> None:
    answers = {**answers, what: answers.get(what) or 5.0}
    assert rank(advise(answers)) <= rank(advise({**answers, what: answers[what] * 10}))


def test_a_slow_device_a_short_time_or_little_text_make_it_smaller_and_say_so() -> None:
    free = {"task": "chat", "corpus_tokens": 1e9, "gpu": "H100"}  # dense, for want of tokens
    large = advise({**free, "corpus_tokens": 1.9e9, "days": 100})
    for change, word in (
        ({"corpus_tokens": 1e7}, "too few"), ({"days": 0.02}, "longer than 0.02 days"),
        ({"latency_ms": 0.1}, "longer than 0.1 ms"), ({"batch": 4000}, "serving 4,000 at once"),
    ):  # fmt: skip
        small = advise({**free, "corpus_tokens": 1.9e9, "days": 100, **change})
        assert rank(small) < rank(large)
        assert any(word in reason for reason in small.reasons)


@pytest.mark.parametrize(
    ("answers", "family", "word"),
    [
        ({"task": "summarisation"}, "longdoc", "gist"),
        ({"task": "retrieval"}, "longdoc", "single facts"),
        ({"task": "summarisation", "domain": "law"}, "longdoc", "single facts"),
        ({"task": "classification"}, "dense", "2,048"),
        ({"task": "classification", "document_tokens": 9000}, "longdoc", "gist"),
        ({"task": "chat", "corpus_tokens": 5e10}, "assistant", "experts"),
        ({"task": "chat", "corpus_tokens": 5e10, "gpu": "L4"}, "dense", "32 GiB"),
        ({"task": "chat", "corpus_tokens": 5e10, "gpus": 0}, "dense", "CPU"),
        ({"task": "code", "document_tokens": 30_000}, "longdoc", "repositories"),
        ({"task": "text", "corpus_tokens": 5e10}, "assistant", "experts"),
        ({"task": "text", "corpus_tokens": 1e8}, "dense", "nothing is won"),
    ],
)
def test_what_a_model_is_for_decides_its_family(answers: dict[str, Any], family: str, word: str) -> None:
    advice = advise(answers)
    assert advice.family == family
    assert word in " ".join([*(step["why"] for step in advice.path), *advice.reasons])


def test_settings_follow_from_answers() -> None:
    broad = advise({"task": "chat", "corpus_tokens": 5e10, "languages": {"en": 9, "zh": 1}})
    narrow = advise({"task": "chat", "corpus_tokens": 5e10})
    first, other = broad.stages[0]["config"], narrow.stages[0]["config"]
    assert (first["model"]["experts"], other["model"]["experts"]) == (128, 96)
    assert first["tokenizer"]["size"] - 8 == 2 * (other["tokenizer"]["size"] - 8)
    assert first["data"]["weights"] == {"language": {"en": 1.0, "zh": 1.933}} and "weights" not in other["data"]
    facts_of_law = advise({"task": "summarisation", "domain": "law"}).stages[0]["config"]["model"]
    assert facts_of_law["pairs"] == 32 and facts_of_law["chunk"] == 512
    assert advise({"task": "summarisation", "document_tokens": 20_000}).stages[0]["config"]["model"]["chunk"] == 1024
    tuned = advise({"task": "chat", "instructions": 5000, "preferences": 2000})
    assert [stage["stage"] for stage in tuned.stages] == ["pretrain", "sft", "dpo", "reward"]
    rewarded = advise({"task": "chat", "instructions": 5000, "preferences": 9000})
    assert [stage["stage"] for stage in rewarded.stages] == ["pretrain", "sft", "reward", "ppo"]
    assert rewarded.estimates["device_bytes"] >= 40 * rewarded.estimates["parameters"]
    assert advise({"task": "chat", "preferences": 2000}).warnings[0].startswith("preferences are of no use")


def test_languages_are_seen_by_their_share_to_a_power() -> None:
    shares = {"en": 900.0, "de": 90.0, "fi": 9.0}
    weights = language_weights(shares)
    total = sum(share**0.7 for share in shares.values())
    seen = {name: shares[name] * weights[name] for name in shares}
    for name, share in shares.items():
        assert seen[name] / sum(seen.values()) == pytest.approx(share**0.7 / total, rel=1e-3)
    assert max(shares, key=lambda name: -weights[name]) == "en" and weights["en"] == 1


@pytest.mark.parametrize(
    ("answers", "pointer"),
    [
        ({}, "/task"), ({"task": "poems"}, "/task"), ({"task": "chat", "gpu": "H1000"}, "/gpu"),
        ({"task": "chat", "gpus": -1}, "/gpus"), ({"task": "chat", "gpus": 1.5}, "/gpus"),
        ({"task": "chat", "gpus": True}, "/gpus"), ({"task": "chat", "corpus_tokens": "many"}, "/corpus_tokens"),
        ({"task": "chat", "corpus_tokens": math.nan}, "/corpus_tokens"), ({"task": "chat", "days": 0}, "/days"),
        ({"task": "chat", "languages": []}, "/languages"), ({"task": "chat", "languages": {"en": 0}}, "/languages"),
        ({"task": "chat", "languages": "en"}, "/languages"), ({"task": "chat", "langauges": ["en"]}, "/langauges"),
    ],
)  # fmt: skip
def test_answers_that_are_none_are_refused(answers: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        advise(answers)
    assert caught.value.pointer == pointer


def test_questions_can_be_shown() -> None:
    asked = {question["name"]: question for question in json.loads(json.dumps(questions()))}
    assert set(asked) == set(QUESTIONS) and all(question["text"] for question in asked.values())
    assert asked["document_tokens"]["by_task"]["chat"] == 1024
    assert advise({"task": "chat", "languages": ["en", "de"]}).answers["languages"] == {"en": 1.0, "de": 1.0}


def test_a_job_of_advice_is_a_training(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": f"{n} " + "words of a page " * 20} for n in range(40)]
    corpus = publish(tmp_path / "d", "corpus", rows)
    config = advise({"task": "text", "gpus": 0, "corpus_tokens": 1e4}).stages[0]["config"]
    config["loop"].update(steps=2, accumulate=1)  # all else as advised
    config["data"]["rows"] = 2
    job = {"datasets": [{"location": str(corpus)}], "config": config, "output": str(tmp_path / "out")}
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert main(["--job", str(tmp_path / "job.json")]) == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text())["steps"] == 2
