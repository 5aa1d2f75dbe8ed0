"""Fine-tuning of a sequence classifier.  Imports torch: import this module only to train."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from curation.domain.classifier import (
    Encoder,
    choose_device,
    load_tokenizer,
    loading_errors,
    positions,
    threads,
)
from curation.domain.labelled import LabelledSet
from curation.domain.offline import import_transformers, quiet
from curation.domain.vocabulary import add_words, missing_characters
from curation.errors import InputError

if TYPE_CHECKING:
    from curation.domain.fit import FitOptions, Progress

# Usual choices for fine-tuning BERT (Devlin et al. 2019, appendix A.3; Mosbach et al. 2021).
WARM_UP_SHARE = 0.1
WEIGHT_DECAY = 0.01
GRADIENT_NORM = 1.0
# New embeddings start from nothing: at the rate of the pretrained weights they would hardly move.
NEW_EMBEDDING_RATE = 30.0
# Documents whose lengths differ by less than this are shuffled among each other.
LENGTH_STEP = 8


@dataclass(frozen=True)
class Trained:
    """A trained model with its tokenizer.

    Attributes:
        vocabulary: how many characters were added, and the share of unknown tokens in the training texts
            before and after.
    """

    model: Any
    tokenizer: Any
    vocabulary: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the model directory (safetensors)."""
        with quiet():
            self.model.save_pretrained(folder, safe_serialization=True)
            self.tokenizer.save_pretrained(folder)


def train(
    base: Path, found: LabelledSet, options: FitOptions, on_progress: Callable[[Progress], None] | None = None
) -> Trained:
    """Train on the training documents of ``found``.  The state of torch's generators is left as it was."""
    device = choose_device(options.device)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), threads(options.threads):
        torch.manual_seed(options.seed)
        model = _load(base, found.labels).to(device)
        tokenizer = _tokenizer(base, min(options.max_tokens, positions(model)))
        texts = [document.text for document in found.training]
        before = unknown_share(tokenizer, texts)
        words = missing_characters(tokenizer, texts) if options.extend_vocabulary else []
        if words:
            first = model.get_input_embeddings().num_embeddings
            add_words(tokenizer, words, first)
            model.set_input_embeddings(_Extended(model.get_input_embeddings(), len(words), options.seed))
        tokens = Encoder(copy.deepcopy(tokenizer), tokenizer.model_max_length).encode(texts)
        numbers = {label: number for number, label in enumerate(found.labels)}
        targets = np.array([numbers[document.label] for document in found.training])
        _run(model, tokens, targets, options, on_progress)
        if words:
            model.set_input_embeddings(model.get_input_embeddings().merged())
            model.config.vocab_size = model.get_input_embeddings().num_embeddings
    after = unknown_share(tokenizer, texts)
    vocabulary = {"added": len(words), "unknown_share_before": before, "unknown_share": after}
    return Trained(model.to("cpu").eval(), tokenizer, vocabulary)


def _run(
    model: Any,
    tokens: Sequence[np.ndarray],
    targets: np.ndarray,
    options: FitOptions,
    on_progress: Callable[[Progress], None] | None,
) -> None:
    from curation.domain.fit import Progress

    lengths = np.array([len(ids) for ids in tokens])
    epochs = [training_batches(lengths, options.batch_tokens, [options.seed, n]) for n in range(options.epochs)]
    steps = sum(len(batches) for batches in epochs)
    optimiser = torch.optim.AdamW(_parameter_groups(model, options.learning_rate))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    weights = _label_weights(targets, model.config.num_labels) if options.balance else None
    model.train()
    step = 0
    for epoch, batches in enumerate(epochs, 1):
        for documents in batches:
            step += 1
            loss = _loss(model, [tokens[row] for row in documents], targets[documents], weights)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise InputError(
                    f"training diverged at step {step}; a lower learning rate than {options.learning_rate}"
                )
            if on_progress:
                on_progress(Progress(epoch, step, steps, value))


