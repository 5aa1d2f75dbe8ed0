"""Where to begin: from what a model is for, and what there is, to a family, a size and the jobs of its trainings.

    advice = advise({"task": "summarisation", "gpus": 1, "gpu": "H100", "corpus_tokens": 5e9})
    advice.stages[0]["config"]                              # of a job of the trainer

The trees are data (``tree``), and so is what numbers rest on (``facts``).  Estimates say what they assume; they are no
measurements.  No torch is needed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from trainer.deploy import facts
from trainer.deploy.estimates import (
    active_parameters,
    cache_bytes,
    parameters,
    training_flops,
    training_memory,
    working_parameters,
)
from trainer.deploy.facts import DEVICES, GIB, SIZES, Device, Size
from trainer.deploy.text import aligned, duration, scaled, size
from trainer.deploy.tree import ALIGNMENT_LEAVES, ALIGNMENT_TREE, FAMILY_TREE, LEAVES, QUESTIONS, Branch, Leaf, Node
from trainer.errors import ConfigError
from trainer.ranges import suggestion

KINDS = {"pretrain": "corpus", "sft": "instructions", **dict.fromkeys(("reward", "dpo", "ppo"), "preferences")}
SPECIAL_TOKENS = 8
INSTRUCTION_TOKENS = 512
TUNING_EPOCHS = 3


@dataclass(frozen=True)
class Advice:
    """What to train, and why.

    Attributes:
        answers: all of them, those that nobody gave as assumed.
        family, size: of the model.
        path: question, answer and reason of every branch that was taken.
        reasons: for what the trees do not decide.
        stages: ``stage``, ``datasets`` (their kind), ``start`` (the stage whose model it starts from, or None),
            ``config`` of the job, ``why``.
        ranges: of what to vary: ``stage``, ``field``, ``start``, ``low``, ``high``, ``why``.
        estimates: figures by name; bytes, seconds, operations.
        assumptions: what these rest on.
        warnings: what will not go well.
    """

    answers: Mapping[str, Any]
    family: str
    size: str
    path: tuple[Mapping[str, Any], ...]
    reasons: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...]
    ranges: tuple[Mapping[str, Any], ...]
    estimates: Mapping[str, Any]
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


class Plan(NamedTuple):
    """A size that was looked at.

    batch: rows and tokens a row.
    full: whether blocks are computed again for their gradients.
    tokens: to train on.
    seconds: that takes.
    problem: why it cannot be; None where it can.
    """

    name: str
    settings: Mapping[str, Any]
    vocab: int
    batch: tuple[int, int]
    full: bool
    tokens: float
    flops: float
    seconds: float
    token_seconds: float
    memory: int
    problem: str | None


def questions() -> list[dict[str, Any]]:
    """What can be asked for, as plain data."""
    return [{"name": name, **question._asdict()} for name, question in QUESTIONS.items()]


def advise(answers: Mapping[str, Any]) -> Advice:
    """Walk the trees, choose a size, and write the jobs.

    Args:
        answers: to ``QUESTIONS``; only ``task`` has to be there.

    Raises:
        ConfigError: naming the answer that is none.
    """
    full = checked(answers)
    known = {**full, **derived(full)}
    name, path = walk(FAMILY_TREE, "task", known)
    behind, more = walk(ALIGNMENT_TREE, "shown", known)
    leaf = LEAVES[name]
    kinds = (*leaf.stages, *ALIGNMENT_LEAVES[behind])
    plans = [plan(size_name, leaf, known, kinds) for size_name in _sizes(leaf)]
    chosen = next((one for one in reversed(plans) if one.problem is None), plans[0])
    larger = plans[plans.index(chosen) + 1 :]
    stages = [_stage(stage, chosen, known) for stage in kinds]
    reasons = [*leaf.why, *([f"not {larger[0].name}: {larger[0].problem}"] if larger else [])]
    return Advice(
        full, leaf.family, chosen.name, (*path, *more), tuple(reasons), tuple(stages),
        tuple(_ranges(leaf.family, stages)), _estimates(chosen, known), tuple(_assumptions(leaf.family, known)),
        tuple(_warnings(chosen, known)),
    )  # fmt: skip


def checked(answers: Mapping[str, Any]) -> dict[str, Any]:
    """All answers, defaults for those that were not given.

    Raises:
        ConfigError: an answer to no question, one of another kind, or no task.
    """
    for name in answers:
        if name not in QUESTIONS:
            raise ConfigError(f"/{name}", f"nobody asks that{suggestion(str(name), list(QUESTIONS))}")
    given = {name: value for name, value in answers.items() if value is not None}
    if "task" not in given:
        raise ConfigError("/task", f"say what the model is for: {', '.join(QUESTIONS['task'].choices)}")
    full: dict[str, Any] = {}
    for name, question in QUESTIONS.items():
        default = question.by_task[full["task"]] if question.by_task else question.default
        full[name] = _checked(name, given.get(name, default))
    return full


def _checked(name: str, value: Any) -> Any:
    question = QUESTIONS[name]
    if question.kind == "choice":
        if value not in question.choices:
            hint = suggestion(str(value), list(question.choices))
            raise ConfigError(f"/{name}", f"{value!r} is none of {', '.join(question.choices)}{hint}")
        return value
    if question.kind == "shares":
        shares = {each: 1.0 for each in value} if isinstance(value, list | tuple) else value
        if not isinstance(shares, Mapping) or not shares or not all(_is_number(x) and x > 0 for x in shares.values()):
            raise ConfigError(
                f"/{name}", "names with how much there is of each are expected, such as {'en': 3, 'zh': 1}"
            )
        return {str(each): float(share) for each, share in shares.items()}
    if not _is_number(value) or value < question.low or (question.kind == "whole" and value != int(value)):
        whole = "whole " if question.kind == "whole" else ""
        raise ConfigError(f"/{name}", f"{value!r} is no {whole}number from {question.low:g} on")
    return int(value) if question.kind == "whole" else float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def derived(answers: Mapping[str, Any]) -> dict[str, Any]:
    """What the trees ask beside the answers themselves."""
    device = device_of(answers)
    enough = answers["gpus"] > 0 and answers["corpus_tokens"] >= 2e9 and device.memory >= 32 * GIB
    return {
        "single_facts": answers["task"] == "retrieval" or answers["domain"] in ("law", "medicine", "finance"),
        "broad": len(answers["languages"]) > 1 or answers["domain"] == "many",
        "device_gib": device.memory / GIB,
        "experts_possible": enough,
    }


def device_of(answers: Mapping[str, Any]) -> Device:
    """What a training runs on: one GPU, or the CPU."""
    if answers["gpus"]:
        return DEVICES[answers["gpu"]]
    return facts.CPU._replace(memory=int(answers["cpu_memory_gib"] * GIB))


def walk(tree: Mapping[str, Node], start: str, known: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The leaf that answers lead to, and the way there."""
    name, path = start, []
    while name in tree:
        node = tree[name]
        branch = next(each for each in node.branches if _fits(each, known[node.ask]))
        path.append({"node": name, "question": node.ask, "answer": known[node.ask], "why": branch.why})
        name = branch.to
    return name, path


TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "else": lambda answer, value: True, "in": lambda answer, value: answer in value,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _fits(branch: Branch, answer: Any) -> bool:
    return TESTS[branch.test](answer, branch.value)


# The size.


def _sizes(leaf: Leaf) -> tuple[str, ...]:
    return facts.EXPERT_SIZES if leaf.family == "assistant" else tuple(SIZES)


def plan(name: str, leaf: Leaf, known: Mapping[str, Any], stages: Sequence[str] = ("pretrain",)) -> Plan:
    """What a size would take, and whether that is there."""
    chosen, device = SIZES[name], device_of(known)
    settings = _settings(chosen, leaf, known)
    vocab = _vocabulary(chosen, known) + SPECIAL_TOKENS
    bf16, row = known["gpus"] > 0, _row(settings, known)
    batch, full, memory = _batch(settings, vocab, chosen, row, device)
    # DPO keeps a copy to compare with; PPO trains a critic too, and keeps a reference and a reward model.
    copies = 40 if "ppo" in stages else 20 if "dpo" in stages else 0
    memory = max(memory, copies * parameters(settings, vocab))
    active = active_parameters(settings, vocab)
    tokens = min(facts.TOKENS_PER_PARAMETER * float(active), facts.MOST_EPOCHS * known["corpus_tokens"])
    flops = tokens * training_flops(settings, vocab, row)
    seconds = flops * (4 / 3 if full else 1) / (device.flops * _mfu(leaf.family, known))
    itemsize = 2 if bf16 else 4
    states = known["batch"] * cache_bytes(settings, known["document_tokens"], itemsize)
    read = itemsize * working_parameters(settings, vocab, known["batch"]) + states
    served = itemsize * parameters(settings, vocab) + states
    token_seconds = read / (device.bandwidth * facts.MBU)
    problem = None
    if max(memory, served) > facts.MEMORY_SHARE * device.memory:
        what = "training" if memory >= served else f"serving {known['batch']:,} at once"
        problem = f"{what} takes {size(max(memory, served))}, of {size(device.memory)} that there are"
    elif tokens < facts.TOKENS_PER_PARAMETER * active * 0.999:
        problem = (
            f"{scaled(known['corpus_tokens'])} tokens are too few, seen {facts.MOST_EPOCHS} times, for its weights"
        )
    elif seconds > known["days"] * 86400:
        problem = f"pretraining would take {duration(seconds)}, longer than {known['days']:g} days"
    elif known["latency_ms"] and token_seconds * 1000 > known["latency_ms"]:
        problem = f"a token would take {duration(token_seconds)}, longer than {known['latency_ms']:g} ms"
    return Plan(name, settings, vocab, batch, full, tokens, flops, seconds, token_seconds, memory, problem)


