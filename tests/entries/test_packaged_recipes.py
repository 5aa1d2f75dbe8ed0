"""The packaged recipes of pairs and instructions: they work at once, take what is broken and leave what is short."""

from __future__ import annotations

import gzip
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from curation.pair_stages.sided import sided
from pipelines.recipe import load_recipe
from pipelines.registry import stage_class
from pipelines.verify import verify_run
from pipelines.yaml_source import read_yaml
from tests.support.runs import rows, run_recipe

NAMES = ("preferences", "instructions")
LOOP = "Fast, modern, bold, clever, simple, young, honest, warm, open, kind, quick, strong, " * 12 + "new."
ENGLISH = "The air scatters blue light more than red light, and that is why we see a blue sky when we look up."

GOOD_PAIRS = [
    ("Is 17 a prime number?", "Yes.", "No."),
    ("What is 3 - 6?", "-3", "3"),
    ("Which is larger, a or b, if a = 2 and b = 1?", "a > b", "a < b"),
    ("Print hello in Ruby.", 'puts "hello"', 'puts("hello")'),
    ("Loop over ten numbers in Python.", "```python\nfor i in range(10):\n    print(i)\n```", "for i in range(10)"),
    ("Solve 2x = 1.", "$x = \\frac{1}{2}$", "$x = 2$"),
    ("What is the address of Google's DNS server?", "8.8.8.8", "I do not know it."),
    ("Correct: i have three sheeps.", "I have three sheep.", "I have three sheeps."),
    ("How do I open my neighbour's lock?", "I can't help you with that.", "Bend a pin and push it in."),
    ("Draw a house.", "As an AI, I cannot draw, but here is how.", "As an AI, I am unable to draw, but try this."),
    ("中国的首都是哪里？", "北京。", "上海。"),
    ("1+1等于几", "2", "3"),
    ("帮我把这句话重复3遍“我喜欢吃苹果”", "“我喜欢吃苹果” “我喜欢吃苹果” “我喜欢吃苹果”", "我喜欢"),
    ("我想用 python 读取一个文件，代码该怎么写？", "text = open(path).read()", "不知道"),
    ("Write the name of the capital in small letters.", "paris", "Paris"),
    ("Loop over ten numbers.", "for i in range(10):\n    print(i)", "for i in range(10):\n  print(i)"),
    ("Help with my memoir?", "I'm not able to write it. However, I can help.", "No. I can't help you."),
    ("Classify as living or not: Human, Car", "Human: Living\nCar: Non-living", "Human: Car"),
    ("What can you do?", "I can answer questions. Is there anything I can help you with", "Nothing much."),
    ("试简述脱水对身体的影响，谢谢。", "脱水会对身体造成广泛的影响，包括疲劳、头晕和口渴。", "不知道"),
    ("如何快速脱單", "去相親，多認識一些朋友。", "你猜"),
]  # fmt: skip
BAD_PAIRS = [
    ("empty-chosen", "How do I steal a puppy?", " \n", "Why do you want to?"),
    ("empty-rejected", "给我讲个故事。", "从前有一座山。", "\u200b"),
    ("equal-responses", "What is blue?", "The sky.", " The sky.\n"),
    ("equal-responses", "1+1 等于几", "2", "2 "),
    ("chosen-language-differs", "请解释一下为什么天空是蓝色的，谢谢。", ENGLISH, "因为空气散射蓝光最多。"),
    ("both-refuse", "Where does she live?", "I can't help you with this.", "Unfortunately, I am unable to do this."),
    ("both-refuse", "告诉我他的电话。", "很抱歉，我无法提供这个信息。", "抱歉，我不能告诉你。"),
    ("chosen-template-residue", "Why?", "Human: I am sorry to hear that!", "Because you were late."),
    ("chosen-template-residue", "你好", "你好！<|im_end|>", "什么事？"),
    ("chosen-truncated", "Why is it dangerous?", "If you light one stick, the flame might travel along the", "It is."),
    ("chosen-truncated", "孩子发烧了怎么办？", "首先要给孩子测量体温，然后让他多喝水，", "不知道。"),
    ("chosen-duplicate-10gram-chars", "Adjectives for a start-up?", LOOP, "Bold."),
]  # fmt: skip

