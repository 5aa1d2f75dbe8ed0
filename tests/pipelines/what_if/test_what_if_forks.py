"""An answer is what a real run with these thresholds does, document by document."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.deduplication import pairs
from pipelines.index import prepare_earlier
from pipelines.look import FinishedRun
from pipelines.recipe import load_recipe
from pipelines.what_if import records
from pipelines.what_if.answer import what_if
from tests.pipelines.test_deduplication import texts as edited
from tests.support.corpus import write_jsonl
from tests.support.runs import rows, run_recipe, tree, write_recipe

STAGES = """name: asked
stages:
  - stage: extraction
  - stage: language
    keep: [en, zh]
  - stage: gopher-repetition
  - stage: gopher-quality
  - stage: fineweb
  - stage: personal-data
limits: {max_quarantined_share: null}
"""
RECIPES = {
    "longest": "deduplication: {memory_mib: 16}\n",
    "shortest": "deduplication:\n  memory_mib: 16\n  priority: [{column: word_count, order: ascending}]\n",
    "none": "deduplication: null\n",
}
QUESTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "tighter": {"gopher-quality.few-words": 200},
    "keepers go": {"gopher-quality.many-words": 900},
    "by language": {"gopher-quality.many-words": {"default": 1500, "zh": 700}, "fineweb.lists": 0.02},
    "another language": {"gopher-quality.few-words": {"default": 50, "zh": 100, "fr": 10**6}},
    "first and last stage": {"read.not-sampled": 0.6, "fineweb.short-lines": 0.4},
    "two of one stage": {"fineweb.short-lines": 0.9, "fineweb.lists": 0.05},
    "off": {"gopher-quality.few-words": None},
    "off for one": {"fineweb.line-punctuation": {"default": 0.12, "zh": None}},
    "looser and tighter": {"language.language-score": 0.2, "gopher-quality.many-words": 1000},
    "nearly nothing": {"language.language-score": 0.9999},
}
LOOSER = {"off", "off for one", "looser and tighter"}


@pytest.fixture(scope="module", params=sorted(RECIPES))
def finished(
    request: pytest.FixtureRequest, real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Path], Path]:
    folder = tmp_path_factory.mktemp("asked")
    shards = [real_data / "crawl" / "built" / "mirror-pages.warc.gz"]
    shards += [real_data / "neardup" / f"{name}.jsonl.gz" for name in ("licenses", "coolshell")]
    recipe = write_recipe(folder, STAGES + RECIPES[request.param])
    run_recipe(recipe, shards, folder / "out")
    return recipe, shards, folder / "out"


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_real_documents(
    question: str, finished: tuple[Path, list[Path], Path], agree: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "CHUNK_ROWS", 100)
    compared, stored, ledger_only = agree(*finished, QUESTIONS[question])
    assert compared.exact == stored.exact == (question not in LOOSER)
    assert "deduplication" not in {why["stage"] for why in stored.why}
    assert compared.undetermined == stored.undetermined <= ledger_only.undetermined
    if question == "keepers go" and "shortest" not in finished[2].parent.name:
        assert compared.samples["lost"] and ledger_only.kept["lost"] == compared.kept["lost"]


def test_duplicates_come_back(finished: tuple[Path, list[Path], Path]) -> None:
    run = FinishedRun(str(finished[2]))
    answer = what_if(run, QUESTIONS["keepers go"])
    by_priority = run.run["recipe"]["deduplication"]
    if by_priority is not None and by_priority["priority"][0]["column"] == "token_count":
        assert answer.kept["gained"] > 0


@pytest.fixture
def with_memory(tmp_path: Path, real_data: Path) -> tuple[Path, list[Path], Path]:
    """A run that remembers half of its documents from the night before."""
    names = ("licenses", "coolshell")
    first = write_recipe(tmp_path, STAGES.replace("asked", "night") + "deduplication: {memory_mib: 16}\n", "first.yaml")
    run_recipe(first, [real_data / "neardup" / f"{names[0]}.jsonl.gz"], tmp_path / "first")
    recipe = write_recipe(tmp_path, STAGES + f"deduplication: {{memory_mib: 16, earlier: ['{tmp_path}/first']}}\n")
    prepare_earlier(load_recipe(recipe))
    shards = [real_data / "neardup" / f"{name}.jsonl.gz" for name in names]
    run_recipe(recipe, shards, tmp_path / "out")
    return recipe, shards, tmp_path / "out"


@pytest.mark.parametrize("question", ["tighter", "keepers go", "off", "by language"])
def test_earlier_corpora(question: str, with_memory: tuple[Path, list[Path], Path], agree: Callable[..., Any]) -> None:
    assert any(row["witness_dataset"] for row in rows(with_memory[2]))
    agree(*with_memory, QUESTIONS[question])


_SYLLABLES = ("ka", "mo", "ri", "te"), ("lo", "na", "pu", "si"), ("ve", "xa", "yo", "zu")
WORDS = ["".join(syllables) for syllables in product(*_SYLLABLES)]
SMALL = """name: small
stages:
  - stage: extraction
  - stage: gopher-quality
    min_words: 12
    min_stop_words: null
  - stage: fineweb
    max_short_lines: null
