"""Tokens a second of the engine, beside those of transformers' ``generate`` on the same weights; as JSON.

    python benchmarks/generation.py [--width 256] [--layers 6] [--prompts 64] [--runs 3] …

The dense model is a ``LlamaForCausalLM`` with other names: the weights are copied, both answer greedily, and the
answers are compared.  Prompts have different lengths; every ``--ends``-th token of the vocabulary ends an answer, for
both.  transformers takes ``--slots`` prompts of about one length at a time, pads them on the left, and goes on until
the last answer of the batch has ended; the engine fills its slots again.  Only tokens of answers count, up to the one
that ended them.  ``even``: prompts of one length and answers of one length, where there is nothing to pad or to fill.
Both take turns, on one thread; figures are medians.  ``step`` is decoding alone: tokens a second of ``module.decode``
and the head at some sizes of the batch, behind 256 tokens.  ``gap``: see there.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from trainer.infer.engine import Engine
from trainer.infer.sampling import Sampling, log_probabilities
from trainer.models import build

FAMILIES: dict[str, dict[str, Any]] = {
    "dense": {},
    "assistant": {"kv_heads": 2, "dense_layers": 1},
    "longdoc": {"chunk": 64, "allow_beyond": ["chunk"]},
}


def main() -> None:
    """Measure and print."""
    given = arguments()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    shape = {"vocab": given.vocab, "width": given.width, "layers": given.layers, "heads": given.width // 32}
    models = {name: build({"family": name, **shape, **more}, seed=1).eval() for name, more in FAMILIES.items()}
    llama = as_llama(models["dense"])
    ragged = [random.integers(given.vocab, size=random.integers(16, given.longest + 1)) for _ in range(given.prompts)]
    even = [random.integers(given.vocab, size=64) for _ in range(given.prompts)]
    ends = list(range(0, given.vocab, given.ends))
    result = {
        "torch": torch.__version__, "transformers": transformers.__version__, "machine": platform.machine(), **shape,
        "slots": given.slots, "prompts": given.prompts,
        "ragged": compare(models["dense"], llama, ragged, ends, given.most, given),
        "even": compare(models["dense"], llama, even, [], given.most // 3, given),
        "families": {name: answering(model, ragged, ends, given) for name, model in models.items()},
        "step": {name: {size: step(model, size, given) for size in (1, 8, 32)} for name, model in models.items()},
    }  # fmt: skip
    print(json.dumps(result, indent=1))


def arguments() -> argparse.Namespace:
    """What is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = {
        "vocab": 4096, "width": 256, "layers": 6, "prompts": 64, "slots": 32, "longest": 128, "ends": 32, "most": 192,
        "runs": 3,
    }  # fmt: skip
    for name, value in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def as_llama(dense: nn.Module) -> LlamaForCausalLM:
    """The same weights under transformers' names."""
    config = dense.config
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab, hidden_size=config.width, intermediate_size=config.hidden_width,
            num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=config.groups,
            max_position_embeddings=4096, rms_norm_eps=1e-6, tie_word_embeddings=False, pad_token_id=0,
            bos_token_id=None, eos_token_id=None,
        )
    ).eval()  # fmt: skip
    named = {
        "model.embed_tokens.weight": dense.embedding,
        "model.norm.weight": dense.norm,
        "lm_head.weight": dense.head,
    }
    weights = {name: module.weight for name, module in named.items()}
    for number, block in enumerate(dense.blocks):
        attention = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "out"}
        names = {f"self_attn.{theirs}": getattr(block.attention, ours).weight for theirs, ours in attention.items()}
        names |= {"input_layernorm": block.attention_norm.weight, "post_attention_layernorm": block.feed_norm.weight}
        gate, up = block.feed.gate_up.weight.chunk(2)
        names |= {"mlp.gate_proj": gate, "mlp.up_proj": up, "mlp.down_proj": block.feed.down.weight}
        weights |= {f"model.layers.{number}.{name}.weight": weight for name, weight in names.items()}
    llama.load_state_dict({name: weight.detach().clone() for name, weight in weights.items()})
    return llama


