"""A tokenizer that is fitted by itself: what it is, whom it is for, and who cannot use it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
from tokenizers import Tokenizer, pre_tokenizers

from tests.support.corpus import chinese, english
from tests.trainer.asking import asked, saved
from tests.trainer.published import pair, publish, turn
from trainer.data.segments import WORDS
from trainer.data.tokenizer import SPECIAL, fit, load
from trainer.errors import StateError, TrainerError
from trainer.job import read_job
from trainer.main import run
from trainer.model_folder import load_model

TEXTS = [english(n, 4) for n in range(12)] + [chinese(n, 2) for n in range(4)] + [""]
SIZE = 320
BPE = {"kind": "bpe", "size": SIZE}
DENSE = {"family": "dense", "width": 16, "layers": 1, "heads": 2}
BRIEF = {"data": {"tokens": 32, "rows": 4}, "loop": {"steps": 2, "checkpoint_every": 1, "log_every": 1}}


def pages(folder: Path, texts: Iterable[str] = TEXTS) -> Path:
    return publish(folder, "corpus", [{"id": f"{n:032x}", "text": text} for n, text in enumerate(texts)], 2)


def trained(output: Path, *datasets: Path, models: Mapping[str, Path] | None = None, **config: Any) -> dict[str, Any]:
    """The result of a training; datasets are called by their folders."""
    given = [{"name": folder.name, "version": 1, "role": "corpus", "location": str(folder)} for folder in datasets]
    roles = [{"role": role, "name": role, "location": str(folder)} for role, folder in (models or {}).items()]
    job = {"datasets": given, "models": roles, "config": config, "output": str(output)}
    return dict(run(read_job(job)))


def tokenizer(output: Path, *datasets: Path, **config: Any) -> Path:
    """The folder of a tokenizer that was fitted."""
    trained(output, *datasets, **{"stage": "tokenizer", "tokenizer": BPE, **config})
    return output / "final"


def pretrained(output: Path, dataset: Path, models: Mapping[str, Path] | None = None, **config: Any) -> Path:
    trained(output, dataset, models=models, **{"stage": "pretrain", "model": DENSE, **BRIEF, **config})
    return output / "final"


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# --- what it is


def test_it_is_the_tokenizer_that_a_pretraining_fits(tmp_path: Path) -> None:
    data = pages(tmp_path / "pages")
    own = files(tokenizer(tmp_path / "t", data, **BRIEF))  # what other stages are told does not matter
    assert sorted(own) == ["config.json", "gristmill.json", "manifest.json", "tokenizer.json"]
    assert own["tokenizer.json"] == files(pretrained(tmp_path / "m", data, tokenizer=BPE))["tokenizer.json"]
    assert own["tokenizer.json"].decode() == fit(TEXTS, SIZE).to_json()
    assert json.loads(own["config.json"]) == {"kind": "tokenizer", "vocab": SIZE}


def test_every_merge_is_of_a_pair_that_comes_most_often(tmp_path: Path) -> None:
    model = json.loads((tokenizer(tmp_path / "t", pages(tmp_path / "pages")) / "tokenizer.json").read_text())["model"]
    assert len(model["merges"]) == SIZE - 256 - len(SPECIAL)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    counts = Counter(word for text in TEXTS for word in regex.findall(WORDS, text))
    words = {tuple(byte_level.pre_tokenize_str(word)[0][0]): count for word, count in counts.items()}
    for left, right in model["merges"]:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for two in pairwise(word):
                pairs[two] += count
        assert pairs[left, right] == max(pairs.values())
        words = {merged(word, left, right): count for word, count in words.items()}


def merged(word: tuple[str, ...], left: str, right: str) -> tuple[str, ...]:
    found: list[str] = []
    for part in word:
        if found and (found[-1], part) == (left, right):
            found[-1] += part
        else:
            found.append(part)
    return tuple(found)


def test_figures_are_those_of_the_texts(tmp_path: Path) -> None:
    result = trained(tmp_path / "t", pages(tmp_path / "pages"), stage="tokenizer", tokenizer=BPE)
    other = Tokenizer.from_file(str(tmp_path / "t" / "final" / "tokenizer.json"))
    tokens = sum(len(other.encode(text, add_special_tokens=False).ids) for text in TEXTS)
    size = sum(len(text.encode()) for text in TEXTS)
    figures = {"vocab": SIZE, "texts": len(TEXTS), "bytes": size, "tokens": tokens, "bytes_per_token": size / tokens}
    digest = result.pop("digest")
    assert result == {"model": "final", "stage": "tokenizer", **figures} and result["bytes_per_token"] > 1
    assert json.loads((tmp_path / "t" / "result.json").read_text())["digest"] == digest
    facts = json.loads((tmp_path / "t" / "final" / "gristmill.json").read_text())
    assert (facts["stage"], facts["figures"], facts["tokenizer"]) == ("tokenizer", figures, BPE)
    assert [(d["name"], d["version"]) for d in facts["datasets"]] == [("pages", 1)] and facts["models"] == []


def test_the_order_of_datasets_changes_no_byte(tmp_path: Path) -> None:
    data = [pages(tmp_path / f"pages-{n}", TEXTS[n::3]) for n in range(3)]
    found = [files(tokenizer(tmp_path / f"t-{n}", *order)) for n, order in enumerate((data, data[::-1]))]
    assert found[0] == found[1]
    assert found[0]["tokenizer.json"] == files(tokenizer(tmp_path / "t", pages(tmp_path / "all")))["tokenizer.json"]


def test_conversations_give_their_turns(tmp_path: Path) -> None:
    chats = [{"messages": [turn("user", english(n)), turn("assistant", chinese(n))]} for n in range(8)]
    folder = tokenizer(tmp_path / "t", publish(tmp_path / "chats", "instructions", chats))
    assert load(folder).to_json() == fit([f(n) for n in range(8) for f in (english, chinese)], SIZE).to_json()


def test_bytes_are_a_tokenizer_too(tmp_path: Path) -> None:
    result = trained(tmp_path / "t", pages(tmp_path / "pages"), stage="tokenizer", tokenizer={"kind": "bytes"})
    assert (result["vocab"], result["bytes_per_token"]) == (264, 1.0)
    assert load(tmp_path / "t" / "final").kind == "bytes"


# --- again


def test_one_that_is_there_is_not_fitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, given = pages(tmp_path / "pages"), {"stage": "tokenizer", "tokenizer": BPE}
    first = trained(tmp_path / "t", data, **given)
    kept, said = files(tmp_path / "t" / "final"), (tmp_path / "t" / "result.json").read_bytes()
    monkeypatch.setattr("trainer.tasks.train.fitted", None)
    assert trained(tmp_path / "t", data, **given) == first
    assert (files(tmp_path / "t" / "final"), (tmp_path / "t" / "result.json").read_bytes()) == (kept, said)


def test_one_that_was_interrupted_leaves_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pages(tmp_path / "pages")
    whole = files(tokenizer(tmp_path / "whole", data))
    for place in ("os.fsync", "trainer.tasks.train.measured", "trainer.model_folder.model_digest"):
        with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
            broken.setattr(place, interrupted)
            tokenizer(tmp_path / place, data)
        assert files(tokenizer(tmp_path / place, data)) == whole


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("change", "name"), [({"tokenizer": {**BPE, "size": 300}}, "tokenizer"), ({}, "datasets")])
def test_one_of_something_else_is_not_replaced(tmp_path: Path, change: dict[str, Any], name: str) -> None:
    data = pages(tmp_path / "pages")
    kept = files(tokenizer(tmp_path / "t", data))
    other = data if change else pages(tmp_path / "other" / "pages", TEXTS[:5])
    with pytest.raises(StateError, match=f"is of another training: {name} differ"):
        tokenizer(tmp_path / "t", other, **change)
    assert files(tmp_path / "t" / "final") == kept


def test_a_model_is_not_replaced_by_a_tokenizer(tmp_path: Path) -> None:
    data = pages(tmp_path / "pages")
    kept = files(pretrained(tmp_path / "m", data, tokenizer=BPE))
    with pytest.raises(StateError, match="is of another training"):
        tokenizer(tmp_path / "m", data)
    assert files(tmp_path / "m" / "final") == kept


# --- for whom


def test_a_model_takes_it_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pages(tmp_path / "pages")
    given, own = tokenizer(tmp_path / "t", data), pretrained(tmp_path / "own", data, tokenizer=BPE)
    monkeypatch.setattr("trainer.tasks.train.fitted", None)
    for name, source in (("one", given), ("two", own)):  # a tokenizer, or a model that has one
        found = files(pretrained(tmp_path / name, data, {"tokenizer": source}))
        for file in ("tokenizer.json", "config.json", "model.safetensors"):
            assert found[file] == (own / file).read_bytes()
        assert json.loads(found["gristmill.json"])["models"] == [{"role": "tokenizer", "name": "tokenizer"}]


def test_the_weights_of_a_model_that_lends_its_tokenizer_are_not_read(tmp_path: Path) -> None:
    lender = saved(tmp_path / "lender", reward=True)
    (lender / "model.safetensors").unlink()
    model = pretrained(tmp_path / "m", pages(tmp_path / "pages"), {"tokenizer": lender})
    assert load_model(model).tokenizer.kind == "bytes"


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_other_stages_that_start_from_nothing_take_it_too(tmp_path: Path, stage: str) -> None:
    given = tokenizer(tmp_path / "t", pages(tmp_path / "pages"))
    kind, rows = {
        "sft": ("instructions", [{"messages": [turn("user", f"{n}"), turn("assistant", "so")]} for n in range(8)]),
        "reward": ("preferences", [pair(f"say {n}", "yes", "no") for n in range(8)]),
    }[stage]
    data = publish(tmp_path / "data", kind, rows)
    trained(tmp_path / "m", data, models={"tokenizer": given}, stage=stage, model=DENSE, **BRIEF)
    assert files(tmp_path / "m" / "final")["tokenizer.json"] == files(given)["tokenizer.json"]


def test_a_training_goes_on_with_its_own_tokenizer_only(tmp_path: Path) -> None:
    data = pages(tmp_path / "pages")
    one = tokenizer(tmp_path / "1", data)
    other = tokenizer(tmp_path / "2", pages(tmp_path / "other", TEXTS[5:]))
    pretrained(tmp_path / "m", data, {"tokenizer": one})
    with pytest.raises(StateError, match="is of another training: tokenizer differ"):
        pretrained(tmp_path / "m", data, {"tokenizer": other})


# --- for whom not


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tokenizer, a model, and datasets of all kinds."""
    folder = tmp_path_factory.mktemp("given")
    data = pages(folder / "pages")
    return {
        "tokenizer": tokenizer(folder / "t", data), "model": saved(folder / "m"), "corpus": data,
        "instructions": publish(folder / "chats", "instructions", [{"messages": [turn("user", "a")]}]),
        "preferences": publish(folder / "pairs", "preferences", [pair(f"{n}", "yes", "no") for n in range(8)]),
        "nothing": pages(folder / "nothing", ["", ""]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "datasets", "models", "config", "expected"),
    [
        ("tokenizer", ["corpus"], {}, {"model": DENSE}, "/config/model: a tokenizer has no weights"),
        ("tokenizer", ["corpus"], {"start": "model"}, {}, "/models/0/role: 'start': train takes no models here"),
        ("tokenizer", ["corpus"], {"tokenizer": "tokenizer"}, {}, "/models/0/role: 'tokenizer': train takes no models"),
        ("tokenizer", ["preferences"], {}, {}, "/datasets/0: .*tokenizer reads corpus or instructions"),
        ("tokenizer", ["corpus", "instructions"], {}, {}, "/datasets/1: .*all of one kind"),
        ("tokenizer", [], {}, {}, "/datasets: train needs at least one dataset version"),
        ("tokenizer", ["nothing"], {}, {}, "no text"),
        ("tokenizer", ["corpus"], {}, {"tokenizer": {"size": 100}}, "/config/tokenizer/size: 100 is outside"),
        ("pretrain", ["corpus"], {"tokenizer": "tokenizer"}, {"model": DENSE, "tokenizer": BPE}, "/config/tokenizer: "),
        ("pretrain", ["corpus"], {"tokenizer": "tokenizer"}, {}, "/config/model: give 'model'"),
        ("pretrain", ["corpus"], {"tokenizer": "model", "start": "model"}, {}, "/models: 'start' has a tokenizer"),
        ("pretrain", ["corpus"], {"start": "tokenizer"}, {}, "is a tokenizer, no model; give it the role 'tokenizer'"),
        ("dpo", ["preferences"], {"start": "model", "tokenizer": "tokenizer"}, {}, "/models/1/role: 'tokenizer'"),
        ("dpo", ["preferences"], {"start": "tokenizer"}, {}, "is a tokenizer, no model"),
        ("grpo", ["preferences"], {"start": "model", "reward": "tokenizer"}, {}, "is a tokenizer, no model"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    tmp_path: Path, given: dict[str, Path], stage: str, datasets: list[str], models: dict[str, str],
    config: dict[str, Any], expected: str,
) -> None:  # fmt: skip
    roles = {role: given[name] for role, name in models.items()}
    with pytest.raises(TrainerError, match=expected):
        trained(tmp_path, *(given[name] for name in datasets), models=roles, **{"stage": stage, **BRIEF, **config})
    assert not (tmp_path / "final").exists()


@pytest.mark.parametrize(
    ("task", "roles", "datasets"),
    [
        ("generate", ["model"], ["instructions"]), ("perplexity", ["model"], ["corpus"]),
        ("compare", ["a", "b"], ["corpus"]), ("win_rate", ["a", "reward"], ["preferences"]),
        ("cost", ["model"], []), ("export", ["model"], []),
    ],
)  # fmt: skip
def test_it_is_asked_nothing(
    tmp_path: Path, given: dict[str, Path], task: str, roles: list[str], datasets: list[str]
) -> None:  # fmt: skip
    models = {role: given["tokenizer"] for role in roles}
    with pytest.raises(StateError, match="is a tokenizer, no model; give it the role 'tokenizer'"):
        asked(task, tmp_path, models, tuple(given[name] for name in datasets))


@pytest.mark.parametrize("role", ["tokenizer", "start"])
def test_what_a_training_is_given_it_does_not_write_over(tmp_path: Path, role: str) -> None:
    corpus, out = pages(tmp_path / "pages"), tmp_path / "out"
    given = tokenizer(out, corpus) if role == "tokenizer" else pretrained(out, corpus, tokenizer=BPE)
    before = files(given)
    fresh = {"model": DENSE} if role == "tokenizer" else {"model": None}
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(TrainerError, match=r"/models/0/location: .*choose another output"):
        trained(tmp_path / "link", corpus, models={role: given}, stage="pretrain", **BRIEF, **fresh)
    assert files(given) == before


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "gristmill.json", "manifest.json"])
def test_one_that_is_cut_is_refused(tmp_path: Path, name: str) -> None:
    data = pages(tmp_path / "pages")
    folder = tokenizer(tmp_path / "t", data)
    os.truncate(folder / name, (folder / name).stat().st_size - 3)
    message = "holds no model" if name == "manifest.json" else f"{name} is not what was written"
    with pytest.raises(StateError, match=message):
        pretrained(tmp_path / "m", data, {"tokenizer": folder})
    with pytest.raises(StateError, match=message):
        tokenizer(tmp_path / "t", data)


def test_another_one_than_was_registered_is_refused(tmp_path: Path) -> None:
    data = pages(tmp_path / "pages")
    folder = tokenizer(tmp_path / "t", data)
    entry = {"role": "tokenizer", "location": str(folder), "digest": "blake2b:00"}
    job = {
        "datasets": [{"location": str(data)}], "models": [entry], "output": str(tmp_path / "m"),
        "config": {"stage": "pretrain", "model": DENSE, **BRIEF},
    }  # fmt: skip
    with pytest.raises(StateError, match="not the model that was registered"):
        run(read_job(job))