deduplication:
  memory_mib: 16
limits: {max_quarantined_share: null}
"""


@st.composite
def collections(draw: st.DrawFn) -> list[str]:
    """Documents of random words, with copies, longer and shorter near-copies, and chains of them."""
    rng = draw(st.randoms(use_true_random=False))
    texts: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        words = rng.choices(WORDS, k=draw(st.integers(10, 60)))
        for _ in range(draw(st.integers(1, 6))):
            texts.append(" ".join(words) + ".")
            change = draw(st.sampled_from(["none", "longer", "shorter", "other"]))
            if change == "longer":
                words = words + rng.choices(WORDS, k=rng.randint(1, 3))
            elif change == "shorter":
                words = words[: -rng.randint(1, 3)]
            elif change == "other":
                words = [*words[:-1], rng.choice(WORDS)]
    rng.shuffle(texts)
    return texts


# Every example is two runs: one that fails is shown as it is found.
@settings(max_examples=20, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    texts=collections(),
    few=st.one_of(st.none(), st.integers(0, 50)),
    shorter=st.one_of(st.none(), st.integers(0, 12)),
    first=st.sampled_from([0.3, 0.7, 1.0]),
)
def test_any_documents_any_thresholds(
    texts: list[str], few: int | None, shorter: int | None, first: float, agree: Callable[..., Any]
) -> None:
    many = None if shorter is None else max(len(text.split()) for text in texts) - shorter
    thresholds = {"gopher-quality.few-words": few, "gopher-quality.many-words": many, "read.not-sampled": first}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shards = [
            write_jsonl(folder / f"s{number}.jsonl", [{"text": text} for text in texts[number::2]]) for number in (0, 1)
        ]
        recipe = write_recipe(folder, SMALL)
        run_recipe(recipe, shards, folder / "out")
        compared, stored, _ = agree(recipe, shards, folder / "out", thresholds)
        assert compared.exact == stored.exact and (stored.exact or few is None or few < 12)


def test_who_comes_back(tmp_path: Path, agree: Callable[..., Any]) -> None:
    """The longest of a family goes: the next stays for all.  Without texts, without evidence, nobody knows."""
    words = [WORDS[number * 7 % len(WORDS)] + WORDS[number % len(WORDS)] for number in range(60)]
    family = [" ".join(words[:size]) + "." for size in (60, 58, 56, 54)]
    alone = " ".join(reversed(words)) + "."
    shards = [write_jsonl(tmp_path / "s.jsonl", [{"text": text} for text in [*family, alone[:200] + ".", family[3]]])]
    text = SMALL.replace("min_words: 12", "min_words: 12\n    max_mean_word_length: null")
    recipe = write_recipe(tmp_path, text + "retention: {dropped_texts: none}\n")
    run_recipe(recipe, shards, tmp_path / "out")
    *known, ledger_only = agree(recipe, shards, tmp_path / "out", {"gopher-quality.many-words": 59})
    for answer in known:
        assert answer.exact and answer.kept == {"before": 2, "after": 2, "lost": 1, "gained": 1}
        assert [row["before"]["verdict"] for row in answer.samples["gained"]] == ["duplicate"]
    assert ledger_only.kept == {"before": 2, "after": 1, "lost": 1, "gained": 0}
    assert ledger_only.why[0]["stage"] == "deduplication" and ledger_only.undetermined == 4
    assert ledger_only.contingent == 1
    # Evidence that is damaged, cut short or gone is none; and to ask changes nothing.
    path = next((tmp_path / "out" / "deduplication").rglob("pairs.records"))
    for damage in (lambda: path.write_bytes(bytes(path.stat().st_size)), lambda: path.write_bytes(b""), path.unlink):
        damage()
        before = tree(tmp_path / "out")
        assert what_if(FinishedRun(str(tmp_path / "out")), {"gopher-quality.many-words": 59}) == ledger_only
        assert tree(tmp_path / "out") == before


def test_a_duplicate_of_both_is_not_called_back(tmp_path: Path, agree: Callable[..., Any]) -> None:
    """A document resembles its witness most, but an earlier corpus too: when the witness goes, it does not return.

    That it resembles the other is evidence; the ledger does not say it.
    """
    words = [WORDS[number * 7 % len(WORDS)] + WORDS[number % len(WORDS)] for number in range(60)]
    longest, middle, remembered = (" ".join(words[first:]) + "." for first in (0, 4, 12))
    text = SMALL.replace("min_words: 12", "min_words: 12\n    max_mean_word_length: null")
    night = write_jsonl(tmp_path / "night.jsonl", [{"text": remembered}])
    run_recipe(write_recipe(tmp_path, text.replace("small", "night"), "night.yaml"), [night], tmp_path / "night")
    recipe = write_recipe(tmp_path, text.replace("  memory_mib: 16\n", f"  earlier: ['{tmp_path}/night']\n"))
    prepare_earlier(load_recipe(recipe))
    shards = [write_jsonl(tmp_path / "s.jsonl", [{"text": longest}, {"text": middle}])]
    run_recipe(recipe, shards, tmp_path / "out")
    *known, ledger_only = agree(recipe, shards, tmp_path / "out", {"gopher-quality.many-words": 59})
    for answer in [*known, ledger_only]:
        assert answer.exact == (answer is not ledger_only)
        assert answer.kept == {"before": 1, "after": 0, "lost": 1, "gained": 0}


# Neither length nor id decides who stays, so that a sample by id takes kept documents and leaves their duplicates.
MANY = """name: many
stages:
  - stage: extraction
  - stage: gopher-quality
    min_words: 1
    min_stop_words: null
    min_mean_word_length: null
    max_mean_word_length: null
    min_alphabetic_words: null
    max_hash_ratio: null
    max_ellipsis_ratio: null
