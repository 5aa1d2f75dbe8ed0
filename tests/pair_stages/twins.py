"""Words and their similarity by the definition, one character at a time."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

import regex

_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
_UNSPACED = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in _SCRIPTS) + "]")


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def seen(text: str) -> str:
    """What an answer looks like: NFC, line by line without white space at the end."""
    lines = text.strip().split("\n")
    return unicodedata.normalize("NFC", "\n".join(line.rstrip() for line in lines))


def alone(character: str) -> bool:
    """Whether a character is a word of its own."""
    return unicodedata.category(character)[0] in "LMN" and _UNSPACED.match(character) is not None


def words(text: str) -> list[str]:
    found, run = [], ""
    for character in folded(text) + " ":
        category = unicodedata.category(character)
        if not alone(character) and (category[0] in "LM" or category == "Nd"):
            run += character
            continue
        found += [run] if run else []
        found += [character] if alone(character) else []
        run = ""
    return found


def shingles(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    if not found:
        return {("", folded(text).strip())}
    return {tuple(found[start : start + 5]) for start in range(max(1, len(found) - 4))}


def jaccard(first: str, second: str) -> Fraction:
    a, b = shingles(first), shingles(second)
    return Fraction(len(a & b), len(a | b))


def copied(source: str, text: str, n: int, m: int) -> list[int]:
    """Words, copied words and longest copy, every n-gram looked up in a list."""
    of_source, of_text = words(source), words(text)
    size = m if 2 * sum(len(word) == 1 and alone(word) for word in of_text) > len(of_text) else n
    grams = [of_source[start : start + size] for start in range(len(of_source) - size + 1)]
    hits = [of_text[start : start + size] in grams for start in range(len(of_text) - size + 1)]
    covered = sum(any(hits[max(0, place - size + 1) : place + 1]) for place in range(len(of_text)))
    longest = run = 0
    for hit in hits:
        run = run + 1 if hit else 0
        longest = max(longest, run + size - 1 if run else 0)
    return [len(of_text), covered, longest]
