"""Commands around models, on folders, without a service: train, ask, compare; what they show, what they refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.config_file import read_config
from cli.main import app
from cli.trainer_job import dataset_at, model_at, run_job, with_role
from curation.errors import InputError
from tests.support.runs import run_recipe, write_recipe
from tests.trainer.published import publish

TOY = f"python {Path(__file__).parents[1] / 'api' / 'trainer.py'}"
TEXTS = ["the cat sat on the mat", "the dog ate the bone", "a bird sang in the tree"] * 10
DENSE = {"family": "dense", "width": 16, "layers": 1, "heads": 2}
CONFIG = {
    "stage": "pretrain", "model": DENSE, "tokenizer": {"kind": "bytes"}, "data": {"tokens": 32, "rows": 4},
    "loop": {"steps": 4, "log_every": 2, "checkpoint_every": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"id": f"{n:032x}", "text": text, "language": "en"} for n, text in enumerate(TEXTS)]
    return publish(tmp_path_factory.mktemp("corpus") / "pages", "corpus", rows)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for a trainer, so that nothing waits for torch."""
    monkeypatch.setenv("GRISTMILL_TRAINER_COMMAND", TOY)


def says(*arguments: object, check: int = 0, stdin: str | None = None) -> str:
    """What a command prints; of an error its one line."""
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    done = CliRunner().invoke(app, [*map(str, arguments)], env=environment, input=stdin)
    assert done.exit_code == check, (done.output, done.exception)
    return done.stderr.splitlines()[-1] if check else done.stdout


def config_file(folder: Path, name: str = "config.json", **fields: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(fields) if path.suffix == ".json" else yaml.dump(fields))
    return path


# --- what is given


def test_values_are_set_on_top_of_a_file(tmp_path: Path) -> None:
    path = config_file(tmp_path, loop={"steps": 1, "seed": 2}, stage="sft")
    found = read_config(path, ["loop.steps=5", "loop.optimizer.learning_rate=1e-3", "stage=dpo", "data.weights={}"])
    assert found == {
        "loop": {"steps": 5, "seed": 2, "optimizer": {"learning_rate": 0.001}}, "stage": "dpo", "data": {"weights": {}},
    }  # fmt: skip


