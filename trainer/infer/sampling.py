"""How the next token is drawn: with noise that is a function of who asks, not of what was drawn before.

Shapes: B rows, V vocabulary.

A token is drawn as the entry of greatest ``logit / temperature + noise``, where the noise of every entry is of Gumbel's
distribution; that is a draw from the softmax (Gumbel, 1954; Maddison et al., 2014, arXiv 1411.0030).  The noise comes
from a counter, not from a generator with a state: the same (seed, key, sample, position, entry) has the same noise on
every device, in every batch and in any order.

The counter is SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014), whose
n-th number can be had without those before it.  A seed, a key, a sample and a position are taken in one after the
other: the n-th number of one stream is the seed of the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.ranges import NOT_NEGATIVE, POSITIVE, Checked, Range

WORD = 1 << 64


def _signed(word: int) -> int:
    """A 64-bit word as ``int64`` holds it."""
    word %= WORD
    return word - WORD if word >> 63 else word


GOLDEN, FIRST, SECOND = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True, kw_only=True)
class Sampling(Checked):
    """How answers are drawn: the temperature first, then ``top_k``, then ``top_p`` of what that left.

    Attributes:
        temperature: of the softmax; 0 takes the most probable token, of equal ones the first.
        top_p: of the most probable tokens as few as have this share together (Holtzman et al., 2020,
            arXiv 1904.09751); at least one.
        top_k: this many of the most probable tokens.  Here as there, of equal ones the first in the vocabulary.
        new_tokens: the most that an answer has.
        seed: of the noise.
    """

    temperature: float = field(
        default=1.0, metadata={"limit": NOT_NEGATIVE, "range": Range(0, 2, "hotter is hardly more than noise")}
    )
    top_p: float = field(default=1.0, metadata={"limit": Range(0, 1, "a share")})
    top_k: int | None = field(default=None, metadata={"limit": POSITIVE})
    new_tokens: int = field(default=256, metadata={"limit": POSITIVE})
    seed: int = 1


def nth(seed: Tensor, index: Tensor) -> Tensor:
    """Number ``index``, from 0, of the SplitMix64 stream of ``seed``: 64 bits in ``int64``; shapes are broadcast."""
    z = (index + 1) * GOLDEN + seed
    z = (z ^ _shifted(z, 30)) * FIRST
    z = (z ^ _shifted(z, 27)) * SECOND
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, places: int) -> Tensor:
    """To the right, zeros from the left."""
    return (z >> places) & ((1 << 64 - places) - 1)


def row_seeds(seed: int, keys: Sequence[int], samples: Sequence[int]) -> Tensor:
    """Seeds of responses (B,), of prompts' keys and numbers of samples."""
    keys_B, samples_B = (torch.tensor([_signed(n) for n in numbers], dtype=torch.int64) for numbers in (keys, samples))
    return nth(nth(torch.tensor(_signed(seed)), keys_B), samples_B)


def gumbel(seed_B: Tensor, position_B: Tensor, vocab: int) -> Tensor:
    """Noise (B, V) of rows at positions, fp64."""
    entries_V = torch.arange(vocab, device=seed_B.device)
    bits_BV = nth(nth(seed_B, position_B)[:, None], entries_V)
    uniform_BV = (_shifted(bits_BV, 11).double() + 0.5) * 2.0**-53  # inside of (0, 1)
    return uniform_BV.log_().neg_().log_().neg_()


def restricted(logits_BV: Tensor, top_k: int | None, top_p: float) -> Tensor:
    """The logits, -inf where ``top_k`` and then ``top_p`` leave an entry out (see ``Sampling``)."""
    if top_k is not None and top_k < logits_BV.shape[-1]:
        logits_BV = torch.where(_best(logits_BV, top_k), logits_BV, -math.inf)
    if top_p < 1:
        logits_BV = torch.where(_nucleus(logits_BV, top_p), logits_BV, -math.inf)
    return logits_BV


def _best(logits_BV: Tensor, count: int) -> Tensor:
    least_B1 = logits_BV.topk(count, sorted=True).values[:, -1:]
    above_BV, equal_BV = logits_BV > least_B1, logits_BV == least_B1
    room_B1 = count - above_BV.sum(-1, keepdim=True)
    return above_BV | (equal_BV & (equal_BV.cumsum(-1) <= room_B1))


def _nucleus(logits_BV: Tensor, share: float) -> Tensor:
    falling_BV, entries_BV = logits_BV.sort(dim=-1, descending=True, stable=True)
    chances_BV = falling_BV.double().softmax(-1)
    before_BV = chances_BV.cumsum(-1) - chances_BV
    wanted_BV = before_BV < share
    wanted_BV[:, 0] = True
    return torch.zeros_like(wanted_BV).scatter(-1, entries_BV, wanted_BV)


def choose(logits_BV: Tensor, sampling: Sampling, seed_B: Tensor, position_B: Tensor) -> Tensor:
    """The next token of each row (B,), ``int64``."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    scores_BV = restricted(logits_BV.double() / sampling.temperature, sampling.top_k, sampling.top_p)
    return (scores_BV + gumbel(seed_B, position_B, logits_BV.shape[-1])).argmax(-1)


def log_probabilities(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Of tokens under the softmax of the logits as they are: temperature 1, nothing left out."""
    return logits_BV.log_softmax(-1).gather(-1, tokens_B[:, None])[:, 0]