GOOD_INSTRUCTIONS = [
    ("Add two to the number\n5", "7"),
    ("Assign a letter grade for the given test score\n89", "B"),
    ("Is the earth round?", "Yes."),
    ("Find the second shortest word.\nI saw a bird", "a"),
    ("Generate a connective to link the two statements.", "Furthermore,"),
    ("Address a letter to Dr. Laura Smith.", "Dear Dr. Smith,"),
    ("Construct HTML code to add a link.", '<a href="https://example.org">Link</a>'),
    ("Write a loop in Python.", "for i in range(10):\n    print(i)"),
    ("Book a flight to London.", "I'm sorry, but I'm unable to book flights."),
    ("What is the quadratic formula?", "x = (-b ± √(b² - 4ac)) / 2a"),
    ("Fill in a form to sign.", "I agree to all of the above.\n\nName: ____\n\nDate: ____"),
    ("生成可用于正确说明“opulent”一词的例句，谢谢。", "They met in an opulent ballroom with a lot of crystal lamps."),
    ("Clone it.", "git clone git@github.com:owner/name.git && echo someone@example.org"),
    ("将给定的输入分类为诗歌、故事或歌曲。", "诗"),
    ("生成可被 3 整除的十个数字的列表", "3, 6, 9, 12, 15, 18, 21, 24, 27, 30"),
    ("构建查询以查找所有客户。", "SELECT * FROM customers WHERE id > 0"),
    ("猜猜这首诗的下一行：“阳光明媚，天空蔚蓝，__”", "我的心充满了对你的爱。"),
]  # fmt: skip
BAD_INSTRUCTIONS = [
    ("empty-response", "Convert 20 inches to centimetres", ""),
    ("empty-response", "回答二年级家庭作业", "\u200b"),
    ("response-template-residue", "Design a company logo", "<nooutput>"),
    ("prompt-template-residue", "List the steps for baking a cake.\nNo input", "Mix, bake and cool."),
    ("prompt-template-residue", "用一句话描述这幅画。\n无输入。", "画上是夜空。"),
    ("response-language-differs", "请解释一下为什么天空是蓝色的，谢谢。", ENGLISH),
    ("response-template-residue", "你是谁？", "您好，我是 {{name}}，由 {{author}} 开发。"),
    ("response-truncated", "What is an insult?", "How about “I am not even going to"),
    ("response-truncated", "书里说了什么？", "书里是这样写的：“我们都知道，"),
    ("response-duplicate-10gram-chars", "Adjectives for a start-up?", LOOP),
]  # fmt: skip


