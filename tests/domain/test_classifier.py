from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.domain import DomainClassifier, load_classifier, read_labels
from curation.domain.model_directory import digest
from curation.errors import InputError
from tests.domain.conftest import LABELS, WORDS

_random = random.Random(3)
# From no words to more tokens than the model has positions, Chinese and unknown characters among them.
TEXTS = [
    " ".join(_random.choices([*WORDS, "xyz", "队", "q"], k=count)) for count in (1, 2, 3, 5, 9, 17, 30, 40, 70, 200)
]
TEXTS += ["球，球", "goal", "goal " * 62, "goal " * 61]


def one_at_a_time(directory: Path, texts: list[str], max_tokens: int) -> np.ndarray:
    """The plain way: each text alone, no padding, transformers' own tokenizer call and softmax."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()
    rows = []
    for text in texts:
        given = tokenizer(text, truncation=True, max_length=max_tokens, split_special_tokens=True, return_tensors="pt")
        with torch.no_grad():
            rows.append(model(**given).logits.softmax(-1)[0].numpy())
    return np.stack(rows)


@pytest.fixture(scope="module")
def classifier(model_directory: Path) -> DomainClassifier:
    return DomainClassifier(model_directory, device="cpu", token_budget=160)


@pytest.mark.parametrize(("max_tokens", "budget"), [(512, None), (64, 100), (16, 64), (20, 4096), (33, 8)])
def test_scores_are_those_of_one_document_at_a_time(model_directory: Path, max_tokens: int, budget: int | None) -> None:
    classifier = DomainClassifier(model_directory, device="cpu", max_tokens=max_tokens, token_budget=budget)
    assert classifier.max_tokens == min(max_tokens, 64)
    found = classifier.scores(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), len(LABELS))
    expected = one_at_a_time(model_directory, TEXTS, classifier.max_tokens)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    # The texts differ, so scores in a wrong order would have been seen.
    assert len(np.unique(found.argmax(axis=1))) > 1
    assert np.ptp(found[:, 0]) > 0.1


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=20))
def test_scores_do_not_depend_on_neighbours(classifier: DomainClassifier, rows: list[int]) -> None:
    alone = np.concatenate([classifier.scores([text]) for text in TEXTS])
    together = classifier.scores([TEXTS[row] for row in rows])
    # Bit for bit, which is more than rounding could give.
    assert together.tobytes() == alone[rows].tobytes()


def test_arrow_input_and_texts_without_tokens(classifier: DomainClassifier) -> None:
    texts = pa.array(["goal", None, "", " \n\u0000", "team"], pa.large_string())
    scores = classifier.scores(texts)
    assert np.isnan(scores).all(axis=1).tolist() == [False, True, True, True, False]
    np.testing.assert_array_equal(scores[[0, 4]], classifier.scores(["goal", "team"]))
    assert classifier.scores(pa.array([], pa.large_string())).shape == (0, 3)
    np.testing.assert_array_equal(classifier.scores(texts.slice(4)), classifier.scores(["team"]))


def test_special_tokens_in_a_text_are_text(model_directory: Path, classifier: DomainClassifier) -> None:
    texts = ["goal [SEP] goal", "[PAD][PAD] goal"]
    np.testing.assert_allclose(classifier.scores(texts), one_at_a_time(model_directory, texts, 64), atol=2e-6)
    plain = classifier.scores(["goal goal", "goal"])
    assert np.abs(classifier.scores(texts) - plain).max() > 1e-3


def test_only_a_bounded_prefix_is_read(model_directory: Path) -> None:
    classifier = DomainClassifier(model_directory, device="cpu", max_tokens=8)
    # 8 tokens stand for 80 characters: words behind them are not seen even if there is room for tokens.
    spaced = "goal" + " " * 76
    np.testing.assert_array_equal(classifier.scores([spaced + "market"]), classifier.scores(["goal"]))
    seen = classifier.scores(["goal" + " " * 70 + "market"])
    assert np.abs(seen - classifier.scores(["goal"])).max() > 1e-3
    long = "goal " * 20
    np.testing.assert_array_equal(classifier.scores([long * 100_000]), classifier.scores([long]))


def test_threads_are_left_as_they_were(classifier: DomainClassifier) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        classifier.scores(["goal"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_digest_covers_what_alters_scores_and_nothing_else(model_directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_directory, tmp_path / "elsewhere")
    original = digest(model_directory)
    assert len(original) == 64
    assert digest(copy) == original
    (copy / "README.md").write_text("a card")
    assert digest(copy) == original
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content + b" ")
        assert digest(copy) != original, name
        (copy / name).write_bytes(content)
    assert digest(copy) == original
    (copy / "added_tokens.json").write_text("{}")
    assert digest(copy) != original


def test_a_process_loads_a_model_once_until_its_files_change(model_directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_directory, tmp_path / "model")
    first = load_classifier(copy, max_tokens=16)
    assert load_classifier(copy, max_tokens=16) is first
    assert load_classifier(copy, max_tokens=32) is not first
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    assert load_classifier(copy, max_tokens=16) is not first


def test_labels_are_read_without_torch(model_directory: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import curation.domain as d\n"
        "d.Domain(d.DomainParameters(model=Path(sys.argv[1]))).facts()\n"
        "assert not {'torch', 'transformers', 'tokenizers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(model_directory)], check=True)
    assert read_labels(model_directory) == tuple(LABELS)


def _without_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def _pickled(directory: Path) -> None:
    _without_weights(directory)
    (directory / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'false'\ntR.")


def _damaged(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _without_tokenizer(directory: Path) -> None:
    for path in directory.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "no such model directory"),
        (lambda directory: (directory / "config.json").unlink(), "config.json is missing"),
        (lambda directory: (directory / "config.json").write_text("{"), "cannot be read"),
        (lambda directory: (directory / "config.json").write_text("[]"), "must be a JSON object"),
        (_without_weights, "no weights"),
        (_pickled, "a pickle"),
        (_damaged, "cannot be loaded"),
        (_without_tokenizer, "no tokenizer"),
        (lambda directory: (directory / "adapter_config.json").write_text("{}"), "an adapter"),
    ],
)
def test_unusable_directories(
    model_directory: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    copy = shutil.copytree(model_directory, tmp_path / "model")
    damage(copy)
    with pytest.raises(InputError, match=message) as raised:
        DomainClassifier(copy, device="cpu")
    assert raised.value.where is not None
    assert str(copy) in raised.value.where


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["BertModel"]}, "not a classification head"),
        ({"architectures": None}, "not a classification head"),
        ({"id2label": None}, "does not name its labels"),
        ({"id2label": {"0": "a"}}, "at least two labels"),
        ({"id2label": {"0": "a", "2": "b"}}, "each of the labels"),
        ({"id2label": {"0": "a", "1": "a"}}, "each of the labels"),
        ({"id2label": {"a": "0", "b": "1"}}, "must be the numbers"),
        ({"problem_type": "multi_label_classification"}, "single-label"),
        ({"auto_map": {"AutoModel": "modeling.Model"}}, "code of its own"),
        ({"model_type": "no-such-model"}, "cannot be loaded"),
        ({"id2label": {"0": "a", "1": "b"}}, "cannot be loaded"),
    ],
)
def test_unusable_configurations(
    model_directory: Path,
    tmp_path: Path,
    edit_config: Callable[..., None],
    changes: dict[str, object],
    message: str,
) -> None:
    copy = shutil.copytree(model_directory, tmp_path / "model")
    edit_config(copy, **changes)
    with pytest.raises(InputError, match=message):
        DomainClassifier(copy, device="cpu")


def test_an_encoder_without_head_is_refused_even_if_it_claims_one(
    encoder_directory: Path, tmp_path: Path, edit_config: Callable[..., None]
) -> None:
    copy = shutil.copytree(encoder_directory, tmp_path / "model")
    edit_config(copy, architectures=["BertForSequenceClassification"])
    with pytest.raises(InputError, match=r"incomplete: classifier\.bias is missing"):
        DomainClassifier(copy, device="cpu")


def test_a_tokenizer_of_another_model_is_refused(model_directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_directory, tmp_path / "model")
    stored = json.loads((copy / "tokenizer.json").read_text())
    stored["model"]["vocab"]["more"] = len(stored["model"]["vocab"])
    (copy / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="more entries"):
        DomainClassifier(copy, device="cpu")


@pytest.mark.parametrize(("device", "message"), [("tpu9", "unknown device"), ("cuda:99", "no device")])
def test_unusable_devices(model_directory: Path, device: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        DomainClassifier(model_directory, device=device)


def test_a_pickle_beside_safetensors_is_never_opened(model_directory: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model_directory, tmp_path / "model")
    marker = tmp_path / "opened"
    (copy / "pytorch_model.bin").write_bytes(f"cos\nsystem\n(S'touch {marker}'\ntR.".encode())
    DomainClassifier(copy, device="cpu").scores(["goal"])
    assert not marker.exists()


def test_positions_of_roberta_start_behind_its_padding(tmp_path: Path, model_directory: Path) -> None:
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification

    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_directory / name, tmp_path / name)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 10**30}))
    config = RobertaConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
        pad_token_id=0,
        id2label={0: "a", 1: "b"},
    )
    with torch.random.fork_rng():
        RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    classifier = DomainClassifier(tmp_path, device="cpu")
    # 34 positions, of which those up to the padding id (0) are not used.
    assert classifier.max_tokens == 33
    assert np.isfinite(classifier.scores(["goal " * 100])).all()
