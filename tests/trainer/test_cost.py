"""What a model costs is counted as by hand, measured as it runs, and told the same in both forms."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainer.data.tokenizer import ByteTokenizer
from trainer.deploy import cost
from trainer.deploy.cost import (
    CostConfig,
    Counts,
    Run,
    Subject,
    count,
    measure,
    problem_of,
    run_once,
    state_bytes,
    table,
)
from trainer.errors import ConfigError
from trainer.main import main
from trainer.model_folder import Model, save_model
from trainer.models import build, configure
from trainer.models.heads import ScalarHead

CPU = torch.device("cpu")
SMALL = {"width": 32, "layers": 2, "heads": 4, "vocab": 264}
FAMILIES: dict[str, dict[str, Any]] = {
    "dense": {"family": "dense", **SMALL},
    "assistant": {"family": "assistant", **SMALL, "kv_heads": 2, "experts": 8, "allow_beyond": ["experts"]},
    "longdoc": {"family": "longdoc", **SMALL, "chunk": 16, "pairs": 4, "levels": 3, "allow_beyond": ["chunk"]},
}
QUICK = {"lengths": (24,), "batches": (1, 2), "new_tokens": 3, "repeats": 2, "warmup": 0}


def subjects(*families: str) -> list[Subject]:
    return [Subject(name, build(FAMILIES[name], 1)) for name in families or FAMILIES]


def measured(*families: str, **config: Any) -> dict[str, Any]:
    return measure(subjects(*families), CostConfig(**{**QUICK, **config}), CPU)


def test_a_dense_model_is_counted_as_by_hand() -> None:
    width, layers, vocab, hidden = 32, 2, 264, 88
    length, batch, new = 10, 3, 4
    found = count(configure(FAMILIES["dense"]), length, batch, new, torch.float16)
    weights = 2 * vocab * width + layers * (4 * width**2 + 3 * width * hidden + 2 * width) + width
    assert found.weight_bytes == 2 * weights
    assert found.cache_bytes_row == 2 * layers * width * (length + new) * 2
    products = layers * (4 * width**2 + 3 * width * hidden)
    scores = sum(range(1, length + 1)) * 4 * width * layers
    assert found.prefill_flops == batch * (2 * length * products + scores + 2 * width * vocab)
    pairs = sum(length + n for n in range(1, new + 1)) / new
    assert found.token_flops == batch * (2 * products + 4 * width * layers * pairs + 2 * width * vocab)
    read = weights - vocab * width  # of the embedding only a row of each token
    assert found.token_bytes == 2 * read + batch * 2 * layers * width * (length + new // 2) * 2


def test_experts_that_no_token_chose_are_not_read() -> None:
    config = configure({**FAMILIES["assistant"], "prediction": "off"})
    one, many = (count(config, 8, batch, 2, torch.float32) for batch in (1, 10_000))
    states = [config.cache_bytes(9, torch.float32) * batch for batch in (1, 10_000)]
    outside = config.vocab * config.width
    assert one.token_bytes - states[0] == 4 * (config.active_parameters() - outside)
    assert many.token_bytes - states[1] == pytest.approx(4 * (config.parameters() - outside))
    # two tokens of 8 experts, each with 2: 2 + 2 · 6 / 8 different ones in the mean
    two = count(config, 8, 2, 2, torch.float32).token_bytes - 2 * states[0]
    met = (config.parameters() - config.active_parameters()) * 1.5 / 6
    assert two == pytest.approx(4 * (config.active_parameters() + met - outside), abs=4)


def test_a_tied_weight_is_read_for_the_head() -> None:
    tied, plain = (count(configure({**FAMILIES["dense"], "tie": tie}), 8, 1, 2, torch.float32) for tie in (True, False))
    assert tied.token_bytes == plain.token_bytes and tied.weight_bytes < plain.weight_bytes


@pytest.mark.parametrize("family", ["dense", "longdoc"])
def test_operations_of_a_prefill_are_those_of_the_module(family: str) -> None:
    (subject,) = subjects(family)
    length, config, meta = 15, subject.module.config, torch.device("meta")  # less than a chunk: no nodes
    module = subject.module.to(meta)
    state = module.state(2, meta, torch.float32, length + 1)
    with FlopCounterMode(display=False) as counter:
        module.logits(module.decode(torch.zeros(2, length, dtype=torch.long, device=meta), state)[:, -1])
    masked = 2 * config.layers * 4 * config.width * (length**2 - length * (length + 1) // 2)
    assert counter.get_total_flops() == count(config, length, 2, 1, torch.float32).prefill_flops + masked


def test_predictors_of_routing_do_not_run_and_take_memory() -> None:
    with_them, without = (configure({**FAMILIES["assistant"], "prediction": how}) for how in ("measure", "off"))
    one, two = (count(config, 8, 1, 2, torch.float32) for config in (with_them, without))
    assert one[1:] == two[1:]
    assert one.weight_bytes - two.weight_bytes == 4 * (32 * 64 + 64 * 8 + 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_states_take_what_was_counted(family: str) -> None:
    (found,) = measured(family, batches=(2,), precisions=("bf16",))["cells"]
    # dense states hold whole lanes of 16 tokens for 27 tokens and a place beside; and every state its rows' lengths
    places = 32 / 27 if family != "longdoc" else 1
    assert found["state_bytes_row"] == pytest.approx(found["cache_bytes_row"] * places, abs=64)


def test_tensors_that_states_share_are_counted_once() -> None:
    x = torch.zeros(4, 8)
    assert state_bytes([x, x[1:], {"no": "list"}, (x, torch.zeros(2, dtype=torch.int64))]) == 4 * 8 * 4 + 16


def test_answers_are_the_likeliest_tokens_of_the_model() -> None:
    (subject,) = subjects("dense")
    tokens_BT = torch.randint(264, (2, 5), generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []
    decode = subject.module.decode
    subject.module.decode = lambda given_BT, state: (seen.append(given_BT), decode(given_BT, state))[1]
    run = run_once(subject.module, tokens_BT, 4, torch.float32)
    assert run.finite and len(run.tokens) == 4 and [x.shape[1] for x in seen] == [5, 1, 1, 1, 1]
    said_BT = torch.cat(seen, 1)
    logits_BTV = subject.module.logits(subject.module(said_BT).hidden_BTD)
    assert torch.equal(logits_BTV[:, 4:-1].argmax(-1), said_BT[:, 5:])


def test_all_cells_are_there_and_whole() -> None:
    result = measured(precisions=("fp32", "bf16"), lengths=(8, 24))
    names = [(c["model"], c["precision"], c["length"], c["batch"]) for c in result["cells"]]
    assert sorted(names) == sorted(
        (m, p, n, b) for m in FAMILIES for p in ("fp32", "bf16") for n in (8, 24) for b in (1, 2)
    )
    for cell in result["cells"]:
        assert cell["problem"] is None and cell["finite"] is True
        assert 0 < cell["token_seconds_p50"] <= cell["token_seconds_p99"]
        assert cell["prefill_seconds"] > 0 and cell["tokens_per_second"] > 0
        assert cell["peak_bytes"] is None or cell["peak_bytes"] >= cell["weight_bytes"] + cell["state_bytes_row"]
        assert cell["mfu"] is None and cell["mbu"] is None  # nobody knows the peaks of a CPU
        assert set(Counts._fields) < set(cell)


def test_models_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    names = {264: "dense", 265: "other"}

    def fake(module: Any, tokens_BT: torch.Tensor, new_tokens: int, dtype: torch.dtype) -> Run:
        order.append(names[module.config.vocab])
        return Run(float(len(order)), [1.0, 3.0], 7, 10, True)

    monkeypatch.setattr(cost, "run_once", fake)
    two = [*subjects("dense"), Subject("other", build({**FAMILIES["dense"], "vocab": 265}, 1))]
    result = measure(two, CostConfig(**{**QUICK, "batches": (4,), "repeats": 3, "warmup": 1}), CPU)
    assert order == ["dense", "other", "other", "dense", "dense", "other", "other", "dense"]
    first, second = result["cells"]
    assert (first["prefill_seconds"], second["prefill_seconds"]) == (5.0, 6.0)  # medians of 4, 5, 8 and 3, 6, 7
    assert first["token_seconds_p50"] == 2.0 and first["tokens_per_second"] == 4 * 2 / 4.0
    assert first["peak_bytes"] == first["weight_bytes"] + 10 and first["state_bytes_row"] == 3


def test_shares_of_what_a_device_could_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "peak_flops", lambda device: 1e9)
    monkeypatch.setattr(cost, "peak_bandwidth", lambda device: 1e8)
    monkeypatch.setattr(cost, "run_once", lambda *_: Run(0.5, [0.25], None, 0, True))
    half, full = measured("dense", batches=(1,), precisions=("fp16", "fp32"))["cells"]
    assert half["mfu"] == pytest.approx(half["prefill_flops"] / 0.5 / 1e9)
    assert half["mbu"] == pytest.approx(half["token_bytes"] / 0.25 / 1e8)
    assert full["mfu"] is None and full["mbu"] == pytest.approx(full["token_bytes"] / 0.25 / 1e8)
    assert half["peak_bytes"] is None


def test_table_and_data_say_the_same() -> None:
    result = measured(lengths=(8, 30), precisions=("fp32",))
    head, _, titles, *lines = table(result).splitlines()
    assert "medians of 2" in head and "3 new tokens" in head and len(lines) == len(result["cells"])
    columns = [titles.index(word) + len(word) for word in ("length", "batch", "tokens/s", "weights", "prefill FLOP")]
    for line, cell in zip(lines, result["cells"], strict=True):
        said = [re.split(r"\s{2,}", line[:end].strip())[-1] for end in columns]
        wanted = [cell[n] for n in ("length", "batch", "tokens_per_second", "weight_bytes", "prefill_flops")]
        assert [read(text) for text in said] == pytest.approx(wanted, rel=0.01)
        assert line.startswith(f"{cell['model']} ") and cell["precision"] in line
    assert json.loads(json.dumps(result)) == result


def read(text: str) -> float:
    number, _, unit = text.partition(" ")
    return float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "B": 1, "KiB": 2**10, "MiB": 2**20}[unit]


# What does not work is said in its cell.


def test_overflow_of_fp16_is_seen() -> None:
    (subject,) = subjects("dense")
    with torch.no_grad():
        subject.module.head.weight.mul_(1e5)
    result = measure([subject], CostConfig(**{**QUICK, "batches": (1,), "precisions": ("fp16", "bf16")}), CPU)
    assert [cell["finite"] for cell in result["cells"]] == [False, True]
    lines = table(result).splitlines()
    assert "overflow" in lines[-2] and "overflow" not in lines[-1]


@pytest.mark.parametrize("place", [0, 2, 3])
def test_one_step_that_overflows_is_enough(place: int) -> None:
    (subject,) = subjects("dense")
    logits, steps = subject.module.logits, iter(range(4))
    subject.module.logits = lambda x_BD: logits(x_BD) * (math.inf if next(steps) == place else 1)
    assert not run_once(subject.module, torch.zeros(2, 4, dtype=torch.long), 3, torch.float32).finite


def test_a_length_that_a_model_cannot_hold_is_said_beside_those_that_can() -> None:
    result = measured("dense", "longdoc", lengths=(125, 124), batches=(1,))  # 16 · 2^3 = 128 are too many
    problems = {(cell["model"], cell["length"]): cell["problem"] for cell in result["cells"]}
    assert problems.pop(("longdoc", 125)) == "too long: holds less than 128 tokens"
    assert set(problems.values()) == {None}
    (cell,) = [cell for cell in result["cells"] if cell["problem"]]
    assert cell["token_seconds_p50"] is None and cell["finite"] is None and cell["cache_bytes_row"] > 0
    assert "too long" in table(result)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'"), "not supported: \"addmm_impl_cpu_\""),
        (NotImplementedError("no kernel for this type"), "not supported: no kernel"),
    ],
)  # fmt: skip
def test_what_a_device_cannot_do_is_said_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    once = run_once

    def failing(module: Any, tokens_BT: torch.Tensor, *more: Any) -> Run:
        if len(tokens_BT) == 2 and module.config.__class__.__name__ == "DenseConfig":
            raise error
        return once(module, tokens_BT, *more)

    monkeypatch.setattr(cost, "run_once", failing)
    cells = measured("dense", "assistant")["cells"]
    failed = [cell for cell in cells if cell["problem"]]
    assert len(cells) == 4 and [(cell["model"], cell["batch"]) for cell in failed] == [("dense", 2)]
    assert failed[0]["problem"].startswith(said) and failed[0]["prefill_seconds"] is None


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        problem_of(RuntimeError("shapes cannot be multiplied"))


def test_states_that_do_not_fit_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "free_memory", lambda device: 20_000)
    one, two = measured("dense")["cells"]
    assert one["problem"] is None and two["problem"].startswith("out of memory: the states take")
    assert two["cache_bytes_row"] * 2 > 20_000 > one["cache_bytes_row"]


@pytest.mark.parametrize(
    ("config", "pointer"),
    [
        ({"batches": (0,)}, "/batches/0"), ({"batches": (1, -2)}, "/batches/1"), ({"lengths": (8, 0)}, "/lengths/1"),
        ({"lengths": ()}, "/lengths"), ({"precisions": ()}, "/precisions"), ({"new_tokens": 0}, "/new_tokens"),
        ({"repeats": 0}, "/repeats"), ({"warmup": -1}, "/warmup"),
    ],
)  # fmt: skip
def test_what_measures_nothing_is_refused(config: dict[str, Any], pointer: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CostConfig(**config)
    assert caught.value.pointer == pointer


def test_models_need_names_of_their_own() -> None:
    with pytest.raises(ConfigError, match="names of their own"):
        measure([*subjects("dense"), *subjects("dense")], CostConfig(), CPU)


# The task.


def test_the_largest_result_is_a_line_that_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cost, "run_once", lambda *_: Run(1 / 3, [2 / 3, 1 / 7], 1 << 40, 1 << 40, True))
    name = "a-name-as-long-as-they-come-at-version@12"
    assert do(tmp_path, [], fresh={name: FAMILIES["longdoc"]}, lengths=[100] * 36, batches=[1, 99]) == 0
    assert (tmp_path / "out" / "result.json").stat().st_size > 20_000
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(json.dumps(result)) < 1 << 16


def do(folder: Path, models: list[dict[str, Any]], **config: Any) -> int:
    plain = {"task": "cost", "models": models, "config": {**QUICK, **config}, "output": str(folder / "out")}
    (folder / "job.json").write_text(json.dumps(plain))
    return main(["--job", str(folder / "job.json")])


def test_trained_models_and_those_to_come_stand_side_by_side(tmp_path: Path) -> None:
    module, tokenizer = build(FAMILIES["dense"], 1), ByteTokenizer()
    save_model(tmp_path / "m", Model("language", FAMILIES["dense"], module, tokenizer, {}))
    save_model(
        tmp_path / "r", Model("reward", FAMILIES["dense"], ScalarHead(build(FAMILIES["dense"], 1)), tokenizer, {})
    )
    models = [{"role": "model", "name": name, "version": 3, "location": str(tmp_path / name)} for name in ("m", "r")]
    assert do(tmp_path, models, fresh={"long": FAMILIES["longdoc"]}, batches=[2]) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [cell["model"] for cell in result["cells"]] == ["m@3", "r@3", "long"]
    assert all(cell["problem"] is None for cell in result["cells"])
    assert result["table"] == table(result) and [model["name"] for model in result["models"]] == ["m", "r"]


@pytest.mark.parametrize(
    ("models", "config", "message"),
    [
        ([], {}, "/config/fresh"),
        ([{"role": "start", "location": "x"}], {}, "'start'"),
        ([], {"fresh": {"one": {"family": "longdoc", "chunk": 5}}}, "/config/fresh/one/chunk"),
        ([], {"fresh": {"one": FAMILIES["dense"]}, "batches": [0]}, "/config/batches/0"),
        ([], {"fresh": {"one": FAMILIES["dense"]}, "precisions": ["fp8"]}, "none of fp32"),
        ([], {"fresh": {"one": FAMILIES["dense"]}, "lengths": [8] * 37}, "74 cells are too many"),
    ],
)
def test_a_job_without_models_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    models: list[dict[str, Any]],
    config: dict[str, Any],
    message: str,
) -> None:
    assert do(tmp_path, models, **config) == 2
    assert message in capsys.readouterr().err


def test_text_of_figures() -> None:
    from trainer.deploy.text import duration, scaled, size

    assert [duration(x) for x in (5e-6, 0.25, 90, 300, 9000, 864000 * 2)] == [
        "5 us",
        "250 ms",
        "90 s",
        "5 min",
        "2.5 h",
        "20 days",
    ]
    assert [scaled(x) for x in (None, 12, 1500, 2.5e12)] == ["–", "12", "1.5 k", "2.5 T"]
    assert [size(x) for x in (None, 100, 2048, 3 << 30)] == ["–", "100 B", "2 KiB", "3 GiB"]
    assert math.isclose(read("1.5 k"), 1500)
