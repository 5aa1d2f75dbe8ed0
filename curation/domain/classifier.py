"""A local Hugging Face sequence classifier: texts in, the scores of all labels out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.domain import model_directory
from curation.domain.device import PRECISION, TOKEN_BUDGET
from curation.domain.offline import import_transformers, quiet
from curation.domain.packing import pack
from curation.errors import InputError

Precision = Literal["auto", "float32", "bfloat16"]

# Of each text, the tokenizer is given this many characters for each token that the model reads.  English has
# 4 to 5 characters per token and Chinese 1 to 2, so more than the first ``max_tokens`` tokens are in there,
# and a text of 100 MB costs no more than one of a few kB.
CHARACTERS_PER_TOKEN = 10


class DomainClassifier:
    """Scores texts with a single-label sequence classifier from a local directory.

    The first ``max_tokens`` tokens of a text are read, special tokens included (and of the text the first
    ``10 * max_tokens`` characters at most); the rest of a longer text plays no part.  What looks like a
    special token in a text (``[SEP]``) is text.  Nothing is downloaded, no code of the model's own is run,
    only safetensors are opened.

    A score depends on the text, the model, the token budget, the device and the libraries, not on the other
    texts of the call nor on their order: see ``packing``.  On a processor this holds bit for bit.

    Args:
        directory: a model directory of transformers with tokenizer.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; ``auto`` takes the GPU if there is one.
        max_tokens: tokens that are read of each text; bounded by what the model and its tokenizer allow.
        token_budget: padded tokens of one forward pass; None for 256 on a processor and 8,192 on a GPU.
        precision: ``auto`` is float32 on a processor, bfloat16 on a GPU.
        threads: of the processor, during a forward pass.

    Attributes:
        labels: names of the labels, in the order of the scores.
        max_tokens, token_budget: in force, after bounding.

    Raises:
        InputError: for a directory that is missing, holds pickles only, is no classifier, does not name its
            labels, lacks weights or a fast tokenizer; for a device that is not there.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        device: str = "auto",
        max_tokens: int = 512,
        token_budget: int | None = None,
        precision: Precision = "auto",
        threads: int = 1,
    ) -> None:
        self.directory = Path(directory)
        self.labels = model_directory.read_labels(self.directory)
        self._device = choose_device(device)
        self._model = self._load_model(precision)
        tokenizer = load_tokenizer(self.directory)
        if len(tokenizer) > self._model.get_input_embeddings().num_embeddings:
            raise InputError("the tokenizer has more entries than the model has embeddings", str(self.directory))
        self.max_tokens = min(max_tokens, tokenizer.model_max_length, positions(self._model))
        self.token_budget = token_budget or TOKEN_BUDGET["cpu" if self._device.type == "cpu" else "cuda"]
        self._thread_count = threads
        self._encoder = Encoder(tokenizer, self.max_tokens)
        self._pad = self._padding_id(tokenizer)

    def scores(self, texts: pa.Array | Sequence[str]) -> np.ndarray:
        """The scores of all labels.

        Args:
            texts: strings; the whole array is one window, sorted by length for the model.

        Returns:
            ``float32[n, labels]`` in the order of the texts; each row sums to 1 (softmax).  A text without
            any token (empty, null, white space) has NaN in its row.
        """
        tokens = self._encoder.encode(texts)
        lengths = np.array([len(ids) for ids in tokens], np.int64)
        logits = np.full((len(tokens), len(self.labels)), np.nan)
        # Only the special tokens: there is nothing to judge.
        judged = np.flatnonzero(lengths > self._encoder.overhead)
        with threads(self._thread_count):
            # Fetched only after all passes, so that a GPU does not wait for the next one to be prepared.
            passes = [
                (
                    judged[batch.documents],
                    self._forward([tokens[row] for row in judged[batch.rows]], batch.width),
                )
                for batch in pack(lengths[judged], self.max_tokens, self.token_budget)
            ]
        for documents, found in passes:
            logits[documents] = found[: len(documents)].float().cpu().numpy()
        return _softmax(logits)

    def _forward(self, rows: list[np.ndarray], width: int) -> Any:
        """Logits ``[len(rows), labels]`` of one padded pass, a tensor on the device."""
        import torch

        ids = np.full((len(rows), width), self._pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        with torch.inference_mode():
            return self._model(**{name: tensor.to(self._device) for name, tensor in given.items()}).logits

    def _load_model(self, precision: Precision) -> Any:
        import torch

        transformers = import_transformers()
        dtype = getattr(torch, PRECISION.get(self._device.type, "float32") if precision == "auto" else precision)
        with quiet(), loading_errors(self.directory):
            model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
                self.directory,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
        missing = sorted(report["missing_keys"])
        if missing:
            raise InputError(f"the weights of the model are incomplete: {missing[0]} is missing", str(self.directory))
        if model.config.num_labels != len(self.labels):
            raise InputError(f"{len(self.labels)} labels for {model.config.num_labels} scores", str(self.directory))
        return model.eval().to(self._device)

    def _padding_id(self, tokenizer: Any) -> int:
        for found in (self._model.config.pad_token_id, tokenizer.pad_token_id):
            if found is not None:
                return int(found)
        raise InputError("neither model nor tokenizer has a padding token", str(self.directory))


class Encoder:
    """Texts to token ids, cut to a length, without a Python loop over tokens.

    Attributes:
        overhead: number of special tokens that are put around every text.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        self._characters = CHARACTERS_PER_TOKEN * max_tokens
        self._backend = tokenizer.backend_tokenizer
        # Crawled text must not be able to write special tokens.
        self._backend.encode_special_tokens = True
        self._backend.enable_truncation(max_tokens, direction="right")
        self._backend.no_padding()
        self.overhead = len(self._backend.encode("").ids)

    def encode(self, texts: pa.Array | Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, ``int64[1..max_tokens]``, special tokens included."""
        array = texts if isinstance(texts, (pa.Array, pa.ChunkedArray)) else pa.array(texts, pa.large_string())
        prefixes = pc.utf8_slice_codeunits(pc.fill_null(array, ""), 0, self._characters).to_pylist()
        return [np.array(encoding.ids, np.int64) for encoding in self._backend.encode_batch_fast(prefixes)]


def load_tokenizer(directory: Path) -> Any:
    """The fast tokenizer of a model directory.

    Raises:
        InputError: where there is none.
    """
    transformers = import_transformers()
    with quiet(), loading_errors(directory):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False, use_fast=True
        )
    if not tokenizer.is_fast:
        raise InputError("the tokenizer has no fast form (tokenizer.json)", str(directory))
    return tokenizer