def test_powers_of_ten_are_numbers_in_yaml_too(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("loop:\n  optimizer: {learning_rate: 3e-4, betas: [9e-1, 0.95]}\n  name: 3e\n")
    assert read_config(path)["loop"] == {"optimizer": {"learning_rate": 3e-4, "betas": [0.9, 0.95]}, "name": "3e"}


@pytest.mark.parametrize("change", ["steps", "=1", "a..b=1", "stage.x=1"])
def test_a_value_without_a_place_is_refused(tmp_path: Path, change: str) -> None:
    with pytest.raises(InputError, match="--set"):
        read_config(config_file(tmp_path, stage="sft"), [change])


@pytest.mark.parametrize("text", ["[1]", "{", "\x00"])
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json"):
        read_config(tmp_path / "c.json")


def test_roles_stand_before_a_place(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert with_role("reward=x/y") == ("reward", "x/y")
    assert with_role(f"{tmp_path}/a=b") == (None, f"{tmp_path}/a=b")
    assert with_role("x/y") == (None, "x/y")


def test_places_that_hold_nothing_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no published version.*--url"):
        dataset_at("web@1")
    with pytest.raises(InputError, match="holds no model"):
        model_at(str(tmp_path), "start")


def test_a_published_version_is_handed_on_with_its_digest(tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_text(json.dumps({"text": "some words", "url": "http://a.example/"}) + "\n")
    run_recipe(write_recipe(tmp_path, "name: c\nstages: [{stage: extraction}]\n"), [shard], tmp_path / "pages" / "out")
    found = dataset_at(f"corpus={tmp_path / 'pages' / 'out'}")
    assert (found["name"], found["role"]) == ("pages", "corpus") and found["manifest_digest"].startswith("blake2b:")


# --- the process


def test_train_shows_the_result_and_where_the_model_is(tmp_path: Path, corpus: Path, toy: None) -> None:
    config = config_file(tmp_path, steps=3)
    out = tmp_path / "first"
    shown = says("train", config, "-d", corpus, "-o", out)
    assert f"model  {out / 'final'}" in shown and "steps" in shown
    job = json.loads((out / "job.json").read_text())
    assert job["task"] == "train" and job["output"] == str(out) and job["datasets"][0]["name"] == "pages"
    shown = says("train", config, "-d", corpus, "-o", tmp_path / "second", "--start", out / "final", "--json", "-q")
    assert json.loads(shown)["model"] == "final"
    (model,) = json.loads((tmp_path / "second" / "job.json").read_text())["models"]
    assert (model["role"], model["name"], model["location"]) == ("start", "first", str(out / "final"))
    assert model["digest"] == json.loads(says("train", config, "-d", corpus, "-o", out, "--json", "-q"))["digest"]


def test_what_the_trainer_refuses_and_what_breaks_it(tmp_path: Path, corpus: Path, toy: None) -> None:
    last = says("train", config_file(tmp_path), "-d", corpus, "-o", tmp_path / "a", check=2)
    assert last == "gristmill: the trainer refused its job: config: 'steps' is missing"
    last = says("train", config_file(tmp_path, steps=9, dies_at=8), "-d", corpus, "-o", tmp_path / "b", check=1)
    assert "SIGKILL" in last
    assert "steps" in says("train", config_file(tmp_path, steps=9, dies_at=8), "-d", corpus, "-o", tmp_path / "b")
    assert "at least one --dataset" in says("train", config_file(tmp_path), "-o", tmp_path / "c", check=2)


def test_a_trainer_that_is_not_there(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_TRAINER_COMMAND", "/no/such/trainer")
    last = says("train", config_file(tmp_path), "-d", corpus, "-o", tmp_path / "a", check=2)
    assert "GRISTMILL_TRAINER_COMMAND" in last


def _heeds() -> None:
    """What runs in the background of a shell is deaf to interrupts, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_the_trainer_save_and_the_same_command_goes_on(
    tmp_path: Path, corpus: Path, toy: None, sig: int
) -> None:
    config, out = config_file(tmp_path, steps=400, seconds=0.02), tmp_path / "out"
    command = [sys.executable, "-m", "cli.main", "train", str(config), "-d", str(corpus), "-o", str(out), "-q"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_heeds)
    deadline = time.monotonic() + 60
    while not (out / "state").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(sig)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on from there" in said
    saved = int((out / "state").read_text())
    assert 5 <= saved < 400
    config_file(tmp_path, steps=saved + 1)
    assert json.loads(says("train", config, "-d", corpus, "-o", out, "--json", "-q"))["steps"] == saved + 1


def test_one_trainer_at_a_time_in_a_folder(tmp_path: Path, toy: None) -> None:
    from pipelines.locks import locked

    (tmp_path / "out").mkdir()
    with locked(str(tmp_path / "out" / ".lock"), "mine"), pytest.raises(Exception, match="another trainer is at work"):
        run_job("train", {"steps": 1}, tmp_path / "out")


# --- asking models


@pytest.fixture
def model(tmp_path: Path, corpus: Path, toy: None) -> Path:
    says("train", config_file(tmp_path, "m.json", steps=1), "-d", corpus, "-o", tmp_path / "small", "-q")
    return tmp_path / "small" / "final"


def given_job(output: Path) -> Any:
    return json.loads((output / "job.json").read_text())


def test_prompts_and_options_become_the_job(tmp_path: Path, model: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    messages = [{"role": "user", "content": "hm"}]
    prompts.write_text('"one"\n\n{"prompt": "two"}\n' + json.dumps({"messages": messages}) + "\n")
    options = ("--samples", 2, "--temperature", 0, "--set", "steps=1", "-o", tmp_path / "o", "-q")
    says("generate", model, "-p", "zero", "--prompts", prompts, *options)
    job = given_job(tmp_path / "o")
    assert job["task"] == "generate" and job["models"][0]["role"] == "model"
    assert job["config"] == {
        "samples": 2, "sampling": {"temperature": 0.0}, "steps": 1, "prompts": ["zero", "one", "two", messages],
    }  # fmt: skip
    assert "one of both" in says("generate", model, check=2)


def test_two_models_get_the_roles_a_and_b(tmp_path: Path, model: Path, corpus: Path) -> None:
    options = ("--set", "steps=1", "-o", tmp_path / "o", "-q")
    says("compare", model, model, "--reward", model, "-d", corpus, "--margin", 0.01, *options)
    job = given_job(tmp_path / "o")
    assert [m["role"] for m in job["models"]] == ["a", "b", "reward"]
    assert job["config"] == {"rule": {"margin": 0.01}, "steps": 1, "evidence": "answers"}
    assert "two models" in says("compare", model, check=2)


def test_outcomes_of_a_live_test(tmp_path: Path, toy: None) -> None:
    rows = [{"unit": "u1", "variant": "A", "outcome": 1.0}, {"unit": "u2", "variant": "B", "outcome": 0.5}]
    (tmp_path / "o.csv").write_text("unit,variant,outcome\nu1,A,1\nu2,B,0.5\n")
    (tmp_path / "o.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("o.csv", "o.jsonl"):
        says("compare", "--outcomes", tmp_path / name, "--set", "steps=1", "-o", tmp_path / name[2:], "-q")
        assert given_job(tmp_path / name[2:])["config"]["rows"] == rows
    (tmp_path / "o.csv").write_text("unit,variant\nu1,A\n")
    assert "no rows of unit, variant and outcome" in says("compare", "--outcomes", tmp_path / "o.csv", check=2)


def test_lists_of_cost(tmp_path: Path, model: Path) -> None:
    says("cost", model, "--lengths", "64,128", "--batches", "1", "--set", "steps=1", "-o", tmp_path / "o", "-q")
    assert given_job(tmp_path / "o")["config"] == {"lengths": [64, 128], "batches": [1], "steps": 1}


# --- advice


def test_every_question_has_an_option() -> None:
    from trainer.deploy.advise import questions

    shown = says("advise", "--help")
    assert all(f"--{question['name'].replace('_', '-')}" in shown for question in questions())


def test_advice_from_options() -> None:
    from trainer.deploy.advise import advise, table

    options = ("--task", "summarisation", "--corpus-tokens", "5e9", "--languages", "en=3,zh", "--gpus", "2")
    answers = {"task": "summarisation", "corpus_tokens": 5e9, "languages": {"en": 3.0, "zh": 1.0}, "gpus": 2}
    assert json.loads(says("advise", *options, "--json")) == advise(answers).to_dict()
    assert says("advise", *options).split() == table(advise(answers)).split()


def test_wrong_answers_are_named_by_their_option() -> None:
    assert "--corpus-tokens: " in says("advise", "--task", "chat", "--corpus-tokens", "many", check=2)
    assert "--task: " in says("advise", check=2)  # nobody is asked where nobody sits


# --- with the bundled trainer


@pytest.mark.slow
def test_models_share_a_tokenizer(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRISTMILL_TRAINER_COMMAND", raising=False)
    fit = config_file(tmp_path, "tokenizer.yaml", stage="tokenizer", tokenizer={"kind": "bpe", "size": 300})
    shown = says("train", fit, "-d", corpus, "-o", tmp_path / "words", "-q")
    words = tmp_path / "words" / "final"
    assert f"model  {words}" in shown and "bytes_per_token" in shown
    config = config_file(tmp_path, "config.yaml", **{k: v for k, v in CONFIG.items() if k != "tokenizer"})
    says("train", config, "-d", corpus, "--model", f"tokenizer={words}", "-o", tmp_path / "m", "-q")
    model = tmp_path / "m" / "final"
    assert (model / "tokenizer.json").read_bytes() == (words / "tokenizer.json").read_bytes()
    (given,) = json.loads((model / "gristmill.json").read_text())["models"]
    assert (given["role"], given["name"]) == ("tokenizer", "words") and given["digest"].startswith("blake2b:")
    last = says("train", config, "-d", corpus, "--start", words, "--set", "model=null", "-o", tmp_path / "s", check=2)
    assert "is a tokenizer, no model; give it the role 'tokenizer'" in last


@pytest.mark.slow
def test_from_a_corpus_to_what_it_says(tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRISTMILL_TRAINER_COMMAND", raising=False)
    config = config_file(tmp_path, "config.yaml", **CONFIG)
    says("train", config, "-d", corpus, "-o", tmp_path / "m", "-q")
    model = tmp_path / "m" / "final"
    text = says("generate", model, "-p", "the c", "--new-tokens", 8, "--seed", 3, "-q")
    rows = json.loads(says("generate", model, "-p", "the c", "--new-tokens", 8, "--seed", 3, "-q", "--json"))
    assert len(rows["responses"]) == 1 and len(text.strip("\n")) > 0
    figures = json.loads(says("perplexity", model, "-d", corpus, "-q", "--json"))
    assert figures["documents"] == len(TEXTS) and figures["bytes"] == sum(map(len, TEXTS))
    assert "A" in says("compare", model, model, "-d", corpus, "-q")
    assert "m" in says("cost", model, "--lengths", "16", "--batches", "1", "--set", "repeats=1", "-q")
