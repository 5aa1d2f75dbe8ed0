"""Bad input gets one clear line with the place, and exit code 2; nothing is half-written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from cli.failures import exit_codes
from tests.support.corpus import english, write_jsonl
from tests.support.runs import PLAIN, gristmill, write_recipe


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "s.jsonl", [{"text": english(i)} for i in range(3)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (PLAIN.replace("stage: language", "stage: langage"), "recipe.yaml:5:5: unknown stage 'langage'; did you mean"),
        (PLAIN.replace("min_score: 0.5", "min_scor: 0.5"), "recipe.yaml:7:5: unknown name 'min_scor'; did you mean"),
        (PLAIN.replace("min_score: 0.5", "min_score: -0.5"), "recipe.yaml:7:5: min_score"),
        (PLAIN.replace("min_score: 0.5", "min_score: high"), "recipe.yaml:7:5: min_score"),
        (PLAIN.replace("name: plain", "nam: plain"), "recipe.yaml"),
        ("a: &a [1]\nb: *a\n", "recipe.yaml:1:4: anchors and aliases are not allowed"),
        ("- 1\n", "recipe.yaml:1:1: a recipe is a mapping"),
        (PLAIN + "deduplication: {threshold: 1.5}\n", "a similarity threshold lies in"),
        (PLAIN.replace("  - stage: extraction\n", ""), "the first stage must be 'extraction'"),
        (PLAIN.replace("limits:", "  - stage: perplexity\n    models: {en: nowhere}\nlimits:"), "nowhere"),
        (PLAIN.replace("limits:", "  - stage: domain\n    model: nowhere\nlimits:"), "nowhere"),
    ],
)
def test_recipes(text: str, message: str, shard: Path, tmp_path: Path) -> None:
    done = gristmill("run", write_recipe(tmp_path, text), shard, "-o", tmp_path / "out", check=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "out").exists()


def test_no_such_recipe(shard: Path, tmp_path: Path) -> None:
    done = gristmill("run", "crawll", shard, "-o", tmp_path / "out", check=2)
    assert "crawll: no such recipe" in done.stderr and "fineweb" in done.stderr


@pytest.mark.parametrize("name", ["missing.jsonl", "*.nothing", "missing.paths.gz"])
def test_inputs_that_are_not_there(name: str, tmp_path: Path) -> None:
    done = gristmill("run", write_recipe(tmp_path), tmp_path / name, "-o", tmp_path / "out", check=2)
    assert name in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_unknown_format(tmp_path: Path) -> None:
    (tmp_path / "s.docx").write_bytes(b"x")
    done = gristmill("run", write_recipe(tmp_path), tmp_path / "s.docx", "-o", tmp_path / "out", check=2)
    assert "s.docx" in done.stderr and ".warc.gz" in done.stderr


def test_parquet_without_the_text_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"], "url": ["y"]}), tmp_path / "s.parquet")
    done = gristmill("run", write_recipe(tmp_path), tmp_path / "s.parquet", "-o", tmp_path / "out", check=2)
    assert "s.parquet" in done.stderr and "body" in done.stderr and "text" in done.stderr


def test_too_much_quarantined_fails_the_run(tmp_path: Path) -> None:
    shard = write_jsonl(tmp_path / "s.jsonl", ["{ broken"] * 3 + [{"text": english(1)}])
    recipe = write_recipe(tmp_path, PLAIN.replace("null", "0.5"))
    done = gristmill("run", recipe, shard, "-o", tmp_path / "out", check=1)
    assert "3 of 4 records are quarantined" in done.stderr and "malformed-json 3" in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_verify_and_inspect_need_a_finished_run(tmp_path: Path) -> None:
    for command in ("verify", "inspect"):
        assert "holds no finished run" in gristmill(command, tmp_path, check=2).stderr


def test_help_answers_without_loading_the_house() -> None:
    done = gristmill("--help")
    for command in ("run", "explain", "verify", "inspect", "fit"):
        assert command in done.stdout


def test_errors_of_the_machine_are_one_line(shard: Path, tmp_path: Path) -> None:
    """An output below a file is an error that only the operating system puts into words."""
    (tmp_path / "file").write_text("x")
    done = gristmill("run", write_recipe(tmp_path), shard, "-o", tmp_path / "file" / "out", check=1)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("gristmill: ") and str(tmp_path / "file" / "out") in done.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/data/a\x1b[31m"), r"/data/a\x1b[31m: No space left on device"),
        (OSError(18, "Invalid cross-device link", "/a", None, "/b"), "/a -> /b: Invalid cross-device link"),
        (OSError("Cannot read '/x'"), "Cannot read '/x'"),
        (OSError(), "OSError"),
        (MemoryError("Unable to allocate 9 TiB"), "not enough memory; run fewer workers at once (Unable to allocate"),
    ],
)
def test_what_is_said_of_the_machine(error: Exception, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as left, exit_codes():
        raise error
    assert left.value.exit_code == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"gristmill: {message}") and shown.count("\n") == 1


def test_mistakes_in_the_program_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), exit_codes():
        raise ZeroDivisionError


def test_a_reader_that_went_away_is_no_failure(tmp_path: Path) -> None:
    """``gristmill explain … | head -1``."""
    command = f"{sys.executable} -m cli.main explain {write_recipe(tmp_path)} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
