"""Plain twins: each step as its source describes it, one character or one n-gram at a time."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence

DIGIT = re.compile(r"\d")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
# cc_net's table, its slip with the full-width one included.
PUNCTUATION = {
    "，": ",", "。": ".", "、": ",", "„": '"', "”": '"', "“": '"', "«": '"', "»": '"', "１": '"', "」": '"',
    "「": '"', "《": '"', "》": '"', "´": "'", "∶": ":", "：": ":", "？": "?", "！": "!", "（": "(", "）": ")",
    "；": ";", "–": "-", "—": " - ", "．": ". ", "～": "~", "’": "'", "…": "...", "━": "-", "〈": "<", "〉": ">",
    "【": "[", "】": "]", "％": "%", "►": "-",
}  # fmt: skip


def ccnet_normalise(text: str) -> str:
    """cc_net's normalisation in the order of its steps."""
    text = text.strip().lower()
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    text = DIGIT.sub("0", text)
    text = "".join(PUNCTUATION.get(c, c) for c in text)
    return CONTROL.sub("", text)


def ccnet_perplexity(text: str, pieces, language_model) -> float | None:
    """CCNet's chain for one page: SentencePiece, then every line scored and added up.  Not rounded."""
    tokenised = " ".join(pieces.encode_as_pieces(ccnet_normalise(text)))
    if not tokenised:
        return None
    score, length = 0.0, 0
    for line in tokenised.split("\n"):
        score += language_model.score(line)
        length += len(line.split()) + 1
    return 10.0 ** (-score / length)


Gram = tuple[str, ...]


class NaiveKneserNey:
    """Interpolated modified Kneser-Ney by dictionaries, straight from the formulas.

    Args:
        sentences: lists of words.
        order: greatest n.
        prune: thresholds for all orders.
        fallback: discounts where the counts give none.
    """

    def __init__(
        self,
        sentences: Sequence[Sequence[str]],
        order: int,
        prune: Sequence[int],
        fallback: tuple[float, float, float],
    ) -> None:
        self.order = order
        self.counts: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
        for sentence in sentences:
            words = ["<s>", *sentence, "</s>"]
            for n in range(1, order + 1):
                for i in range(len(words) - n + 1):
                    self.counts[n][tuple(words[i : i + n])] += 1
        del self.counts[1][("<s>",)]
        self.vocabulary = sorted({gram[0] for gram in self.counts[1]} | {"<unk>"})
        self.adjusted = [self._adjust(n) for n in range(order + 1)]
        self.discounts = [self._discount(n, fallback) for n in range(order + 1)]
        self.kept = [
            {gram for gram, count in self.counts[n].items() if n <= 1 or count > prune[n - 1]} for n in range(order + 1)
        ]
        self.followers: list[defaultdict[Gram, list[Gram]]] = [defaultdict(list) for _ in range(order + 1)]
        for n in range(1, order + 1):
            for gram in self.counts[n]:
                self.followers[n][gram[:-1]].append(gram)

    def _adjust(self, n: int) -> dict[Gram, int]:
        if n in (0, self.order):
            return dict(self.counts[n])
        before = defaultdict(set)
        for gram in self.counts[n + 1]:
            before[gram[1:]].add(gram[0])
        return {g: count if g[0] == "<s>" else len(before[g]) for g, count in self.counts[n].items()}

    def _discount(self, n: int, fallback: tuple[float, float, float]) -> tuple[float, float, float]:
        t = Counter(self.adjusted[n].values())
        if not (t[1] and t[2] and t[3]):
            return fallback
        y = t[1] / (t[1] + 2 * t[2])
        found = (1 - 2 * y * t[2] / t[1], 2 - 3 * y * t[3] / t[2], 3 - 4 * y * t[4] / t[3])
        return found if all(0 <= d <= k for k, d in zip((1, 2, 3), found, strict=True)) else fallback

    def _take(self, gram: Gram) -> float:
        """Discount of an n-gram."""
        count = self.adjusted[len(gram)][gram]
        return self.discounts[len(gram)][min(count, 3) - 1] if count else 0.0

    def weight(self, context: Gram) -> float:
        """Interpolation weight of a context."""
        grams = self.followers[len(context) + 1].get(context, [])
        if not grams:
            return 1.0
        n = len(context) + 1
        total = sum(self.adjusted[n][gram] for gram in grams)
        freed = sum(self._take(g) if g in self.kept[n] else self.adjusted[n][g] for g in grams)
        return freed / total

    def probability(self, gram: Gram) -> float:
        """p(last word | the words before) of an n-gram that the model lists."""
        if len(gram) == 0:
            return 1 / len(self.vocabulary)
        grams = self.followers[len(gram)].get(gram[:-1], [])
        total = sum(self.adjusted[len(gram)][g] for g in grams)
        own = 0.0
        if gram in self.kept[len(gram)]:
            own = (self.adjusted[len(gram)][gram] - self._take(gram)) / total
        return own + self.weight(gram[:-1]) * self.probability(gram[1:])
