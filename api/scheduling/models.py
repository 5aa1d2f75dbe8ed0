"""Schedules as the API takes and shows them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.http.models import Body, Name, example
from api.http.times import text_of
from api.runs.requests import RunRequest
from api.scheduling.policy import SchedulePolicy


class ScheduledRun(RunRequest):
    """The job of a schedule.

    In the paths of its inputs `{date}`, `{year}`, `{month}`, `{day}` and `{hour}` stand for the nominal time, on the
    wall clock of the schedule's zone.
    """

    kind: Literal["curate"] = "curate"


class NewSchedule(Body):
    """A schedule."""

    model_config = example(
        name="nightly",
        policy={"cron": "30 2 * * *", "time_zone": "Europe/Berlin", "jitter_seconds": 300},
        request={"recipe": "crawl", "inputs": [{"source": "crawl", "path": "{date}/*.warc.gz"}], "publish": "web"},
    )

    name: Name
    policy: SchedulePolicy
    request: ScheduledRun
    only_new: bool = Field(
        default=True,
        description="Whether each run reads only shards that no earlier run of the schedule has read, and removes "
        "what the earlier ones published.",
    )
    paused: bool = False


class ScheduleChange(Body):
    """What may be changed of a schedule; each part is replaced whole."""

    model_config = example(policy={"cron": "0 3 * * 1-5", "time_zone": "Asia/Shanghai", "overlap": "queue_one"})

    policy: SchedulePolicy | None = None
    request: ScheduledRun | None = None
    only_new: bool | None = None


class Schedule(BaseModel):
    """A schedule."""

    id: str
    name: str
    policy: dict[str, Any]
    request: dict[str, Any]
    only_new: bool
    paused: bool
    next: str | None = Field(description="When it fires next, jitter included; null when it is paused or has ended.")
    decided_until: str = Field(description="Every nominal time up to here has its decision.")
    created_at: str
    created_by: str
    updated_at: str


class ScheduleList(BaseModel):
    """Schedules by name."""

    items: list[Schedule]
    next: str | None = Field(description="Cursor of the next page; null at the end.")


class PreviewRequest(Body):
    """A policy that is being thought about."""

    model_config = example(policy={"cron": "30 2 * * *", "time_zone": "Europe/Berlin"}, count=10)

    policy: SchedulePolicy
    count: int = Field(default=10, ge=1, le=100)


class FireTime(BaseModel):
    """A fire to come."""

    nominal: str = Field(description="What the cron expression names.")
    due: str = Field(description="With jitter. An unsaved policy has none yet: it depends on the schedule's id.")
    local: str = Field(description="The nominal time on the wall clock of the schedule's zone.")


class FireTimes(BaseModel):
    """Fires to come, in order."""

    items: list[FireTime]


class FireRecord(BaseModel):
    """What was decided about one nominal time."""

    nominal: str
    outcome: Literal["started", "skipped", "missed", "coalesced"]
    reason: str | None
    run: str | None = Field(description="Id of the run that was started.")
    run_state: str | None = Field(default=None, description="State of that run now.")
    decided_at: str


class FirePage(BaseModel):
    """Decisions, latest nominal time first."""

    items: list[FireRecord]
    next: str | None


class CalendarDay(BaseModel):
    """A date of a schedule's zone."""

    date: date
    fires: dict[str, int] = Field(
        description="Nominal times with their decision, by outcome; `started` ones by the state of their run now."
    )
    coming: int = Field(description="Nominal times without a decision yet.")
    run: str | None = Field(description="Id of the run, where the date has just one.")
    at: str | None = Field(description="The nominal time on the wall clock, where the date has just one.")


class Calendar(BaseModel):
    """A month of a schedule, on the wall clock of its zone."""

    month: str
    time_zone: str
    today: date
    days: list[CalendarDay]
    complete: bool = Field(description="Whether all that will come was counted; at most 2,000 are.")


class Backfill(Body):
    """Runs for nominal times of a range of dates, in the schedule's zone."""

    model_config = example(first_date="2026-11-01", last_date="2026-11-07", dry_run=True)

    first_date: date
    last_date: date
    dry_run: bool = Field(default=True, description="Whether only to show what would be started.")


class BackfillTime(BaseModel):
    """One nominal time of a backfill."""

    nominal: str
    action: Literal["start", "exists"]
    run: str | None = Field(description="The run that is there, or was started.")


class BackfillResult(BaseModel):
    """What a backfill starts, or would; oldest first, each run waits for the one before."""

    dry_run: bool
    items: list[BackfillTime]


def fire_record_of(row: Any) -> FireRecord:
    """A row of decisions."""
    return FireRecord(nominal=text_of(row["nominal"]), outcome=row["outcome"], reason=row["reason"],
                      run=row["run_id"], run_state=row["run_state"], decided_at=text_of(row["decided_at"]))  # fmt: skip


def local_text(moment: datetime, zone: Any) -> str:
    """A moment on a wall clock, with its offset."""
    return moment.astimezone(zone).isoformat(timespec="seconds")
