from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from curation.batch import Batch
from curation.errors import InputError
from curation.perplexity import Perplexity, PerplexityParameters
from curation.perplexity.files import Percentiles, file_digest
from curation.perplexity.fit import Fitted, fit_perplexity
from curation.stage import decide
from tests.support.corpus import english, write_jsonl

GIBBERISH = "zq xv wj kpqx vvzt " * 40
TEXTS = [english(7), GIBBERISH, " \n\u3000", "Un texte en français.", "\x00", english(8)]
LANGUAGES = ["en", "en", "en", "fr", None, "en"]


def stage_of(fitted: Fitted, **parameters: Any) -> Perplexity:
    return Perplexity(PerplexityParameters(models={"en": fitted.output}, **parameters))


def batch_of(texts: list[str], languages: list[str | None]) -> Batch:
    return Batch(pa.table({"text": pa.array(texts, pa.large_string()), "language": pa.array(languages, pa.string())}))


def rules_failed(stage: Perplexity, batch: Batch) -> list[list[str]]:
    """Names of the failing rules of each document."""
    columns = {"language": batch.column("language"), **stage.measure(batch).columns}
    decision = decide(stage.rules(), columns, len(batch))
    names = [rule.name for rule in stage.rules()]
    return [[names[i] for i in np.flatnonzero(column)] for column in decision.failing.T]


def test_measures(fitted: Fitted) -> None:
    stage = stage_of(fitted)
    measured = stage.measure(batch_of(TEXTS, LANGUAGES))
    columns = {name: array.to_pylist() for name, array in measured.columns.items()}
    assert [(f.name, f.type) for f in stage.schema] == [(n, a.type) for n, a in measured.columns.items()]
    assert all(field.metadata[b"description"] for field in stage.schema)
    assert [p is None for p in columns["perplexity"]] == [False, False, True, True, True, False]
    assert columns["perplexity"][1] > 10 * columns["perplexity"][0]
    assert columns["perplexity_scored"] == [True, True, None, False, None, True]
    assert columns["perplexity_bucket"][1:5] == ["tail", "empty", "unscored", "empty"]
    assert columns["perplexity_pieces"][2:5] == [0, None, 0]
    assert measured.text is None and not measured.errors and not stage.changes_text


def test_buckets_are_cut_at_percentiles_30_and_60(fitted: Fitted) -> None:
    table = Percentiles.read(fitted.output / "percentiles.json")
    stage = stage_of(fitted)
    texts = [english(seed) for seed in range(6000, 6100)]
    columns = stage.measure(batch_of(texts, ["en"] * 100)).columns
    for perplexity, bucket in zip(*(columns[n].to_pylist() for n in ("perplexity", "perplexity_bucket")), strict=True):
        expected = "head" if perplexity < table.at(30) else "middle" if perplexity < table.at(60) else "tail"
        assert bucket == expected
    assert set(columns["perplexity_bucket"].to_pylist()) == {"head", "middle", "tail"}


def test_given_cutoffs_hold_at_their_edge(fitted: Fitted) -> None:
    batch = batch_of([english(7)], ["en"])
    value = stage_of(fitted).measure(batch).columns["perplexity"][0].as_py()
    cutoffs = {"head": (value * 2, value * 3), "middle": (value, value * 2), "tail": (value / 2, value)}
    for bucket, cutoff in cutoffs.items():
        stage = stage_of(fitted, cutoffs={"en": cutoff})
        assert stage.measure(batch).columns["perplexity_bucket"].to_pylist() == [bucket]


def test_by_default_only_empty_text_fails(fitted: Fitted) -> None:
    assert rules_failed(stage_of(fitted), batch_of(TEXTS, LANGUAGES)) == [
        [], [], ["empty-text"], [], ["empty-text"], [],
    ]  # fmt: skip


def test_without_model_drop(fitted: Fitted) -> None:
    failed = rules_failed(stage_of(fitted, without_model="drop"), batch_of(TEXTS, LANGUAGES))
    assert failed == [[], [], ["empty-text"], ["no-model"], ["empty-text"], []]


def test_max_perplexity_and_percentile(fitted: Fitted) -> None:
    batch = batch_of([english(7), GIBBERISH], ["en", "en"])
    low, high = stage_of(fitted).measure(batch).columns["perplexity"].to_pylist()
    assert rules_failed(stage_of(fitted, max_perplexity=(low + high) / 2), batch) == [[], ["max-perplexity"]]
    assert rules_failed(stage_of(fitted, max_perplexity={"en": high, "default": 1}), batch) == [[], []]
    assert rules_failed(stage_of(fitted, max_perplexity={"en": None, "default": 1}), batch) == [[], []]
    stage = stage_of(fitted, max_percentile=95)
    rule = next(rule for rule in stage.rules() if rule.name == "max-percentile")
    assert rule.thresholds == {"en": Percentiles.read(fitted.output / "percentiles.json").at(95)}
    assert rules_failed(stage, batch)[1] == ["max-percentile"]


@pytest.mark.parametrize(
    ("keep", "failed"),
    [
        (["head", "middle", "tail"], [[], [], []]),
        (["middle", "head"], [[], [], ["above-kept-buckets"]]),
        (["head"], [[], ["above-kept-buckets"], ["above-kept-buckets"]]),
        (["middle"], [["below-kept-buckets"], [], ["above-kept-buckets"]]),
        (["tail"], [["below-kept-buckets"], ["below-kept-buckets"], []]),
    ],
)
def test_keep_buckets(fitted: Fitted, keep: list[str], failed: list[list[str]]) -> None:
    texts = [english(7), english(7) + GIBBERISH[:200], GIBBERISH]
    batch = batch_of(texts, ["en"] * 3)
    low, middle, high = stage_of(fitted).measure(batch).columns["perplexity"].to_pylist()
    stage = stage_of(fitted, keep_buckets=keep, cutoffs={"en": ((low + middle) / 2, (middle + high) / 2)})
    assert rules_failed(stage, batch) == failed


