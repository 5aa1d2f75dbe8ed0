"""How well a language model foretells documents: nats of a token, bits of a byte.

Shapes: R windows, T tokens of a window.

Every token of a document is foretold once, ``<|bos|>`` aside.  A document that is longer than a window is read by
windows that overlap by half: the first foretells all of its tokens, each further one its last half, so that all tokens
but those of the first window have at least half a window before them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.batches import NO_DOCUMENT, NO_TARGET
from trainer.kernels.loss import token_log_probabilities


class Window(NamedTuple):
    """Tokens ``[begin, end)`` of a document are read, those behind ``known`` are foretold; numbers of targets."""

    document: int
    begin: int
    end: int
    known: int


def windows(document: int, length: int, tokens: int) -> Iterator[Window]:
    """The windows of a document of ``length`` tokens; ``end`` and ``known`` count targets, which are one later."""
    known, last = 0, length - 1
    while known < last:
        end = min(known + (tokens if not known else max(1, tokens // 2)), last)
        yield Window(document, max(0, end - tokens), end, known)
        known = end


class Loss(NamedTuple):
    """Nats of a document's tokens that count, and how many those are."""

    total: float
    tokens: int


@torch.no_grad()
def document_losses(
    module: nn.Module, documents: Sequence[np.ndarray], counted: Sequence[np.ndarray] | None, *, tokens: int,
    padding: int, batch_tokens: int, device: torch.device, dtype: torch.dtype,
) -> list[Loss]:  # fmt: skip
    """The loss of each document.

    Args:
        documents: tokens of each, the mark of the begin included.
        counted: which tokens count, bool; by default all.
        tokens: T, the longest window.
        padding: the token that pads.
        batch_tokens: of windows that are read together, about.
    """
    found = [piece for number, each in enumerate(documents) for piece in windows(number, len(each), tokens)]
    found.sort(key=lambda piece: (piece.end - piece.begin, piece))
    totals, counts = np.zeros(len(documents)), np.zeros(len(documents), np.int64)
    for batch in _batches(found, batch_tokens):
        arrays = _rows(batch, documents, counted, padding)
        tokens_RT, documents_RT, targets_RT = (torch.from_numpy(array).to(device) for array in arrays)
        losses_R = -_log_probabilities(module, tokens_RT, documents_RT, targets_RT, dtype)
        of = [piece.document for piece in batch]
        np.add.at(totals, of, losses_R.double().cpu().numpy())
        np.add.at(counts, of, (arrays[2] != NO_TARGET).sum(1))
    return [Loss(float(total), int(count)) for total, count in zip(totals, counts, strict=True)]


def _log_probabilities(
    module: nn.Module, tokens_RT: Tensor, documents_RT: Tensor, targets_RT: Tensor, dtype: torch.dtype
) -> Tensor:
    hidden_RTD = module(tokens_RT, documents_RT, dtype).hidden_BTD
    found_N = token_log_probabilities(hidden_RTD.flatten(0, 1), module.head.weight, targets_RT.flatten())
    return found_N.view_as(targets_RT).double().sum(1)


def _batches(found: Sequence[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Neighbours by length, as many as have ``batch_tokens`` with their padding; longest windows come last."""
    batch: list[Window] = []
    for piece in found:
        if batch and (len(batch) + 1) * (piece.end - piece.begin) > batch_tokens:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _rows(
    batch: Sequence[Window], documents: Sequence[np.ndarray], counted: Sequence[np.ndarray] | None, padding: int
) -> tuple[np.ndarray, ...]:
    width = max(piece.end - piece.begin for piece in batch)
    tokens_RT, documents_RT, targets_RT = (
        np.full((len(batch), width), value, np.int64) for value in (padding, NO_DOCUMENT, NO_TARGET)
    )
    for row, (number, begin, end, known) in enumerate(batch):
        tokens_RT[row, : end - begin] = documents[number][begin:end]
        documents_RT[row, : end - begin] = 0
        target = documents[number][known + 1 : end + 1].astype(np.int64)
        if counted is not None:
            target = np.where(counted[number][known + 1 : end + 1], target, NO_TARGET)
        targets_RT[row, known - begin : end - begin] = target
    return tokens_RT, documents_RT, targets_RT


class Measured(NamedTuple):
    """A document's figures, and what it is told apart by."""

    loss: float
    tokens: int
    bytes: int
    language: str | None
    domain: str | None


def summary(documents: Sequence[Measured]) -> Mapping[str, float | None]:
    """Of all tokens together; standard errors are over documents.  None where there is nothing to divide by."""
    losses, tokens, sizes = (np.array([figure(d) for d in documents], float) for figure in (_nats, _tokens, _bytes))
    loss, error = ratio(losses, tokens)
    bits, bits_error = ratio(losses / math.log(2), sizes)
    return {
        "documents": len(documents), "tokens": int(tokens.sum()), "bytes": int(sizes.sum()),
        "loss": loss, "loss_error": error, "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        "bits_per_byte": bits, "bits_per_byte_error": bits_error,
    }  # fmt: skip


_nats, _tokens, _bytes = attrgetter("loss"), attrgetter("tokens"), attrgetter("bytes")


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> tuple[float | None, float | None]:
    """Sum over sum, and its standard error (None for one document alone).

    The error of a ratio r is that of the mean of ``n - r d``, over the mean of d (Cochran, Sampling techniques, 1977).
    """
    total = denominators.sum()
    if not total:
        return None, None
    found = float(numerators.sum() / total)
    if len(numerators) < 2:
        return found, None
    off = numerators - found * denominators
    return found, float(math.sqrt(len(off) / (len(off) - 1) * (off**2).sum()) / total)
