"""Where the rules on answers find what they object to, checked against what they count."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from curation.pair_stages.prompt_leak import template_residue
from curation.pair_stages.refusals import refusal
from curation.pair_stages.spans import entry_spans, folded
from curation.preferences.digests import normalised
from curation.preferences.messages import Message


def entry(chosen: str, prompt: str = "How?", rejected: str = "So.") -> dict:
    """A pair of one turn a side."""
    return {
        "prompt": (Message("user", prompt),),
        "chosen": (Message("assistant", chosen),),
        "rejected": (Message("assistant", rejected),),
    }


def parts(stage: str, rule: str, text: str, prompt: str = "How?", **facts: str) -> list[str]:
    found = entry_spans(stage, rule, entry(text, prompt), {}, facts)
    assert found is not None
    return [text[start:end] for start, end in found["chosen"]]


@given(st.text(st.characters(exclude_categories=["Cs", "Mn", "Mc", "Me"]), max_size=80))
def test_folded_text_is_that_of_the_lists_and_keeps_its_places(text: str) -> None:
    said, places = folded(text)
    assert len(said) == len(places) and places == sorted(places)
    if normalised(text) == "".join(normalised(c) if not c.isspace() else " " for c in text).strip():
        assert said == normalised(text)


def test_a_refusal_is_marked_where_it_scores() -> None:
    text = "Well.  I’m SORRY, but I cannot help with that."
    assert refusal(text, 200) > 0 and any(
        "cannot" in part or "SORRY" in part for part in parts("refusals", "chosen-refuses", text)
    )
    assert parts("refusals", "chosen-refuses", "Take two eggs.") == [] and refusal("Take two eggs.", 200) == 0
    both = entry_spans("refusals", "both-refuse", entry(text), {}, {})
    assert both is not None and set(both) == {"chosen", "rejected"}


def test_marks_of_templates_are_as_many_as_are_counted() -> None:
    for text in ("a <|im_start|> b <|im_end|>", "Human: what?", "plain"):
        assert len(parts("prompt-leak", "chosen-template-residue", text)) == template_residue(text)
    assert parts("prompt-leak", "chosen-template-residue", "<|im_end|>", prompt="What is <|im_end|>?") == []
    assert parts("prompt-leak", "chosen-escaped", "a &quot;b&quot; &c;") == ["&quot;", "&quot;"]


def test_listed_words_are_marked_while_the_list_is_the_same(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("darn\n")
    told = {"words.en": hashlib.sha256(words.read_bytes()).hexdigest()}
    text = "Ｄａｒｎ it, darned DARN."
    found = entry_spans("flagged-words", "chosen-flagged-words", entry(text), {"words": {"en": str(words)}}, told)
    assert found is not None and [text[a:b] for a, b in found["chosen"]] == ["Ｄａｒｎ", "DARN"]
    words.write_text("other\n")
    assert (
        entry_spans("flagged-words", "chosen-flagged-words", entry(text), {"words": {"en": str(words)}}, told) is None
    )


def test_other_rules_speak_of_the_whole() -> None:
    assert entry_spans("prompt-leak", "chosen-copies-prompt", entry("x"), {}, {}) is None
    assert entry_spans("pair", "equal-responses", entry("x"), {}, {}) is None
