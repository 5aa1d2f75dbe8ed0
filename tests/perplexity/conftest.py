"""One small model of made-up English for all tests here."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.perplexity.fit import Fitted, fit_perplexity
from tests.support.corpus import english, write_jsonl


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    return write_jsonl(folder / "english.jsonl", [{"text": english(seed)} for seed in range(400)])


@pytest.fixture(scope="session")
def fitted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    output = tmp_path_factory.mktemp("models") / "en"
    return fit_perplexity("en", [corpus], output, order=4, held_out_share=0.2)
