"""Reward models on real pairs, beside TRL's reward trainer.

    python benchmarks/reward.py PREFERENCES INSTRUCTIONS OUTPUT [--seeds 1 2 3] [--epochs 2]

PREFERENCES and INSTRUCTIONS are folders of published versions (``gristmill run preferences …``).  A small dense model
is tuned on the instructions, once.  Then, for each seed, both trainers go on from the same weights, scalar head
included (ours exported for transformers), over the same pairs, with the same optimizer, schedule, batch and length.
Pairs of prompts that are held out (column ``split``) are scored by transformers for both: accuracy, and expected
calibration error of sigmoid(difference) as it is and with a temperature fitted on every other pair.  Prints one JSON
object.  Needs ``trl``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

from trainer.data.dataset import open_dataset
from trainer.exchange.export import export_model
from trainer.model_folder import Model, load_model
from trainer.models.heads import ScalarHead
from trainer.stages.reward import calibration

TOKENS, PAIRS, RATE, WARMUP = 256, 16, 5e-4, 0.05
MODEL = {"family": "dense", "width": 128, "layers": 2, "heads": 4}
CENTRING = 0.01
SIDES = ("chosen", "rejected")


def train(config: dict[str, Any], output: Path, *arguments: str) -> dict[str, Any]:
    """Train by the command line."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "cli.main", "train", str(output / "config.json"), "-o", str(output), "--quiet"]
    subprocess.run([*command, *arguments], check=True, stdout=sys.stderr)
    found: dict[str, Any] = json.loads((output / "result.json").read_text())
    return found


def loop(steps: int, seed: int, rate: float) -> dict[str, Any]:
    """Shared settings of a loop."""
    return {
        "steps": steps, "seed": seed, "optimizer": {"learning_rate": rate, "weight_decay": 0.0},
        "schedule": {"kind": "linear", "warmup": WARMUP}, "evaluate_every": steps, "checkpoint_every": steps,
    }  # fmt: skip


def fitting(version: str, tokenizer: Any) -> tuple[Dataset, Dataset]:
    """Pairs to train on and pairs held out, both short enough for every token of either side."""
    rows = load_dataset("parquet", data_files=f"{version}/corpus/*.parquet", split="train")
    rows = rows.select_columns(["prompt", "chosen", "rejected", "split"])
    spelled = tokenizer.all_special_tokens + list(tokenizer.get_added_vocab())

    def fits(row: Any) -> bool:
        texts = [turn["content"] for side in ("prompt", *SIDES) for turn in row[side]]
        if any(word in text for text in texts for word in spelled):
            return False
        sides = (
            tokenizer.apply_chat_template([*row["prompt"], *row[s]], tokenize=False) for s in ("chosen", "rejected")
        )
        return all(len(tokenizer.encode(side, add_special_tokens=False)) <= TOKENS for side in sides)

    rows = rows.filter(fits)
    held_out = rows.filter(lambda row: row["split"] == "held-out").remove_columns("split")
    return rows.filter(lambda row: row["split"] != "held-out").remove_columns("split"), held_out


def theirs(start: Path, pairs: Dataset, output: Path, seed: int, epochs: int) -> Path:
    """TRL's reward trainer, from an exported reward model."""
    options = RewardConfig(
        output_dir=str(output), per_device_train_batch_size=PAIRS, num_train_epochs=epochs, learning_rate=RATE,
        lr_scheduler_type="linear", warmup_steps=WARMUP, weight_decay=0.0, adam_beta1=0.9, adam_beta2=0.95,
        max_grad_norm=1.0, center_rewards_coefficient=CENTRING, max_length=TOKENS, seed=seed, bf16=False,
        gradient_checkpointing=False, save_strategy="no", report_to="none", disable_tqdm=True, use_cpu=True,
        logging_steps=100,
    )  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(start)
    trainer = RewardTrainer(
        model, options, train_dataset=pairs, processing_class=AutoTokenizer.from_pretrained(start)
    )  # fmt: skip
    trainer.train()
    trainer.save_model(str(output / "model"))
    return output / "model"


@torch.no_grad()
def differences(folder: Path, tokenizer: Any, pairs: Dataset) -> torch.Tensor:
    """Reward of the chosen answer less that of the other, by transformers, pair by pair."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    found = []
    for row in pairs:
        scores = []
        for side in SIDES:
            text = tokenizer.apply_chat_template([*row["prompt"], *row[side]], tokenize=False)
            ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
            scores.append(float(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits))
        found.append(scores[0] - scores[1])
    return torch.tensor(found)


def main() -> None:
    """Tune, then train and judge both, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("preferences", "instructions"):
        parser.add_argument(name)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--tuning", type=int, default=400, help="steps of the model that both start from")
    given = parser.parse_args()
    torch.set_num_threads(2)
    tuned = given.output / "tuned"
    data = {"tokens": TOKENS, "rows": 8}
    start = {"stage": "sft", "model": MODEL, "tokenizer": {"kind": "bpe", "size": 4000}, "data": data}
    train({**start, "loop": loop(given.tuning, 0, 3e-3)}, tuned, "--dataset", given.instructions)
    found: dict[str, Any] = {"ours": [], "trl": []}
    for seed in given.seeds:
        folder = given.output / str(seed)
        fresh = load_model(tuned / "final")
        head = ScalarHead(fresh.module, seed)  # as the stage begins
        export_model(Model("reward", fresh.settings, head, fresh.tokenizer, {}), folder / "start")
        tokenizer = AutoTokenizer.from_pretrained(folder / "start")
        pairs, held_out = fitting(given.preferences, tokenizer)
        steps = given.epochs * -(-len(pairs) // PAIRS)
        config = {"stage": "reward", "data": {**data, "rows": PAIRS}, "reward": {"centring": CENTRING}}
        began = time.process_time()
        train({**config, "loop": loop(steps, seed, RATE)}, folder / "ours", "--dataset", given.preferences,
              "--start", str(tuned / "final"))  # fmt: skip
        export_model(load_model(folder / "ours" / "final"), folder / "exported")
        trl = theirs(folder / "start", pairs, folder / "trl", seed, given.epochs)
        for name, place in (("ours", folder / "exported"), ("trl", trl)):
            found[name].append(dict(calibration(differences(place, tokenizer, held_out))))
            print(f"{seed} {name}: {found[name][-1]}", file=sys.stderr, flush=True)
        found |= {"pairs": len(pairs), "held_out": len(held_out), "steps": steps}
        print(f"{seed}: {time.process_time() - began:.0f} s here", file=sys.stderr, flush=True)
    found["rows"] = open_dataset(given.preferences).rows
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
