"""What models cost to use: seconds, memory and operations, over lengths, batches and number types.

Shapes: B rows, T tokens of a prompt, D width, V vocabulary.

A cell is one model, one number type, one length, one batch: the prompts are read at once by ``module.decode``, and new
tokens are appended one by one, the likeliest each time.  Models take turns inside of each repeat, so that whatever else
the machine does disturbs all alike.  What does not work on a device (its memory, a number type) is said in its cell.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainer.deploy.text import aligned, duration, scaled, size
from trainer.errors import ConfigError
from trainer.ranges import NOT_NEGATIVE, POSITIVE, Checked
from trainer.train.metrics import peak_flops

Precision = Literal["fp32", "fp16", "bf16"]
TYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
# Bytes of a second from a device's memory, by a part of its name, the more special first; from the data sheets.
BANDWIDTHS = {
    "H200": 4.8e12, "H100 PCIe": 2.0e12, "H100": 3.35e12, "A100 80GB PCIe": 1.94e12, "A100-SXM4-80GB": 2.04e12,
    "A100": 1.56e12, "L40S": 864e9, "L4": 300e9, "4090": 1.01e12,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CostConfig(Checked):
    """What is measured.

    Attributes:
        lengths: tokens of a prompt.
        batches: rows at once.
        new_tokens: of each answer.
        precisions: of weights, products and states; by default fp32 on a CPU, fp16 and bf16 on a GPU.
        repeats: of each cell; medians are told.
        warmup: repeats before them that do not count.
        device: null for a GPU where there is one.
        seed: of the prompts, and of the weights of fresh models.
    """

    lengths: tuple[int, ...] = (512, 2048)
    batches: tuple[int, ...] = (1, 8)
    new_tokens: int = field(default=32, metadata={"limit": POSITIVE})
    precisions: tuple[Precision, ...] | None = None
    repeats: int = field(default=5, metadata={"limit": POSITIVE})
    warmup: int = field(default=1, metadata={"limit": NOT_NEGATIVE})
    device: str | None = None
    seed: int = field(default=1, metadata={"limit": NOT_NEGATIVE})

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lengths", "batches", "precisions"):
            values = getattr(self, name)
            if values is not None and not values:
                raise ConfigError(f"/{name}", "there are none")
        for name in ("lengths", "batches"):
            for place, value in enumerate(getattr(self, name)):
                if value < 1:
                    raise ConfigError(f"/{name}/{place}", f"{value} is none; 1 or more")


class Subject(NamedTuple):
    """A model to be measured: a name that no other has, and the module on the CPU."""

    name: str
    module: nn.Module


class Counts(NamedTuple):
    """What is known of a cell before it is measured.

    weight_bytes: of all weights.
    cache_bytes_row: the decode state of one row that holds prompt and answer.
    prefill_flops: of all rows; logits of the last token alone.
    token_flops: of one new token of every row, in the middle of the answer.
    token_bytes: that one step over all rows has to read: weights that work, and the states.
    """

    weight_bytes: int
    cache_bytes_row: int
    prefill_flops: int
    token_flops: int
    token_bytes: int


def count(config: Any, length: int, batch: int, new_tokens: int, dtype: torch.dtype) -> Counts:
    """Count the work of one cell for a model's configuration."""
    weights = config.parameters() * dtype.itemsize
    if getattr(config, "prediction", "off") != "off":
        config = dataclasses.replace(config, prediction="off")  # predictors do not run when decoding
    head = 2 * config.vocab * config.width
    held = length + new_tokens
    answer = config.flops(new_tokens, length)
    working = _working_parameters(config, batch) - (0 if config.tie else config.vocab * config.width)
    return Counts(
        weight_bytes=weights,
        cache_bytes_row=config.cache_bytes(held, dtype),
        prefill_flops=batch * (config.flops(length) - (length - 1) * head),
        token_flops=batch * answer // new_tokens,
        token_bytes=working * dtype.itemsize + batch * config.cache_bytes(length + new_tokens // 2, dtype),
    )


def _working_parameters(config: Any, batch: int) -> int:
    """Weights that a step of ``batch`` tokens reads; experts as if tokens chose them at random."""
    few, all_of_them = config.active_parameters(), config.parameters()
    if few == all_of_them:
        return int(few)
    experts, active = config.experts, config.active
    met = experts * (1 - (1 - active / experts) ** batch)
    return int(few + (all_of_them - few) * (met - active) / (experts - active))


def state_bytes(state: Any) -> int:
    """Memory of the tensors of a decode state."""
    found = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(state)}
    return sum(found.values())


def _tensors(held: Any) -> Iterator[Tensor]:
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, list | tuple):
        for each in held:
            yield from _tensors(each)
    elif hasattr(held, "__dict__") and not isinstance(held, nn.Module):
        yield from _tensors(list(vars(held).values()))


