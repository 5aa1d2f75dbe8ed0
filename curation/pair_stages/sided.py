"""A stage for documents, run on the sides of pairs and instructions.

``- stage: perplexity`` with ``sides: [chosen, rejected]`` is ``sided(Perplexity)``.  It keeps the name, the version
and the facts of the stage inside; the sides are one more parameter, so its keys are others.

The language of a side is ``<side>_language`` where a ``language`` stage on sides told it, else that of the row, which
is stated or, by the same stage, that of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, cast

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import create_model

from curation.batch import LANGUAGE, ROW_LANGUAGE, STATED_LANGUAGE, Batch
from curation.errors import DocumentError
from curation.language import Language
from curation.pair_stages.canonical import Side
from curation.pair_stages.sides import DEFINITION, SideNames, Sides, canonical_texts, result, sides_of
from curation.preferences.messages import Conversation, Message
from curation.stage import Measured, Parameters, Rule, Stage, measure_field

# Sides that tell the language of a row, the best first.
TELLING: tuple[Side, ...] = ("chosen", "response", "prompt")
SURE = 0.5  # score from which on a side tells it; a short answer is often taken for some other language
ROW_DEFINITION = "row-language/2"  # stated, else by the first of these sides that is sure, else by the first that knows


class Sided(Stage):
    """Runs a stage on the text of each side.

    Column ``x`` of the stage becomes ``<side>_x``, its rule ``y`` becomes ``<side>-y``.  The language that the stage
    sees, and whose thresholds hold, is that of the side.

    What fails on one side fails the row.  Where the stage changes text, it is given each message by itself, so that
    roles and the number of messages stay; what it measures it measures of the whole side.
    """

    Inner: ClassVar[type[Stage]]
    parameters: Any

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters)
        self.inner = self.Inner(parameters)
        self.sides: tuple[Side, ...] = parameters.sides

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.Inner, self.parameters.model_dump(mode="python"))

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([_side_field(side, field) for side in self.sides for field in self.inner.schema])

    @property
    def changes_text(self) -> bool:
        return self.inner.changes_text

    def rules(self) -> Sequence[Rule]:
        return [_side_rule(side, rule) for side in self.sides for rule in self.inner.rules()]

    def facts(self) -> dict[str, str]:
        """Those of the stage inside, and what the text of a side is."""
        return {**self.inner.facts(), "sides": DEFINITION}

    def measure(self, batch: Batch) -> Measured:
        found = batch.feature(sides_of)
        errors = found.without(self.sides)
        columns: dict[str, pa.Array] = {}
        changed: dict[Side, list[Conversation]] = {}
        for side in self.sides:
            language = pa.array(batch.languages(_told_by(side)), pa.string())
            measured = self.inner.measure(_batch(found.text(side), language))
            _add(errors, measured.errors, side)
            columns |= {f"{side}_{name}": measured.columns[name] for name in self.inner.schema.names}
            if measured.text is not None:
                changed[side] = self._changed(found.conversations(side), measured.text, language, errors, side)
        return result(columns, errors, self._text(batch, found, changed, errors))

    def _changed(
        self,
        conversations: list[Conversation],
        whole: pa.LargeStringArray,
        language: pa.Array,
        errors: dict[int, DocumentError],
        side: Side,
    ) -> list[Conversation]:
        """Turns with the contents that the stage gives them; a side of one turn was seen whole already."""
        rows = [row for row, turns in enumerate(conversations) if len(turns) > 1 for _ in turns]
        contents = pa.array(
            [turn.content for turns in conversations if len(turns) > 1 for turn in turns], pa.large_string()
        )
        apart = self.inner.measure(_batch(contents, language.take(pa.array(rows, pa.int64()))))
        _add(errors, {rows[place]: error for place, error in apart.errors.items()}, side)
        texts = iter((contents if apart.text is None else apart.text).to_pylist())
        return [
            tuple(Message(turn.role, (next(texts) if len(turns) > 1 else one) or "") for turn in turns)
            for turns, one in zip(conversations, whole.to_pylist(), strict=True)
        ]

    def _text(
        self,
        batch: Batch,
        found: Sides,
        changed: Mapping[Side, list[Conversation]],
        errors: Mapping[int, DocumentError],
    ) -> pa.LargeStringArray | None:
        """The canonical text of each row; a row in error keeps the one it has."""
        if not self.changes_text:
            return None
        entries = (
            {**entry, **{side: new[row] for side, new in changed.items()}} for row, entry in enumerate(found.entries)
        )
        return canonical_texts(batch, entries, errors)


class SidedLanguage(Sided):
    """Tells the language of the row besides: as stated, else that of the answer, else that of the prompt.

    An answer with a score below ``SURE`` tells it only where the prompt is not sure either.
    """

    @property
    def schema(self) -> pa.Schema:
        said = "as the record or the recipe states it, else that of the answer, else that of the prompt"
        return super().schema.append(measure_field(LANGUAGE, pa.string(), said))

    def facts(self) -> dict[str, str]:
        """Those of any stage on sides, and what the language of a row is."""
        return {**super().facts(), "row": ROW_DEFINITION}

    def measure(self, batch: Batch) -> Measured:
        measured = super().measure(batch)
        stated = STATED_LANGUAGE in batch.table.column_names
        told = [batch.column(STATED_LANGUAGE)] if stated else [pa.nulls(len(batch), pa.string())]
        sides = [side for side in TELLING if side in self.sides]
        told += [_sure(measured, side) for side in sides]
        told += [measured.columns[f"{side}_{LANGUAGE}"] for side in sides]
        return result({**measured.columns, LANGUAGE: pc.coalesce(*told)}, measured.errors, measured.text)


def _sure(measured: Measured, side: Side) -> pa.Array:
    """The language of a side, null where its score is low."""
    language, score = (measured.columns[f"{side}_{name}"] for name in (LANGUAGE, f"{LANGUAGE}_score"))
    return pc.if_else(pc.greater_equal(score, SURE), language, pa.scalar(None, pa.string()))


def sided_parameters(stage: type[Stage]) -> type[Parameters]:
    """The parameters of a stage, and ``sides``: on which sides it runs."""
    base: Any = stage.Parameters
    if "sides" in base.model_fields:
        raise TypeError(f"the stage {stage.name!r} has sides of its own")
    model = create_model(f"Sided{base.__name__}", __base__=base, __module__=base.__module__, sides=(SideNames, ...))
    model.__doc__ = base.__doc__
    return cast("type[Parameters]", model)


@cache
def sided(stage: type[Stage]) -> type[Sided]:
    """A stage on sides, the same class whenever it is asked for."""
    members = {
        "__doc__": f"{stage.__name__} on sides: {(stage.__doc__ or '').strip()}",
        "__module__": __name__,
        "name": stage.name,
        "version": stage.version,
        "Parameters": sided_parameters(stage),
        "deciding": stage.deciding,
        "Inner": stage,
    }
    base = SidedLanguage if issubclass(stage, Language) else Sided
    return cast("type[Sided]", type(f"Sided{stage.__name__}", (base,), members))


def document_stage(stage: Stage) -> Stage:
    """The stage that sees texts: the one inside where it runs on sides, else the stage itself."""
    return stage.inner if isinstance(stage, Sided) else stage


def _again(stage: type[Stage], parameters: dict[str, Any]) -> Sided:
    """From what a pickle holds: classes made here cannot be found by their names."""
    made = sided(stage)
    return made(made.Parameters.model_validate(parameters))


def _side_field(side: Side, field: pa.Field) -> pa.Field:
    metadata = dict(field.metadata or {})
    metadata[b"description"] = f"{side}: ".encode() + metadata.get(b"description", b"")
    return pa.field(f"{side}_{field.name}", field.type, metadata=metadata)


def _side_rule(side: Side, rule: Rule) -> Rule:
    detail = None if rule.detail is None else f"{side}_{rule.detail}"
    return Rule(
        f"{side}-{rule.name}", f"{side}_{rule.measure}", rule.comparison, rule.thresholds, detail, _told_by(side)
    )


def _told_by(side: Side) -> tuple[str, ...]:
    """Columns that tell the language of a side, the best first."""
    return f"{side}_{LANGUAGE}", *ROW_LANGUAGE


def _batch(text: pa.LargeStringArray, language: pa.Array) -> Batch:
    return Batch(pa.table({"text": text, LANGUAGE: language}))


def _add(errors: dict[int, DocumentError], more: Mapping[int, DocumentError], side: Side) -> None:
    for row, error in more.items():
        errors.setdefault(row, DocumentError(error.error_class, f"{side}: {error.detail}" if error.detail else side))
