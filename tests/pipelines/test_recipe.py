"""Recipes: what their columns can be used for, and that the packaged ones do what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from curation.batch import Batch
from curation.errors import InputError
from curation.rules import C4
from curation.rules.c4 import C4Parameters
from curation.stage import Stage
from pipelines.recipe import load_recipe

RECIPE = """name: r
stages:
  - stage: extraction
  - stage: language
deduplication:
  priority:
    - column: {column}
"""


def priority(folder: Path, column: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(column=column))
    return path


@pytest.mark.parametrize(
    "column", ["token_count", "extracted_tokens", "extracted_characters", "language_score", "http_status", "is_revisit"]
)
def test_priority_by_numbers_and_booleans(column: str, tmp_path: Path) -> None:
    loaded = load_recipe(priority(tmp_path, column)).recipe
    assert loaded.deduplication is not None and loaded.deduplication.priority[0].column == column


@pytest.mark.parametrize(
    ("column", "type_", "alternatives"),
    [
        ("crawl_date", "string", ["http_status", "extracted_tokens", "token_count"]),
        ("language", "string", ["language_score", "extracted_tokens", "token_count"]),
    ],
)
def test_priority_that_has_no_order(column: str, type_: str, alternatives: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"recipe\.yaml:7:7: '{column}' is of type {type_}; ") as caught:
        load_recipe(priority(tmp_path, column))
    assert "\n" not in str(caught.value)
    named = str(caught.value).split(" such as ")[1].split(", ")
    assert set(alternatives) <= set(named) and column not in named


def test_priority_by_a_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from curation.language import Language

    field = pa.field("scores", pa.list_(pa.float32()))
    whole = Language.schema.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Language, "schema", property(lambda self: whole(self).append(field)))
    with pytest.raises(InputError, match="'scores' is of type list<"):
        load_recipe(priority(tmp_path, "scores"))


def test_priority_by_a_column_that_nobody_measures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown column 'extracted_token'; did you mean 'extracted_tokens'"):
        load_recipe(priority(tmp_path, "extracted_token"))


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ("{http_status: 42}", r"recipe\.yaml:2:8: read\.http_status: .*100"),
        ("{max_record_bytes: 512}", r"recipe\.yaml:2:8: read\.max_record_bytes: .*1024"),
        ("{media_types: []}", r"recipe\.yaml:2:8: read\.media_types: .*at least one"),
        ("{media_types: [text/html; charset=x]}", r"recipe\.yaml:2:8: read\.media_types: .*text/html; charset=x"),
    ],
)
def test_values_out_of_range_are_refused_with_their_place(read: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: r\nread: {read}\nstages: [{{stage: extraction}}]\n")
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def left_by(stage: Stage, text: str, language: str) -> str:
    table = pa.table({"text": pa.array([text], pa.large_string()), "language": [language]})
    measured = stage.measure(Batch(table))
    assert measured.text is not None
    return str(measured.text[0].as_py())


def test_fineweb_has_c4_without_the_rule_on_terminal_punctuation() -> None:
    (c4,) = [stage for stage in load_recipe("fineweb").stages if isinstance(stage, C4)]
    line = "Here is a line of words without any mark at its end"
    assert left_by(c4, line, "en") == line
    assert left_by(C4(C4Parameters()), line, "en") == ""
    # Everything else of C4's is there, and so are the languages that never have marks.
    assert left_by(c4, "Please enable javascript to read this page", "en") == ""
    assert set(C4Parameters().without_terminal_marks) <= set(c4.parameters.without_terminal_marks)
    fixed = {"without_terminal_marks"}
    given = json.loads(c4.parameters.model_dump_json(exclude=fixed))
    assert given == json.loads(C4Parameters().model_dump_json(exclude=fixed))
