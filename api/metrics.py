"""``/metrics``: what Prometheus asks for.

Names and labels are a contract with dashboards; `deploy/grafana` holds one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from api.http.context import Needs
from api.runs.states import QUEUED
from api.store.database import Database
from api.store.tables import STATES, attempts, deliveries, runs

router = APIRouter(tags=["operation"])
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds


class Metrics:
    """Counters of one application, and gauges that are read from its database when somebody asks."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        labels = ["method", "route", "status"]
        self._requests = Counter("gristmill_http_requests", "Requests answered", labels, registry=self.registry)
        self._seconds = Histogram(
            "gristmill_http_request_seconds", "Time to the end of an answer", ["method", "route"], buckets=BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_State(database))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            route: as it is declared, never the path that was asked for: there are endlessly many of those.
        """
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class _State(Collector):
    """What the database says now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: asking would need the database at start."""
        return []

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The gauges; without a database only the word that it is away."""
        up = GaugeMetricFamily("gristmill_database_up", "Whether the database answers")
        try:
            gauges = list(self._gauges())
        except SQLAlchemyError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield from [up, *gauges]

    def _gauges(self) -> Iterable[GaugeMetricFamily]:
        with self.database.read() as connection:
            now = self.database.now(connection)
            counted = select(runs.c.state, func.count()).group_by(runs.c.state)
            by_state: dict[str, int] = dict(connection.execute(counted).tuples().all())
            oldest = select(func.min(runs.c.updated_at)).where(runs.c.state == QUEUED, runs.c.not_before <= now)
            since = connection.execute(oldest).scalar_one_or_none()
            sent = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
            by_delivery: dict[str, int] = dict(connection.execute(sent).tuples().all())
            open_ = select(func.count()).select_from(attempts).where(attempts.c.finished_at.is_(None))
            at_work = connection.execute(open_).scalar_one()
        states = GaugeMetricFamily("gristmill_runs", "Runs by state", labels=["state"])
        for state in STATES:
            states.add_metric([state], by_state.get(state, 0))
        yield states
        waits = GaugeMetricFamily("gristmill_queue_oldest_seconds", "How long the oldest queued run has waited")
        waits.add_metric([], 0 if since is None else max(0.0, (now - since) / 1000))
        yield waits
        outbox = GaugeMetricFamily("gristmill_deliveries", "Messages to webhooks by state", labels=["state"])
        for state in ("pending", "delivered", "parked"):
            outbox.add_metric([state], by_delivery.get(state, 0))
        yield outbox
        attempts_open = GaugeMetricFamily("gristmill_attempts_open", "Attempts that have not ended")
        attempts_open.add_metric([], at_work)
        yield attempts_open


@router.get(
    "/metrics", summary="For Prometheus", response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)  # fmt: skip
def get_metrics(request: Request, _: Annotated[object, Depends(Needs("metrics:read"))]) -> Response:
    metrics: Metrics = request.app.state.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