class Run(NamedTuple):
    """One repeat of a cell: seconds, memory beyond the weights (None: not known), whether all logits were finite."""

    prefill: float
    tokens: list[float]
    extra_bytes: int | None
    state_bytes: int
    finite: bool


def run_once(module: nn.Module, tokens_BT: Tensor, new_tokens: int, dtype: torch.dtype) -> Run:
    """Read prompts and write answers."""
    batch, length = tokens_BT.shape
    device = tokens_BT.device
    memory = _Memory(device)
    state = module.state(batch, device, dtype, length + new_tokens)
    held = state_bytes(state)
    began = _now(device)
    logits_BV = module.logits(module.decode(tokens_BT, state)[:, -1])
    last_B = logits_BV.argmax(-1)
    prefill = _now(device) - began
    finite_B, steps = torch.isfinite(logits_BV).all(-1), []
    for _ in range(new_tokens):
        began = _now(device)
        logits_BV = module.logits(module.decode(last_B[:, None], state)[:, -1])
        last_B = logits_BV.argmax(-1)
        steps.append(_now(device) - began)
        finite_B &= torch.isfinite(logits_BV).all(-1)
    return Run(prefill, steps, memory.extra(), held, bool(finite_B.all()))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class _Memory:
    """The most memory since it was made, beyond what there was then."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.before = device, None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)
        elif device.type == "cpu":
            with contextlib.suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")  # Linux: the high water mark falls to what there is
                self.before = _of_process("VmRSS")

    def extra(self) -> int | None:
        """Bytes, or None where the system does not tell."""
        if self.before is None:
            return None
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device)) - self.before
        peak = _of_process("VmHWM")
        return None if peak is None else max(0, peak - self.before)


def _of_process(name: str) -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device has left; None where it does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def measure(subjects: Sequence[Subject], config: CostConfig, device: torch.device) -> dict[str, Any]:
    """Measure all cells.

    Returns:
        ``device``, ``threads``, ``torch`` and ``cells``: ``model``, ``precision``, ``length``, ``batch``; what is
        counted (``Counts``); what is measured: ``prefill_seconds``, ``token_seconds_p50``, ``token_seconds_p99``,
        ``tokens_per_second``, ``peak_bytes``, ``state_bytes_row``, ``finite``; ``mfu`` of the prefill and ``mbu`` of
        new tokens where the device's peaks are known; ``problem``: null, or why there is no measure.
    """
    names = [subject.name for subject in subjects]
    if not subjects or len(set(names)) < len(names):
        raise ConfigError("/models", f"models with names of their own are needed, not {', '.join(names) or 'none'}")
    cells = []
    for precision in precisions(config, device):
        modules = _placed(subjects, TYPES[precision], device)
        for length in config.lengths:
            for batch in config.batches:
                cells += _cells(subjects, modules, precision, (batch, length), config, device)
        del modules
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": place, "threads": torch.get_num_threads(), "torch": torch.__version__, "repeats": config.repeats,
        "new_tokens": config.new_tokens, "cells": cells,
    }  # fmt: skip


def precisions(config: CostConfig, device: torch.device) -> tuple[Precision, ...]:
    """Those asked for, or those that a device is used with."""
    return config.precisions or (("fp32",) if device.type == "cpu" else ("fp16", "bf16"))


def _placed(subjects: Sequence[Subject], dtype: torch.dtype, device: torch.device) -> list[nn.Module | str]:
    """Copies of all models on the device, or why there is none."""
    placed: list[nn.Module | str] = []
    for subject in subjects:
        try:
            placed.append(copy.deepcopy(subject.module).to(device, dtype).eval())
        except (RuntimeError, NotImplementedError) as error:
            placed.append(problem_of(error))
    return placed


def _cells(
    subjects: Sequence[Subject], modules: Sequence[nn.Module | str], precision: str, shape: tuple[int, int],
    config: CostConfig, device: torch.device,
) -> list[dict[str, Any]]:  # fmt: skip
    """One cell of every model, side by side."""
    dtype = TYPES[precision]
    runs: list[list[Run]] = [[] for _ in subjects]
    problems = [module if isinstance(module, str) else None for module in modules]
    for number, subject in enumerate(subjects):
        problems[number] = problems[number] or refusal(subject.module.config, shape, config, dtype, device)
    for repeat in range(config.warmup + config.repeats):
        for turn in range(len(subjects)):
            number = (repeat + turn) % len(subjects)
            module = modules[number]
            if problems[number] or isinstance(module, str):
                continue
            try:
                run = run_once(module, _prompts(module, shape, config.seed, device), config.new_tokens, dtype)
            except (RuntimeError, NotImplementedError) as error:
                problems[number] = problem_of(error)
                continue
            if repeat >= config.warmup:
                runs[number].append(run)
    return [
        _cell(subject, precision, shape, config, () if problem else found, problem, device)
        for subject, found, problem in zip(subjects, runs, problems, strict=True)
    ]


def refusal(
    model: Any, shape: tuple[int, int], config: CostConfig, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Why a cell cannot be, as far as that can be said before it is tried."""
    batch, length = shape
    held = length + config.new_tokens
    if hasattr(model, "levels") and held >= model.chunk << model.levels:
        return f"too long: holds less than {model.chunk << model.levels} tokens"
    needed, free = batch * model.cache_bytes(held, dtype), free_memory(device)
    if free is not None and needed > free:
        return f"out of memory: the states take {size(needed)}"
    return None


