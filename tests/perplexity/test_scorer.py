from __future__ import annotations

import gzip
import io
import math
import random
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import pytest
import sentencepiece

from curation.batch import text_buffers
from curation.errors import InputError
from curation.perplexity.files import ModelFiles, file_digest, find_model
from curation.perplexity.fit import Fitted
from curation.perplexity.normalise import normalise_utf8
from curation.perplexity.scorer import Scorer, load_scorer
from tests.perplexity.twins import ccnet_perplexity
from tests.support.corpus import chinese, english

UNIGRAMS = (
    "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-2\t<unk>\n0\t<s>\t0\n-1\t</s>\n\n"
    "\\2-grams:\n-0.5\t<s> </s>\n\n\\end\\\n"
)


def normalised(texts: list[str]) -> list[bytes]:
    return normalise_utf8(*text_buffers(pa.array(texts, pa.large_string())))


def files_of(fitted: Fitted) -> ModelFiles:
    return find_model("en", fitted.output)


def test_a_perplexity_worked_out_by_hand(fitted: Fitted, tmp_path: Path) -> None:
    # Every piece is unknown (10^-2) and </s> has 10^-1: n pieces give 10 ** ((2 n + 1) / (n + 1)).
    (tmp_path / "model.arpa").write_text(UNIGRAMS)
    scores = Scorer(ModelFiles(tmp_path / "model.arpa", files_of(fitted).pieces)).score(normalised(["the", ""]))
    n = scores.pieces[0]
    assert n > 0
    assert scores.perplexity[0] == pytest.approx(10 ** ((2 * n + 1) / (n + 1)), rel=1e-6)
    assert scores.pieces[1] == 0
    assert math.isnan(scores.perplexity[1])


def test_equals_the_plain_chain_bit_for_bit(fitted: Fitted) -> None:
    files = files_of(fitted)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(files.pieces))
    language_model = kenlm.Model(str(files.language_model))
    texts = [english(seed) for seed in range(1000, 1030)] + [
        chinese(1),
        "",
        " \n ",
        "１２３",
        "Zoë\u2028ΣΑΣ\u1680x",
    ]
    scores = Scorer(files).score(normalised(texts))
    expected = [ccnet_perplexity(text, pieces, language_model) for text in texts]
    assert [None if math.isnan(p) else p for p in scores.perplexity] == expected


def test_pieces_with_white_space_are_counted_as_words(fitted: Fitted, tmp_path: Path) -> None:
    # A SentencePiece model that does not normalise can keep an em space inside a piece, or as a piece.
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one\u2003two three four " * 3] * 30),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    (tmp_path / "sp.model").write_bytes(model.getvalue())
    (tmp_path / "model.arpa").write_text(UNIGRAMS)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    language_model = kenlm.Model(str(tmp_path / "model.arpa"))
    text = "one\u2003two\u2003three"
    joined = " ".join(pieces.encode_as_pieces(text))
    assert len(joined.split()) != len(pieces.encode_as_pieces(text))
    scores = Scorer(ModelFiles(tmp_path / "model.arpa", tmp_path / "sp.model")).score([text.encode()])
    assert scores.perplexity[0] == ccnet_perplexity(text, pieces, language_model)


def test_neighbours_do_not_matter(fitted: Fitted) -> None:
    texts = normalised([english(seed) * (1 + seed % 40) for seed in range(60)])
    scorer = Scorer(files_of(fitted))
    together = scorer.score(texts).perplexity
    order = list(range(60))
    random.Random(0).shuffle(order)
    assert np.array_equal(scorer.score([texts[i] for i in order]).perplexity, together[order])
    assert [scorer.score([text]).perplexity[0] for text in texts] == together.tolist()


def test_files_as_ccnet_publishes_them_and_prefixes(fitted: Fitted, tmp_path: Path) -> None:
    own = files_of(fitted)
    with gzip.open(tmp_path / "en.arpa.gz", "wb") as stream:
        stream.write(own.language_model.read_bytes())
    (tmp_path / "en.sp.model").write_bytes(own.pieces.read_bytes())
    published = find_model("en", tmp_path)
    assert published.language_model.name == "en.arpa.gz"
    assert published.percentiles is None
    assert find_model("fr", tmp_path / "en") == published
    text = normalised([english(7)])
    assert Scorer(published).score(text).perplexity == Scorer(own).score(text).perplexity


def test_a_missing_model_says_what_is_missing_and_how_to_fit_it(tmp_path: Path) -> None:
    (tmp_path / "sv.sp.model").touch()
    with pytest.raises(InputError) as raised:
        find_model("sv", tmp_path)
    assert raised.value.where == str(tmp_path)
    assert "sv.arpa[.bin|.gz]" in raised.value.message
    assert "gristmill fit perplexity --language sv CORPUS... --output DIR" in raised.value.message


@pytest.mark.parametrize("broken", ["model.arpa", "sp.model"])
def test_a_broken_model_is_an_input_error(fitted: Fitted, tmp_path: Path, broken: str) -> None:
    for name in ("model.arpa", "sp.model"):
        (tmp_path / name).write_bytes((fitted.output / name).read_bytes())
    (tmp_path / broken).write_bytes(b"neither this nor that\n")
    with pytest.raises(InputError, match="cannot load"):
        Scorer(find_model("en", tmp_path))


def test_a_replaced_model_is_loaded_and_digested_again(fitted: Fitted, tmp_path: Path) -> None:
    (tmp_path / "sp.model").write_bytes((fitted.output / "sp.model").read_bytes())
    (tmp_path / "model.arpa").write_bytes((fitted.output / "model.arpa").read_bytes())
    files = find_model("en", tmp_path)
    digest, scorer = file_digest(files.language_model), load_scorer(files)
    assert load_scorer(files) is scorer
    (tmp_path / "model.arpa").write_text(UNIGRAMS)
    assert load_scorer(files) is not scorer
    assert file_digest(files.language_model) != digest
