"""The decision tree, as data: questions, branches with reasons, leaves.  ``advise`` walks it."""

from __future__ import annotations

from typing import Any, NamedTuple

from trainer.deploy.facts import DEVICES


class Question(NamedTuple):
    """What is asked.

    text: for people.
    kind: ``choice``, ``number`` (from ``low`` on), ``whole`` (the same, without fractions) or ``shares``: names with
        how much there is of each.
    default: the answer of who says nothing; None: there is none, or it follows from the task (``by_task``).
    choices: of a choice.
    low: least number.
    unit: of a number.
    """

    text: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    low: float = 0
    unit: str = ""
    by_task: dict[str, Any] | None = None


TASKS = ("long-documents", "summarisation", "classification", "retrieval", "chat", "code", "text")
QUESTIONS: dict[str, Question] = {
    "task": Question("What is the model for?", "choice", None, TASKS),
    "document_tokens": Question(
        "How long is what it reads at once?", "whole", None, low=1, unit="tokens",
        by_task={"long-documents": 8192, "summarisation": 4096, "classification": 1024, "retrieval": 4096, "chat": 1024,
                 "code": 2048, "text": 1024},
    ),
    "domain": Question(
        "What is it about?", "choice", "general", ("general", "many", "law", "medicine", "finance", "science", "code"),
    ),
    "languages": Question("In which languages, and how much of each?", "shares", {"en": 1.0}),
    "corpus_tokens": Question("How much text is there to pretrain on?", "number", 1e9, low=1, unit="tokens"),
    "instructions": Question("How many conversations that show what to do?", "whole", 0),
    "preferences": Question("How many pairs of a better and a worse answer?", "whole", 0),
    "gpus": Question("How many GPUs? 0 for a CPU alone.", "whole", 1),
    "gpu": Question("Of which kind?", "choice", "H100", tuple(DEVICES)),
    "cpu_memory_gib": Question("How much memory has the CPU?", "number", 16, low=1, unit="GiB"),
    "days": Question("How long may pretraining take?", "number", 7, low=0.01, unit="days"),
    "latency_ms": Question("How soon must the next token come? 0: no matter.", "number", 0, unit="ms"),
    "batch": Question("How many are served at once?", "whole", 1, low=1),
}  # fmt: skip


class Branch(NamedTuple):
    """A way on.

    test: ``in`` (``value`` has the answers), ``<=``, ``>``, ``>=``, ``<``, or ``else``.
    to: a node or a leaf.
    """

    test: str
    value: Any
    to: str
    why: str


class Node(NamedTuple):
    """A look at one answer, or at what follows from several (``advise.derived``); the first branch that fits it is
    taken."""

    ask: str
    branches: tuple[Branch, ...]


class Leaf(NamedTuple):
    """What the tree comes to.

    family: to train.
    settings: beside those of the size.
    stages: kinds of training, in their order, that the alignment tree may add to.
    why: for people.
    """

    family: str
    settings: dict[str, Any]
    stages: tuple[str, ...]
    why: tuple[str, ...]


