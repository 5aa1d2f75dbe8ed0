"""The page names every rule, every parameter and its default."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.pair_stages import (
    FlaggedWords,
    Instruction,
    LanguageAgreement,
    Pair,
    PromptLeak,
    Refusals,
    Truncation,
)
from curation.stage import Stage

PAGE = (Path(__file__).parents[2] / "docs" / "pair-rules.md").read_text("utf-8")
STAGES = [FlaggedWords, Instruction, LanguageAgreement, Pair, PromptLeak, Refusals, Truncation]


@pytest.mark.parametrize("stage", STAGES)
def test_rules_and_defaults(stage: type[Stage]) -> None:
    section = PAGE.split(f"\n## `{stage.name}`\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    parameters = stage.Parameters()
    for rule in stage(parameters).rules():
        names = (rule.name, f"<side>-{rule.name.partition('-')[2]}")
        assert any(f"`{name}`" in line for name in names for line in lines), rule.name
    for name in stage.deciding:
        (line,) = (line for line in lines if f"`{name}`" in line)
        default = getattr(parameters, name)["default"]
        assert line.rstrip(" |").endswith("off" if default is None else f" {default:g}"), name
    for name in set(stage.Parameters.model_fields) - stage.deciding - {"sides"}:
        assert f"`{name}`" in section, name
