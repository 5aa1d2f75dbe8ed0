"""A stage for documents, run on the sides of pairs and instructions.

``- stage: perplexity`` with ``sides: [chosen, rejected]`` is ``sided(Perplexity)``.  It keeps the name, the version
and the facts of the stage inside; the sides are one more parameter, so its keys are others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, cast

import pyarrow as pa
from pydantic import create_model

from curation.batch import Batch
from curation.errors import DocumentError
from curation.pair_stages.canonical import Side
from curation.pair_stages.sides import DEFINITION, SideNames, Sides, canonical_texts, result, sides_of
from curation.preferences.messages import Conversation, Message
from curation.stage import Measured, Parameters, Rule, Stage


class Sided(Stage):
    """Runs a stage on the text of each side.

    Column ``x`` of the stage becomes ``<side>_x``, its rule ``y`` becomes ``<side>-y``.  The language that the stage
    sees is ``<side>_language`` where there is such a column, else ``language``; thresholds by language go by the
    row's ``language`` all the same, like those of every stage.

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
            language = _language(batch, side)
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
        language: pa.Array | None,
        errors: dict[int, DocumentError],
        side: Side,
    ) -> list[Conversation]:
        """Turns with the contents that the stage gives them; a side of one turn was seen whole already."""
        rows = [row for row, turns in enumerate(conversations) if len(turns) > 1 for _ in turns]
        contents = pa.array(
            [turn.content for turns in conversations if len(turns) > 1 for turn in turns], pa.large_string()
        )
        codes = None if language is None else language.take(pa.array(rows, pa.int64()))
        apart = self.inner.measure(_batch(contents, codes))
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
    return cast("type[Sided]", type(f"Sided{stage.__name__}", (Sided,), members))


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
    return Rule(f"{side}-{rule.name}", f"{side}_{rule.measure}", rule.comparison, rule.thresholds, detail)


def _language(batch: Batch, side: Side) -> pa.Array | None:
    for name in (f"{side}_language", "language"):
        if name in batch.table.column_names:
            return batch.column(name)
    return None


def _batch(text: pa.LargeStringArray, language: pa.Array | None) -> Batch:
    return Batch(pa.table({"text": text} if language is None else {"text": text, "language": language}))


def _add(errors: dict[int, DocumentError], more: Mapping[int, DocumentError], side: Side) -> None:
    for row, error in more.items():
        errors.setdefault(row, DocumentError(error.error_class, f"{side}: {error.detail}" if error.detail else side))
