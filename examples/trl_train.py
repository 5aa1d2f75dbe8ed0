"""Train with TRL on a published version of a data set: a reward model, a policy by DPO, or on instructions.

    python examples/trl_train.py reward|dpo|sft VERSION OUTPUT [--model MODEL] [--epochs N]

It needs ``trl`` and nothing of Gristmill. Without ``--model`` it makes a tiny one with random weights. OUTPUT gets the
model, ``examples.jsonl`` (what the trainer saw, as text) and ``report.json`` (losses before and after).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, set_seed
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

ROLES = ("system", "user", "assistant", "tool")
SPECIAL = ["<|pad|>", "<|end|>", "<|tools|>", *(f"<|{role}|>" for role in ROLES)]
TEMPLATE = (
    "{% if tools %}<|tools|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def published(version: str) -> Dataset:
    """The rows of a version; named by its files, so that no cache takes another folder of this name for it."""
    return load_dataset("parquet", data_files=f"{version}/corpus/*.parquet", split="train")


def settings(output: Path, epochs: int) -> dict[str, Any]:
    """What all trainers are told: among other things to leave out and cut off nothing."""
    return {
        "output_dir": str(output),
        "max_length": None,
        "num_train_epochs": epochs,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "bf16": torch.cuda.is_available(),
        "save_strategy": "no",
        "report_to": "none",
    }


def reward(model: str, version: str, options: dict[str, Any]) -> Trainer:
    """A reward model; pairs without a margin would be an error, and those of several sources do not compare."""
    pairs = published(version).remove_columns("margin")
    return RewardTrainer(model, RewardConfig(**options), train_dataset=pairs, eval_dataset=pairs)


def dpo(model: str, version: str, options: dict[str, Any]) -> Trainer:
    """A policy that prefers what the pairs prefer."""
    pairs = published(version)
    return DPOTrainer(model, args=DPOConfig(**options), train_dataset=pairs, eval_dataset=pairs)


def sft(model: str, version: str, options: dict[str, Any]) -> Trainer:
    """A model that answers as the instructions do."""
    instructions = published(version)
    return SFTTrainer(model, SFTConfig(**options), train_dataset=instructions, eval_dataset=instructions)


OBJECTIVES: dict[str, Callable[[str, str, dict[str, Any]], Trainer]] = {"reward": reward, "dpo": dpo, "sft": sft}


def contents(dataset: Dataset) -> Iterator[str]:
    """Every text of every turn."""
    sides = [name for name in ("prompt", "chosen", "rejected", "messages") if name in dataset.column_names]
    return (turn["content"] for row in dataset for side in sides for turn in row[side])


def tiny_tokenizer(dataset: Dataset) -> PreTrainedTokenizerFast:
    """Byte pairs of these texts, with a template for chats."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(contents(dataset), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>", chat_template=TEMPLATE
    )


def tiny_model(version: str, folder: Path) -> str:
    """A folder with a model and a tokenizer that know nothing yet."""
    tokenizer = tiny_tokenizer(published(version))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def examples(trainer: Trainer) -> list[dict[str, str]]:
    """What the trainer sees, as text."""
    columns = [name for name in trainer.train_dataset.column_names if name.endswith("_ids")]
    decode = trainer.processing_class.decode
    return [{name: decode(row[name]) for name in columns} for row in trainer.train_dataset]


def main() -> None:
    """Train; write down what was seen and learned."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("objective", choices=OBJECTIVES)
    parser.add_argument("version", help="the folder of a published version")
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", help="a folder or a name; a tiny one with random weights without it")
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()

    set_seed(0)
    model = asked.model or tiny_model(asked.version, asked.output / "start")
    trainer = OBJECTIVES[asked.objective](model, asked.version, settings(asked.output, asked.epochs))
    seen = examples(trainer)
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    trainer.save_model(str(asked.output))
    lines = "".join(json.dumps(example, ensure_ascii=False) + "\n" for example in seen)
    (asked.output / "examples.jsonl").write_text(lines, encoding="utf-8")
    (asked.output / "report.json").write_text(json.dumps({"before": before, "after": after}, indent=1))


if __name__ == "__main__":
    main()
