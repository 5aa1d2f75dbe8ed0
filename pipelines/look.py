"""Questions to a finished run, answered from its ledger and its texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation.errors import InputError, RunError
from curation.stage import Rule
from pipelines.corpora import CORPORA
from pipelines.kinds import kind_of
from pipelines.ledger import KEPT
from pipelines.lookup import Lookup, counted_in, in_memory, kept_in, text_parts
from pipelines.registry import suggestion
from pipelines.remembered import remembered_stages
from pipelines.rows import Rows, at_once, part_number
from pipelines.storage import Storage

_SHOWN = ("id", "url", "verdict", "stage", "rule", "value", "threshold", "detail", "witness", "witness_dataset")


class FinishedRun:
    """A run that has its manifest.

    Args:
        directory: of the run.
        kept: file that holds its lookup, or will; None to make one in memory when it is asked for.

    Raises:
        InputError: where there is none.
        RunError: where its own account of itself cannot be read.
    """

    def __init__(self, directory: str, kept: Path | None = None) -> None:
        self.kept = kept
        self._lookup: Lookup | None = None
        self.storage = Storage(directory)
        self.manifest = self.storage.manifest("")
        if self.manifest is None:
            raise InputError("holds no finished run (no complete manifest.json); run it again to finish it", directory)
        self._earlier: dict[str, FinishedRun | None] = {}
        self.run: dict[str, Any] = self._json("run.json")
        self.statistics: dict[str, Any] = self._json("statistics.json")

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.storage.read(name))
        except (ValueError, FileNotFoundError) as error:
            raise RunError(
                f"{self.storage.path(name)} cannot be read ({error}); delete it and run the same command again"
            ) from None

    @property
    def kind(self) -> str:
        """Of what it made: ``corpus``, ``preferences`` or ``instructions``."""
        return kind_of(self.run["recipe"])

    def ledger(self) -> Rows:
        """The rows of its ledger."""
        return self._rows("ledger")

    @property
    def lookup(self) -> Lookup:
        """What is asked of all its records."""
        if self._lookup is None and self.kept is not None:
            self._lookup = kept_in(self.kept, self)
        return self._lookup or in_memory(self)

    def remembered(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What follows from the run alone and takes long to count: plain JSON, kept beside its lookup.

        Args:
            name: of what it is; another form of it needs another name.
        """
        return make() if self.kept is None else counted_in(self.kept, name, make)

    @cached_property
    def columns(self) -> dict[str, pa.Field]:
        """Columns of the ledger by name."""
        return {field.name: field for field in self.ledger().schema}

    @cached_property
    def ledger_shards(self) -> list[dict[str, Any]]:
        """The shard that each file of the ledger is of, as ``run.json`` has it."""
        return [self.run["shards"][part_number(name)] for name in self.ledger().names]

    def corpus(self) -> Rows:
        """The rows of what it published."""
        return self._rows("corpus", CORPORA[self.kind].id_name)

    def _rows(self, folder: str, id_name: str = "id", shards: Collection[str] | None = None) -> Rows:
        """The rows of a folder, or of its parts that some shards became."""
        files: Iterable[str] = self.manifest["files"]  # type: ignore[index]
        if shards is not None:
            numbers = {number for number, shard in enumerate(self.run["shards"]) if shard["name"] in shards}
            files = [name for name in files if "/part-" in name and part_number(name) in numbers]
        return Rows(self.storage, files, folder, id_name)

    def table(self, folder: str) -> ds.Dataset:
        """``ledger``, ``corpus`` or ``dropped`` as an Arrow dataset."""
        names = [name for name in self.manifest["files"] if name.startswith(f"{folder}/")]  # type: ignore[index]
        paths = [self.storage.path(name) for name in sorted(names)]
        if not paths:
            return ds.dataset(pa.table({name: pa.array([], pa.string()) for name in ("id", "text")}))
        return ds.dataset(paths, filesystem=self.storage.filesystem, format="parquet")

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its condition in words and what it did."""
        languages = self.statistics["languages"]
        return [
            {
                **{name: row[name] for name in ("stage", "rule", "decided", "failing")},
                "condition": f"{row['measure']} {row['comparison']} {_thresholds(row['thresholds'], languages)}",
            }
            for row in self.rule_counts()
        ]

    def rule_counts(self) -> list[dict[str, Any]]:
        """Every rule with its thresholds and what it did, in the order of precedence.

        Returns:
            ``stage``, ``rule``, ``measure``, ``comparison``, ``thresholds`` by language, ``adjustable`` (whether it
            compares with a number that can be another), ``decided`` and ``failing``: documents.
        """
        rows = []
        for stage, rule in self._rules():
            counts = self.statistics["stages"].get(stage, {})
            fixed = rule.comparison == "==" or self._is_truth(rule.measure)
            rows.append(
                {
                    "stage": stage, "rule": rule.name, "measure": rule.measure, "comparison": rule.comparison,
                    "thresholds": dict(rule.thresholds), "adjustable": not fixed,
                    "decided": counts.get("dropped", {}).get(rule.name, {"documents": 0})["documents"],
                    "failing": counts.get("failing", {}).get(rule.name, 0),
                }
            )  # fmt: skip
        return rows

    def _is_truth(self, measure: str) -> bool:
        return measure in self.columns and pa.types.is_boolean(self.columns[measure].type)

    def by_reason(self, reason: str, count: int) -> list[dict[str, Any]]:
        """Documents that one reason took away, in the order of their ids (which is random but repeatable).

        Args:
            reason: a rule, ``stage.rule``, an error class, or ``duplicate``, ``near``, ``exact``.
        """
        stage, _, rule = reason.rpartition(".")
        condition = pc.field("rule") == rule
        if stage:
            condition &= pc.field("stage") == stage
        if reason in ("kept", "dropped", "duplicate", "quarantined"):
            condition = pc.field("verdict") == reason
        rows = self.table("ledger").to_table(columns=list(_SHOWN), filter=condition)
        if rows.num_rows == 0:
            known = self.table("ledger").to_table(columns=["rule"]).column("rule").unique().drop_null().to_pylist()
            raise InputError(f"no record has the reason {reason!r}{suggestion(reason, known)}")
        return self.with_texts(rows.sort_by("id").slice(0, count).to_pylist())

    def history(self, id_: str) -> dict[str, Any]:
        """Everything known of one document."""
        row = self.find(id_)
        if row is None:
            raise InputError(f"no record has the id {id_!r} in this run")
        owners = {name: stage["stage"] for stage in self.run["stages"] for name in stage["columns"]}
        measures = [(owners[n], n, v) for n, v in row.items() if n in owners and v is not None]
        shard = next(shard for shard in self.run["shards"] if shard["name"] == row["shard"])
        texts = self.texts([id_], [row["shard"]])
        corpus = self.earlier(row["witness_dataset"]) if row["witness_dataset"] else self
        witness = corpus.texts([row["witness"]]) if corpus and row["witness"] else {}
        return {
            "ledger": row,
            "shard": shard,
            "uri": shard["uri"],
            "measures": measures,
            "rules": self.judged(row),
            "text": texts.get(id_),
            "witness_text": witness.get(row["witness"]),
        }

    def find(self, id_: str) -> dict[str, Any] | None:
        """The whole row of the ledger of a document; None where there is none."""
        if self.kept is None:
            return self.ledger().find(id_)
        row = self.lookup.row(id_)
        return None if row is None else self.ledger().rows([self.lookup.place(row)], list(self.columns))[0]

    def judged(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What every rule that has a value says of a row of the ledger, in the order of precedence.

        Returns:
            ``stage``, ``rule``, ``measure``, ``value``, ``comparison``, ``threshold`` (for this document; None where
            the rule is off) and ``fails``.
        """
        found = []
        for stage, rule in self._rules():
            value = row.get(rule.measure)
            if value is None:
                continue
            limits = rule.limits({name: pa.array([row.get(name)], pa.string()) for name in rule.by}, 1)
            fails = bool(rule.failures(np.array([float(value)]), limits)[0])
            found.append(
                {
                    "stage": stage, "rule": rule.name, "measure": rule.measure, "value": value,
                    "comparison": rule.comparison, "threshold": None if np.isnan(limits[0]) else float(limits[0]),
                    "fails": fails,
                }
            )  # fmt: skip
        return found

    def earlier(self, dataset: str) -> FinishedRun | None:
        """An earlier corpus that this run remembers, ``name@version``; None where it is not there any more."""
        if dataset not in self._earlier:
            self._earlier[dataset] = self._find_earlier(dataset)
        return self._earlier[dataset]

    def _find_earlier(self, dataset: str) -> FinishedRun | None:
        for known in self.run["earlier"]:
            if f"{known['dataset']}@{known['version']}" == dataset:
                storage = Storage(known["uri"])
                manifest = storage.manifest("")
                if manifest is not None and manifest["key"] == known["version"]:
                    return FinishedRun(known["uri"])
        return None

    def texts(self, ids: Sequence[str], shards: Collection[str] | None = None) -> dict[str, str]:
        """Texts of documents, kept or not, as far as the recipe's retention has them.

        Args:
            shards: that the documents are of, where that is known: only their parts are looked through.
        """
        if self.kept is not None:
            return self._texts_at([row for id_ in dict.fromkeys(ids) if (row := self.lookup.row(id_)) is not None])
        published = CORPORA[self.kind]
        kept = self._rows("corpus", published.id_name, shards)
        found = kept.rows(kept.places(list(dict.fromkeys(ids))), [kept.id_name, *published.text_columns])
        texts = {row[kept.id_name]: published.text(row) for row in found}
        rest = [id_ for id_ in dict.fromkeys(ids) if id_ not in texts]
        dropped = self._rows("dropped", shards=shards)
        return texts | {row["id"]: row["text"] for row in dropped.rows(dropped.places(rest), ["id", "text"])}

    def _texts_at(self, rows: Iterable[int]) -> dict[str, str]:
        """Texts by id of rows of the ledger, read from where the lookup says that they are."""
        lookup, names, published = self.lookup, self.ledger().names, CORPORA[self.kind]
        wanted: dict[tuple[int, bool], list[tuple[int, int]]] = {}  # by file, and whether in the corpus
        for row in rows:
            if (at := int(lookup.numbers("text")[row])) >= 0:
                wanted.setdefault((lookup.place(row)[0], lookup.fate(row)[0] == KEPT), []).append((row, at))

        def of_part(part: tuple[int, bool]) -> dict[str, str]:
            file, kept = part
            corpus, dropped = text_parts(self, names[file])
            stored, columns = (corpus, published.text_columns) if kept else (dropped, ("text",))
            found = stored.rows([(0, at) for _, at in wanted[part]], columns)
            texts = [published.text(one) if kept else str(one["text"]) for one in found]
            return {lookup.id_of(row): text for (row, _), text in zip(wanted[part], texts, strict=True)}

        return {id_: text for found in at_once(of_part, wanted) for id_, text in found.items()}

    def with_texts(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows with the ``text`` of each, None where it was not retained."""
        shards = {row["shard"] for row in rows} if all("shard" in row for row in rows) else None
        texts = self.texts([row["id"] for row in rows], shards)
        return [{**row, "text": texts.get(row["id"])} for row in rows]

    def _rules(self) -> list[tuple[str, Rule]]:
        return [(stage.name, rule) for stage in remembered_stages(self.run) for rule in stage.rules]

    def rule(self, name: str) -> Rule:
        """A rule, by its name or as ``stage.rule``.

        Raises:
            InputError: when there is none.
        """
        names = [f"{stage}.{rule.name}" for stage, rule in self._rules()]
        for (_, rule), full in zip(self._rules(), names, strict=True):
            if name in (rule.name, full):
                return rule
        raise InputError(f"unknown rule {name!r}{suggestion(name, names)}")


def _thresholds(thresholds: Mapping[str, float | None], languages: Iterable[str]) -> str:
    """The default threshold, and others of languages that the run has met."""
    default = _number(thresholds.get("default"))
    others = {code: _number(thresholds[code]) for code in sorted(languages) if code in thresholds}
    return ", ".join([default, *(f"{code}: {limit}" for code, limit in others.items() if limit != default)])


def _number(limit: float | None) -> str:
    return "off" if limit is None else f"{limit:g}"