_LONG = (
    "attention inside of chunks and to summaries beyond costs O(n log n), and the decode state of a row hardly grows "
    "with its length, so that many long rows fit at once"
)
FAMILY_TREE: dict[str, Node] = {
    "task": Node("task", (
        Branch("in", ("long-documents", "summarisation", "classification", "retrieval"), "documents",
               "documents are read; little is written"),
        Branch("in", ("chat",), "dialogue", "turns are short, answers matter"),
        Branch("in", ("code",), "code", "functions are short, repositories are long"),
        Branch("else", None, "plain", "text is gone on with"),
    )),
    "documents": Node("document_tokens", (
        Branch("<=", 2048, "short", "attention to all tokens is at most a fifth of the work up to 2,048 tokens"),
        Branch("else", None, "recall", "beyond 2,048 tokens full attention and its cache begin to cost most"),
    )),
    "recall": Node("single_facts", (
        Branch("in", (True,), "long-facts", "single facts of long texts have to be found again"),
        Branch("else", None, "long", "the gist of long texts is what counts"),
    )),
    "short": Node("gpus", (
        Branch("<", 1, "short-cpu", "a CPU trains small models"),
        Branch("else", None, "short-gpu", "the plain decoder is the safest start"),
    )),
    "code": Node("document_tokens", (
        Branch(">", 8192, "code-long", "whole repositories are read"),
        Branch("else", None, "dialogue", "as chats"),
    )),
    "plain": Node("document_tokens", (
        Branch(">", 4096, "plain-long", "long texts are gone on with"),
        Branch("else", None, "experts", "short contexts"),
    )),
    "dialogue": Node("gpus", (
        Branch("<", 1, "chat-cpu", "experts need more memory and tokens than a CPU trains with"),
        Branch("else", None, "chat-data", "there is a GPU"),
    )),
    "chat-data": Node("corpus_tokens", (
        Branch("<", 2e9, "chat-small", "an expert of 96 sees one token of 48: too few of less than 2 G tokens"),
        Branch("else", None, "chat-memory", "there are enough tokens for experts"),
    )),
    "chat-memory": Node("device_gib", (
        Branch("<", 32, "chat-small", "96 experts and their optimizer do not fit below 32 GiB"),
        Branch("else", None, "breadth", "experts fit"),
    )),
    "experts": Node("experts_possible", (
        Branch("in", (True,), "breadth", "there are tokens and memory for experts"),
        Branch("else", None, "short", "there are not the tokens, or not the memory, for experts"),
    )),
    "breadth": Node("broad", (
        Branch("in", (True,), "chat-broad", "several languages or domains share the experts"),
        Branch("else", None, "chat-experts", "one language and domain"),
    )),
}  # fmt: skip
_EXPERTS = (
    "two of about a hundred experts work on a token: the knowledge of a large model at the operations, and the time of "
    "a token, of a small one"
)
LEAVES: dict[str, Leaf] = {
    "long": Leaf("longdoc", {"pairs": 16}, ("pretrain",), (_LONG, "8 selected pairs a span for its gist")),
    "long-facts": Leaf("longdoc", {"pairs": 32}, ("pretrain",), (_LONG, "16 selected pairs a span for single facts")),
    "code-long": Leaf("longdoc", {"pairs": 32}, ("pretrain",), (_LONG, "names are single facts: 16 selected pairs")),
    "plain-long": Leaf("longdoc", {"pairs": 16}, ("pretrain",), (_LONG,)),
    "short-gpu": Leaf("dense", {}, ("pretrain",), ("nothing is won by chunks at this length",)),
    "short-cpu": Leaf("dense", {}, ("pretrain",), ("the plain decoder has the least overhead on a CPU",)),
    "chat-cpu": Leaf("dense", {}, ("pretrain",), ("the plain decoder has the least overhead on a CPU",)),
    "chat-small": Leaf("dense", {}, ("pretrain",), ("all weights learn from every token, which few tokens ask for",)),
    "chat-experts": Leaf("assistant", {"experts": 96, "active": 2}, ("pretrain",), (_EXPERTS, "96 experts: enough")),
    "chat-broad": Leaf(
        "assistant", {"experts": 128, "active": 2}, ("pretrain",), (_EXPERTS, "128 experts: room for what differs"),
    ),
}  # fmt: skip

ALIGNMENT_TREE: dict[str, Node] = {
    "shown": Node("instructions", (
        Branch(">", 0, "preferred", "conversations show what to do"),
        Branch("else", None, "untuned", "nobody shows what to do: the model goes on with text"),
    )),
    "preferred": Node("preferences", (
        Branch("<", 500, "tuned", "pairs are too few to learn what people prefer"),
        Branch("<", 5000, "preferred-tuned", "so many pairs teach a policy directly; a reward model of them is unsure"),
        Branch("else", None, "rewarded", "pairs are enough for a reward model that answers of its own can be tried on"),
    )),
}  # fmt: skip
ALIGNMENT_LEAVES: dict[str, tuple[str, ...]] = {
    "untuned": (),
    "tuned": ("sft",),
    "preferred-tuned": ("sft", "dpo", "reward"),
    "rewarded": ("sft", "reward", "ppo"),
}
"""Stages behind pretraining.  The reward model judges answers when variants are compared."""
