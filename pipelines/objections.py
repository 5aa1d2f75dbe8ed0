"""What rules object to in one document: which rule, and where in the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.batch import LANGUAGE, STATED_LANGUAGE, UNKNOWN
from curation.errors import DocumentError
from curation.pair_stages.canonical import Entry, parse
from curation.pair_stages.sides import JOIN, text_of
from curation.pair_stages.spans import entry_spans
from curation.personal_data.mask import masked_spans
from curation.rules.spans import Span, Text, form_spans

LONGEST = 300_000  # characters of a text that is looked through
MOST = 2_000  # places of one rule
MASKED = "masked"
_FORM = ("gopher-repetition", "gopher-quality", "fineweb", "c4")
_CHANGING = ("extraction", "c4", "personal-data")  # stages behind which places in the text are others
_REPLACEMENTS = ("email_replacement", "ipv4_replacement", "ipv6_replacement")


@dataclass(frozen=True)
class Place:
    """A stretch of a text, in code points.

    Attributes:
        start, end: from and up to, the latter exclusive.
        side, turn: of an entry: in which message the stretch lies.
    """

    start: int
    end: int
    side: str | None = None
    turn: int | None = None


@dataclass(frozen=True)
class Objection:
    """A rule that a document fails, or was asked about.

    Attributes:
        stage, rule: its name.
        places: what it objects to; None for a rule that speaks of the text as a whole, or where nobody can tell.
    """

    stage: str
    rule: str
    places: tuple[Place, ...] | None


def objections(
    run: Mapping[str, Any], row: Mapping[str, Any], text: str | None, asked: Iterable[str] = ()
) -> list[Objection]:
    """Of a document: every failing rule of the stage that decided, what was masked, what benchmarks are in it.

    Places are those in the text that was kept of it: of a document that was dropped, the text as it came to the stage
    that decided; of one that is kept, what later stages made of it.

    Args:
        run: ``run.json``.
        row: of the ledger.
        text: of the document; None where it was not retained.
        asked: other rules to look for, ``stage.rule``.
    """
    stages = {stage["stage"]: stage for stage in run["stages"]}
    names = [*(row.get("failing_rules") or ()), *asked]
    if row.get("stage") and row.get("rule") and row.get("verdict") == "dropped":
        names.insert(0, f"{row['stage']}.{row['rule']}")
    looked = _Looked(run, row, text, stages)
    found = []
    for name in dict.fromkeys(names):
        stage, _, rule = name.rpartition(".")
        found.append(Objection(stage, rule, looked.places(stage, rule)))
    if "personal-data" in stages and text is not None:
        masked = looked.masked()
        if masked:
            found.append(Objection("personal-data", MASKED, masked))
    named = {(one.stage, one.rule) for one in found}
    for side, rule in looked.contaminated():
        if ("decontamination", rule) not in named:
            found.append(Objection("decontamination", rule, looked.span(side)))
    return found


class _Looked:
    """One document, parsed once.

    Args:
        stages: those of the run, by name.
    """

    def __init__(
        self, run: Mapping[str, Any], row: Mapping[str, Any], text: str | None, stages: Mapping[str, Any]
    ) -> None:
        self.row, self.stages = row, stages
        self.text = None if text is None else text[:LONGEST]
        self.parameters = {one["stage"]: one for one in run["recipe"].get("stages", ())}
        self.order = [stage["stage"] for stage in run["stages"]]
        self.entry: Entry | None = None
        if run["recipe"].get("entries") and text is not None:
            try:
                self.entry = parse(text)
            except DocumentError:
                self.text = None

    def places(self, stage: str, rule: str) -> tuple[Place, ...] | None:
        """What a rule objects to."""
        if self.text is None or stage not in self.stages:
            return None
        given = self.parameters.get(stage, {})
        if stage == "decontamination":
            return self.span(rule.partition("-contaminated")[0] if rule != "contaminated" else None)
        if self.entry is None:
            return _places(form_spans(rule, Text(self.text, self._language(), given))) if stage in _FORM else None
        if stage in _FORM:
            side, _, plain = rule.partition("-")
            spans = form_spans(plain, Text(self._side(side), self._language(side), given))
            return None if spans is None else tuple(self._turns(side, spans))
        by_side = entry_spans(stage, rule, self.entry, given, self.stages[stage]["facts"])
        if by_side is None:
            return None
        return tuple(place for side, spans in by_side.items() for place in self._turns(side, spans))

    def masked(self) -> tuple[Place, ...]:
        """What stands where addresses were."""
        if self.text is None:
            return ()
        given = self.parameters.get("personal-data", {})
        wanted = [given[name] for name in _REPLACEMENTS if given.get(name)]
        if self.entry is None:
            hit = self.row.get("email_count") or self.row.get("ip_count")
            return _places(masked_spans(self.text, wanted)) or () if hit else ()
        return tuple(
            place
            for side in self.entry
            if self.row.get(f"{side}_email_count") or self.row.get(f"{side}_ip_count")
            for place in self._turns(side, masked_spans(self._side(side), wanted))
        )

    def contaminated(self) -> Iterator[tuple[str | None, str]]:
        """Sides in which something of a benchmark was found, and the rule about each."""
        if self.row.get("contamination_span"):
            yield None, "contaminated"
        for side in self.entry or ():
            if self.row.get(f"{side}_contamination_span"):
                yield side, f"{side}-contaminated"

    def span(self, side: str | None) -> tuple[Place, ...] | None:
        """The stretch that the decontamination stage found, if places are still the same."""
        name = "contamination_span" if side is None else f"{side}_contamination_span"
        said = self.row.get(name)
        behind = self.order[self.order.index("decontamination") + 1 :]
        moved = self.row.get("stage") != "decontamination" and any(stage in _CHANGING for stage in behind)
        if not said or moved or self.text is None:
            return None
        start, _, end = said.partition(":")
        spans = [(int(start), int(end))]
        return _places(spans) if side is None else tuple(self._turns(side, spans))

    def _side(self, side: str) -> str:
        return text_of((self.entry or {}).get(side, ()))[:LONGEST]  # type: ignore[call-overload]

    def _language(self, side: str | None = None) -> str:
        names = ([] if side is None else [f"{side}_language"]) + [LANGUAGE, STATED_LANGUAGE]
        return next((self.row[name] for name in names if self.row.get(name)), UNKNOWN)

    def _turns(self, side: str, spans: Sequence[Span]) -> Iterator[Place]:
        """Spans of a side's text as places in its turns."""
        at = 0
        for turn, message in enumerate((self.entry or {}).get(side, ())):  # type: ignore[call-overload]
            end = at + len(message.content)
            for start, stop in spans[:MOST]:
                if start < end and stop > at:
                    yield Place(max(start, at) - at, min(stop, end) - at, side, turn)
            at = end + len(JOIN)


def _places(spans: Sequence[Span] | None) -> tuple[Place, ...] | None:
    return None if spans is None else tuple(Place(start, end) for start, end in spans[:MOST])
