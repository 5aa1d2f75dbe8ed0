"""Curves of a training, short enough to draw however long it has run: thinned, with every extreme kept.

What was read once stays in memory, thinned, so that a look at a long training reads what is new.  A training that went
on from a checkpoint says some steps again; the later attempt counts.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from api.store.database import Database
from api.store.tables import events

Place = tuple[float, float]  # step, value
MOST_POINTS = 500  # of a curve that is given
KEPT_POINTS = 8 * MOST_POINTS  # of one in memory, before it is thinned
MOST_NAMES = 100  # of a training
MOST_ODD = 20  # values that are no numbers, of a curve
REMEMBERED = 64  # trainings
SECONDS = 0.07  # of reading what nobody has read, until the answer says that there is more
BATCH = 100  # events


def thinned(points: Sequence[Place], most: int) -> list[Place]:
    """At most ``most``, 4 or more, in order: of each stretch the least and the greatest; the first and last stay."""
    if len(points) <= most:
        return list(points)
    inner, stretches = points[1:-1], (most - 2) // 2
    found = [points[0]]
    for number in range(stretches):
        part = inner[number * len(inner) // stretches : (number + 1) * len(inner) // stretches]
        if part:
            found += sorted({min(part, key=_value), max(part, key=_value)})
    return [*found, points[-1]]


def _value(point: Place) -> float:
    return point[1]


@dataclass
class Known:
    """What was read of a training.

    Attributes:
        last: number of the last event of figures.
        step: of the last point; of points that name none, how many there were.
        curves: by name.
        counts: points of each that were read.
        odd: values that are text, or no numbers, with their steps.
    """

    last: int = 0
    step: float = 0.0
    curves: dict[str, list[Place]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    odd: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, values: dict[str, Any]) -> None:
        """One point."""
        step = values.get("step")
        at = self.step + 1 if step is None or not _is_number(step) else float(step)
        if at < self.step:
            self._go_back(at)
        self.step = at
        for name, value in values.items():
            if name == "step" or (name not in self.counts and len(self.counts) >= MOST_NAMES):
                continue
            self.counts[name] = self.counts.get(name, 0) + 1
            if _is_number(value):
                curve = self.curves.setdefault(name, [])
                curve.append((at, float(value)))
                if len(curve) > KEPT_POINTS:
                    self.curves[name] = thinned(curve, KEPT_POINTS // 2)
            else:
                odd = self.odd.setdefault(name, [])
                if len(odd) < MOST_ODD:
                    odd.append((at, str(value)[:100]))

    def _go_back(self, step: float) -> None:
        """An attempt went on from an earlier step: what the one before said of this and later ones is gone."""
        for name, curve in self.curves.items():
            self.curves[name] = [point for point in curve if point[0] < step]
        for name, odd in self.odd.items():
            self.odd[name] = [one for one in odd if one[0] < step]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_KNOWN: OrderedDict[str, Known] = OrderedDict()
_LOCK = threading.Lock()


def known_of(database: Database, run_id: str) -> tuple[Known, bool]:
    """What is known of a training once its new events are read, and whether there are more than there was time for.

    Hold its ``lock`` while looking at it.
    """
    with _LOCK:
        known = _KNOWN.pop(run_id, None) or Known()
        _KNOWN[run_id] = known
        while len(_KNOWN) > REMEMBERED:
            _KNOWN.popitem(last=False)
    deadline = time.monotonic() + SECONDS
    with known.lock:
        while True:
            query = (
                select(events.c.number, events.c.data)
                .where(events.c.run_id == run_id, events.c.number > known.last, events.c.kind == "training.metrics")
                .order_by(events.c.number)
                .limit(BATCH)
            )
            with database.read() as connection:
                rows = connection.execute(query).all()
            for number, data in rows:
                for values in data["points"]:
                    known.add(values)
                known.last = number
            if len(rows) < BATCH:
                return known, False
            if time.monotonic() > deadline:
                return known, True
