from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.batch import text_buffers
from curation.errors import InputError
from curation.perplexity.corpus import read_documents, units
from curation.perplexity.files import Percentiles, find_model
from curation.perplexity.fit import Fitted, fit_perplexity
from curation.perplexity.normalise import normalise_utf8
from curation.perplexity.scorer import Scorer
from curation.perplexity.script import simplify
from tests.support.corpus import english, write_jsonl

FILES = ["model.arpa", "model.json", "percentiles.json", "sp.model"]


def median_perplexity(scorer: Scorer, texts: list[str]) -> float:
    column = pa.array(texts, pa.large_string())
    return float(np.median(scorer.score(normalise_utf8(*text_buffers(column))).perplexity))


def test_a_fit_makes_a_whole_model(fitted: Fitted) -> None:
    assert sorted(path.name for path in fitted.output.iterdir()) == FILES
    description = json.loads((fitted.output / "model.json").read_text())
    assert description == fitted.description
    assert description["profile"] == "ccnet/1"
    assert description["order"] == 4
    assert sum(description["units"].values()) == 400
    assert 40 < description["units"]["held_out"] < 120  # a share of 0.2 of 400
    assert description["corpora"][0]["name"] == "english.jsonl"
    assert any("vocabulary" in message for message in fitted.messages)
    assert "perplexity model of 'en'" in str(fitted)


def test_percentiles_are_those_of_text_held_out(fitted: Fitted) -> None:
    table = Percentiles.read(fitted.output / "percentiles.json")
    scorer = Scorer(find_model("en", fitted.output))
    seen = median_perplexity(scorer, [english(seed) for seed in range(400)])
    new = median_perplexity(scorer, [english(seed) for seed in range(5000, 5200)])
    assert table.at(50) == pytest.approx(new, rel=0.1)
    assert seen < table.at(50)
    assert table.at(0) < table.at(30) < table.at(60) < table.at(100)
    assert table.at(30.5) == pytest.approx((table.at(30) + table.at(31)) / 2)


def test_gibberish_is_worse_than_the_worst_good_text(fitted: Fitted) -> None:
    rng = random.Random(0)
    words = english(9000).split()
    rng.shuffle(words)
    scorer = Scorer(find_model("en", fitted.output))
    shuffled = median_perplexity(scorer, [" ".join(words)])
    letters = median_perplexity(scorer, ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=600))])
    assert Percentiles.read(fitted.output / "percentiles.json").at(100) < shuffled < letters


def test_the_same_texts_give_the_same_bytes_in_whatever_format(corpus: Path, fitted: Fitted, tmp_path: Path) -> None:
    texts = list(read_documents(corpus))
    pq.write_table(pa.table({"text": pa.array(texts)}), tmp_path / "english.parquet")
    again = fit_perplexity("en", [tmp_path / "english.parquet"], tmp_path / "again", order=4, held_out_share=0.2)
    for name in set(FILES) - {"model.json"}:
        assert (again.output / name).read_bytes() == (fitted.output / name).read_bytes(), name


