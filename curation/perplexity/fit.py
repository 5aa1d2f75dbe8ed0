"""Fit the perplexity model of a language: SentencePiece, a Kneser-Ney model over pieces, percentiles.

As CCNet trained its models (Wenzek et al. 2020): text in the ``ccnet`` normalisation, a unigram
SentencePiece model, a 5-gram model over the pieces, and the percentiles of the perplexities of text that
took no part in the training.  Everything but those percentiles could be made by ``spm_train`` and KenLM's
``lmplz --discount_fallback`` as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sentencepiece

from curation.batch import text_buffers
from curation.errors import InputError
from curation.perplexity.corpus import read_documents, units
from curation.perplexity.files import PERCENTILES_FILE, ModelFiles, file_digest
from curation.perplexity.kneser_ney import (
    BEGIN,
    END,
    SPECIAL_WORDS,
    Progress,
    check_pruning,
    estimate,
    write_arpa,
)
from curation.perplexity.normalise import PROFILE, normalise_utf8
from curation.perplexity.scorer import Scorer
from curation.perplexity.script import to_simplified

VOCABULARY_SIZE = 65_536  # as CCNet's models
LARGE = 1_000_000  # tokens from which on rare n-grams of order 3 and more are pruned by default
LARGE_PRUNING = (0, 0, 1)
# Characters of text for each piece: a piece seen only a few times says little, and a large vocabulary
# of rare pieces makes all perplexities of a small corpus look alike.
_CHARACTERS_FOR_A_PIECE = 400
_SMALLEST_VOCABULARY = 1000
_CHARACTER_COVERAGE = 0.9995
_TRAINING_BYTES = 64 << 20  # SentencePiece learns from a sample of about this size
_SENTENCE_BYTES = 4000  # SentencePiece leaves out sentences of more than 4192 bytes
_UNITS_AT_ONCE = 1024
_ROUGH = 200  # fewer held-out units give rough percentiles


@dataclass
class Fitted:
    """What a fit has made.

    Attributes:
        output: the folder with ``model.arpa``, ``sp.model``, ``percentiles.json`` and ``model.json``.
        description: the content of ``model.json``.
        messages: what the caller should know: a vocabulary made smaller, rough percentiles.
    """

    output: Path
    description: dict[str, Any]
    messages: list[str]

    def __str__(self) -> str:
        units, ngrams = self.description["units"], self.description["ngrams"]
        lines = [
            f"{self.output}: perplexity model of '{self.description['language']}'",
            f"units of text: {units['training']} for training, {units['held_out']} held out; left out as "
            f"duplicates {units['duplicate']}, as too short {units['short']}",
            f"n-grams by length: {', '.join(map(str, ngrams))}",
        ]
        return "\n".join(lines + [f"note: {message}" for message in self.messages])


@dataclass(frozen=True)
class _Settings:
    """The arguments of ``fit_perplexity`` by the same names."""

    language: str
    order: int
    vocabulary_size: int
    held_out_share: float
    prune: Sequence[int] | None
    seed: int
    simplified: bool
    least_characters: int

    def pruning(self, tokens: int) -> tuple[int, ...]:
        """The pruning thresholds for a corpus of so many tokens."""
        if self.prune is not None:
            return tuple(self.prune)
        return LARGE_PRUNING[: self.order] if tokens >= LARGE else (0,)


@dataclass
class _Corpus:
    """Normalised units by use, and how many were left out."""

    training: list[bytes] = field(default_factory=list)
    held_out: list[bytes] = field(default_factory=list)
    duplicates: int = 0
    short: int = 0

    def counts(self) -> dict[str, int]:
        """Number of units by what became of them."""
        return {
            "training": len(self.training),
            "held_out": len(self.held_out),
            "duplicate": self.duplicates,
            "short": self.short,
        }


def fit_perplexity(
    language: str,
    corpora: Sequence[str | Path],
    output: str | Path,
    *,
    order: int = 5,
    vocabulary_size: int = VOCABULARY_SIZE,
    held_out_share: float = 0.05,
    prune: Sequence[int] | None = None,
    seed: int = 0,
    simplify: bool | None = None,
    least_characters: int = 32,
    on_progress: Progress | None = None,
) -> Fitted:
    """Fit a model and write it to a new folder; the same arguments and texts give the same bytes.

    Args:
        language: code of the language.
        corpora: files of good text (see ``read_documents``); documents of more than 8,192 characters are
            used in parts.  About 60 bytes of memory are needed for each byte of text.
        output: the folder to make; nothing is left there unless the fit succeeds.
        order: greatest length of an n-gram, 2 to 6.
        vocabulary_size: greatest number of pieces; small corpora get fewer.
        held_out_share: share of the units, chosen by a hash of their text, that only measure percentiles.
        prune: see ``estimate``; by default ``0 0 1`` from a million tokens on, else nothing.
        seed: chooses other held-out units.
        simplify: whether to convert Chinese to simplified characters; by default for ``zh``.
        least_characters: shorter units (after normalisation) are left out; they read unlike a page.
        on_progress: called with (done, total, what).

    Raises:
        InputError: unusable arguments or corpora, or an output that exists.
    """
    simplified = language == "zh" if simplify is None else simplify
    settings = _Settings(language, order, vocabulary_size, held_out_share, prune, seed, simplified, least_characters)
    target, paths = Path(output), [Path(path) for path in corpora]
    _check(settings, paths, target)
    report = on_progress or (lambda done, total, what: None)
    corpus = _read(paths, settings, report)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        description, messages = _fit_into(folder, corpus, paths, settings, report)
        folder.chmod(0o755)
        folder.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Fitted(target, description, messages)


def _fit_into(
    folder: Path, corpus: _Corpus, paths: Sequence[Path], settings: _Settings, report: Progress
) -> tuple[dict[str, Any], list[str]]:
    """Write all files of the model; returns its description and the messages for the caller."""
    messages: list[str] = []
    files = ModelFiles(folder / "model.arpa", folder / "sp.model")
    report(0, 1, "training pieces")
    _write(files.pieces, _train_pieces(corpus.training, settings.vocabulary_size, messages))
    report(1, 1, "training pieces")
    tokens, vocabulary = _tokenise(files.pieces, corpus.training)
    prune = settings.pruning(len(tokens))
    model = estimate(tokens, vocabulary, settings.order, prune, on_progress=report)
    with open(files.language_model, "wb") as stream:
        write_arpa(model, stream, report)
        stream.flush()
        os.fsync(stream.fileno())
    table = _percentiles(files, corpus.held_out, messages, report)
    _write_json(folder / PERCENTILES_FILE, {"language": settings.language} | table)
    description = {
        "language": settings.language,
        "profile": PROFILE,
        "script": f"simplified (opencc {version('opencc')})" if settings.simplified else None,
        "order": settings.order,
        "pruning": list(prune),
        "held_out_share": settings.held_out_share,
        "seed": settings.seed,
        "least_characters": settings.least_characters,
        "ngrams": model.sizes(),
        "discounts": [list(order.discounts) for order in model.orders],
        "tokens": len(tokens),
        "units": corpus.counts(),
        "corpora": [{"name": path.name, "sha256": file_digest(path)} for path in paths],
        "files": {path.name: file_digest(path) for path in (files.language_model, files.pieces)},
        "versions": {"sentencepiece": version("sentencepiece"), "unicode": unicodedata.unidata_version},
    }
    _write_json(folder / "model.json", description)
    return description, messages


def _check(settings: _Settings, paths: Sequence[Path], target: Path) -> None:
    if not settings.language:
        raise InputError("give the code of the language, for instance en")
    if not paths:
        raise InputError("give at least one corpus file")
    if not 2 <= settings.order <= 6:
        raise InputError(f"the order of a model is 2 to 6, not {settings.order}")
    if not 0 < settings.held_out_share < 1:
        raise InputError(f"held_out_share is between 0 and 1, not {settings.held_out_share}")
    check_pruning(settings.pruning(0), settings.order)
    if target.exists():
        raise InputError("the output exists already; choose another folder or remove it", where=str(target))


def _read(paths: Sequence[Path], settings: _Settings, report: Progress) -> _Corpus:
    """Read, normalise and divide all corpora.  Which side a unit falls on depends on its text alone."""
    corpus = _Corpus()
    seen: set[bytes] = set()
    key = settings.seed.to_bytes(8, "big", signed=True)
    least = settings.least_characters
    for done, path in enumerate(paths):
        report(done, len(paths), "reading")
        for text in _normalised_units(path, settings.simplified):
            digest = hashlib.blake2b(text, digest_size=16, key=key).digest()
            if len(text) < least or len(text.decode()) < least:
                corpus.short += 1
            elif digest in seen:
                corpus.duplicates += 1
            else:
                seen.add(digest)
                held_out = int.from_bytes(digest[:8], "big") < settings.held_out_share * 2**64
                (corpus.held_out if held_out else corpus.training).append(text)
    report(len(paths), len(paths), "reading")
    if not corpus.training or not corpus.held_out:
        raise InputError(
            f"the corpora are too small: {len(corpus.training)} units of text to train on and "
            f"{len(corpus.held_out)} held out (both must be more than 0)"
        )
    return corpus


def _normalised_units(path: Path, simplified: bool) -> Iterator[bytes]:
    parts = (unit for document in read_documents(path) for unit in units(document))
    while some := list(islice(parts, _UNITS_AT_ONCE)):
        texts = pa.array(some, pa.large_string())
        yield from normalise_utf8(*text_buffers(to_simplified(texts) if simplified else texts))


def _train_pieces(texts: Sequence[bytes], vocabulary_size: int, messages: list[str]) -> bytes:
    """A serialised SentencePiece model; one thread and no shuffling, so that it is the same every time."""
    size = min(vocabulary_size, _fitting_vocabulary(texts))
    model = BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_sentences(_sample(texts)),
            model_writer=model,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=_CHARACTER_COVERAGE,
            bos_id=-1,
            eos_id=-1,
            shuffle_input_sentence=False,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(f"SentencePiece cannot train {size} pieces on this text: {error}") from error
    serialised = model.getvalue()
    pieces = len(sentencepiece.SentencePieceProcessor(model_proto=serialised))
    if pieces < vocabulary_size:
        messages.append(
            f"the vocabulary has {pieces} pieces instead of {vocabulary_size}: "
            f"{sum(map(len, texts))} bytes of text bear no more"
        )
    return serialised


def _fitting_vocabulary(texts: Sequence[bytes]) -> int:
    """Number of pieces that the text can bear: its characters, and one for so many characters of text."""
    distinct: set[str] = set()
    total = 0
    for text in texts:
        characters = text.decode()
        distinct.update(characters)
        total += len(characters)
    return max(_SMALLEST_VOCABULARY, total // _CHARACTERS_FOR_A_PIECE) + len(distinct)


def _sample(texts: Sequence[bytes]) -> Iterator[bytes]:
    """Evenly spread texts of at most about ``_TRAINING_BYTES``."""
    step = -(-sum(map(len, texts)) // _TRAINING_BYTES)
    return islice(texts, 0, None, max(1, step))


def _sentences(texts: Iterable[bytes]) -> Iterator[str]:
    """Texts in parts that SentencePiece takes, cut at spaces where there are any."""
    for text in texts:
        start = 0
        while start < len(text):
            stop = min(start + _SENTENCE_BYTES, len(text))
            if stop < len(text):
                space = text.rfind(b" ", start, stop)
                stop = space + 1 if space > start else stop
                while stop > start and text[stop] & 0xC0 == 0x80:  # inside a character
                    stop -= 1
            yield text[start:stop].decode()
            start = stop


def _tokenise(pieces: Path, texts: Sequence[bytes]) -> tuple[np.ndarray, list[str]]:
    """Word ids of all texts (``int32[n]``, see ``estimate``) and the pieces by id, in order of appearance."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    ids = {word.encode(): number for number, word in enumerate(SPECIAL_WORDS)}
    special = frozenset(ids)
    tokens = array("i")
    for start in range(0, len(texts), 64):
        for words in processor.encode(list(texts[start : start + 64]), out_type=bytes, num_threads=1):
            tokens.append(BEGIN)
            # Text may spell out a special word; like lmplz --skip_symbols, do not count it as one.
            tokens.extend([ids.setdefault(word, len(ids)) for word in words if word not in special])
            tokens.append(END)
    return np.frombuffer(tokens, np.int32), [word.decode() for word in ids]


def _percentiles(files: ModelFiles, held_out: list[bytes], messages: list[str], report: Progress) -> dict[str, Any]:
    report(0, 1, "scoring held-out text")
    perplexity = Scorer(files).score(held_out).perplexity
    perplexity = perplexity[~np.isnan(perplexity)]
    if not len(perplexity):
        raise InputError("no held-out text could be scored; give more text")
    if len(perplexity) < _ROUGH:
        messages.append(f"only {len(perplexity)} units of text were held out: the percentiles are rough")
    report(1, 1, "scoring held-out text")
    values = np.percentile(perplexity, np.arange(101))
    return {"held_out": len(perplexity), "percentiles": values.tolist()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write(path, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
