"""An engine that answers many prompts at once: slots that are filled again as answers end.

    engine = Engine(model, slots=32, stop=[tokenizer.end])
    for response in engine.generate(prompts, Sampling(temperature=0.7, new_tokens=128), samples=4): …

Shapes: B slots, P prompts of a prefill, T tokens, D width, V vocabulary.

It runs the modules that are trained.  Prompts of about one length are prefilled together, once for all of their
samples, and copied into slots; each step draws a token for every slot and appends it to the slots' decode state.

**A response is its own.**  It follows from the weights, the seed, its prompt's key and its number, and from nothing
else: not from the prompts beside it, the number of slots, or the order.  Random numbers have no state (see
``sampling``).  On a CPU arithmetic is the same to the bit: products have 8 rows at least (experts' 4), from which on a
row does not depend on the others, prompts are padded to a size that their own length decides, and keys are looked at in
whole lanes.  What remains, each about 1e-7 in fp32, which changes a token only where two are as good as equal:

- ``longdoc``: states with another number of levels, unless ``max_tokens`` says for how many tokens they are; and gates,
  where 4 does not divide the number of heads;
- kernels of GPUs, which choose their shape by that of the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainer.errors import ConfigError, DataError
from trainer.infer.sampling import Sampling, choose, log_probabilities, row_seeds

ROWS = 8
"""Slots come in multiples of it."""
PREFILL = 1 << 14
"""Tokens that are prefilled together, at most, unless one prompt is longer."""
BURST = 8
"""Steps on a GPU until the host looks at what was drawn."""


class Response(NamedTuple):
    """One answer.

    prompt: number of the prompt, in the order in which they were given.
    sample: its number among the prompt's answers.
    tokens: int64; the stop token is the last one where it came.
    log_probabilities: float32, of each token under the model at temperature 1, nothing left out.
    stopped: by a stop token, not by length.
    """

    prompt: int
    sample: int
    tokens: np.ndarray
    log_probabilities: np.ndarray
    stopped: bool


class Engine:
    """Draws answers.

    Args:
        module: of any family; it is used as it is when ``generate`` runs.
        slots: answers that are drawn at the same time.  The work of a step is for a multiple of 8.
        stop: tokens that end an answer.
        device: by default that of the module.
        dtype: of activations and states.
        max_tokens: prompt and answer together, for which there is room; by default what a call needs.
    """

    def __init__(
        self, module: nn.Module, *, slots: int = 8, stop: Collection[int] = (), device: torch.device | None = None,
        dtype: torch.dtype = torch.float32, max_tokens: int | None = None,
    ) -> None:  # fmt: skip
        if slots < 1:
            raise ConfigError("/slots", f"{slots} slots hold no answer")
        self.module, self.slots, self.stop = module, slots, frozenset(stop)
        self.dtype, self.max_tokens = dtype, max_tokens
        self.device = device or next(module.parameters()).device
        self.burst = 1 if self.device.type == "cpu" else BURST

    def generate(
        self, prompts: Sequence[np.ndarray], sampling: Sampling, *, samples: int = 1, keys: Sequence[int] | None = None
    ) -> Iterator[Response]:
        """Answers, in the order in which they end.

        Args:
            prompts: tokens of each, one at least.
            samples: answers to each prompt.
            keys: what distinguishes a prompt's random numbers from those of others; by default its number.

        Raises:
            ConfigError: the model cannot hold that many tokens.
            DataError: an empty prompt, or one with tokens that the model does not have.
        """
        if samples < 1:
            raise ConfigError("/samples", f"{samples} answers to a prompt are none")
        if keys is not None and len(keys) != len(prompts):
            raise DataError(f"{len(prompts)} prompts have {len(keys)} keys")
        prompts = [np.asarray(prompt, np.int64) for prompt in prompts]
        for number, prompt in enumerate(prompts):
            if not len(prompt):
                raise DataError(f"prompt {number} is empty; there must be a token, such as <|bos|>, to go on from")
            if prompt.min() < 0 or prompt.max() >= self.module.config.vocab:
                raise DataError(f"prompt {number} has tokens outside of the model's {self.module.config.vocab}")
        if not prompts:
            return iter(())
        room, burst = self._room(max(map(len, prompts)) + sampling.new_tokens)
        return _Run(self, prompts, sampling, samples, keys or range(len(prompts)), room, burst).responses()

    def _room(self, needed: int) -> tuple[int, int]:
        """Tokens that a row of the states must hold, and steps at once."""
        config: Any = self.module.config
        held = self.max_tokens or needed
        most = (config.chunk << config.levels) - 1 if hasattr(config, "levels") else held + self.burst
        if needed > min(held, most):
            there = f"there is room for {min(held, most)}"
            raise ConfigError("/new_tokens", f"the longest prompt and its answer may have {needed} tokens; {there}")
        if held + self.burst - 1 <= most:
            return held + self.burst - 1, self.burst
        return min(held, most), 1  # no room for what is drawn until the host looks


def padded(length: int) -> int:
    """What a prompt is padded to: 16, 32, …, 128, then in steps of an eighth to a quarter of it."""
    step = max(16, 1 << (length - 1).bit_length() >> 3)
    return -(-length // step) * step


@dataclass
class _Answer:
    """A response that is being drawn."""

    prompt: int
    sample: int
    tokens: list[int] = field(default_factory=list)
    log_probabilities: list[float] = field(default_factory=list)
    stopped: bool = False


@dataclass
class _Ready:
    """Prompts that were prefilled, and answers to them that wait for a slot."""

    state: Any
    hidden_PD: Tensor
    answers: deque[tuple[int, _Answer]]
    """With the row of their prompt."""


class _Run:
    """One call of ``generate``."""

    def __init__(
        self, engine: Engine, prompts: Sequence[np.ndarray], sampling: Sampling, samples: int, keys: Sequence[int],
        room: int, burst: int,
    ) -> None:  # fmt: skip
        self.engine, self.module, self.device = engine, engine.module, engine.device
        self.prompts, self.sampling, self.samples, self.keys = prompts, sampling, samples, keys
        self.room, self.burst = room, burst
        longest_first = sorted(range(len(prompts)), key=lambda number: (-padded(len(prompts[number])), number))
        self.waiting = deque(longest_first)
        self.ready: _Ready | None = None
        width = _rows(min(engine.slots, samples * len(prompts)))
        self.state: Any = self._empty(width)
        self.hidden_BD = torch.zeros(width, self.module.config.width, device=self.device, dtype=engine.dtype)
        self.seed_B = torch.zeros(width, dtype=torch.int64, device=self.device)
        self.position_B = torch.zeros(width, dtype=torch.int64, device=self.device)
        self.answers: list[_Answer | None] = [None] * width
        self.empty = set(range(width))

    def _empty(self, rows: int) -> Any:
        return self.module.state(rows, self.device, self.engine.dtype, self.room)

    @torch.no_grad()
    def responses(self) -> Iterator[Response]:
        """All of them."""
        while True:
            self._fill()
            left = [self.sampling.new_tokens - len(answer.tokens) for answer in self.answers if answer]
            if not left:
                return
            steps = min(self.burst, max(left))
            drawn = self._draw(steps, more=max(left) > steps)
            yield from self._collect(*drawn)

    # Prompts into slots.

    def _fill(self) -> None:
        """Put answers that wait into free slots; when none is left, see to those that stay idle."""
        free = [slot for slot, answer in enumerate(self.answers) if answer is None]
        while free and (self.ready or self.waiting):
            if self.ready is None:
                self.ready = self._prefill()
            taken = [self.ready.answers.popleft() for _ in range(min(len(free), len(self.ready.answers)))]
            self._enter(free[: len(taken)], taken, self.ready)
            free = free[len(taken) :]
            if not self.ready.answers:
                self.ready = None
        if free and len(free) < len(self.answers):
            self._shrink()
            self._empty_idle()

    def _prefill(self) -> _Ready:
        """The next prompts, of one padded length."""
        length = padded(len(self.prompts[self.waiting[0]]))
        most = max(1, min(-(-self.engine.slots // self.samples), PREFILL // length))
        numbers: list[int] = []
        while self.waiting and len(numbers) < most and padded(len(self.prompts[self.waiting[0]])) == length:
            numbers.append(self.waiting.popleft())
        tokens_PT = np.zeros((len(numbers), length), np.int64)
        for row, number in enumerate(numbers):
            tokens_PT[row, : len(self.prompts[number])] = self.prompts[number]
        lengths_P = torch.tensor([len(self.prompts[number]) for number in numbers])  # known to the host
        state = self._empty(len(numbers))
        hidden_PTD = self.module.decode(torch.from_numpy(tokens_PT).to(self.device), state, lengths_P)
        hidden_PD = hidden_PTD[torch.arange(len(numbers), device=self.device), lengths_P.to(self.device) - 1]
        answers = [(row, _Answer(n, sample)) for row, n in enumerate(numbers) for sample in range(self.samples)]
        return _Ready(state, hidden_PD, deque(answers))

    def _enter(self, slots: list[int], taken: list[tuple[int, _Answer]], ready: _Ready) -> None:
        rows, answers = zip(*taken, strict=True)
        slots_N, rows_N = (torch.tensor(numbers, device=self.device) for numbers in (slots, rows))
        self.state.put(slots_N, ready.state.rows(rows_N))
        self.hidden_BD[slots_N] = ready.hidden_PD[rows_N]
        keys, samples = [self.keys[answer.prompt] for answer in answers], [answer.sample for answer in answers]
        self.seed_B[slots_N] = row_seeds(self.sampling.seed, keys, samples).to(self.device)
        self.position_B[slots_N] = 0
        for slot, answer in zip(slots, answers, strict=True):
            self.answers[slot] = answer
        self.empty.difference_update(slots)

    def _shrink(self) -> None:
        """Go on with fewer rows where half of them have ended."""
        busy = [slot for slot, answer in enumerate(self.answers) if answer]
        width = _rows(len(busy))
        if 2 * width > len(self.answers):
            return
        idle = (slot for slot, answer in enumerate(self.answers) if answer is None)
        kept = [*busy, *islice(idle, width - len(busy))]
        index_B = torch.tensor(kept, device=self.device)
        self.state, self.answers = self.state.rows(index_B), [self.answers[slot] for slot in kept]
        self.hidden_BD, self.seed_B, self.position_B = (
            x_B[index_B] for x_B in (self.hidden_BD, self.seed_B, self.position_B)
        )
        self.empty = {place for place, slot in enumerate(kept) if slot in self.empty}

    def _empty_idle(self) -> None:
        """What is drawn for idle rows is thrown away; they begin at nothing, so that they cannot outgrow their room."""
        idle = [slot for slot, answer in enumerate(self.answers) if answer is None and slot not in self.empty]
        if idle:
            self.state.put(torch.tensor(idle, device=self.device), self._empty(len(idle)))
            self.empty.update(idle)

    # Tokens.

    def _draw(self, steps: int, more: bool) -> tuple[list[list[int]], list[list[float]]]:
        """Some tokens for every slot, and their log-probabilities, as lists of steps; waits for the device once.

        Args:
            more: whether another token may follow.
        """
        tokens, chances = [], []
        for step in range(steps):
            logits_BV = self.module.logits(self.hidden_BD)
            tokens_B = choose(logits_BV, self.sampling, self.seed_B, self.position_B)
            tokens.append(tokens_B)
            chances.append(log_probabilities(logits_BV, tokens_B))
            self.position_B = self.position_B + 1
            if more or step + 1 < steps:
                self.hidden_BD = self.module.decode(tokens_B[:, None], self.state)[:, 0]
        return torch.stack(tokens).tolist(), torch.stack(chances).tolist()

    def _collect(self, tokens: list[list[int]], chances: list[list[float]]) -> Iterator[Response]:
        """Give tokens to the answers; those that have ended leave their slot."""
        for slot, answer in enumerate(self.answers):
            if answer is None:
                continue
            for token, chance in zip((row[slot] for row in tokens), (row[slot] for row in chances), strict=True):
                answer.tokens.append(token)
                answer.log_probabilities.append(chance)
                answer.stopped = token in self.engine.stop
                if answer.stopped or len(answer.tokens) == self.sampling.new_tokens:
                    self.answers[slot] = None
                    yield _response(answer)
                    break


def _rows(slots: int) -> int:
    return -(-slots // ROWS) * ROWS


def _response(answer: _Answer) -> Response:
    tokens, chances = np.array(answer.tokens, np.int64), np.array(answer.log_probabilities, np.float32)
    return Response(answer.prompt, answer.sample, tokens, chances, answer.stopped)