@torch.no_grad()
def theirs(
    llama: LlamaForCausalLM, prompts: Sequence[np.ndarray], ends: list[int], most: int, slots: int
) -> list[list[int]]:
    """Batches of ``slots`` prompts, neighbours by length, padded on the left."""
    found: list[list[int]] = [[]] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    for first in range(0, len(order), slots):
        batch = order[first : first + slots]
        width = max(len(prompts[number]) for number in batch)
        tokens_BT, mask_BT = torch.zeros(2, len(batch), width, dtype=torch.int64)
        for row, number in enumerate(batch):
            tokens_BT[row, width - len(prompts[number]) :] = torch.from_numpy(prompts[number])
            mask_BT[row, width - len(prompts[number]) :] = 1
        out_BT = llama.generate(
            tokens_BT, attention_mask=mask_BT, do_sample=False, max_new_tokens=most, eos_token_id=ends or None
        )
        for row, number in enumerate(batch):
            found[number] = cut(out_BT[row, width:].tolist(), ends)
    return found


def cut(tokens: list[int], ends: list[int]) -> list[int]:
    """Tokens up to the first that ends an answer."""
    at = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: at + 1]


def ours(module: nn.Module, prompts: Sequence[np.ndarray], ends: list[int], most: int, slots: int) -> list[list[int]]:
    """The engine's answers."""
    engine, sampling = Engine(module, slots=slots, stop=ends), Sampling(temperature=0, new_tokens=most)
    found = sorted(engine.generate(prompts, sampling), key=lambda response: response.prompt)
    return [response.tokens.tolist() for response in found]


def compare(
    dense: nn.Module, llama: LlamaForCausalLM, prompts: Sequence[np.ndarray], ends: list[int], most: int,
    given: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    """Tokens of answers a second of both, the ratio, and whether they say the same."""
    sides: dict[str, Callable[[], list[list[int]]]] = {
        "engine": lambda: ours(dense, prompts, ends, most, given.slots),
        "transformers": lambda: theirs(llama, prompts, ends, most, given.slots),
    }
    answers = {name: side() for name, side in sides.items()}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.runs):
        for name, side in sides.items():
            begin = time.perf_counter()
            count = sum(map(len, side()))
            speeds[name].append(count / (time.perf_counter() - begin))
    found = {name: statistics.median(each) for name, each in speeds.items()}
    same = sum(a == b for a, b in zip(*answers.values(), strict=True))
    lengths = list(map(len, answers["engine"]))
    return {
        **{f"{name}_tokens_a_second": round(speed, 1) for name, speed in found.items()},
        "ratio": round(found["engine"] / found["transformers"], 3), "same_answers": f"{same} of {len(prompts)}",
        "answer_tokens": {"mean": statistics.mean(lengths), "longest": max(lengths)},
    }  # fmt: skip


def answering(
    module: nn.Module, prompts: Sequence[np.ndarray], ends: list[int], given: argparse.Namespace
) -> dict[str, Any]:
    """Tokens of answers a second of the engine, and the gap to the forward that trains."""
    speeds = []
    for _ in range(given.runs):
        begin = time.perf_counter()
        count = sum(map(len, ours(module, prompts, ends, given.most, given.slots)))
        speeds.append(count / (time.perf_counter() - begin))
    return {"tokens_a_second": round(statistics.median(speeds), 1), "gap": gap(module, prompts, given)}


@torch.no_grad()
def gap(module: nn.Module, prompts: Sequence[np.ndarray], given: argparse.Namespace) -> dict[str, float]:
    """Between the engine's log-probabilities and those of the forward that trains; of tokens drawn at temperature 1."""
    off = []
    for response in Engine(module, slots=given.slots).generate(prompts, Sampling(new_tokens=given.most)):
        prompt = prompts[response.prompt]
        tokens_T = torch.from_numpy(np.concatenate([prompt, response.tokens]))
        logits_TV = module.logits(module(tokens_T[None]).hidden_BTD[0, len(prompt) - 1 : -1])
        expected_T = log_probabilities(logits_TV, tokens_T[len(prompt) :])
        off.append((torch.from_numpy(response.log_probabilities) - expected_T).abs())
    return {"mean": float(torch.cat(off).mean()), "greatest": float(torch.cat(off).max())}


@torch.no_grad()
def step(module: nn.Module, size: int, given: argparse.Namespace) -> float:
    """Tokens a second of decoding alone."""
    state = module.state(size, torch.device("cpu"), torch.float32, 512)
    tokens_BT = torch.randint(given.vocab, (size, 256), generator=torch.Generator().manual_seed(0))
    module.decode(tokens_BT, state)
    times = []
    for at in range(64):
        begin = time.perf_counter()
        module.logits(module.decode(tokens_BT[:, at : at + 1], state))
        times.append(time.perf_counter() - begin)
    return round(size / statistics.median(times), 1)


if __name__ == "__main__":
    main()
