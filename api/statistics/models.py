"""What statistics look like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from api.http.models import Body, example

Verdict = Literal["kept", "dropped", "duplicate", "quarantined"]


class FunnelRow(BaseModel):
    """A line of the funnel."""

    stage: str = Field(description="Where documents were lost; empty for the first and the last line.")
    reason: str
    verdict: str
    documents: int
    tokens: int


class Funnel(BaseModel):
    """Read, lost for each reason, kept; the losses add up to the difference."""

    rows: list[FunnelRow]
    records: dict[str, int]
    tokens: dict[str, int]
    languages: dict[str, int] = Field(default={}, description="Documents of each language that was found.")


class Amount(BaseModel):
    """Documents, and their tokens as extracted."""

    documents: int
    tokens: int


class LengthBias(BaseModel):
    """How well length alone predicts which answer was chosen; null where there is no pair.

    `accuracy`: how often the longer one was chosen, ties counting one half; with its 95 % interval, as `auc` is.
    """

    pairs: int
    longer: int
    shorter: int
    ties: int
    mean_difference: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    correlation: float | None


class LengthReport(BaseModel):
    """Of all pairs, and by language."""

    all: LengthBias
    languages: dict[str, LengthBias]


class LengthBiases(BaseModel):
    """Of all entries that were compared, and of those that are kept."""

    before: LengthReport
    after: LengthReport


class SplitSummary(BaseModel):
    """Entries that are kept, by side."""

    train: int
    held_out: int
    prompts_on_both_sides: int
    held_out_with_an_answer_of_train: int
    languages: dict[str, tuple[int, int]] = Field(description="Entries for training and held out.")


class Contradiction(BaseModel):
    """An entry, and one that it contradicts."""

    kind: Literal["label-conflict", "preference-cycle"]
    id: str
    against: str


class SetSummary(BaseModel):
    """What was found among all entries of a run together."""

    entries: int
    prompts: int = Field(description="Near-duplicates counted as one.")
    largest_prompt: int = Field(description="Most entries of one prompt.")
    overlapping: int = Field(description="Entries whose prompt is like a text of an earlier corpus.")
    exact: int = Field(description="Entries that repeat another with the same turns on every side.")
    near: int = Field(description="Entries that repeat another nearly, every side proven.")
    comparisons: int | None = Field(default=None, description="Answers compared two by two; null for instructions.")
    conflicts: int | None = None
    conflicting_pairs: int | None = None
    conflicts_settled: int | None = None
    conflicts_with_earlier: int | None = None
    cycles: int | None = None
    cyclic_pairs: int | None = None
    largest_cycle: int | None = None
    dropped: dict[str, int] = Field(description="Entries by rule.")
    length_bias: LengthBiases | None
    split: SplitSummary | None
    examples: list[Contradiction]


class StageSummary(BaseModel):
    """What a stage did."""

    stage: str
    documents_in: Amount
    kept: Amount
    dropped: dict[str, Amount]
    quarantined: dict[str, Amount]


class StageList(BaseModel):
    """Stages in order."""

    items: list[StageSummary]


class RuleSummary(BaseModel):
    """A rule with its thresholds and what it did."""

    stage: str
    rule: str
    measure: str
    comparison: str
    thresholds: dict[str, float | None] = Field(description="By language; `default` for the others, null for off.")
    adjustable: bool = Field(description="Whether a fork or a what-if can set its threshold to another number.")
    decided: int = Field(description="Documents that it took: the first rule of the stage that failed.")
    failing: int = Field(description="All documents that fail it among those that reached the stage.")


class RuleList(BaseModel):
    """Rules in the order of precedence."""

    items: list[RuleSummary]


class Overlap(BaseModel):
    """Documents that fail both rules."""

    stage: str
    first: str
    second: str
    documents: int


class OverlapList(BaseModel):
    """Pairs of rules of one stage that fail together, the most frequent first."""

    items: list[Overlap]


class MeasureSummary(BaseModel):
    """A measure over all documents that have it."""

    name: str
    stage: str | None
    about: str = Field(default="", description="What it is, in words.")
    unit: str = Field(default="", description="`share` (0 to 1), `count`, `yes or no`, or empty for another number.")
    count: int
    mean: float
    min: float
    max: float


class MeasureList(BaseModel):
    """Measures in the order of the stages."""

    items: list[MeasureSummary]


class Histogram(BaseModel):
    """Counts in fixed bins."""

    measure: str
    by: str | None
    group: str | None
    edges: list[float]
    counts: list[int] = Field(description="One more than edges: the first lies below all, the last above.")


class Group(BaseModel):
    """Records of one language, domain or host."""

    name: str
    records: int
    kept: int
    dropped: int
    duplicate: int
    quarantined: int
    reasons: dict[str, int] = Field(description="By `stage.rule`.")


class Others(BaseModel):
    """Sums over the groups that are not shown."""

    records: int
    kept: int
    dropped: int
    duplicate: int
    quarantined: int
    reasons: dict[str, int]


class Breakdown(BaseModel):
    """Records by group, the largest first."""

    groups: list[Group]
    others: Others
    total: int = Field(description="Number of groups.")


class Similarities(BaseModel):
    """Duplicates by their exact similarity with the document that is kept, in fixed bins."""

    edges: list[float]
    exact: list[int] = Field(description="One more than edges: the first lies below all, the last above.")
    near: list[int]


class GroupDuplicates(BaseModel):
    """Of one language, domain or host: what was repeated and what is kept."""

    name: str
    exact: Amount
    near: Amount
    kept: Amount


class GroupedDuplicates(BaseModel):
    """Groups that have duplicates, the ones with the most first."""

    language: list[GroupDuplicates]
    domain: list[GroupDuplicates]
    host: list[GroupDuplicates]


class FamilySizes(BaseModel):
    """Families with as many documents of this run."""

    least: int
    most: int
    families: int
    documents: int = Field(description="In all of them together.")


class Family(BaseModel):
    """Documents that are connected by verified pairs: what the ledger calls a cluster."""

    cluster: str
    documents: int
    kept: int
    exact: int
    near: int
    hosts: int = Field(description="Different ones among its documents.")
    kept_id: str | None = Field(description="The first document of it that is kept.")


class Repeating(BaseModel):
    """Duplicates of one host or shard that repeat a kept document of one."""

    of: str
    to: str
    documents: int


class Repeated(BaseModel):
    """Where the kept documents stand that duplicates repeat."""

    here: int = Field(description="In this run.")
    earlier: int = Field(description="In an earlier corpus.")
    same_host: int
    same_shard: int
    hosts: list[Repeating]
    shards: list[Repeating]


class CloseDuplicate(BaseModel):
    """A near-duplicate and the kept document that it repeats."""

    id: str
    similarity: float
    witness: str | None = Field(description="Null where it belongs to an earlier corpus.")


class Duplicates(BaseModel):
    """What was found to be repeated; amounts are documents that were compared, tokens as extracted."""

    stage: str = Field(description="`deduplication` or `hygiene`.")
    threshold: float
    documents_in: Amount
    kept: Amount
    exact: Amount
    near: Amount
    similarities: Similarities
    groups: GroupedDuplicates
    families: list[FamilySizes]
    largest: list[Family]
    points: Repeated
    closest: list[CloseDuplicate] = Field(description="Near-duplicates of the lowest similarity.")


class DocumentRow(BaseModel):
    """A record of the ledger, in short."""

    id: str
    shard: str | None = Field(default=None, description="Name of the file that it was read from.")
    url: str | None
    host: str | None
    language: str | None
    domain: str | None
    verdict: str
    stage: str | None
    rule: str | None
    value: float | None
    threshold: float | None
    detail: str | None
    witness: str | None
    witness_dataset: str | None
    similarity: float | None
    cluster_size: int | None
    measured: float | None = Field(default=None, description="Value of the measure that was asked about.")
    limit: float | None = Field(default=None, description="Threshold for this document, where nearness was asked for.")
    text: str | None = Field(default=None, description="Beginning of the text, where it was retained and asked for.")


class DocumentPage(BaseModel):
    """Documents in the order of the ledger, or nearest first."""

    items: list[DocumentRow]
    next: str | None


class Measured(BaseModel):
    """A value of a document."""

    stage: str
    name: str
    value: Any


class DiffPiece(BaseModel):
    """A stretch of either text or of both."""

    kind: Literal["same", "first", "second"]
    text: str


class Diff(BaseModel):
    """The document (first) beside its witness (second), word by word."""

    pieces: list[DiffPiece]
    cut: bool = Field(description="Whether only the beginnings were compared.")


class Judged(BaseModel):
    """What a rule says of a document."""

    stage: str
    rule: str
    measure: str
    value: float
    comparison: str = Field(description="A document is kept while `value comparison threshold` holds.")
    threshold: float | None = Field(description="For this document; null where the rule is off.")
    fails: bool


class TextPlace(BaseModel):
    """A stretch of a text, in code points; of an entry, of one of its messages."""

    start: int
    end: int = Field(description="Exclusive.")
    side: str | None
    turn: int | None


class Objected(BaseModel):
    """A rule that a document fails, or was asked about, and where in the text it stands."""

    stage: str
    rule: str
    places: list[TextPlace] | None = Field(
        description="Null for a rule that speaks of the text as a whole, and where nobody can tell."
    )


class Document(BaseModel):
    """Everything known of one document."""

    ledger: dict[str, Any]
    uri: str
    measures: list[Measured]
    rules: list[Judged] = Field(description="Every rule that had a value, in the order of precedence.")
    objections: list[Objected]
    text: str | None
    witness_text: str | None
    diff: Diff | None


class Neighbours(BaseModel):
    """Documents before and behind one, among those that the filters let through."""

    previous: str | None
    next: str | None


class SourceRecord(BaseModel):
    """What the shard holds of a document, as it was read: text to be shown, and never to be trusted."""

    head: str = Field(description="Of an archive's record: its own header and that of HTTP; else empty.")
    text: str = Field(description="The page, the line or the row; its first 200,000 characters.")
    charset: str
    bytes: int = Field(description="Of the page, the line or the row.")
    cut: bool = Field(description="Whether only the beginning is here.")


class WhatIfRequest(Body):
    """Thresholds to think about."""

    model_config = example(thresholds={"gopher-quality.few-words": 100, "perplexity.max-perplexity": None})

    thresholds: dict[str, float | dict[str, float | None] | None] = Field(
        min_length=1, max_length=200, description="By `stage.rule`; null switches a rule off.",
        

    )  # fmt: skip
    samples: int = Field(default=5, ge=0, le=100)


class SideBySide(BaseModel):
    """A line of both funnels."""

    stage: str
    reason: str
    verdict: str
    first: Amount
    second: Amount
    documents: int
    tokens: int


class FateChange(BaseModel):
    """Documents that went from one fate to another."""

    was: str
    now: str
    documents: int
    samples: list[str]


class Comparison(BaseModel):
    """Two runs."""

    funnel: list[SideBySide]
    changes: list[FateChange]
    same: int
    only_first: int
    only_second: int


class Undetermined(BaseModel):
    """Documents of which the run does not tell whether they would be kept."""

    stage: str
    documents: int
    why: str


class BeforeAfter(BaseModel):
    """Counts now and under the other thresholds."""

    before: int
    after: int
    lost: int
    gained: int


class GroupBeforeAfter(BeforeAfter):
    """The same of a language or domain."""

    undetermined: int


class ReasonBeforeAfter(BaseModel):
    """Records of one reason."""

    verdict: str
    stage: str | None
    rule: str | None
    before: int
    after: int


class WhatIfAnswer(BaseModel):
    """What the run would have kept with other thresholds."""

    exact: bool = Field(description="Whether a run with these thresholds keeps just these documents.")
    undetermined: int = Field(description="Documents that a looser rule lets through and that nothing measured then.")
    why: list[Undetermined]
    contingent: int = Field(description="Kept, unless an undetermined document turns out to be their duplicate.")
    records: int
    kept: BeforeAfter
    tokens: BeforeAfter
    reasons: list[ReasonBeforeAfter]
    languages: dict[str, GroupBeforeAfter]
    domains: dict[str, GroupBeforeAfter]
    samples: dict[str, list[dict[str, Any]]] = Field(description="`lost`, `gained`, `undetermined`: some of each.")