retention: {dropped_texts: none}
deduplication:
  memory_mib: 16
  priority: [{column: mean_word_length, order: descending}]
limits: {max_quarantined_share: null}
"""


@pytest.fixture(scope="module")
def many(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Path]:
    """Real near-duplicates and copies of all kinds; no text of a duplicate is stored."""
    folder = tmp_path_factory.mktemp("many")
    shards = [real_data / "crawl" / "built" / "mirror-pages.warc.gz"]
    names = ("licenses", "coolshell", "articles", "tang-poems", "short-answers")
    shards += [real_data / "neardup" / f"{name}.jsonl.gz" for name in names]
    recipe = write_recipe(folder, MANY)
    run_recipe(recipe, shards, folder / "out")
    return recipe, shards, folder / "out"


@pytest.mark.parametrize(
    "thresholds",
    [
        {"read.not-sampled": 0.9},
        {"read.not-sampled": 0.5},
        {"read.not-sampled": 0.1},
        {"gopher-quality.long-words": 5},
        {"gopher-quality.many-words": 700, "read.not-sampled": 0.7},
        {"gopher-quality.few-words": 60, "gopher-quality.many-words": {"default": 2000, "zh": 500}},
    ],
    ids=str,
)
def test_tighter_is_exact_without_texts(
    thresholds: dict[str, Any], many: tuple[Path, list[Path], Path], agree: Callable[..., Any]
) -> None:
    _, stored, ledger_only = agree(*many, thresholds)
    assert stored.exact and stored.kept["lost"] > 0
    if "read.not-sampled" in thresholds:
        assert stored.kept["gained"] > 0 and not ledger_only.exact


@pytest.mark.parametrize(("limit", "most"), [(64, 0), (8, 25), (3, 30)])
def test_few_are_undetermined_for_large_buckets(
    limit: int, most: int, tmp_path: Path, agree: Callable[..., Any]
) -> None:
    collection = edited(0, families=60)
    shards = [write_jsonl(tmp_path / f"s{n}.jsonl", [{"text": text} for text in collection[n::2]]) for n in (0, 1)]
    recipe = write_recipe(tmp_path, MANY)
    with patch.object(pairs, "LARGE_BUCKET", limit):
        run_recipe(recipe, shards, tmp_path / "out")
        assert sum(row["verdict"] == "duplicate" for row in rows(tmp_path / "out")) > 150
        for share in (0.9, 0.6, 0.2):
            _, stored, _ = agree(recipe, shards, tmp_path / "out", {"read.not-sampled": share})
            assert stored.undetermined <= most
            assert stored.kept["gained"] > 0


# Every example is three runs.
@settings(max_examples=8, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    texts=collections(),
    night=st.one_of(st.just([]), collections()),
    limit=st.sampled_from([1, 2, 4, 64]),
    share=st.sampled_from([0.4, 0.7, 0.9, 1.0]),
    shorter=st.one_of(st.none(), st.integers(0, 12)),
)
def test_any_documents_large_buckets_earlier_corpora(
    texts: list[str], night: list[str], limit: int, share: float, shorter: int | None, agree: Callable[..., Any]
) -> None:
    many_words = None if shorter is None else max(len(text.split()) for text in texts) - shorter
    with tempfile.TemporaryDirectory() as scratch, patch.object(pairs, "LARGE_BUCKET", limit):
        folder, earlier = Path(scratch), ""
        if night:
            first = write_jsonl(folder / "night.jsonl", [{"text": text} for text in [*night, *texts[:2]]])
            run_recipe(write_recipe(folder, MANY.replace("many", "night", 1), "night.yaml"), [first], folder / "night")
            earlier = f"  earlier: ['{folder}/night']\n"
        recipe = write_recipe(folder, MANY.replace("  memory_mib: 16\n", f"  memory_mib: 16\n{earlier}"))
        prepare_earlier(load_recipe(recipe))
        shards = [write_jsonl(folder / f"s{n}.jsonl", [{"text": text} for text in texts[n::2]]) for n in (0, 1)]
        run_recipe(recipe, shards, folder / "out")
        asked = {"gopher-quality.many-words": many_words, "read.not-sampled": share}
        _, stored, _ = agree(recipe, shards, folder / "out", asked)
        assert stored.exact or limit < 64
