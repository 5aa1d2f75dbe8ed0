from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from curation.batch import Batch
from curation.domain import Domain, DomainParameters
from curation.domain.model_directory import digest
from curation.errors import InputError
from curation.stage import decide
from tests.domain.conftest import LABELS


class Fixed:
    """A classifier that gives stored scores, as a cluster backend's proxy would."""

    labels = tuple(LABELS)

    def __init__(self, scores: list[list[float]]) -> None:
        self._scores = np.array(scores, np.float32)

    def scores(self, texts: pa.LargeStringArray) -> np.ndarray:
        assert texts.type == pa.large_string()
        return self._scores


NAN = float("nan")
SCORES = [[0.9, 0.06, 0.04], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [NAN] * 3, [0.333333, 0.333334, 0.333333]]
LANGUAGES = ["en", "en", "zh", "en", "zh"]


def stage_of(directory: Path, **parameters: object) -> Domain:
    stage = Domain(DomainParameters.model_validate({"model": directory, **parameters}))
    stage.classifier = Fixed(SCORES)
    return stage


def batch() -> Batch:
    texts = pa.array(["a", "b", "c", "", "d"], pa.large_string())
    return Batch(pa.table({"text": texts, "language": LANGUAGES}))


def first_failing(stage: Domain) -> list[str | None]:
    columns = stage.measure(batch()).columns
    rules = stage.rules()
    decision = decide(rules, {"language": pa.array(LANGUAGES), **columns}, len(LANGUAGES))
    return [rules[number].name if number >= 0 else None for number in decision.first]


def test_columns(model_directory: Path) -> None:
    stage = stage_of(model_directory)
    measured = stage.measure(batch())
    assert measured.errors == {}
    assert list(measured.columns) == stage.schema.names
    assert [array.type for array in measured.columns.values()] == stage.schema.types
    found = {name: array.to_pylist() for name, array in measured.columns.items()}
    # The last one is a tie as stored, so the first label wins.
    assert found["domain"] == ["business", "sport", "体育|新闻", None, "business"]
    # Exactly the number that a recipe would name.
    assert found["domain_score"] == [0.9, 0.5, 0.8, None, 0.3333]
    assert found["domain_scores"][3] is None
    np.testing.assert_array_equal(found["domain_scores"][1], np.array([0.2, 0.5, 0.3], np.float32))
    assert found["domain_selected"] == [True] * 5
    assert first_failing(stage) == [None] * 5


@pytest.mark.parametrize(
    ("parameters", "failing"),
    [
        ({"keep": ["business"]}, [0, 1, 1, 1, 0]),
        ({"drop": ["sport", "体育|新闻"]}, [0, 1, 1, 0, 0]),
        ({"keep": ["business", "sport"]}, [0, 0, 1, 1, 0]),
        ({"min_score": 0.5}, [0, 0, 0, 0, 2]),
        ({"min_score": {"zh": 0.81}}, [0, 0, 2, 0, 2]),
        ({"keep": ["sport"], "min_score": 0.9}, [1, 2, 1, 1, 1]),
    ],
)
def test_rules(model_directory: Path, parameters: dict[str, object], failing: list[int]) -> None:
    names = [None, "domain-not-selected", "domain-score"]
    assert first_failing(stage_of(model_directory, **parameters)) == [names[number] for number in failing]


def test_labels_travel_with_the_column_through_parquet(model_directory: Path) -> None:
    stage = stage_of(model_directory)
    table = pa.table(stage.measure(batch()).columns, schema=stage.schema)
    file = io.BytesIO()
    pq.write_table(table, file)
    field = pq.read_table(file).schema.field("domain_scores")
    assert json.loads(field.metadata[b"labels"]) == LABELS
    assert all(field.metadata[b"description"] for field in stage.schema)


def test_an_empty_batch(model_directory: Path) -> None:
    stage = Domain(DomainParameters(model=model_directory))
    columns = stage.measure(Batch(pa.table({"text": pa.array([], pa.large_string())}))).columns
    assert [array.type for array in columns.values()] == stage.schema.types
    assert all(len(array) == 0 for array in columns.values())


def test_the_real_classifier_stands_behind(model_directory: Path) -> None:
    stage = Domain(DomainParameters(model=model_directory, max_tokens=16))
    columns = stage.measure(batch()).columns
    expected = np.round(stage.classifier.scores(["a"])[0].astype(float), 4)
    assert columns["domain_score"][0].as_py() == expected.max()
    assert columns["domain"][0].as_py() == LABELS[int(expected.argmax())]
    assert columns["domain"][3].as_py() is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"keep": ["bussiness"]}, "no label 'bussiness'; did you mean 'business'"),
        ({"drop": ["zzz"]}, "its labels are business, sport"),
        ({"keep": ["sport"], "drop": ["sport"]}, "both kept and dropped"),
        ({"drop": LABELS}, "no label of the model is left"),
    ],
)
def test_unusable_labels(model_directory: Path, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stage_of(model_directory, **parameters)


@pytest.mark.parametrize(
    "parameters",
    [{"keep": []}, {"min_score": 1.5}, {"max_tokens": 0}, {"token_budget": 0}, {"kep": ["sport"]}],
)
def test_unusable_parameters(model_directory: Path, parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DomainParameters.model_validate({"model": model_directory, **parameters})


def test_a_classifier_with_other_labels_is_refused(model_directory: Path) -> None:
    other = Fixed(SCORES)
    other.labels = ("business", "体育|新闻", "sport")
    with pytest.raises(InputError, match="other labels"):
        Domain(DomainParameters(model=model_directory)).classifier = other


def test_model_path_and_fingerprint(model_directory: Path) -> None:
    given = DomainParameters(model=Path("classifier"))
    stage = Domain(given.resolved(model_directory.parent))
    assert stage.parameters.model == model_directory
    facts = stage.facts()
    assert facts["model"] == digest(model_directory)
    assert json.loads(facts["labels"]) == LABELS
    assert {"torch", "transformers", "tokenizers", "device", "precision", "token_budget"} < set(facts)
    assert Domain.deciding == {"min_score"}
    assert str(model_directory) not in json.dumps(facts)
