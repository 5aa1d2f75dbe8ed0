"""Whatever crawled pages, recipes and files are called: a terminal shows it and obeys none of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cli.show import cell, line, visible
from tests.support.corpus import english, write_jsonl
from tests.support.runs import gristmill, rows, write_recipe

ESCAPES = "\x1b]0;title\x07\x1b[31m\x9b2J\u202e\u061c\u2028\U000e0041"
MARKUP = "[/b] [red] [/] :cat: [link=http://h]"
SHOWN = r"\x1b]0;title\x07\x1b[31m\x9b2J\u202e\u061c\u2028\U000e0041"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
URL = "http://h/[/b]/:cat:/" + ESCAPES


def quoted(text: str) -> str:
    """As YAML."""
    return yaml.dump(text, default_style='"', width=1000).strip()


RECIPE = f"""
name: {quoted("[/bold]" + MARKUP + ESCAPES)}
description: {quoted(MARKUP + ESCAPES)}
stages:
  - stage: extraction
  - stage: gopher-quality
    min_words: 3
deduplication:
  threshold: "0.5"
retention:
  dropped_texts: full
"""


def said(*arguments: str | Path, check: int = 0) -> str:
    """What a command prints; nothing of it may be obeyed by a terminal."""
    done = gristmill(*arguments, check=check)
    found = OBEYED.search(done.stdout + done.stderr)
    assert found is None, (arguments, done.stdout[: found.start()][-100:], found.group())
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of hostile documents from a hostile file under a hostile recipe."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "in").mkdir()
    shard = folder / "in" / ("[b]" + ESCAPES + ".jsonl")
    long = english(1)
    texts = [MARKUP + ESCAPES + "\n" + long, MARKUP + ESCAPES + "\n" + long, "two words", english(2)]
    write_jsonl(shard, [{"text": text, "url": URL} for text in texts])
    said("run", write_recipe(folder, RECIPE), folder / "in", "-o", folder / "out", "--workers", "1")
    return folder


def test_inspect(hostile: Path) -> None:
    said("inspect", hostile / "out")
    verdicts = set()
    for row in rows(hostile / "out"):
        shown = said("inspect", hostile / "out", "--id", row["id"])
        assert "http://h/[/b]/:cat:/" in shown and r"\x1b]0;title" in shown
        verdicts.add(row["verdict"])
    assert {"kept", "dropped", "duplicate"} <= verdicts
    for verdict in sorted(verdicts):
        shown = said("inspect", hostile / "out", "--reason", verdict)
        assert f"http://h/[/b]/:cat:/{SHOWN}" in shown
    assert MARKUP in said("inspect", hostile / "out", "--reason", "duplicate")
    assert URL.partition("\x1b")[0] in said("inspect", hostile / "out", "--near-threshold", "few-words")


def test_explain(hostile: Path) -> None:
    shown = said("explain", hostile / "recipe.yaml", hostile / "in")
    assert f"[/bold]{MARKUP}{SHOWN}  (" in shown
    assert f"\n{MARKUP}{SHOWN}" in shown
    assert "[b]" + SHOWN in shown


def test_indexes(hostile: Path) -> None:
    index = hostile / "index"
    said("index", "add", index, hostile / "out")
    assert "[/bold][/b]" in said("index", "show", index)
    (hostile / "text").write_text(english(1))
    shown = said("twins", index, "--text-file", hostile / "text", "--above", "0.5")
    assert "@" in shown and MARKUP in shown and SHOWN in shown


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (f"name: x\nstages:\n  - stage: extraction\n  - stage: {quoted(MARKUP + ESCAPES)}\n", "unknown stage"),
        (f"name: x\n{quoted(MARKUP + ESCAPES)}: 1\nstages:\n  - stage: extraction\n", "unknown name"),
    ],
)
def test_recipes_that_are_refused(recipe: str, message: str, tmp_path: Path) -> None:
    shown = said("explain", write_recipe(tmp_path, recipe, name=f"{ESCAPES}\n.yaml"), check=2)
    assert message in shown and MARKUP in shown and r"\n.yaml" in shown
    assert len(shown.splitlines()) == 1


def test_files_that_are_refused(tmp_path: Path) -> None:
    shown = said(
        "run", write_recipe(tmp_path), tmp_path / f"{MARKUP}{ESCAPES}\n.jsonl", "-o", tmp_path / "out", check=2
    )
    assert SHOWN in shown and len(shown.splitlines()) == 1


def test_text_for_terminals() -> None:
    assert (
        visible("a\tb\nc\r\x00\x85\u2029\ufeff \U000e007f 天地 é")
        == "a\tb\nc\\x0d\\x00\\x85\\u2029\\ufeff \\U000e007f 天地 é"
    )
    assert line("a\tb\nc\x1b") == r"a\tb\nc\x1b"
    assert cell("[b]x[/b]\x1b", "bold").plain == r"[b]x[/b]\x1b"
    line(b"not UTF-8 \xff".decode("utf-8", "surrogateescape")).encode("utf-8")  # can be printed anywhere
