"""What a schedule promises: when it fires, how late it may start, and what happens when runs meet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from api.scheduling.cron import LONGEST_EXPRESSION, Cron, check_expression, most_fires, utc, zone_named
from curation.errors import InputError

Overlap = Literal["skip", "queue_one", "queue_all", "cancel_other", "allow"]
Coalesce = Literal["latest", "earliest", "all"]
Moment = Annotated[datetime, AfterValidator(utc)]

MOST_JITTER_SECONDS = 3600
LEAST_WINDOW_SECONDS = 10
MOST_WINDOW_SECONDS = 366 * 24 * 3600
MOST_FIRES_IN_WINDOW = 10_000


class Fire(NamedTuple):
    """A time that the cron expression names, and the time at which it is due; both in UTC."""

    nominal: datetime
    due: datetime


class SchedulePolicy(BaseModel):
    """When a schedule fires and what becomes of each fire.

    Attributes:
        cron: five fields: minute, hour, day of month, month, day of week.
        time_zone: name in the IANA database whose wall clock ``cron`` reads.
        starts_at: no nominal time is earlier than this.
        ends_at: every nominal time is earlier than this.
        jitter_seconds: a fire is due up to this many whole seconds after its nominal time, and always before the
            next nominal time, so that fires keep their order; 0 to 3600.
        overlap: what a fire does while earlier runs of the schedule are unfinished: ``skip`` itself; ``queue_one``
            waits unless another waits already; ``queue_all`` waits; ``cancel_other`` cancels them and starts;
            ``allow`` starts beside them.
        misfire_window_seconds: a fire that was due longer ago than this is missed; 10 to 31622400 (366 days), and
            few enough for 10000 fires.
        coalesce: which fires start of several that are due and not missed: the ``latest``, the ``earliest``, or
            ``all`` up to ``max_catch_up``.
        max_catch_up: with ``all``, this many of the latest start; the older ones are coalesced; 1 to 100.

    Raises:
        ValidationError: names the field and what is wrong with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    cron: str = Field(max_length=LONGEST_EXPRESSION)
    time_zone: str = Field(default="UTC", max_length=100)
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    jitter_seconds: int = Field(default=0, ge=0, le=MOST_JITTER_SECONDS)
    overlap: Overlap = "skip"
    misfire_window_seconds: int = Field(default=3600, ge=LEAST_WINDOW_SECONDS, le=MOST_WINDOW_SECONDS)
    coalesce: Coalesce = "latest"
    max_catch_up: int = Field(default=5, ge=1, le=100)

    @field_validator("cron")
    @classmethod
    def _is_expression(cls, value: str) -> str:
        try:
            check_expression(value)
        except InputError as error:
            raise ValueError(str(error)) from None
        return " ".join(value.split())

    @field_validator("time_zone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            zone_named(value)
        except InputError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.starts_at is not None and self.ends_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("ends_at is not after starts_at")
        return self

    @model_validator(mode="after")
    def _window_is_small(self) -> Self:
        if self.misfire_window_seconds >= MOST_FIRES_IN_WINDOW * 60:  # else one a minute is not too many
            most = most_fires(self.cron, self.window)
            if most > MOST_FIRES_IN_WINDOW:
                raise ValueError(
                    f"misfire_window_seconds: a window of {self.misfire_window_seconds} s may hold {most} fires of "
                    f"{self.cron!r}, more than {MOST_FIRES_IN_WINDOW}; make the window shorter or fire less often"
                )
        return self

    @property
    def clock(self) -> Cron:
        """The cron expression in its zone, without start and end."""
        return _cron(self.cron, self.time_zone)

    @property
    def window(self) -> timedelta:
        """How late a fire may be started."""
        return timedelta(seconds=self.misfire_window_seconds)

    def fires(self, schedule_id: str, after: datetime, until: datetime | None = None) -> Iterator[Fire]:
        """Fires whose nominal time is strictly after ``after`` and at most ``until``, ascending in both times."""
        begin = utc(after)
        if self.starts_at is not None:
            begin = max(begin, self.starts_at - timedelta(microseconds=1))
        for nominal, following in pairwise(self.clock.after(begin)):
            if (until is not None and nominal > until) or (self.ends_at is not None and nominal >= self.ends_at):
                return
            # Before the next nominal time: a jitter that could pass it would let one fire hold up others.
            most = min(self.jitter_seconds, int((following - nominal).total_seconds()) - 1)
            yield Fire(nominal, nominal + timedelta(seconds=jitter(schedule_id, nominal, most)))


def jitter(schedule_id: str, nominal: datetime, most: int) -> int:
    """Delay of one fire, 0 to ``most`` whole seconds: the same on every machine, and spread over schedules."""
    text = f"{schedule_id}\n{utc(nominal).isoformat()}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) % (most + 1)


@lru_cache(maxsize=1024)
def _cron(expression: str, zone: str) -> Cron:
    return Cron(expression, zone)
