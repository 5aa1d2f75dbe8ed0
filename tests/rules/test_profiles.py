"""What holds for every profile: names, neighbours, thresholds, facts."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from curation.rules import C4, FineWeb, GopherQuality, GopherRepetition
from curation.stage import Stage, decide
from tests.rules.helpers import batch_of, measured

STAGES: list[Stage] = [kind(kind.Parameters()) for kind in (GopherQuality, GopherRepetition, C4, FineWeb)]
PROFILES = {
    "gopher-quality": "gopher-quality@datatrove",
    "gopher-repetition": "gopher-repetition@datatrove",
    "c4": "c4@datatrove",
    "fineweb": "fineweb@1",
}
SAMPLE = ["The end of the road. " * 30, "", "第一句话。第二句话。" * 9, "x", "line\n" * 50, "a\u0301 \u200b\r\n\r\nb"]


def test_columns_are_unique_and_described() -> None:
    fields = [field for stage in STAGES for field in stage.schema]
    assert len({field.name for field in fields}) == len(fields)
    assert all(field.metadata[b"description"] for field in fields)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_profile(stage: Stage) -> None:
    assert stage.parameters.profile == PROFILES[stage.name]
    with pytest.raises(ValueError):
        stage.Parameters(profile="gopher@dolma-v1")
    with pytest.raises(ValueError):
        stage.Parameters(min_word=3)
    names = [rule.name for rule in stage.rules()]
    assert len(set(names)) == len(names)
    assert {rule.measure for rule in stage.rules()} <= set(stage.schema.names)
    assert stage.facts()["unicode"]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_document_is_measured_alike_alone_and_among_others(stage: Stage) -> None:
    languages = ["en", "en", "zh", "und", "en", "de"]
    together, rows = measured(stage, SAMPLE, languages)
    for row, text, language in zip(rows, SAMPLE, languages, strict=True):
        alone, (own,) = measured(stage, [text], [language])
        assert own == row
        if stage.changes_text:
            assert alone.text[0].as_py() == together.text[SAMPLE.index(text)].as_py()


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_no_document_at_all(stage: Stage) -> None:
    result, rows = measured(stage, [], [])
    assert rows == [] and decide(stage.rules(), result.columns, 0).first.size == 0


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_what_only_decides_does_not_change_what_is_measured(stage: Stage) -> None:
    changed = type(stage)(stage.Parameters(**{name: 0.5 for name in stage.deciding}))
    assert measured(stage, SAMPLE, ["en"] * 6)[1] == measured(changed, SAMPLE, ["en"] * 6)[1]
    assert [rule.thresholds for rule in changed.rules()] != [rule.thresholds for rule in stage.rules()]


def share_kept(stages: list[Stage], texts: list[str], language: str) -> float:
    kept = np.ones(len(texts), bool)
    for stage in stages:
        batch = batch_of(texts, [language] * len(texts))
        columns = {"language": batch.column("language"), **stage.measure(batch).columns}
        kept &= decide(stage.rules(), columns, len(batch)).first < 0
    return float(kept.mean())


def read(path: Path, limit: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(limit), strict=False)]


def test_good_text_mostly_passes_and_short_reviews_do_not(real_data: Path) -> None:
    stages = [stage for stage in STAGES if stage.name != "c4"]
    assert share_kept(stages, read(real_data / "text/chinanews-zh.jsonl.gz", 300), "zh") > 0.9
    assert share_kept(STAGES, read(real_data / "text/wikipedia-zh-hant.jsonl.gz", 300), "zh") > 0.95
    assert share_kept(stages, read(real_data / "domains/bbc-en.jsonl.gz", 300), "en") > 0.9
    assert share_kept(STAGES, read(real_data / "text/state-of-the-union-en.jsonl.gz", 10), "en") == 1
    assert share_kept(stages, read(real_data / "text/takeaway-reviews-noisy-zh.jsonl.gz", 2000), "zh") < 0.05