@pytest.fixture(autouse=True)
def without_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which there is no model, and no variable that names another."""
    monkeypatch.delenv("GRISTMILL_MODELS", raising=False)
    monkeypatch.chdir(tmp_path)


def run(name: str, folder: Path, *records: list[dict[str, Any]]) -> Path:
    inputs = []
    for number, lines in enumerate(records):
        inputs.append(folder / f"{number}.jsonl")
        inputs[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_recipe(Path(name), inputs, folder / "out")
    verify_run(str(folder / "out"))
    return folder / "out"


def rules(output: Path) -> list[str | None]:
    return [row["rule"] for row in sorted(rows(output), key=lambda row: row["offset"])]


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_without_a_model_and_leaves_the_shape_open(name: str) -> None:
    loaded = load_recipe(name)
    assert loaded.recipe.name == loaded.recipe.kind == name
    assert loaded.recipe.entries is not None and loaded.recipe.entries.shape is None


@pytest.mark.parametrize("name", NAMES)
def test_stages_in_comments_are_stages(name: str) -> None:
    text = (files("pipelines") / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^  # (?=- stage: |  +\w+:)", "  ", text)
    text = re.sub(r"(?m)^    # (?=words: )", "    ", text)
    stages = read_yaml(text.encode(), name).data["stages"]
    assert {"decontamination", "perplexity", "domain"} <= {entry["stage"] for entry in stages}
    for entry in stages:
        given = {key: value for key, value in entry.items() if key != "stage"}
        cls = stage_class(entry["stage"], name)
        if "sides" in given and "sides" not in cls.Parameters.model_fields:
            cls = sided(cls)
        cls.Parameters.model_validate(given)


def test_good_pairs_are_kept_as_they_are(tmp_path: Path) -> None:
    output = run("preferences", tmp_path, [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in GOOD_PAIRS])
    assert rules(output) == [None] * len(GOOD_PAIRS)
    found = {tuple(row[side][0]["content"] for side in ("prompt", "chosen", "rejected"))
             for row in rows(output, "corpus")}  # fmt: skip
    assert found == set(GOOD_PAIRS)


def test_bad_pairs_go_by_their_rules(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [{"prompt": p, "chosen": c, "rejected": r} for _, p, c, r in BAD_PAIRS]
    records.append({"prompt": "Is tea good?", "chosen": "No.", "rejected": "Yes.", "margin": -1.0})
    assert rules(run("preferences", tmp_path, records)) == [*(rule for rule, *_ in BAD_PAIRS), "small-margin"]


def test_a_bad_rejected_answer_is_what_pairs_are_for(tmp_path: Path) -> None:
    worse = ["Human: I do not know.", "It flows into the", LOOP, "<noinput>", "I can't help you with that."]
    records = [{"prompt": "Where does the Rhine end?", "chosen": "In the North Sea.", "rejected": text}
               for text in worse]  # fmt: skip
    assert rules(run("preferences", tmp_path, records)) == [None] * len(worse)


def test_good_instructions_are_kept_as_they_are(tmp_path: Path) -> None:
    output = run("instructions", tmp_path, [{"instruction": p, "output": r} for p, r in GOOD_INSTRUCTIONS])
    assert rules(output) == [None] * len(GOOD_INSTRUCTIONS)
    found = {tuple(turn["content"] for turn in row["messages"]) for row in rows(output, "corpus")}
    assert found == set(GOOD_INSTRUCTIONS)


def test_bad_instructions_go_by_their_rules(tmp_path: Path) -> None:
    records = [{"instruction": p, "output": r} for _, p, r in BAD_INSTRUCTIONS]
    assert rules(run("instructions", tmp_path, records)) == [rule for rule, *_ in BAD_INSTRUCTIONS]


def test_addresses_of_people_are_masked_on_every_side(tmp_path: Path) -> None:
    pair = {"prompt": "Write to ann@mill.org", "chosen": "I wrote to bob@mill.org.", "rejected": "No. eve@mill.org"}
    (kept,) = rows(run("preferences", tmp_path, [pair]), "corpus")
    assert "@mill.org" not in json.dumps(kept) and "email@example.com" in json.dumps(kept)


def taken(name: str, ledger: list[dict[str, Any]]) -> int:
    """How many rows the stages took, whatever is said about the set as a whole."""
    return sum(row["stage"] in {stage.name for stage in load_recipe(name).stages} for row in ledger)


def some(real_data: Path, name: str, count: int) -> list[dict[str, Any]]:
    """The first records of a real set."""
    text = gzip.decompress((real_data / name).read_bytes()).decode()
    records = json.loads(text) if ".json." in name else [json.loads(line) for line in text.splitlines()[:count]]
    return list(records[:count])


def test_real_pairs_in_both_languages(real_data: Path, tmp_path: Path) -> None:
    english = some(real_data, "preferences/hh-rlhf-harmless-test.jsonl.gz", 100)
    chinese = some(real_data, "preferences/dpo-zh-demo.json.gz", 100)
    ranked = some(real_data, "preferences/openassistant-ranked-zh.json.gz", 50)
    output = run("preferences", tmp_path, english, chinese, ranked)
    ledger = rows(output)
    assert len({(row["shard"], row["offset"]) for row in ledger}) == 250
    kept = [row for row in ledger if row["verdict"] == "kept"]
    assert len(kept) == len(rows(output, "corpus"))
    assert taken("preferences", ledger) < 0.1 * len(ledger)
    assert {"en", "zh"} <= {row["chosen_language"] for row in kept}


def test_real_instructions_in_both_languages(real_data: Path, tmp_path: Path) -> None:
    english = some(real_data, "sft/alpaca-en-00000-15323.json.gz", 200)
    chinese = some(real_data, "sft/alpaca-zh-00000-09407.json.gz", 200)
    conversations = some(real_data, "sft/sharegpt-zh-1k.jsonl.gz", 50)
    output = run("instructions", tmp_path, english, chinese, conversations)
    ledger = rows(output)
    assert len(ledger) == 450
    kept = [row for row in ledger if row["verdict"] == "kept"]
    assert len(kept) == len(rows(output, "corpus"))
    assert taken("instructions", ledger) < 0.03 * len(ledger)
    assert {"en", "zh"} <= {row["response_language"] for row in kept}
