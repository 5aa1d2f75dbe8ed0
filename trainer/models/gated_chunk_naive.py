"""Gated chunk attention by its definition: one document, one head and one token at a time.

Shapes: T tokens of one document, C tokens of a chunk, D width, H heads, K head width, P pooled or selected pairs.

This is what ``trainer.models.gated_chunk`` is compared with: it shares its weights and no other code, makes every node
from the tokens it stands for, and lists what a token sees.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.models.gated_chunk import GatedChunkAttention


def gated_chunk_naive(attention: GatedChunkAttention, x_TD: Tensor, threshold: float | None = None) -> Tensor:
    """The output (T, D) for one document that starts at a chunk boundary."""
    heads = [_head(attention, head, x_TD) for head in range(attention.heads)]
    local_TD = torch.cat([local_TK for local_TK, _ in heads], -1)
    rows, open_gates = [], torch.zeros(())
    for t in range(len(x_TD)):
        start = t - t % attention.chunk
        pooled_D = local_TD[start : t + 1].mean(0)
        gate_H = torch.sigmoid(attention.gate.weight @ pooled_D + attention.gate_bias_H)
        skipped = threshold is not None and start > 0 and bool(open_gates > threshold)
        parts = [
            local_TK[t] if skipped else gate_H[head] * local_TK[t] + (1 - gate_H[head]) * global_TK[t]
            for head, (local_TK, global_TK) in enumerate(heads)
        ]
        if t % attention.chunk == attention.chunk - 1:
            open_gates = gate_H.mean()
        rows.append(attention.out.weight @ torch.cat(parts))
    return torch.stack(rows)


def _head(attention: GatedChunkAttention, head: int, x_TD: Tensor) -> tuple[Tensor, Tensor]:
    """Local and global output of one head (T, K)."""
    rows = slice(head * attention.head_width, (head + 1) * attention.head_width)
    q_TK, k_TK, v_TK = (x_TD @ p.weight[rows].T for p in (attention.query, attention.key, attention.value))
    base, chunk, scale = attention.rotary_base, attention.chunk, 1 / math.sqrt(attention.head_width)
    locals_, globals_ = [], []
    for t in range(len(x_TD)):
        start = t - t % chunk
        first = max(0, start - chunk) if attention.memory else start
        turned_K = _turn(q_TK[t], t, base)
        logits = torch.stack([turned_K @ _turn(k_TK[s], s, base) * scale for s in range(first, t + 1)])
        locals_.append(logits.softmax(0) @ v_TK[first : t + 1])

        keys, values, biases = [attention.null_key_HK[head]], [attention.null_value_HK[head]], [x_TD.new_zeros(())]
        for level, begin in spans(start // chunk):
            tokens = slice(begin * chunk, (begin + (1 << level)) * chunk)
            for key, value, bias in _node(attention, head, k_TK[tokens], v_TK[tokens]):
                keys.append(key + attention.level_LHK[level, head])
                values.append(value)
                biases.append(bias)
        logits = torch.stack([q_TK[t] @ key * scale + bias for key, bias in zip(keys, biases, strict=True)])
        globals_.append(logits.softmax(0) @ torch.stack(values))
    return torch.stack(locals_), torch.stack(globals_)


def spans(chunks: int) -> list[tuple[int, int]]:
    """The Fenwick decomposition of chunks 0 … chunks - 1: (level, first chunk), the longest first."""
    found, begin = [], 0
    while begin < chunks:
        level = (chunks - begin).bit_length() - 1
        found.append((level, begin))
        begin += 1 << level
    return found


def _node(attention: GatedChunkAttention, head: int, k_TK: Tensor, v_TK: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Key, value and logarithm of the weight of the pairs that stand for a span of tokens."""
    half = attention.pairs // 2
    run = len(k_TK) // half
    weights_T = torch.stack([torch.sigmoid(k @ attention.score_HK1[head, :, 0]) for k in k_TK])
    pooled = []
    for i in range(half):
        tokens = range(i * run, (i + 1) * run)
        total = torch.stack([weights_T[s] for s in tokens]).sum()
        key, value = (torch.stack([weights_T[s] * x_TK[s] for s in tokens]).sum(0) / total for x_TK in (k_TK, v_TK))
        pooled.append((key, value, total.log()))
    best = sorted(range(len(k_TK)), key=lambda s: -weights_T[s].item())[:half]
    return pooled + [(k_TK[s], v_TK[s], weights_T[s].log()) for s in best]


def _turn(x_K: Tensor, position: int, base: float) -> Tensor:
    """Rotary position: pairs (i, i + K/2) turned by position · base^(-2i/K)."""
    half = len(x_K) // 2
    angles = torch.tensor([position * base ** (-i / half) for i in range(half)], dtype=x_K.dtype)
    first, second = x_K[:half], x_K[half:]
    return torch.cat((first * angles.cos() - second * angles.sin(), second * angles.cos() + first * angles.sin()))
