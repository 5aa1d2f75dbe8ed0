"""Small documents in English and Chinese, different enough from each other to all be kept."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

SUBJECTS = ["The miller", "A patient farmer", "The old baker", "Her neighbour", "The young carpenter", "My grandfather"]
VERBS = ["carried", "measured", "weighed", "described", "repaired", "remembered", "painted", "counted"]
OBJECTS = ["the heavy sacks", "a broken wheel", "the wooden gate", "every grain of barley", "the stone bridge"]
PLACES = ["behind the barn", "near the river", "in the cold kitchen", "under the chestnut tree", "on market day"]
ENDS = ["before the rain came", "because the wind had turned", "while the children slept", "with great care"]
HAN = "天地人水火山石田土木禾米竹草花鸟鱼虫云雨风雪春夏秋冬早晚东西南北高低大小长短新旧红白黑青黄城村路桥船车马牛羊"


def sentence(rng: random.Random) -> str:
    """One plain English sentence."""
    words = [rng.choice(part) for part in (SUBJECTS, VERBS, OBJECTS, PLACES, ENDS)]
    return f"{words[0]} {words[1]} {words[2]} {words[3]} {words[4]} on day {rng.randrange(10000)}."


def english(seed: int, sentences: int = 12) -> str:
    """A text of several paragraphs."""
    rng = random.Random(seed)
    return "\n\n".join(" ".join(sentence(rng) for _ in range(4)) for _ in range(sentences // 4))


def chinese(seed: int, sentences: int = 12) -> str:
    """A text of Han characters with Chinese punctuation."""
    rng = random.Random(seed)
    return "\n".join("".join(rng.choices(HAN, k=18)) + "的时候，我们在这里。" for _ in range(sentences))


def write_jsonl(path: Path, objects: list[dict | str]) -> Path:
    """JSON lines (strings are written as they are, so that they can be broken); gzip by suffix."""
    lines = [o if isinstance(o, str) else json.dumps(o, ensure_ascii=False) for o in objects]
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path