def _loss(model: Any, rows: Sequence[np.ndarray], targets: np.ndarray, weights: torch.Tensor | None) -> torch.Tensor:
    width = max(map(len, rows))
    ids = np.full((len(rows), width), model.config.pad_token_id or 0, np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    device = model.device
    logits = model(input_ids=torch.from_numpy(ids).to(device), attention_mask=torch.from_numpy(mask).to(device)).logits
    return functional.cross_entropy(
        logits, torch.from_numpy(targets).to(device), weight=None if weights is None else weights.to(device)
    )


def training_batches(lengths: np.ndarray, budget: int, seed: Sequence[int]) -> list[np.ndarray]:
    """Batches of documents of similar length, in random order.

    Args:
        lengths: ``int64[n]``, tokens of each document.
        budget: greatest ``documents * longest`` of a batch; one document may exceed it.
        seed: of the order.

    Returns:
        For each batch, rows of its documents; every document once.
    """
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(lengths))
    order = shuffled[np.argsort(lengths[shuffled] // LENGTH_STEP, kind="stable")]
    batches: list[np.ndarray] = []
    start = longest = 0
    for end, row in enumerate(order):
        longest = max(longest, int(lengths[row]))
        if end > start and (end - start + 1) * longest > budget:
            batches.append(order[start:end])
            start, longest = end, int(lengths[row])
    batches.append(order[start:])
    return [batches[number] for number in random.permutation(len(batches))]


def unknown_share(tokenizer: Any, texts: Sequence[str]) -> float:
    """Share of unknown tokens among all tokens of the texts, special ones aside; rounded to 4 decimals."""
    unknown = tokenizer.unk_token_id
    ids = [
        np.array(found.ids) for found in tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    ]
    total = sum(map(len, ids))
    if unknown is None or not total:
        return 0.0
    return round(sum(int((found == unknown).sum()) for found in ids) / total, 4)


class _Extended(torch.nn.Module):  # type: ignore[misc]
    """An embedding with new rows behind the old ones, held apart so that they can learn faster.

    New rows start at the mean of the old ones, with noise of the old ones' spread to tell them apart.
    """

    def __init__(self, old: torch.nn.Embedding, count: int, seed: int) -> None:
        super().__init__()
        self.old = old
        weight = old.weight.detach()
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, old.embedding_dim, generator=generator).to(weight)
        self.new = torch.nn.Parameter(weight.mean(dim=0) + noise * weight.std(dim=0))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        size = self.old.num_embeddings
        is_new = ids >= size
        return torch.where(
            is_new[..., None],
            functional.embedding((ids - size).clamp(min=0), self.new),
            self.old(ids.clamp(max=size - 1)),
        )

    def merged(self) -> torch.nn.Embedding:
        """One plain embedding."""
        weight = torch.cat([self.old.weight.detach(), self.new.detach()])
        return torch.nn.Embedding.from_pretrained(weight, freeze=False, padding_idx=self.old.padding_idx)


def _parameter_groups(model: Any, rate: float) -> list[dict[str, Any]]:
    """Weight matrices decay; biases, norms and embeddings do not; new embeddings learn faster."""
    embedding = model.get_input_embeddings()
    new = [embedding.new] if isinstance(embedding, _Extended) else []
    embeddings = {id(parameter) for parameter in embedding.parameters()}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in {id(found) for found in new}]
    decaying = [parameter for parameter in rest if parameter.ndim > 1 and id(parameter) not in embeddings]
    others = [parameter for parameter in rest if parameter.ndim <= 1 or id(parameter) in embeddings]
    return [
        {"params": decaying, "lr": rate, "weight_decay": WEIGHT_DECAY},
        {"params": others, "lr": rate, "weight_decay": 0.0},
        {"params": new, "lr": rate * NEW_EMBEDDING_RATE, "weight_decay": 0.0},
    ][: 3 if new else 2]


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: up from 0 over the first tenth, then down to 0."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    return (step + 1) / warm_up if step < warm_up else max(0.0, (steps - step) / max(1, steps - warm_up))


def _label_weights(targets: np.ndarray, size: int) -> torch.Tensor:
    """Inverse to the frequency of a label, 1 on average over the documents."""
    counts = np.bincount(targets, minlength=size)
    return torch.tensor(len(targets) / (size * counts), dtype=torch.float32)


def _load(base: Path, labels: Sequence[str]) -> Any:
    transformers = import_transformers()
    with quiet(), loading_errors(base):
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            base,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: number for number, label in enumerate(labels)},
            problem_type="single_label_classification",
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    # The head is new, and so is a pooler that the encoder was saved without; anything else must be there.
    body = [name for name in sorted(report["missing_keys"]) if f"{model.base_model_prefix}." in name]
    body = [name for name in body if ".pooler." not in name]
    if body:
        raise InputError(f"the weights of the model are incomplete: {body[0]} is missing", str(base))
    return model


def _tokenizer(base: Path, max_tokens: int) -> Any:
    """The tokenizer of the base model, to be saved with the length that the classifier is trained for."""
    tokenizer = load_tokenizer(base)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.model_max_length = min(max_tokens, tokenizer.model_max_length)
    return tokenizer
