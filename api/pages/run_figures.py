"""Charts of one run while it goes on: files, phases, stages, attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from api.pages import charts
from api.pages.render import query
from api.pages.visible import plain
from api.runs.models import Attempt, Run

ATTEMPT_COLOURS = {"succeed": "$good", "fail": "$bad", "release": "$wait"}


class Figures(NamedTuple):
    """What a run's page draws, each with the rows of its table.

    Attributes:
        strip: cells of equal stretches of files: first and last file, how many are done.
        phases: name, second in which it began, seconds that it took.
        stages: name, seconds, documents.
        attempts: number, begin and end in seconds since the first began, outcome.
    """

    strip: list[tuple[int, int, int]]
    strip_option: charts.Option
    phases: list[tuple[str, float, float]]
    phases_option: charts.Option
    stages: list[tuple[str, float, int]]
    stages_option: charts.Option
    attempts: list[tuple[int, float, float, str]]
    attempts_option: charts.Option


def figures_of(run: Run, attempts: Sequence[Attempt]) -> Figures:
    """All of them."""
    strip, phases = strip_of(run.progress), phases_of(run.progress)
    stages = [
        (name, float(told["seconds"]), int(told["records"])) for name, told in run.progress.get("stages", {}).items()
    ]
    tried = attempts_of(attempts)
    return Figures(
        strip, charts.heat_strip([(_cell(one), one[2] / (one[1] - one[0] + 1)) for one in strip]),
        phases, charts.time_bars([(name, at, at + took, "$busy") for name, at, took in phases]),
        stages, _one_after_another(stages), tried,
        charts.time_bars([(f"attempt {number}", begin, end, ATTEMPT_COLOURS.get(outcome, "$busy"))
                          for number, begin, end, outcome in tried]),
    )  # fmt: skip


def strip_of(progress: dict[str, Any]) -> list[tuple[int, int, int]]:
    """Stretches of files, numbered from 1, each with the number of those that are done."""
    cells, total = progress.get("strip") or [], progress.get("shards_total") or 0
    bounds = [-(-cell * total // len(cells)) for cell in range(len(cells) + 1)] if cells else []
    return [(bounds[n] + 1, bounds[n + 1], done) for n, done in enumerate(cells)]


def _cell(cell: tuple[int, int, int]) -> str:
    first, last, done = cell
    return f"file {first}: {'done' if done else 'not yet'}" if first == last else f"files {first}–{last}: {done} done"


def phases_of(progress: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Phases in order: each lasts until the next begins, the last one until now."""
    told = progress.get("phases") or []
    ends = [*(float(phase["at"]) for phase in told[1:]), float(progress.get("seconds") or 0)]
    return [
        (str(phase["phase"]), float(phase["at"]), max(0.0, end - float(phase["at"])))
        for phase, end in zip(told, ends, strict=False)
    ]


def _one_after_another(stages: Sequence[tuple[str, float, int]]) -> charts.Option:
    """Stages as if one worker had done all of it: what each of them costs, in their order."""
    rows, at = [], 0.0
    for name, seconds, _ in stages:
        rows.append((name, at, at + seconds, "$accent"))
        at += seconds
    return charts.time_bars(rows)


def attempts_of(attempts: Sequence[Attempt]) -> list[tuple[int, float, float, str]]:
    """Attempts on one scale of time."""
    if not attempts:
        return []
    zero = _seconds(attempts[0].started_at)
    return [
        (one.number, _seconds(one.started_at) - zero,
         _seconds(one.finished_at or one.heartbeat_at or one.started_at) - zero, one.outcome or "goes on")
        for one in attempts
    ]  # fmt: skip


def _seconds(moment: str | None) -> float:
    return datetime.fromisoformat((moment or "").replace("Z", "+00:00")).timestamp()


def flows(rows: Sequence[Any], unit: str, run_id: str, most: int = 6) -> charts.Option:
    """The funnel as a flow: from stage to stage, to each reason, to what is kept.

    Args:
        rows: of the funnel.
        unit: ``documents`` or ``tokens``.
        run_id: of the run; a reason leads to its documents.
        most: reasons of a stage that are told apart; the others are one.
    """
    left = getattr(rows[0], unit)
    links: list[tuple[str, str, float]] = []
    colours = {"read": "$busy", "kept": "$good"}
    here, documents = "read", f"/runs/{run_id}/documents"
    ways = {"kept": f"{documents}?verdict=kept", "read": documents}
    stages = list(dict.fromkeys(row.stage for row in rows if row.stage))
    for stage in stages:
        lost = [row for row in rows if row.stage == stage and getattr(row, unit)]
        if not lost:
            continue
        if here != "read" or stage != "read":
            node = f"in {stage}"
            links.append((here, node, left))
            colours[node] = "$accent"
            here = node
        for row in lost[:most]:
            name = f"{stage}: {row.reason}"
            links.append((here, name, getattr(row, unit)))
            ways[plain(name)] = documents + query(reason=f"{stage}.{row.reason}")
            colours[name] = charts.STATE_COLOURS.get(row.verdict, "$bad")
        others = sum(getattr(row, unit) for row in lost[most:])
        if others:
            links.append((here, f"{stage}: {len(lost) - most} other reasons", others))
            colours[f"{stage}: {len(lost) - most} other reasons"] = "$bad"
        left -= sum(getattr(row, unit) for row in lost)
    links.append((here, "kept", left))
    option = charts.flow(links, colours)
    for node in option["series"][0]["data"]:
        node["address"] = ways.get(node["name"])
        word = node["name"].rpartition(": ")[2].removeprefix("in ")
        node["label"] = {"formatter": word.replace("{", "(").replace("}", ")")}
    return option
