"""Copies of benchmark items in real pages, altered in known ways."""

from __future__ import annotations

import gzip
import json
import random
import re
import string
import unicodedata
from collections.abc import Callable
from pathlib import Path

from curation.decontamination.benchmark import Benchmark, read_benchmark

FILES = {"gsm8k": "gsm8k-test", "humaneval": "humaneval", "cmmlu": "cmmlu-zh", "agieval": "agieval"}


def benchmarks(data: Path) -> tuple[tuple[str, Benchmark], ...]:
    """All benchmark files by name."""
    folder = data / "benchmarks"
    return tuple((name, read_benchmark(name, folder / f"{file}.jsonl.gz")) for name, file in FILES.items())


def pages(data: Path) -> list[str]:
    """The texts of the crawl's pages."""
    with gzip.open(data / "html" / "pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line).get("gold") or "" for line in lines]
    return [text for text in texts if len(text) > 200]


def clean_texts(data: Path) -> list[str]:
    """Real texts in which nobody has planted anything."""
    texts = pages(data)
    for file in sorted((data / "text").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            texts += [json.loads(line)["text"] or "" for line in lines]
    return texts


def whole(text: str, rng: random.Random) -> str:
    return text


def truncated(text: str, rng: random.Random) -> str:
    """The first three fifths of its characters."""
    return text[: len(text) * 3 // 5]


def shouted(text: str, rng: random.Random) -> str:
    """Upper case, punctuation replaced by other punctuation, lines broken elsewhere."""
    mixed = "".join(rng.choice("—·…;|") + " " if c in ",.;:!?，。；：！？" else c for c in text.upper())
    return re.sub(r"[ \n]+", lambda _: rng.choice([" ", "\n", "\u3000", "\u00a0", " \t "]), mixed)


def full_width(text: str, rng: random.Random) -> str:
    """ASCII letters, digits and marks in full width, accents decomposed."""
    wide = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
    return unicodedata.normalize("NFD", text).translate(wide)


def lettered(text: str, rng: random.Random) -> str:
    """Each line behind the first with the letter of an answer."""
    first, *rest = text.split("\n")
    return "\n".join(
        [first, *(f"{letter}. {line}" for letter, line in zip(string.ascii_uppercase, rest, strict=False))]
    )


def one_word_in(distance: int) -> Callable[[str, random.Random], str]:
    """One word in so many replaced, a Han character being a word."""

    def changed(text: str, rng: random.Random) -> str:
        number = 0

        def replaced(found: re.Match[str]) -> str:
            nonlocal number
            if len(found.group()) == 1 and found.group().isascii() and found.group().isalpha():
                return found.group()
            number += 1
            other = "囗" if "\u3400" <= found.group()[0] <= "\u9fff" else "changed"
            return other if number % distance == distance // 2 else found.group()

        return re.sub(r"[\u3400-\u9fff]|(?:(?![\u3400-\u9fff_])\w)+", replaced, text)

    return changed


def plant(page: str, text: str, rng: random.Random) -> tuple[str, int]:
    """A text between two words of a page (or two characters of Chinese); with its place."""
    place = rng.randrange(len(page) + 1)
    while place < len(page) and page[place - 1 : place + 1].isalnum() and page[place].isascii():
        place += 1
    return f"{page[:place]}\n{text}\n{page[place:]}", place + 1
