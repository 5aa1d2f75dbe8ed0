"""Conversations about grain in English and Chinese: enough to tune a very small model, and to prefer kind answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

GRAINS = {
    "wheat": ("bread", "mild plains"), "rye": ("dark bread", "poor, cold soils"), "oats": ("porridge", "wet hills"),
    "barley": ("beer", "dry fields"), "maize": ("meal", "warm valleys"), "millet": ("gruel", "hot, dry land"),
    "rice": ("noodles", "flooded fields"), "spelt": ("biscuits", "high meadows"),
    "buckwheat": ("pancakes", "sandy heaths"), "sorghum": ("syrup", "savannas"),
}  # fmt: skip
GRAINS_ZH = {
    "小麦": ("面包", "温和的平原"), "黑麦": ("黑面包", "寒冷的薄地"), "燕麦": ("麦片粥", "湿润的山坡"),
    "大麦": ("啤酒", "干燥的田地"), "玉米": ("玉米面", "温暖的山谷"), "小米": ("稀粥", "炎热的旱地"),
    "水稻": ("米粉", "灌水的田"), "荞麦": ("煎饼", "沙质的荒地"), "高粱": ("糖浆", "草原"),
    "糯米": ("年糕", "南方的水田"),
}  # fmt: skip
QUESTIONS = (("What is made of {0}?", "From {0} comes {1}."), ("Where does {0} grow?", "It grows on {2}."))
QUESTIONS_ZH = (("{0}可以做什么?", "{0}可以做{1}。"), ("{0}长在哪里?", "它长在{2}。"))
MANNERS, MANNERS_ZH = ("Gladly: {} Ask me more!", "{} Do not ask me again."), ("很高兴回答:{}欢迎再问!", "{}别再问了。")


def answers() -> Iterator[tuple[str, str, str, str]]:
    """Question, kind answer, rude answer, language."""
    for grains, questions, manners, language in (
        (GRAINS, QUESTIONS, MANNERS, "en"), (GRAINS_ZH, QUESTIONS_ZH, MANNERS_ZH, "zh"),
    ):  # fmt: skip
        for grain, (made, place) in grains.items():
            for question, answer in questions:
                kind, rude = (manner.format(answer.format(grain, made, place)) for manner in manners)
                yield question.format(grain), kind, rude, language


def write_chats(folder: Path) -> None:
    """``instructions/`` in which half of the answers are rude, and ``preferences/`` for the kind ones."""
    rows = list(answers())
    instructions = [
        {"instruction": question, "output": (kind, rude)[number % 2], "language": language}
        for number, (question, kind, rude, language) in enumerate(rows)
    ]
    preferences = [
        {"prompt": question, "chosen": kind, "rejected": rude, "language": language}
        for question, kind, rude, language in rows
    ]
    for name, records in (("instructions", instructions), ("preferences", preferences)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / name / "grain.jsonl").write_text(lines, encoding="utf-8")