def _settings(chosen: Size, leaf: Leaf, known: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "family": leaf.family, "width": chosen.width, "layers": chosen.layers, "heads": chosen.heads, **leaf.settings,
    }  # fmt: skip
    if leaf.family == "longdoc":
        plain["chunk"] = 512 if known["document_tokens"] <= 16384 else 1024
    if leaf.family == "assistant":
        plain["kv_heads"] = 4
    return plain


def _vocabulary(chosen: Size, known: Mapping[str, Any]) -> int:
    several = len(known["languages"]) > 1 or any(name in facts.MANY_SIGNS for name in known["languages"])
    return chosen.vocabulary * (2 if several else 1)


def _row(settings: Mapping[str, Any], known: Mapping[str, Any]) -> int:
    """Tokens of a row: what is read at once, in whole chunks; dense attention is trained on 4,096 at most."""
    wanted = known["document_tokens"]
    if settings["family"] == "longdoc":
        return int(min(max(-(-wanted // settings["chunk"]), 2) * settings["chunk"], 32768))
    return int(min(max(1 << (wanted - 1).bit_length(), 512), 4096))


def _batch(
    settings: Mapping[str, Any], vocab: int, chosen: Size, row: int, device: Device
) -> tuple[tuple[int, int], bool, int]:
    """As many rows as fit, up to those of a step; blocks are computed again where not even one fits without."""
    bf16 = device.flops > 1e12
    most = max(1, chosen.batch_tokens // row)
    for full in (False, True):
        rows = most
        while rows:
            memory = training_memory(settings, vocab, (rows, row), bf16=bf16, full=full).total
            if memory <= facts.MEMORY_SHARE * device.memory:
                return (rows, row), full, memory
            rows //= 2
    return (1, row), True, training_memory(settings, vocab, (1, row), bf16=bf16, full=True).total


def _mfu(family: str, known: Mapping[str, Any]) -> float:
    return facts.MFU[family if known["gpus"] else "cpu"]


# The jobs.


def _stage(stage: str, chosen: Plan, known: Mapping[str, Any]) -> dict[str, Any]:
    """One job: config, kind of datasets, and what it starts from."""
    loop = _loop(chosen, known)
    config: dict[str, Any] = {
        "stage": stage,
        "data": {"tokens": chosen.batch[1], "rows": chosen.batch[0]},
        "loop": loop,
    }
    rate = SIZES[chosen.name].learning_rate
    start = None if stage == "pretrain" else "pretrain" if stage == "sft" else "sft"
    if stage == "pretrain":
        config["model"] = dict(chosen.settings)
        config["tokenizer"] = {"kind": "bpe", "size": chosen.vocab}
        if len(known["languages"]) > 1:
            config["data"]["weights"] = {"language": language_weights(known["languages"])}
        loop["accumulate"] = max(1, SIZES[chosen.name].batch_tokens // (chosen.batch[0] * chosen.batch[1]))
        loop["steps"] = _steps(chosen.tokens, chosen.batch[0] * chosen.batch[1] * loop["accumulate"])
        loop["optimizer"] = {"kind": "adamw", "learning_rate": rate, "clip": 1.0}
        why = f"{scaled(chosen.tokens)} tokens: {facts.TOKENS_PER_PARAMETER} for each weight that works on a token"
    elif stage == "sft":
        per_step = chosen.batch[0] * chosen.batch[1]
        loop["steps"] = _steps(TUNING_EPOCHS * known["instructions"] * INSTRUCTION_TOKENS, per_step)
        loop["optimizer"] = {"kind": "adamw", "learning_rate": rate / 10, "clip": 1.0}
        why = f"{TUNING_EPOCHS} times all conversations, at a tenth of the rate"
    elif stage == "ppo":
        config["data"] = {"tokens": min(chosen.batch[1], 1024), "rows": max(1, min(32, chosen.batch[0] // 2))}
        config["policy"] = {"prompts": 64, "samples": 4, "new_tokens": 256, "clip": 0.2, "kl": 0.05}
        loop["steps"] = _steps(known["preferences"], config["policy"]["prompts"])
        loop["optimizer"] = {"kind": "adamw", "learning_rate": rate / 300, "clip": 1.0}
        why = "once all prompts, four answers each, scored by the reward model"
    else:
        pairs = max(1, min(32, chosen.batch[0] // 2))
        config["data"] = {"tokens": min(chosen.batch[1], 2048), "rows": pairs}
        loop["steps"] = _steps(known["preferences"], pairs)
        loop["optimizer"] = {"kind": "adamw", "learning_rate": rate / (30 if stage == "reward" else 300), "clip": 1.0}
        config[stage] = {"temperature": 1.0} if stage == "reward" else {"beta": 0.1}
        why = "once all pairs: more fits their noise"
    return {"stage": stage, "datasets": KINDS[stage], "start": start, "config": config, "why": why}


def _loop(chosen: Plan, known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "precision": "bf16" if known["gpus"] else "fp32",
        "recompute": "full" if chosen.full else "none",
        "schedule": {"kind": "trapezoid", "warmup": 0.02, "decay": 0.2},
    }


def _steps(tokens: float, per_step: int) -> int:
    return max(1, round(tokens / per_step))


def language_weights(shares: Mapping[str, float]) -> dict[str, float]:
    """How often documents of each language are seen, so that its share is what it was to the power of 0.7; the largest
    one has 1."""
    most = max(shares.values())
    return {name: round((share / most) ** (facts.LANGUAGE_EXPONENT - 1), 3) for name, share in sorted(shares.items())}


def _ranges(family: str, stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What to vary in each stage, around where it starts."""
    found = []
    for stage in stages:
        rows = (*facts.RANGES[family], *facts.RANGES[stage["stage"]]) if stage["stage"] == "pretrain" else (
            facts.RANGES[stage["stage"]])  # fmt: skip
        for row in rows:
            start = _at(stage["config"], row["field"])
            low, high = (start / row["factor"], start * row["factor"]) if "factor" in row else (row["low"], row["high"])
            found.append({"stage": stage["stage"], "field": row["field"], "start": start, "low": low, "high": high,
                          "why": row["why"]})  # fmt: skip
    return found


def _at(config: Mapping[str, Any], pointer: str) -> Any:
    found: Any = config
    for name in pointer.strip("/").split("/"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


# What is said beside.


def _estimates(chosen: Plan, known: Mapping[str, Any]) -> dict[str, Any]:
    settings, vocab, device = chosen.settings, chosen.vocab, device_of(known)
    taken = training_memory(settings, vocab, chosen.batch, bf16=known["gpus"] > 0, full=chosen.full)
    row = cache_bytes(settings, known["document_tokens"], 2 if known["gpus"] else 4)
    return {
        "parameters": parameters(settings, vocab), "active_parameters": active_parameters(settings, vocab),
        "tokens": chosen.tokens, "epochs": chosen.tokens / known["corpus_tokens"], "training_flops": chosen.flops,
        "training_seconds": chosen.seconds, "training_bytes": taken.total, "weight_and_optimizer_bytes": taken.weights,
        "activation_bytes": taken.activations, "device_bytes": device.memory,
        "serving_weight_bytes": parameters(settings, vocab) * (2 if known["gpus"] else 4),
        "serving_cache_bytes": row * known["batch"], "serving_token_seconds": chosen.token_seconds,
    }  # fmt: skip


def _assumptions(family: str, known: Mapping[str, Any]) -> list[str]:
    device = device_of(known)
    place = known["gpu"] if known["gpus"] else "CPU"
    return [
        f"{place}: {scaled(device.flops)}FLOP/s at {_mfu(family, known):.0%} of them (MFU), "
        f"{scaled(device.bandwidth)}B/s at {facts.MBU:.0%} (MBU)",
        f"{facts.TOKENS_PER_PARAMETER} tokens for each weight (Hoffmann et al., 2022), each seen {facts.MOST_EPOCHS} "
        "times at most (Muennighoff et al., 2023)",
        f"{facts.OPTIMIZER_BYTES} B a parameter for AdamW with fp32 weights, {facts.ACTIVATION_BYTES[family]} B a "
        "token, layer and width for activations at bf16",
        f"{INSTRUCTION_TOKENS} tokens a conversation",
    ]


def _warnings(chosen: Plan, known: Mapping[str, Any]) -> list[str]:
    found = []
    if chosen.problem:
        found.append(f"even {chosen.name} is too large: {chosen.problem}")
    if known["gpus"] > 1:
        found.append("a training runs on one GPU; the others can train variants to compare")
    if known["document_tokens"] > chosen.batch[1]:
        found.append(f"rows have {chosen.batch[1]:,} tokens; what is longer is trained on in pieces")
    if known["preferences"] and not known["instructions"]:
        found.append("preferences are of no use before a model was tuned on conversations")
    if known["task"] not in ("text", "long-documents") and not known["instructions"]:
        found.append(f"without conversations that show it, the model will not do {known['task']}, only go on with text")
    return found


def table(advice: Advice) -> str:
    """For people."""
    e = advice.estimates
    lines = [
        f"{advice.family}, {advice.size}: {scaled(e['parameters'])} parameters, {scaled(e['active_parameters'])} of "
        "them for each token",
        "", *(f"- {step['question']} {_shown(step['answer'])}: {step['why']}" for step in advice.path),
        *(f"- {reason}" for reason in advice.reasons), "",
    ]  # fmt: skip
    rows = [("stage", "reads", "starts from", "steps", "rows x tokens", "learning rate")]
    for stage in advice.stages:
        config = stage["config"]
        shape = f"{config['data']['rows']} x {config['data']['tokens']}"
        more = f" x {config['loop']['accumulate']}" if config["loop"].get("accumulate", 1) > 1 else ""
        rows.append((stage["stage"], stage["datasets"], stage["start"] or "–", f"{config['loop']['steps']:,}",
                     shape + more, f"{config['loop']['optimizer']['learning_rate']:.2g}"))  # fmt: skip
    lines += [*aligned(rows), "", *aligned([("vary", "from", "to", "start"), *map(_range_row, advice.ranges)]), ""]
    lines += [
        f"training: {scaled(e['tokens'])} tokens, {scaled(e['training_flops'])}FLOP, "
        f"{duration(e['training_seconds'])}, {size(e['training_bytes'])} of {size(e['device_bytes'])}",
        f"serving:  {size(e['serving_weight_bytes'])} of weights, {size(e['serving_cache_bytes'])} of states, "
        f"{duration(e['serving_token_seconds'])} a token",
        "estimated, not measured; assumed:", *(f"- {text}" for text in advice.assumptions),
        *(f"warning: {text}" for text in advice.warnings),
    ]  # fmt: skip
    return "\n".join(lines)


def _range_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    shown = ("–" if row[name] is None else f"{row[name]:.4g}" for name in ("low", "high", "start"))
    return (f"{row['stage']}{row['field']}", *shown)


def _shown(answer: Any) -> str:
    return f"{answer:,.4g}" if isinstance(answer, float) else f"{answer:,}" if type(answer) is int else str(answer)
