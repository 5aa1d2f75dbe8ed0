"""What a policy did: answers, what they were worth, and how likely they were when they were drawn.

Shapes: B answers, T tokens of prompt and answer; the place of a token in ``mask_BT`` and in all that follows is that of
the token before it, from which it was predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.batches import NO_DOCUMENT, NO_TARGET
from trainer.infer.engine import Response
from trainer.kernels.loss import token_log_probabilities


class Reward(Protocol):
    """What an answer is worth."""

    def __call__(self, prompts: Sequence[np.ndarray], answers: Sequence[np.ndarray]) -> np.ndarray:
        """One figure for each pair of prompt and answer, fp64; an answer ends with its stop token where it came."""


class Answers(NamedTuple):
    """Answers as rows of tokens.

    tokens_BT, documents_BT (-1 where padded), targets_BT (-100 but for the tokens of answers): int64.
    mask_BT: where a token of an answer is predicted.
    engine_BT: log-probabilities as the engine had them, fp32, 0 elsewhere.
    prompt_B: number of the prompt.
    stopped_B: whether the answer ended by itself.
    """

    tokens_BT: Tensor
    documents_BT: Tensor
    targets_BT: Tensor
    mask_BT: Tensor
    engine_BT: Tensor
    prompt_B: Tensor
    stopped_B: Tensor

    def rows(self, index_B: Tensor) -> Answers:
        """Some of them, as wide as the longest of these."""
        width = int((self.documents_BT[index_B] >= 0).sum(1).max())
        return Answers(*(part[index_B, :width] if part.ndim == 2 else part[index_B] for part in self))

    def to(self, device: torch.device) -> Answers:
        """On a device."""
        return Answers(*(part.to(device) for part in self))


def as_rows(prompts: Sequence[np.ndarray], responses: Sequence[Response], padding: int) -> Answers:
    """Responses of an engine as rows, in the order in which they are given."""
    lengths = [len(prompts[one.prompt]) + len(one.tokens) for one in responses]
    shape = len(responses), max(lengths)
    tokens, documents = np.full(shape, padding, np.int64), np.full(shape, NO_DOCUMENT, np.int64)
    targets, engine = np.full(shape, NO_TARGET, np.int64), np.zeros(shape, np.float32)
    for row, (one, length) in enumerate(zip(responses, lengths, strict=True)):
        begin = len(prompts[one.prompt])
        tokens[row, :begin], tokens[row, begin:length] = prompts[one.prompt], one.tokens
        documents[row, :length] = 0
        targets[row, begin - 1 : length - 1] = one.tokens
        engine[row, begin - 1 : length - 1] = one.log_probabilities
    arrays = (tokens, documents, targets, targets != NO_TARGET, engine)
    numbers = np.array([one.prompt for one in responses], np.int64), np.array([one.stopped for one in responses])
    return Answers(*map(torch.from_numpy, (*arrays, *numbers)))


def log_probabilities(module: nn.Module, answers: Answers, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities (B, T) of the answers' tokens by the forward of training, and the model's auxiliary losses."""
    trunk = module(answers.tokens_BT, answers.documents_BT, dtype)
    found_N = token_log_probabilities(trunk.hidden_BTD.flatten(0, 1), module.head.weight, answers.targets_BT.flatten())
    return found_N.view_as(answers.targets_BT), trunk.losses


class Experience(NamedTuple):
    """Answers with all that their losses need.

    old_BT, reference_BT: log-probabilities under the policy that drew them and under the reference.
    values_BT: of the critic; 0 without one.
    advantages_BT, returns_BT: of each token.
    """

    answers: Answers
    old_BT: Tensor
    reference_BT: Tensor
    values_BT: Tensor
    advantages_BT: Tensor
    returns_BT: Tensor

    def rows(self, index_B: Tensor) -> Experience:
        """Some answers, as wide as the longest of these."""
        chosen = self.answers.rows(index_B)
        width = chosen.tokens_BT.shape[1]
        return Experience(chosen, *(part[index_B, :width] for part in self[1:]))  # type: ignore[index]
