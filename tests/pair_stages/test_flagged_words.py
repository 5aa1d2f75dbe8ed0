"""Words of a list that a recipe names."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.errors import InputError
from curation.pair_stages import FlaggedWords
from tests.pair_stages.build import batch_of, failing, pair, rows


def lists(folder: Path, **words: str) -> FlaggedWords:
    for code, text in words.items():
        (folder / f"{code}.txt").write_text(text, "utf-8")
    given = FlaggedWords.Parameters(words={code: Path(f"{code}.txt") for code in words}, max_flagged_words=1)
    return FlaggedWords(given.resolved(folder))


def test_counts(tmp_path: Path) -> None:
    stage = lists(tmp_path, en="# remark\ndarn\ndarn it\nHeck\n\n", zh="坏蛋\n坏\n")
    texts = [pair("Darn it, DARN; darning", "heck 坏蛋", "好坏"), pair("a", "what the heck_", "")]
    assert rows(stage, batch_of(texts)) == [
        {"prompt_flagged_words": 2, "chosen_flagged_words": 2, "rejected_flagged_words": 1},
        {"prompt_flagged_words": 0, "chosen_flagged_words": 0, "rejected_flagged_words": 0},
    ]
    assert failing(stage, batch_of(texts)) == [["prompt-flagged-words", "chosen-flagged-words"], []]
    assert {"words.en", "words.zh"} <= set(stage.facts())


def test_nothing_without_a_list() -> None:
    stage = FlaggedWords(FlaggedWords.Parameters(max_flagged_words=0))
    assert list(rows(stage, batch_of([pair("a", "b", "c")]))[0].values()) == [None, None, None]
    assert failing(stage, batch_of([pair("a", "b", "c")])) == [[]]


@pytest.mark.parametrize("content", [b"", b"# only\n", b"\xff\xfe"])
def test_unusable_lists(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(InputError):
        FlaggedWords(FlaggedWords.Parameters(words={"en": tmp_path / "x.txt"}))


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        FlaggedWords(FlaggedWords.Parameters(words={"en": tmp_path / "none.txt"}))
