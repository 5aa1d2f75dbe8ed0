"""The stages that a recipe can name, and where each lives.  Loaded when named, so that starting is quick."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from curation.errors import InputError
from curation.stage import Stage

# In the order in which a recipe may use them: text first, then its language, then what needs both.
STAGES: dict[str, str] = {
    "extraction": "curation.extraction:Extraction",
    "language": "curation.language:Language",
    "gopher-quality": "curation.rules:GopherQuality",
    "gopher-repetition": "curation.rules:GopherRepetition",
    "c4": "curation.rules:C4",
    "fineweb": "curation.rules:FineWeb",
    "personal-data": "curation.personal_data:PersonalData",
    "perplexity": "curation.perplexity:Perplexity",
    "domain": "curation.domain:Domain",
    "pair": "curation.pair_stages.pair:Pair",
    "instruction": "curation.pair_stages.instruction:Instruction",
    "language-agreement": "curation.pair_stages.agreement:LanguageAgreement",
    "refusals": "curation.pair_stages.refusals:Refusals",
    "prompt-leak": "curation.pair_stages.prompt_leak:PromptLeak",
    "truncation": "curation.pair_stages.truncation:Truncation",
    "flagged-words": "curation.pair_stages.flagged_words:FlaggedWords",
    "decontamination": "curation.decontamination:Decontamination",
}


def stage_class(name: str, where: str | None = None) -> type[Stage]:
    """The class of a stage.

    Raises:
        InputError: for an unknown name, with the nearest known ones.
    """
    if name not in STAGES:
        raise InputError(f"unknown stage {name!r}{suggestion(name, list(STAGES))}", where)
    module, attribute = STAGES[name].split(":")
    cls: type[Stage] = getattr(import_module(module), attribute)
    return cls


def suggestion(name: str, known: list[str]) -> str:
    """``; did you mean 'x'?`` or the list of what is known."""
    near = get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
