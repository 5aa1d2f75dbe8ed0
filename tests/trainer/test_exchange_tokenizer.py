"""Tokenizers and conversations: the same tokens here and there, and nobody speaks in another's name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.support.corpus import english
from tests.trainer.exchanged import BPE, BYTES
from trainer.data import chat
from trainer.data.foreign import ForeignTokenizer
from trainer.data.tokenizer import SPECIAL, Vocabulary, load
from trainer.errors import StateError
from trainer.exchange.tokenizer import tokenizer_files
from trainer.exchange.vocabulary import Found, read_tokenizer

TEXTS = [english(n) for n in range(40)]
ROOM = 100_000
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+"


def foreign(*, special: tuple[str, ...] = ("<s>", "</s>"), text: tuple[str, ...] = (), split: bool = True) -> Tokenizer:
    """What a model from elsewhere comes with: its own cut, its own special tokens, and perhaps added text."""
    tokenizer = Tokenizer(models.BPE())
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    cut = pre_tokenizers.Split(Regex(LLAMA), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, whole]) if split else whole
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in text])
    if special:
        first = (special[0], tokenizer.token_to_id(special[0]))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{first[0]} $A", special_tokens=[first])
    return tokenizer


def folder_of(tokenizer: Tokenizer, folder: Path, **names: str) -> Path:
    """As transformers saves it."""
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


def taken_in(tokenizer: Tokenizer, folder: Path, ids: dict[str, Any] | None = None, **names: str) -> Found:
    return read_tokenizer(folder_of(tokenizer, folder, **names), ROOM, ids or {})


def over_there(vocabulary: Vocabulary, folder: Path) -> PreTrainedTokenizerFast:
    """As transformers reads what was exported."""
    folder.mkdir(parents=True)
    for name, text in tokenizer_files(vocabulary).items():
        (folder / name).write_text(text, encoding="utf-8")
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Vocabulary, PreTrainedTokenizerFast]]:
    """Each kind of tokenizer here, and what it is there."""
    folder = tmp_path_factory.mktemp("tokenizers")
    llama = foreign(special=("<s>", "</s>", "<unk>"), text=("    ", "<think>", "</think>"))
    known = taken_in(llama, folder / "from", bos_token="<s>", eos_token="</s>").vocabulary
    every = {"bytes": BYTES, "bpe": BPE, "foreign": known}
    return {name: (one, over_there(one, folder / name)) for name, one in every.items()}


KINDS = pytest.mark.parametrize("kind", ["bytes", "bpe", "foreign"])
SIGNS = st.sampled_from(
    [*SPECIAL, "<s>", "</s>", "<", "|", ">", "end", "<|", "|>", "Ġ", "Ċ", "\x00", " ", "    ", "\r\n", "\t", "中", "é",
     "e\u0301", "𝔊", "\ufffd", "\u2028", "don't", "12345", "a", "<think>"]
)  # fmt: skip
HOSTILE = st.text() | st.lists(SIGNS).map("".join)


def spelled(theirs: PreTrainedTokenizerFast) -> list[str]:
    return [str(token) for token in theirs.added_tokens_decoder.values() if token.special]


@KINDS
@settings(max_examples=150)
@given(text=HOSTILE)
def test_the_same_tokens(both: Any, kind: str, text: str) -> None:
    """Special tokens that a text spells are text here, and there where that is asked for."""
    ours, theirs = both[kind]
    tokens = ours.encode(text).tolist()
    assert theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"] == tokens
    if not any(name in text for name in spelled(theirs)):
        assert theirs(text)["input_ids"] == tokens
    assert theirs.decode(tokens) == text == ours.decode(tokens)
    assert not set(tokens) & set(ours.special.values())


CONVERSATIONS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(chat.ROLES), "content": HOSTILE}), min_size=1, max_size=5
)


@KINDS
@settings(max_examples=80)
@given(messages=CONVERSATIONS)
def test_the_same_conversation(both: Any, kind: str, messages: list[dict[str, str]]) -> None:
    ours, theirs = both[kind]
    if any(name in turn["content"] for turn in messages for name in spelled(theirs)):
        with pytest.raises(jinja2.TemplateError, match="which would become a special token"):
            theirs.apply_chat_template(messages)
        return
    rendered = theirs.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
    said = chat.conversation(messages, ours)
    assert rendered["input_ids"] == said.tokens.tolist()
    assert np.array_equal(np.array(rendered["assistant_masks"], bool), said.learned)
    asked = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert asked == chat.prompt(messages, ours).tolist()


TOOLS = [{"type": "function", "function": {"name": "grind", "description": "Grinds."}}]


@KINDS
@pytest.mark.parametrize("system", [None, "", "Be brief."])
def test_tools_are_told_by_the_system(both: Any, kind: str, system: str | None) -> None:
    ours, theirs = both[kind]
    messages = [{"role": "user", "content": "Grind!"}]
    messages = messages if system is None else [{"role": "system", "content": system}, *messages]
    rendered = theirs.apply_chat_template(messages, tools=TOOLS, return_dict=True)["input_ids"]
    assert rendered == chat.conversation(chat.with_tools(messages, json.dumps(TOOLS)), ours).tokens.tolist()


@KINDS
@pytest.mark.parametrize(
    "message", [{"role": "narrator", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "x"}]}]
)
def test_turns_that_cannot_be(both: Any, kind: str, message: dict[str, Any]) -> None:
    with pytest.raises(jinja2.TemplateError, match=r"is no role|is a text"):
        both[kind][1].apply_chat_template([message])


def test_a_special_token_with_any_spelling_is_only_a_text_in_the_template(tmp_path: Path) -> None:
    names = ("<s>", "'}}{{ raise_exception('x') }}", '"\\%}\n')
    found = taken_in(foreign(special=names), tmp_path / "from", bos_token="<s>", eos_token=names[1]).vocabulary
    theirs, messages = over_there(found, tmp_path / "to"), [{"role": "user", "content": "Tea?"}]
    rendered = theirs.apply_chat_template(messages, return_dict=True)["input_ids"]
    assert rendered == chat.conversation(messages, found).tokens.tolist()
    for name in names:
        with pytest.raises(jinja2.TemplateError, match="which would become a special token"):
            theirs.apply_chat_template([{"role": "user", "content": f"a{name}b"}])


# --- there and back


@KINDS
def test_what_was_exported_comes_back(both: Any, kind: str, tmp_path: Path) -> None:
    ours, theirs = both[kind]
    over_there(ours, tmp_path / "one")
    theirs.save_pretrained(tmp_path / "two")
    for folder in (tmp_path / "one", tmp_path / "two"):
        found = read_tokenizer(folder, ours.size, {})
        assert (found.added, found.known, found.vocabulary.identity) == ((), ours.size, ours.identity)
    assert load(ours.save(tmp_path / "saved")).identity == ours.identity


# --- from elsewhere


def test_its_own_special_tokens_play_their_parts_and_others_are_added(tmp_path: Path) -> None:
    tokenizer = foreign(special=("<s>", "</s>", "<|user|>"))
    size = tokenizer.get_vocab_size()
    found = taken_in(tokenizer, tmp_path, bos_token="<s>", eos_token="</s>")
    ours = found.vocabulary
    assert isinstance(ours, ForeignTokenizer) and found.known == size
    assert (ours.bos, ours.eos) == (tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>"))
    assert ours.special["<|user|>"] == tokenizer.token_to_id("<|user|>")
    assert found.added == ("<|pad|>", "<|system|>", "<|assistant|>", "<|tool|>", "<|end|>")
    assert [ours.special[name] for name in found.added] == list(range(size, size + 5)) and ours.size == size + 5
    assert ours.decode([ours.bos, *ours.encode("a"), ours.end], special=True) == "<|bos|>a<|end|>"


@pytest.mark.parametrize(
    ("names", "ids", "plays"),
    [({}, {"eos_token_id": 320}, ("<|eos|>",)), ({}, {"eos_token_id": [320, 321]}, ()), ({}, {"pad_token_id": 5}, ()),
     ({"bos_token": "<s>", "eos_token": "<s>"}, {}, ("<|eos|>",)), ({}, {"bos_token_id": True}, ())],
)  # fmt: skip
def test_which_part_is_said_by_name_or_by_number(
    tmp_path: Path, names: dict[str, str], ids: dict[str, Any], plays: tuple[str, ...]
) -> None:
    found = taken_in(foreign(), tmp_path, ids, **names)
    assert found.added == tuple(name for name in SPECIAL if name not in plays)
    assert all(found.vocabulary.special[name] == 320 for name in plays)


@pytest.mark.parametrize("split", [True, False], ids=["split", "gpt-2"])
def test_added_text_keeps_its_numbers_where_special_tokens_stand_before_it(tmp_path: Path, split: bool) -> None:
    tokenizer = foreign(special=("<s>", "</s>"), text=("    ", "<think>"), split=split)
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    ours = taken_in(tokenizer, tmp_path).vocabulary
    for text in ("a    b", "<think> x", "     ", "x<think>y"):
        assert ours.encode(text).tolist() == theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.decode(ours.encode(text)) == text
    assert tokenizer.token_to_id("<think>") in ours.encode("<think>").tolist()


def test_letters_of_a_special_token_do_not_become_it(tmp_path: Path) -> None:
    """Not where whole words are looked up before merging, either."""
    plain = json.loads(foreign(special=("<s>", "word")).to_str())
    plain["model"]["ignore_merges"] = True
    ours = taken_in(Tokenizer.from_str(json.dumps(plain)), tmp_path).vocabulary
    number = {token["content"]: token["id"] for token in plain["added_tokens"]}["word"]
    assert number not in ours.encode("word").tolist() and ours.decode(ours.encode("word")) == "word"


Change = Callable[[dict[str, Any]], object]
REFUSED: dict[str, tuple[Change, str]] = {
    "another kind": (lambda p: p["model"].update(type="WordPiece"), "no byte-level BPE"),
    "byte fallback": (lambda p: p["model"].update(byte_fallback=True), "byte_fallback"),
    "dropout": (lambda p: p["model"].update(dropout=0.1), "dropout"),
    "ends of words": (lambda p: p["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
    "normalizer": (lambda p: p.update(normalizer={"type": "NFC"}), "normalizer changes texts"),
    "no cut": (lambda p: p.update(pre_tokenizer=None), "does not end with ByteLevel"),
    "a cut that drops": (
        lambda p: p["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed"), "may lose something"),
    "an unknown cut": (
        lambda p: p["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Whitespace"}), "'Whitespace'"),
    "bytes of bytes": (
        lambda p: p["pre_tokenizer"]["pretokenizers"].insert(0, p["pre_tokenizer"]["pretokenizers"][1]), "'ByteLevel'"),
    "a blank in front": (
        lambda p: p["pre_tokenizer"]["pretokenizers"][1].update(add_prefix_space=True), "add_prefix_space"),
    "decoder": (lambda p: p.update(decoder={"type": "Fuse"}), "its decoder"),
    "a byte less": (lambda p: p["model"]["vocab"].pop("Ġ"), "lacks 1 of the 256 bytes"),
    "a gap": (lambda p: p["added_tokens"][-1].update(id=999), "gaps and repetitions"),
    "two of a number": (lambda p: p["model"]["vocab"].update(a=7), "gaps and repetitions"),
    "a word for a number": (lambda p: p["model"]["vocab"].update(a="7"), "have no numbers"),
    "numbers swapped": (
        lambda p: [token.update(id=641 - token["id"]) for token in p["added_tokens"]], "would get another one"),
    "takes blanks": (lambda p: p["added_tokens"][0].update(special=False, lstrip=True), "takes blanks along"),
    "by merging": (
        lambda p: p["added_tokens"].append({**p["added_tokens"][0], "content": "he", "id": p["model"]["vocab"]["he"]}),
        "'he' by merging"),
    "a word that is special here": (
        lambda p: p["model"]["vocab"].update({"<|user|>": 322}), r"'<\|user\|>' is of text"),
    "a merge of nothing": (lambda p: p["model"]["merges"].append(["q", "zzz"]), "cannot be read"),
    "no model": (lambda p: p.pop("model"), "'model'"),
    "a list": (lambda p: p.update(added_tokens=[1]), "no tokenizer of ours"),
    "half a sign that nobody reads": (lambda p: p["decoder"].update(more="\ud800"), "surrogates not allowed"),
    "half a sign": (lambda p: p["added_tokens"][0].update(content="\ud800"), "cannot be read|no tokenizer of ours"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_exactly_is_refused(tmp_path: Path, name: str) -> None:
    change, why = REFUSED[name]
    plain = copy.deepcopy(json.loads(foreign().to_str()))
    change(plain)
    (tmp_path / "tokenizer.json").write_text(json.dumps(plain))
    with pytest.raises(StateError, match=f"tokenizer.json: .*({why})"):
        read_tokenizer(tmp_path, ROOM, {})


def test_an_added_text_that_is_not_decoded_to_itself(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="'é' is not decoded to what it was"):
        taken_in(foreign(text=("é",)), tmp_path)


def test_more_tokens_than_rows_and_no_tokenizer(tmp_path: Path) -> None:
    folder = folder_of(foreign(), tmp_path / "t")
    with pytest.raises(StateError, match="has 322 tokens, and the model only 321"):
        read_tokenizer(folder, 321, {})
    (folder / "tokenizer.json").unlink()
    with pytest.raises(StateError, match=r"tokenizer\.json is missing"):
        read_tokenizer(folder, ROOM, {})
