"""Reinforcement learning: worlds with a known best reward, and answers a second beside TRL.

    python benchmarks/ppo.py toys [--seeds 1 2 3] [--families longdoc assistant dense] [--method ppo]
    pip install --no-deps --target FOLDER trl==1.12.0   # the last one that has PPO
    python benchmarks/ppo.py trl --trl FOLDER [--width 128] [--answer 64] [--iterations 4]

``toys``: the share of the best reward that fresh models reach in 150 iterations (``tests/trainer/toys.py``).

``trl``: answers a second of whole iterations, drawing included, on one thread; a dense actor and critic of the same
shape (Llama in transformers), prompts of 16 tokens, the same number of answers, epochs and minibatches; the fastest
iteration of each.  Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the toys are those of the tests

from tests.trainer.toys import BEST, TOYS, toy_loop
from trainer.data.prompts import PromptBatch
from trainer.models import build
from trainer.models.heads import ScalarHead
from trainer.stages.policy import Players, PolicyConfig, PolicyLoop, RewardModel
from trainer.train.loop import LoopConfig

VOCAB, PROMPT = 512, 16


def toys(arguments: argparse.Namespace) -> dict[str, Any]:
    """Share of the best reward in the last ten iterations, by toy and family, for each seed."""
    found: dict[str, Any] = {}
    for toy in TOYS:
        for family in arguments.families:
            for seed in arguments.seeds:
                with tempfile.TemporaryDirectory() as folder:
                    began = time.process_time()
                    with contextlib.redirect_stdout(io.StringIO()):
                        toy_loop(Path(folder), toy, family, seed, arguments.method).run()
                    lines = map(json.loads, (Path(folder) / "metrics.jsonl").read_text().splitlines())
                    rewards = [line["reward"] for line in lines if "reward" in line]
                share = sum(rewards[-10:]) / 10 / BEST
                reached = next((n + 1 for n, reward in enumerate(rewards) if reward >= 0.9 * BEST), None)
                found.setdefault(toy, {}).setdefault(family, []).append({"share": share, "at": reached})
                took = time.process_time() - began
                print(
                    f"{toy} {family} {seed}: {share:.3f}, 90 % at {reached} ({took:.0f} s)", file=sys.stderr, flush=True
                )
    return found


class Random:
    """Prompts of random tokens."""

    def __init__(self, count: int) -> None:
        self.count, self.at = count, 0

    def __next__(self) -> PromptBatch:
        generator = torch.Generator().manual_seed(self.at)
        self.at += 1
        tokens = torch.randint(4, VOCAB, (self.count, PROMPT), generator=generator)
        return PromptBatch(tokens, torch.full((self.count,), PROMPT), torch.arange(self.count))

    def state(self) -> dict[str, int]:
        return {"position": self.at}

    def restore(self, state: dict[str, int]) -> None:
        self.at = state["position"]


def ours(arguments: argparse.Namespace, folder: Path) -> float:
    """Answers a second."""
    settings = {"family": "dense", "vocab": VOCAB, "width": arguments.width, "layers": arguments.layers, "heads": 4}
    actor, reference = build(settings, 1), build(settings, 1)
    critic, reward = (ScalarHead(build(settings, 2), 2) for _ in range(2))
    cpu = torch.device("cpu")
    players = Players(actor, reference, critic, RewardModel(reward, 0, cpu, torch.float32), frozenset({1}), padding=0)
    policy = PolicyConfig(
        prompts=arguments.answers, samples=1, new_tokens=arguments.answer, epochs=arguments.epochs,
        minibatches=arguments.minibatches,
    )  # fmt: skip
    config = LoopConfig(steps=arguments.iterations, log_every=1, checkpoint_every=1000)
    with contextlib.redirect_stdout(io.StringIO()):
        PolicyLoop(
            "ppo", config, policy, players, Random(arguments.answers), None, arguments.answers, folder, {}, cpu,  # type: ignore[arg-type]
            torch.float32,
        ).run()  # fmt: skip
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return max(line["answers_per_second"] for line in lines)


def theirs(arguments: argparse.Namespace, folder: Path) -> float:
    """Answers a second of TRL's experimental PPO trainer: the best of its iterations."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    sys.path.insert(0, str(arguments.trl))
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        PreTrainedTokenizerFast,
        TrainerCallback,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    plain = Tokenizer(models.WordLevel({str(n): n for n in range(VOCAB)}, unk_token="3"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="0", eos_token="1", unk_token="3")
    width = arguments.width
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=width, num_hidden_layers=arguments.layers, num_attention_heads=4,
        num_key_value_heads=4, intermediate_size=build_hidden(width), pad_token_id=0, eos_token_id=1, bos_token_id=2,
        num_labels=1, max_position_embeddings=512,
    )  # fmt: skip
    torch.manual_seed(1)
    actor, reference = LlamaForCausalLM(config), LlamaForCausalLM(config)
    reference.load_state_dict(actor.state_dict())
    critic, reward = LlamaForSequenceClassification(config), LlamaForSequenceClassification(config)
    count = arguments.answers * arguments.iterations
    rows = [next(source).tokens_BT[0].tolist() for source in [Random(1)] for _ in range(count)]
    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    trainer = PPOTrainer(
        PPOConfig(
            output_dir=str(folder), per_device_train_batch_size=arguments.answers // arguments.minibatches,
            gradient_accumulation_steps=arguments.minibatches, num_mini_batches=arguments.minibatches,
            num_ppo_epochs=arguments.epochs, total_episodes=count, response_length=arguments.answer,
            local_rollout_forward_batch_size=arguments.answers, temperature=1.0, stop_token="eos", report_to="none",
            save_strategy="no", num_sample_generations=0, bf16=False, use_cpu=True, dataloader_drop_last=False,
            learning_rate=3e-4,
        ),
        tokenizer, actor, reference, reward, Dataset.from_dict({"input_ids": rows}), critic,
        eval_dataset=Dataset.from_dict({"input_ids": rows[:1]}), callbacks=[Clock()],
    )  # fmt: skip
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    moments = [began, *times]
    return arguments.answers / min(b - a for a, b in pairwise(moments))


def build_hidden(width: int) -> int:
    """Of our dense feed-forward."""
    from trainer.models.common import swiglu_width

    return swiglu_width(width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["toys", "trl"])
    parser.add_argument("--families", nargs="+", default=["longdoc", "assistant", "dense"])
    parser.add_argument("--method", choices=["ppo", "grpo"], default="ppo")
    parser.add_argument("--trl", type=Path, help="folder with a TRL that has PPO")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    for name, default in {
        "width": 128, "layers": 2, "answers": 64, "answer": 64, "epochs": 4, "minibatches": 4, "iterations": 4,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if arguments.what == "toys":
        print(json.dumps(toys(arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {"ours": ours(arguments, Path(folder) / "a"), "trl": theirs(arguments, Path(folder) / "b")}
    print(
        json.dumps(
            {
                **found,
                "ratio": found["ours"] / found["trl"],
                "settings": {k: str(v) for k, v in vars(arguments).items()},
            }
        )
    )


if __name__ == "__main__":
    main()