def load_classifier(
    directory: str | Path, *, device: str = "auto", max_tokens: int = 512, token_budget: int | None = None
) -> DomainClassifier:
    """The classifier of a directory, loaded once per process for as long as its files stay the same."""
    path = Path(directory).resolve()
    return _load(path, model_directory.digest(path), device, max_tokens, token_budget)


@lru_cache(maxsize=2)
def _load(directory: Path, _digest: str, device: str, max_tokens: int, token_budget: int | None) -> DomainClassifier:
    return DomainClassifier(directory, device=device, max_tokens=max_tokens, token_budget=token_budget)


def choose_device(name: str) -> Any:
    """A ``torch.device``.

    Raises:
        InputError: for an unknown device, or a GPU that is not there.
    """
    import_transformers()
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}; known are auto, cpu, cuda, cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"there is no device {name!r} here")
    return device


def positions(model: Any) -> int:
    """How many tokens the position embeddings allow."""
    import torch

    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            # RoBERTa and its kin count positions from behind the padding id.
            first = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - first
    return int(getattr(model.config, "max_position_embeddings", None) or 1 << 30)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


@contextmanager
def threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def loading_errors(directory: Path) -> Iterator[None]:
    """Whatever transformers finds wrong with a directory, as one line for people."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"the model cannot be loaded: {first}", str(directory)) from error