def problem_of(error: Exception) -> str:
    """What a cell says instead of a measure.

    Raises:
        Exception: the error, where it is neither of memory nor of a number type.
    """
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in text:
        return "out of memory"
    if isinstance(error, NotImplementedError) or "not implemented for" in text or "not supported" in text:
        return f"not supported: {text.splitlines()[0][:100]}"
    raise error


def _prompts(module: nn.Module, shape: tuple[int, int], seed: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vocab: int = module.config.vocab  # type: ignore[union-attr,assignment]
    return torch.randint(vocab, shape, generator=generator).to(device)


def _cell(
    subject: Subject, precision: str, shape: tuple[int, int], config: CostConfig, runs: Sequence[Run],
    problem: str | None, device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    batch, length = shape
    counted = count(subject.module.config, length, batch, config.new_tokens, TYPES[precision])
    cell = {
        "model": subject.name, "precision": precision, "length": length, "batch": batch, **counted._asdict(),
        **dict.fromkeys(MEASURED), "problem": problem,
    }  # fmt: skip
    return cell | _measures(counted, batch, runs, device, precision) if runs else cell


MEASURED = (
    "prefill_seconds", "token_seconds_p50", "token_seconds_p99", "tokens_per_second", "peak_bytes", "state_bytes_row",
    "finite", "mfu", "mbu",
)  # fmt: skip


def _measures(counted: Counts, batch: int, runs: Sequence[Run], device: torch.device, precision: str) -> dict[str, Any]:
    """Of all repeats."""
    prefill = float(np.median([run.prefill for run in runs]))
    steps = np.concatenate([run.tokens for run in runs])
    p50, p99 = (float(x) for x in np.percentile(steps, (50, 99)))
    extra, held = [run.extra_bytes for run in runs if run.extra_bytes is not None], runs[0].state_bytes
    flops = peak_flops(device) if precision != "fp32" else None
    bandwidth = peak_bandwidth(device)
    figures = (
        prefill, p50, p99, float(np.median([batch * len(run.tokens) / sum(run.tokens) for run in runs])),
        counted.weight_bytes + max(held, *extra) if extra else None, math.ceil(held / batch),
        all(run.finite for run in runs), flops and counted.prefill_flops / prefill / flops,
        bandwidth and counted.token_bytes / p50 / bandwidth,
    )  # fmt: skip
    return dict(zip(MEASURED, figures, strict=True))


def peak_bandwidth(device: torch.device) -> float | None:
    """Bytes of a second from the device's memory; None where nobody said."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in BANDWIDTHS.items() if part in name), None)


HEADINGS = (
    "model", "type", "length", "batch", "prefill", "token p50", "token p99", "tokens/s", "peak", "weights", "cache/row",
    "prefill FLOP", "token FLOP", "MFU", "MBU", "",
)  # fmt: skip


def table(result: Mapping[str, Any]) -> str:
    """What ``measure`` gave, for people."""
    head = f"{result['device']}, {result['threads']} threads, torch {result['torch']}; "
    head += f"{result['new_tokens']} new tokens, medians of {result['repeats']}"
    return "\n".join([head, "", *aligned([HEADINGS, *map(_row, result["cells"])])])


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    overflow = "overflow: logits are not finite" if cell["finite"] is False else ""
    return (
        cell["model"], cell["precision"], str(cell["length"]), str(cell["batch"]),
        *(duration(cell[name]) for name in ("prefill_seconds", "token_seconds_p50", "token_seconds_p99")),
        scaled(cell["tokens_per_second"]),
        *(size(cell[name]) for name in ("peak_bytes", "weight_bytes", "cache_bytes_row")),
        *(scaled(cell[name]) for name in ("prefill_flops", "token_flops")),
        *("–" if cell[name] is None else f"{cell[name]:.0%}" for name in ("mfu", "mbu")),
        cell["problem"] or overflow,
    )  # fmt: skip
