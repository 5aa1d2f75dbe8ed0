"""Questions to a finished run, answered from its ledger and its texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation.errors import InputError, RunError
from curation.stage import Rule
from pipelines.registry import suggestion
from pipelines.storage import Storage

_SHOWN = ("id", "url", "verdict", "stage", "rule", "value", "threshold", "detail", "witness", "witness_dataset")


class FinishedRun:
    """A run that has its manifest.

    Raises:
        InputError: where there is none.
        RunError: where its own account of itself cannot be read.
    """

    def __init__(self, directory: str) -> None:
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

    def table(self, folder: str) -> ds.Dataset:
        """``ledger``, ``corpus`` or ``dropped`` as an Arrow dataset."""
        names = [name for name in self.manifest["files"] if name.startswith(f"{folder}/")]  # type: ignore[index]
        paths = [self.storage.path(name) for name in sorted(names)]
        if not paths:
            return ds.dataset(pa.table({name: pa.array([], pa.string()) for name in ("id", "text")}))
        return ds.dataset(paths, filesystem=self.storage.filesystem, format="parquet")

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its thresholds and what it did."""
        rows = []
        for stage, rule in self._rules():
            counts = self.statistics["stages"].get(stage, {})
            lost = counts.get("dropped", {}).get(rule.name, {"documents": 0})
            rows.append(
                {
                    "stage": stage,
                    "rule": rule.name,
                    "condition": f"{rule.measure} {rule.comparison} {_thresholds(rule, self.statistics['languages'])}",
                    "decided": lost["documents"],
                    "failing": counts.get("failing", {}).get(rule.name, 0),
                }
            )
        return rows

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
        return self._with_texts(rows.sort_by("id").slice(0, count).to_pylist())

    def near_threshold(self, name: str, count: int) -> tuple[Rule, list[dict[str, Any]]]:
        """Documents whose measured value lies nearest to a rule's threshold, from both sides."""
        rule = self._rule(name)
        columns = [*_SHOWN, "language", rule.measure]
        table = self.table("ledger").to_table(columns=columns, filter=pc.field(rule.measure).is_valid())
        codes = table.column("language").to_pylist()
        limits = pa.array([rule.threshold_of(code or "und") for code in codes], pa.float64())
        values = table.column(rule.measure).cast(pa.float64())
        distance = pc.abs(pc.subtract(values, limits))
        table = table.append_column("measured", values).append_column("distance", distance)
        table = table.filter(distance.is_valid()).sort_by([("distance", "ascending"), ("id", "ascending")])
        return rule, self._with_texts(table.slice(0, count).to_pylist())

    def history(self, id_: str) -> dict[str, Any]:
        """Everything known of one document."""
        found = self.table("ledger").to_table(filter=pc.field("id") == id_).to_pylist()
        if not found:
            raise InputError(f"no record has the id {id_!r} in this run")
        row = found[0]
        owners = {name: stage["stage"] for stage in self.run["stages"] for name in stage["columns"]}
        measures = [(owners[n], n, v) for n, v in row.items() if n in owners and v is not None]
        shard = next(shard for shard in self.run["shards"] if shard["name"] == row["shard"])
        texts = self.texts([id_])
        corpus = self.earlier(row["witness_dataset"]) if row["witness_dataset"] else self
        witness = corpus.texts([row["witness"]]) if corpus and row["witness"] else {}
        return {
            "ledger": row,
            "uri": shard["uri"],
            "measures": measures,
            "text": texts.get(id_),
            "witness_text": witness.get(row["witness"]),
        }

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

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Texts of documents, kept or not, as far as the recipe's retention has them."""
        condition = pc.field("id").isin(list(ids))
        texts: dict[str, str] = {}
        for folder in ("corpus", "dropped"):
            table = self.table(folder).to_table(columns=["id", "text"], filter=condition)
            texts |= dict(zip(table.column("id").to_pylist(), table.column("text").to_pylist(), strict=True))
        return texts

    def _with_texts(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        texts = self.texts([row["id"] for row in rows])
        return [{**row, "text": texts.get(row["id"])} for row in rows]

    def _rules(self) -> list[tuple[str, Rule]]:
        return [(stage["stage"], Rule(**rule)) for stage in self.run["stages"] for rule in stage["rules"]]

    def _rule(self, name: str) -> Rule:
        names = [f"{stage}.{rule.name}" for stage, rule in self._rules()]
        for (_, rule), full in zip(self._rules(), names, strict=True):
            if name in (rule.name, full):
                return rule
        raise InputError(f"unknown rule {name!r}{suggestion(name, names)}", "--near-threshold")


def _thresholds(rule: Rule, languages: Iterable[str]) -> str:
    """The default threshold, and others of languages that the run has met."""
    default = _number(rule.thresholds.get("default"))
    others = {code: _number(rule.thresholds[code]) for code in sorted(languages) if code in rule.thresholds}
    return ", ".join([default, *(f"{code}: {limit}" for code, limit in others.items() if limit != default)])


def _number(limit: float | None) -> str:
    return "off" if limit is None else f"{limit:g}"
