"""Answers in files: what was asked and what was said, the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.asking import BYTES, asked, rows, saved
from tests.trainer.published import pair, publish, turn
from trainer.data import chat
from trainer.data.tokenizer import fit
from trainer.errors import ConfigError, DataError
from trainer.main import main
from trainer.model_folder import load_model

GREEDY = {"temperature": 0, "new_tokens": 12}


def greedy(model: Path, prompt: np.ndarray, new_tokens: int) -> list[int]:
    """The most probable token, again and again, until a special one comes."""
    module, tokens = load_model(model).module, [int(token) for token in prompt]
    for _ in range(new_tokens):
        with torch.no_grad():
            tokens.append(int(module.logits(module(torch.tensor([tokens])).hidden_BTD[0, -1]).argmax()))
        if tokens[-1] >= 256:
            break
    return tokens[len(prompt) :]


@pytest.mark.parametrize(("stage", "form"), [("pretrain", None), ("sft", "text"), ("sft", None), ("pretrain", "chat")])
def test_a_text_is_gone_on_with_and_a_chat_is_answered(tmp_path: Path, stage: str, form: str | None) -> None:
    model = saved(tmp_path / "m", stage)
    prompts = ["once upon", [turn("system", "be brief"), turn("user", "why?")]]
    result = asked("generate", tmp_path / "out", {"model": model}, prompts=prompts, form=form, sampling=GREEDY)
    said = "text" if (stage, form) in (("pretrain", None), ("sft", "text")) else "chat"
    assert result["form"] == said
    if said == "text":
        given = [np.array([BYTES.bos, *text.encode()]) for text in ("once upon", "be brief\n\nwhy?")]
    else:
        given = [chat.prompt(p, BYTES) for p in ([turn("user", "once upon")], prompts[1])]
    for row, tokens, prompt in zip(rows(tmp_path / "out" / "responses.jsonl"), given, prompts, strict=True):
        expected = greedy(model, tokens, 12)
        assert row["text"] == BYTES.decode(expected)
        assert (row["tokens"], row["asked"]) == (len(expected), prompt)
        assert row["replaced"] == row["text"].count("\ufffd")


def test_rows_come_in_order_and_the_same_again(tmp_path: Path) -> None:
    model, prompts = saved(tmp_path / "m"), [f"prompt {n}" * (n % 5 + 1) for n in range(20)]
    given = {"prompts": prompts, "samples": 3, "sampling": {"new_tokens": 10}}
    result = asked("generate", tmp_path / "1", {"model": model}, **given)
    first = rows(tmp_path / "1" / "responses.jsonl")
    assert [(row["prompt"], row["sample"]) for row in first] == [(p, s) for p in range(20) for s in range(3)]
    assert (result["prompts"], result["responses"]) == (20, 60)
    assert result["tokens"] == sum(row["tokens"] for row in first)
    assert result["stopped"] == sum(row["stopped"] for row in first)
    assert [one["text"] for one in result["first"]] == [row["text"] for row in first[:5]]
    assert result["with_replacements"] > 0  # random bytes are hardly ever UTF-8
    asked("generate", tmp_path / "2", {"model": model}, **given, slots=8)
    assert (tmp_path / "2" / "responses.jsonl").read_bytes() == (tmp_path / "1" / "responses.jsonl").read_bytes()
    asked("generate", tmp_path / "3", {"model": model}, **given | {"prompts": prompts[::-1][:7]})
    for row in rows(tmp_path / "3" / "responses.jsonl"):  # a prompt's answers do not depend on where it stands
        assert row["text"] == first[3 * (19 - row["prompt"]) + row["sample"]]["text"]


def test_prompts_of_datasets_come_once_each(tmp_path: Path) -> None:
    pairs = publish(
        tmp_path / "pairs", "preferences",
        [pair("a?", "x", "y", split="train"), pair("b?", "x", "y", split="held-out"),
         pair("a?", "z", "y", split="train"), pair("c?", "x", "y", split="held-out", tools="[]")],
    )  # fmt: skip
    turns = [turn("user", "d?"), turn("assistant", "e"), turn("user", "f?"), turn("assistant", "g")]
    chats = publish(tmp_path / "chats", "instructions", [{"id": "1", "messages": turns}])
    model, some = saved(tmp_path / "m"), {"sampling": {"new_tokens": 2}}

    def found(out: str, **config: object) -> list[object]:
        asked("generate", tmp_path / out, {"model": model}, (pairs, chats), **some, **config)
        return [row["asked"] for row in rows(tmp_path / out / "responses.jsonl")]

    a, b, d = [turn("user", "a?")], [turn("user", "b?")], turns[:3]
    c = [turn("system", "[]"), turn("user", "c?")]
    assert found("1") == [a, b, c, d]
    assert found("2", first=2) == [a, b]
    assert found("3", split="held-out") == [b, c]
    assert found("4", first=3, system="hm") == [[turn("system", "hm"), *a], [turn("system", "hm"), *b], c]


def test_prompts_that_are_too_long_are_left_out(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", "pretrain")
    given = {"prompts": ["x" * 50, "short"], "tokens": 20, "sampling": {"new_tokens": 2}}
    assert asked("generate", tmp_path / "out", {"model": model}, **given)["left_out"] == 1
    assert [row["prompt"] for row in rows(tmp_path / "out" / "responses.jsonl")] == [1]
    with pytest.raises(ConfigError, match="all 2 prompts are longer than 3 tokens"):
        asked("generate", tmp_path / "out", {"model": model}, **given | {"tokens": 3})


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    one, reward = {"model": saved(tmp_path / "m")}, saved(tmp_path / "r", reward=True)
    pairs = publish(tmp_path / "pairs", "preferences", [pair("a?", "x", "y")])
    pages = publish(tmp_path / "pages", "corpus", [{"id": "1", "text": "t"}])

    def refused(match: str, datasets: tuple[Path, ...] = (), models: dict[str, Path] = one, **config: object) -> None:
        with pytest.raises((ConfigError, DataError), match=match):
            asked("generate", tmp_path / "out", models, datasets, **config)

    refused("reward model; it gives no answers", models={"model": reward}, prompts=["a"])
    refused("needs a model with the role 'model'", models={}, prompts=["a"])
    refused("/config/prompts: there are prompts here and datasets too", (pairs,), prompts=["a"])
    refused("needs at least one dataset")
    refused("not from a corpus", (pages,))
    refused("have no prompts whose column 'split' says 'train'", (pairs,), split="train")
    refused("/config/prompts/1: a text or a list", prompts=["a", [{"role": "judge", "content": "x"}]])
    refused("/config/system", prompts=["a"], form="text", system="s")
    refused("/config/sampling/temperature", prompts=["a"], sampling={"temperature": 9})


def test_it_is_a_job_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = {
        "task": "generate", "output": str(tmp_path / "out"), "config": {"prompts": ["a"], "sampling": GREEDY},
        "models": [{"role": "model", "location": str(saved(tmp_path / "m"))}],
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(plain))
    assert main(["--job", str(tmp_path / "job.json")]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said[0] == {"type": "progress", "done": 1, "total": 1, "phase": "generate"}
    assert said[-1]["type"] == "result" and said[-1]["responses"] == 1


def test_pieces_of_letters_are_no_reason_to_fail() -> None:
    """Both tokenizers: what is no UTF-8 becomes the replacement character, and the rest is kept."""
    whole = "añ".encode()
    fitted = fit(["añ añ añ"], 265, least_count=99)
    for tokenizer in (BYTES, fitted):
        tokens = {byte: int(tokenizer.encode(chr(byte))[0]) for byte in whole if byte < 128}
        first, second = map(int, tokenizer.encode("ñ"))
        assert tokenizer.decode([tokens[97], first, tokens[97]]) == "a\ufffda"
        assert tokenizer.decode([second, first, second, tokenizer.end]) == "\ufffdñ"
