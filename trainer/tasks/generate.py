"""Answers of a language model to prompts, written to ``responses.jsonl``.

A row has ``prompt`` (its number), ``sample``, ``asked`` (the text or the messages), ``text``, ``tokens`` (how many,
what ended it included), ``stopped`` (or else cut by length), ``log_probability`` (mean of a token, at temperature 1)
and ``replaced``: bytes that are no UTF-8 stand as U+FFFD in the text, and this says how many such signs it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from trainer.data.chat import Message
from trainer.data.dataset import open_dataset
from trainer.data.tokenizer import Vocabulary
from trainer.errors import ConfigError
from trainer.infer.engine import Response
from trainer.infer.prompts import Split, asked, encode, form_of, given_prompts, with_system
from trainer.infer.respond import language_model, respond
from trainer.infer.rows import write_rows
from trainer.infer.sampling import Sampling
from trainer.job import Job
from trainer.ranges import POSITIVE, Checked

SHOWN, SHOWN_CHARACTERS = 5, 500
REPLACEMENT = "\ufffd"


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """What is asked, and how.

    Attributes:
        prompts: texts, or lists of messages; without them the datasets' prompts are asked.
        first: how many different prompts of the datasets.
        split: ``train`` or ``held-out``: only rows of datasets that say so.
        samples: answers to each prompt.
        sampling: see there.
        system: what the system says to chats that have no such turn.
        form: ``chat``: the prompt is answered; ``text``: it is gone on with.  By default ``text`` for models that were
            only pretrained.
        tokens: longer prompts are left out.
        slots: answers that are drawn at the same time.
        precision, device: of the arithmetic.
    """

    prompts: tuple[Any, ...] | None = None
    first: int = field(default=100, metadata={"limit": POSITIVE})
    split: Split | None = None
    samples: int = field(default=1, metadata={"limit": POSITIVE})
    sampling: Sampling = field(default_factory=Sampling)
    system: str | None = None
    form: Literal["chat", "text"] | None = None
    tokens: int = field(default=2048, metadata={"limit": POSITIVE})
    slots: int = field(default=32, metadata={"limit": POSITIVE})
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str | None = None


def run(job: Job, config: Config) -> Mapping[str, Any]:
    """Answer all prompts."""
    job.check_roles(("model",))
    model = language_model(job.needed_model("model"), "model")
    form = form_of(model.facts, config.form)
    if form == "text" and config.system is not None:
        raise ConfigError("/config/system", "there is no system in a text that is gone on with; see 'form'")
    chats = [with_system(messages, config.system) for messages in _messages(job, config)]
    tokens = [encode(messages, model.tokenizer, form) for messages in chats]
    fitting = [number for number, prompt in enumerate(tokens) if len(prompt) <= config.tokens]
    if not fitting:
        raise ConfigError("/config/tokens", f"all {len(tokens)} prompts are longer than {config.tokens} tokens")
    responses = respond(
        model, [tokens[number] for number in fitting], config.sampling, samples=config.samples, slots=config.slots,
        precision=config.precision, device=config.device, phase="generate",
    )  # fmt: skip
    asked_of = config.prompts if config.prompts is not None else chats
    rows = [_row(response, fitting[response.prompt], asked_of, model.tokenizer) for response in responses]
    write_rows(job.output / "responses.jsonl", rows)
    return {
        "path": "responses.jsonl", "form": form, "prompts": len(fitting), "left_out": len(tokens) - len(fitting),
        "responses": len(rows), "stopped": sum(row["stopped"] for row in rows),
        "tokens": sum(row["tokens"] for row in rows), "with_replacements": sum(row["replaced"] > 0 for row in rows),
        "first": [_shortened(row) for row in rows[:SHOWN]],
    }  # fmt: skip


def _messages(job: Job, config: Config) -> list[list[Message]]:
    if config.prompts is not None:
        if job.datasets:
            raise ConfigError("/config/prompts", "there are prompts here and datasets too; give one of both")
        return given_prompts(config.prompts)
    datasets = [open_dataset(d["location"], None, d.get("manifest_digest")) for d in job.needed_datasets()]
    return [each.messages for each in asked(datasets, config.first, config.split)]


def _row(response: Response, number: int, asked_of: Any, tokenizer: Vocabulary) -> dict[str, Any]:
    text = tokenizer.decode(response.tokens)
    return {
        "prompt": number, "sample": response.sample, "asked": asked_of[number], "text": text,
        "tokens": len(response.tokens), "stopped": response.stopped,
        "log_probability": float(response.log_probabilities.mean(dtype=float)), "replaced": text.count(REPLACEMENT),
    }  # fmt: skip


def _shortened(row: Mapping[str, Any]) -> dict[str, Any]:
    """For the result, which is small."""
    asked_last = row["asked"] if isinstance(row["asked"], str) else row["asked"][-1]["content"]
    cut = {name: text[:SHOWN_CHARACTERS] for name, text in (("asked", asked_last), ("text", row["text"]))}
    return {"prompt": row["prompt"], "sample": row["sample"], **cut}