def test_a_model_without_percentiles(fitted: Fitted, tmp_path: Path) -> None:
    for name in ("model.arpa", "sp.model"):
        (tmp_path / name).write_bytes((fitted.output / name).read_bytes())
    models = {"en": tmp_path}
    stage = Perplexity(PerplexityParameters(models=models))
    assert stage.measure(batch_of([english(7)], ["en"])).columns["perplexity_bucket"].to_pylist() == ["all"]
    with pytest.raises(InputError, match=r"keep_buckets needs cut-offs for en"):
        Perplexity(PerplexityParameters(models=models, keep_buckets=["head"]))
    with pytest.raises(InputError, match=r"no table of percentiles"):
        Perplexity(PerplexityParameters(models=models, max_percentile=90))
    Perplexity(PerplexityParameters(models=models, max_percentile={"en": None, "default": 90}))
    Perplexity(PerplexityParameters(models=models, keep_buckets=["head"], cutoffs={"en": [340, 520]}))


def test_chinese_is_scored_in_simplified_characters(tmp_path: Path) -> None:
    simplified, traditional = "中国语书车马东学门见长风飞龙鱼鸟", "中國語書車馬東學門見長風飛龍魚鳥"
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(simplified), 150)) for _ in range(60)]
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": text} for text in texts])
    model = fit_perplexity("zh", [path], tmp_path / "zh", order=2, held_out_share=0.3).output
    batch = batch_of([simplified, traditional], ["zh", "zh"])
    on = Perplexity(PerplexityParameters(models={"zh": model}))
    off = Perplexity(PerplexityParameters(models={"zh": model}, script={}))
    same, other = on.measure(batch).columns["perplexity"].to_pylist()
    assert same == other
    plain, foreign = off.measure(batch).columns["perplexity"].to_pylist()
    assert plain == same and foreign != plain
    assert "opencc" in on.facts() and "opencc" not in off.facts()


def test_long_text_is_scored_by_its_beginning(fitted: Fitted) -> None:
    # Normalised, the accent is gone and a Han character takes three bytes: the cut must not break one.
    text = "é" + english(7, 40).replace("\n", "")
    assert text.isascii() is False and len(text) > 1024
    stage = stage_of(fitted, max_scored_bytes=1024)
    whole = stage_of(fitted).measure(batch_of([text[:1024], "文" * 341, text], ["en"] * 3)).columns
    cut = stage.measure(batch_of([text, "文" * 2000, text[:1024]], ["en"] * 3)).columns
    for name in ("perplexity", "perplexity_pieces"):
        first, han, full = whole[name].to_pylist()
        assert cut[name].to_pylist() == [first, han, first] and full != first


def test_facts_name_every_model_file_by_digest(fitted: Fitted) -> None:
    facts = stage_of(fitted).facts()
    assert facts["profile"] == "ccnet/1"
    assert {"kenlm", "sentencepiece", "unicode"} < facts.keys()
    for role, name in (
        ("language-model", "model.arpa"), ("pieces", "sp.model"), ("percentiles", "percentiles.json")
    ):  # fmt: skip
        assert facts[f"model.en.{role}"] == f"sha256:{file_digest(fitted.output / name)}"
    json.dumps(facts)


def test_what_only_decides_does_not_change_the_measures(fitted: Fitted) -> None:
    batch = batch_of(TEXTS, LANGUAGES)
    plain = stage_of(fitted).measure(batch).columns
    deciding = {"max_perplexity": 3, "max_percentile": 5, "keep_buckets": ["head"], "without_model": "drop"}
    assert Perplexity.deciding == deciding.keys()
    for name, value in deciding.items():
        assert stage_of(fitted, **{name: value}).measure(batch).columns == plain


def test_a_stage_travels_to_another_process(fitted: Fitted) -> None:
    batch = batch_of(TEXTS, LANGUAGES)
    stage = stage_of(fitted)
    assert pickle.loads(pickle.dumps(stage)).measure(batch).columns == stage.measure(batch).columns


def test_an_empty_batch(fitted: Fitted) -> None:
    columns = stage_of(fitted).measure(batch_of([], [])).columns
    assert [len(array) for array in columns.values()] == [0, 0, 0, 0]


def test_relative_model_paths_are_resolved(fitted: Fitted) -> None:
    parameters = PerplexityParameters(models={"en": Path(fitted.output.name)}).resolved(fitted.output.parent)
    assert parameters.models == {"en": fitted.output}
    Perplexity(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {"models": {}},
        {"models": {"en": "m"}, "keep_buckets": []},
        {"models": {"en": "m"}, "keep_buckets": ["head", "tail"]},
        {"models": {"en": "m"}, "keep_buckets": ["best"]},
        {"models": {"en": "m"}, "cutoffs": {"en": [520, 340]}},
        {"models": {"en": "m"}, "max_percentile": 101},
        {"models": {"en": "m"}, "profile": "plain"},
        {"models": {"en": "m"}, "script": {"zh": "traditional"}},
        {"models": {"en": "m"}, "max_ppl": 3},
    ],
)
def test_bad_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PerplexityParameters(**parameters)


@pytest.mark.parametrize("content", ["{}", "[1]", '{"percentiles": [1, 2]}', '{"percentiles": "x"}', "no"])
def test_a_broken_table_of_percentiles(tmp_path: Path, content: str) -> None:
    path = tmp_path / "percentiles.json"
    path.write_text(content)
    with pytest.raises(InputError, match="percentiles"):
        Percentiles.read(path)