def test_another_seed_holds_out_other_text(corpus: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.jsonl"
    small.write_text("".join(corpus.read_text().splitlines(keepends=True)[:60]))
    tables = [
        json.loads((fit_perplexity("en", [small], tmp_path / f"s{seed}", order=2, held_out_share=0.3, seed=seed)
                    .output / "percentiles.json").read_text())["percentiles"]
        for seed in (0, 1)
    ]  # fmt: skip
    assert tables[0] != tables[1]


def test_duplicates_and_short_texts_are_left_out(tmp_path: Path) -> None:
    texts = [english(seed) for seed in range(40)]
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": text} for text in [*texts, *texts[:7], "Too short", " "]])
    units = fit_perplexity("en", [path], tmp_path / "m", order=2, held_out_share=0.3).description["units"]
    assert (units["duplicate"], units["short"]) == (7, 2)
    assert units["training"] + units["held_out"] == 40


def test_chinese_is_fitted_in_simplified_characters(tmp_path: Path) -> None:
    rng = random.Random(0)
    traditional = "國語書車馬東學門見長風飛龍魚鳥麥黃電動時間問題"
    texts = ["".join(rng.choices(traditional, k=200)) + "。" for _ in range(60)]
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": text} for text in texts])
    fits = {
        name: fit_perplexity("zh", [path], tmp_path / name, order=2, held_out_share=0.3, simplify=choice)
        for name, choice in (("converted", None), ("as-is", False))
    }
    words = {name: (fit.output / "model.arpa").read_text() for name, fit in fits.items()}
    assert simplify(["國"]) == ["国"]
    assert "国" in words["converted"] and "國" not in words["converted"]
    assert "國" in words["as-is"] and "国" not in words["as-is"]
    assert fits["converted"].description["script"].startswith("simplified (opencc ")


def test_progress_is_told_and_ends(corpus: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    fit_perplexity("en", [corpus], tmp_path / "m", order=2, on_progress=lambda *step: told.append(step))
    whats = list(dict.fromkeys(what for _, _, what in told))
    assert whats == [
        "reading",
        "training pieces",
        "counting",
        "estimating",
        "writing",
        "scoring held-out text",
    ]
    assert all(0 <= done <= total for done, total, _ in told)
    assert {what for done, total, what in told if done == total} == {*whats}


def test_nothing_is_left_of_a_fit_that_fails(tmp_path: Path) -> None:
    good = [{"text": english(seed)} for seed in range(20)]
    broken = write_jsonl(tmp_path / "broken.jsonl", [*good, '{"text": "unclosed'])
    with pytest.raises(InputError) as raised:
        fit_perplexity("en", [broken], tmp_path / "out" / "model")
    assert raised.value.where == f"{broken}:21"
    path = write_jsonl(tmp_path / "good.jsonl", good)
    with pytest.raises(InputError, match="SentencePiece cannot train 5 pieces"):
        fit_perplexity("en", [path], tmp_path / "out" / "model", vocabulary_size=5, held_out_share=0.3)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": 7}, "order"),
        ({"held_out_share": 0.0}, "held_out_share"),
        ({"prune": (1,)}, "pruning"),
        ({"least_characters": 10_000_000}, "too small"),
    ],
)
def test_bad_arguments(corpus: Path, tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit_perplexity("en", [corpus], tmp_path / "m", **arguments)


def test_an_existing_output_is_not_touched(fitted: Fitted, corpus: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        fit_perplexity("en", [corpus], fitted.output)
    with pytest.raises(InputError, match="at least one"):
        fit_perplexity("en", [], fitted.output)


def test_corpus_formats(tmp_path: Path) -> None:
    paragraphs = "First line\nsecond line\n\n \n\tNext paragraph\n\n"
    (tmp_path / "a.txt").write_text(paragraphs)
    with gzip.open(tmp_path / "a.txt.gz", "wt") as stream:
        stream.write(paragraphs)
    expected = ["First line\nsecond line\n", "\tNext paragraph\n"]
    assert list(read_documents(tmp_path / "a.txt")) == expected
    assert list(read_documents(tmp_path / "a.txt.gz")) == expected
    write_jsonl(tmp_path / "a.jsonl.gz", [{"text": "Zo\u00eb\n", "id": 1}, "", '{"text": "a\\ud800b"}'])
    assert list(read_documents(tmp_path / "a.jsonl.gz")) == ["Zo\u00eb\n", "a?b"]
    pq.write_table(pa.table({"text": ["x", None]}), tmp_path / "a.parquet")
    assert list(read_documents(tmp_path / "a.parquet")) == ["x"]


def test_unreadable_corpora(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 1000)[:-20])
    (tmp_path / "field.jsonl").write_text('{"body": "a"}\n')
    (tmp_path / "list.jsonl").write_text('["text"]\n')
    (tmp_path / "not.parquet").write_text("no")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "field.parquet")
    (tmp_path / "a.csv").touch()
    for name in ["absent.txt", *(path.name for path in tmp_path.iterdir())]:
        with pytest.raises(InputError):
            list(read_documents(tmp_path / name))


def test_units_join_to_the_document_and_end_at_line_ends() -> None:
    lines = "".join(f"line {number}\n" for number in range(50))
    parts = list(units(lines, 40))
    assert "".join(parts) == lines
    assert all(len(part) <= 40 and part.endswith("\n") for part in parts)
    assert list(units("x" * 95, 40)) == ["x" * 40, "x" * 40, "x" * 15]
    assert list(units("", 40)) == []


def test_real_chinese_is_in_the_expected_order(real_data: Path, tmp_path: Path) -> None:
    def texts(name: str, count: int) -> list[str]:
        with gzip.open(real_data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            return [json.loads(line)["text"] for line, _ in zip(stream, range(count), strict=False)]

    good = texts("wikipedia-zh-hans", 350)
    path = write_jsonl(tmp_path / "zh.jsonl", [{"text": text} for text in good[:250]])
    fitted = fit_perplexity("zh", [path], tmp_path / "zh", order=3)
    scorer = Scorer(find_model("zh", fitted.output))
    hans = median_perplexity(scorer, good[250:])
    hant = texts("wikipedia-zh-hant", 200)
    reviews = median_perplexity(scorer, texts("takeaway-reviews-noisy-zh", 300))
    rng = random.Random(0)
    gibberish = median_perplexity(scorer, ["".join(chr(rng.randrange(0x4E00, 0x9FA0)) for _ in range(300))])
    converted = median_perplexity(scorer, simplify(hant))
    assert hans < reviews < gibberish
    assert converted < 2 * hans < median_perplexity(scorer, hant)
