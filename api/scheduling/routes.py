"""``/schedules``: nights, and what was decided about each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from api.access.audit import record
from api.access.principals import Principal
from api.http import pages
from api.http.context import Context, Ctx, Needs, check_match, etag
from api.http.named import is_taken, page_by_name
from api.http.times import milliseconds_of, text_of
from api.problems import Fault, Problem, responses
from api.runs.models import Run, run_of
from api.runs.requests import resolve
from api.runs.states import CANCELLED, FAILED
from api.scheduling import store
from api.scheduling.backfill import backfill_times
from api.scheduling.calendar import month_of
from api.scheduling.cron import zone_named
from api.scheduling.decide import Outcome, next_due
from api.scheduling.models import (
    Backfill,
    BackfillResult,
    BackfillTime,
    Calendar,
    FirePage,
    FireTime,
    FireTimes,
    NewSchedule,
    PreviewRequest,
    Schedule,
    ScheduleChange,
    ScheduledRun,
    ScheduleList,
    fire_record_of,
    local_text,
)
from api.scheduling.policy import SchedulePolicy
from api.store.ids import new_id
from api.store.tables import fires, runs, schedules
from curation.errors import InputError

router = APIRouter(prefix="/schedules", tags=["schedules"])
commands = APIRouter(tags=["schedules"])
Reader = Annotated[Principal, Depends(Needs("schedules:read"))]
Writer = Annotated[Principal, Depends(Needs("schedules:write"))]
ScheduleName = Annotated[str, Path(max_length=100)]
Month = Annotated[
    str | None, Query(max_length=7, pattern=r"^\d{4}-\d{2}$", description="Such as 2026-11; this one by default.")
]
MOST_BACKFILLED = 400  # runs of one backfill: a year of nights and a month


def schedule_of(row: RowMapping) -> Schedule:
    """A row as the API shows it."""
    due = None if row["paused"] else next_due(store.policy_of(row), row["id"], store.moment(row["decided_until"]))
    return Schedule(
        id=row["id"], name=row["name"], policy=row["policy"], request=row["request"], only_new=bool(row["only_new"]),
        paused=bool(row["paused"]), next=None if due is None else text_of(store.milliseconds(due)),
        decided_until=text_of(row["decided_until"]), created_at=text_of(row["created_at"]),
        created_by=row["created_by"], updated_at=text_of(row["updated_at"]),
    )  # fmt: skip


def _check_request(connection: Connection, context: Context, request: ScheduledRun, policy: SchedulePolicy) -> None:
    """The job must be valid now, as if it were started now."""
    now = store.moment(context.database.now(connection)).astimezone(zone_named(policy.time_zone))
    try:
        resolve(connection, context.settings, store.dated(request, now))
    except Problem as problem:
        faults = [fault.model_copy(update={"pointer": f"/request{fault.pointer}"}) for fault in problem.errors]
        raise Problem(problem.code, problem.detail, faults) from None


@router.get("", summary="List schedules")
def list_schedules(
    context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None
) -> ScheduleList:  # fmt: skip
    with context.database.read() as connection:
        rows, following = page_by_name(connection, schedules, limit, cursor)
    return ScheduleList(items=[schedule_of(row) for row in rows], next=following)


@router.post("", status_code=201, summary="Make a schedule", responses=responses("conflict"))
def make_schedule(new: NewSchedule, response: Response, context: Ctx, principal: Writer) -> Schedule:
    """It decides about nominal times from now on; a backfill reaches back."""
    with context.database.write() as connection:
        if is_taken(connection, schedules, new.name):
            raise Problem("conflict", "there is a schedule of this name")
        _check_request(connection, context, new.request, new.policy)
        now = context.database.now(connection)
        values = {
            "id": new_id(now), "name": new.name, "version": 1, "paused": int(new.paused),
            "policy": new.policy.model_dump(mode="json"), "request": new.request.model_dump(mode="json"),
            "only_new": int(new.only_new), "decided_until": now, "created_at": now, "created_by": principal.name,
            "updated_at": now,
        }  # fmt: skip
        connection.execute(insert(schedules).values(values))
        record(connection, principal.name, "schedule.make", new.name, now)
        row = store.find_schedule(connection, new.name)
    response.headers["ETag"] = etag(row)
    response.headers["Location"] = f"/api/v1/schedules/{new.name}"
    return schedule_of(row)


@commands.post("/schedules:preview", summary="Next fires of a policy that is not saved")
def preview_policy(request: PreviewRequest, context: Ctx, _: Reader) -> FireTimes:
    with context.database.read() as connection:
        now = context.database.now(connection)
    return _next_fires(request.policy.model_copy(update={"jitter_seconds": 0}), "", now, request.count)


def _next_fires(policy: SchedulePolicy, schedule_id: str, now: int, count: int) -> FireTimes:
    zone, items = zone_named(policy.time_zone), []
    for fire in policy.fires(schedule_id, store.moment(now)):
        nominal, due = store.milliseconds(fire.nominal), store.milliseconds(fire.due)
        items.append(FireTime(nominal=text_of(nominal), due=text_of(due), local=local_text(fire.nominal, zone)))
        if len(items) == count:
            break
    return FireTimes(items=items)


@router.get("/{name}", summary="One schedule", responses=responses("not-found"))
def get_schedule(name: ScheduleName, response: Response, context: Ctx, _: Reader) -> Schedule:
    with context.database.read() as connection:
        row = store.find_schedule(connection, name)
    response.headers["ETag"] = etag(row)
    return schedule_of(row)


@router.patch("/{name}", summary="Change a schedule", responses=responses("not-found", "changed-meanwhile"))
def change_schedule(
    name: ScheduleName, change: ScheduleChange, request: Request, response: Response, context: Ctx, principal: Writer,
) -> Schedule:  # fmt: skip
    """What was due before the change is decided by the old policy."""
    with context.database.write() as connection:
        row = store.find_schedule(connection, name, lock=True)
        check_match(request, row)
        now = context.database.now(connection)
        policy = change.policy or store.policy_of(row)
        wanted = change.request or ScheduledRun.model_validate(row["request"])
        _check_request(connection, context, wanted, policy)
        values: dict[str, Any] = {"policy": policy.model_dump(mode="json"), "request": wanted.model_dump(mode="json")}
        if change.only_new is not None:
            values["only_new"] = int(change.only_new)
        row = _change(connection, context, row, now, principal.name, values)
        record(connection, principal.name, "schedule.change", name, now, {"fields": sorted(change.model_fields_set)})
    response.headers["ETag"] = etag(row)
    return schedule_of(row)


def _change(
    connection: Connection, context: Context, row: RowMapping, now: int, who: str, values: dict[str, Any]
) -> RowMapping:
    row = store.close_out(connection, context.settings, row, now, who)
    here = schedules.c.id == row["id"]
    connection.execute(update(schedules).where(here).values(**values, version=row["version"] + 1, updated_at=now))
    return store.find_schedule(connection, row["name"])


def _set_paused(name: str, request: Request, response: Response, context: Context, who: str, paused: bool) -> Schedule:
    with context.database.write() as connection:
        row = store.find_schedule(connection, name, lock=True)
        check_match(request, row)
        now = context.database.now(connection)
        if bool(row["paused"]) != paused:
            row = _change(connection, context, row, now, who, {"paused": int(paused)})
            record(connection, who, f"schedule.{'pause' if paused else 'resume'}", name, now)
    response.headers["ETag"] = etag(row)
    return schedule_of(row)


@router.post(
    "/{name}/pause", summary="Skip what is due until it is resumed",
    responses=responses("not-found", "changed-meanwhile"),
)  # fmt: skip
def pause_schedule(
    name: ScheduleName, request: Request, response: Response, context: Ctx, principal: Writer
) -> Schedule:
    return _set_paused(name, request, response, context, principal.name, True)


@router.post(
    "/{name}/resume", summary="Start what is due from now on", responses=responses("not-found", "changed-meanwhile")
)
def resume_schedule(
    name: ScheduleName, request: Request, response: Response, context: Ctx, principal: Writer
) -> Schedule:
    return _set_paused(name, request, response, context, principal.name, False)


@router.delete("/{name}", status_code=204, summary="Remove a schedule", responses=responses("not-found"))
def remove_schedule(name: ScheduleName, context: Ctx, principal: Writer) -> None:
    """Its decisions go; its runs stay, and go on."""
    with context.database.write() as connection:
        row = store.find_schedule(connection, name, lock=True)
        now = context.database.now(connection)
        connection.execute(delete(fires).where(fires.c.schedule_id == row["id"]))
        connection.execute(delete(schedules).where(schedules.c.id == row["id"]))
        record(connection, principal.name, "schedule.remove", name, now, {"id": row["id"]})


@router.post(
    "/{name}/trigger", status_code=202, summary="Start a run of it now", responses=responses("not-found", "conflict")
)
def trigger_schedule(name: ScheduleName, response: Response, context: Ctx, principal: Writer) -> Run:
    """The run waits for unfinished ones of the schedule, unless its policy lets runs overlap."""
    with context.database.write() as connection:
        row = store.find_schedule(connection, name, lock=True)
        now = context.database.now(connection)
        waits = store.policy_of(row).overlap != "allow"
        run = store.start(connection, context.settings, row, None, waits, principal.name, now, "triggered")
        record(connection, principal.name, "schedule.trigger", name, now, {"run": run["id"]})
    response.headers["Location"] = f"/api/v1/runs/{run['id']}"
    return run_of(run)


@router.get("/{name}/next", summary="Fires to come", responses=responses("not-found"))
def list_next_fires(
    name: ScheduleName, context: Ctx, _: Reader, count: Annotated[int, Query(ge=1, le=100)] = 10
) -> FireTimes:  # fmt: skip
    with context.database.read() as connection:
        row = store.find_schedule(connection, name)
        now = max(context.database.now(connection), row["decided_until"])
    return _next_fires(store.policy_of(row), row["id"], now, count)


@router.get("/{name}/calendar", summary="A month of nights", responses=responses("not-found"))
def get_calendar(name: ScheduleName, context: Ctx, _: Reader, month: Month = None) -> Calendar:
    """What became of each date, and what is to come."""
    with context.database.read() as connection:
        row = store.find_schedule(connection, name)
        try:
            return month_of(connection, row, month, context.database.now(connection))
        except InputError as error:
            fault = Fault(pointer="query/month", code="month", message=error.message)
            raise Problem("invalid", error.message, [fault]) from None


@router.get("/{name}/fires", summary="Decisions about past nominal times", responses=responses("not-found"))
def list_fires(
    name: ScheduleName, context: Ctx, _: Reader, limit: pages.Limit = 50, cursor: pages.Cursor = None,
    outcome: Outcome | None = None,
    nominal_after: Annotated[datetime | None, Query(description="At or after this nominal time.")] = None,
    nominal_before: Annotated[datetime | None, Query(description="Before this nominal time.")] = None,
) -> FirePage:  # fmt: skip
    begin = None if nominal_after is None else milliseconds_of(nominal_after)
    end = None if nominal_before is None else milliseconds_of(nominal_before)
    filters = {"schedule": name, "outcome": outcome, "after": begin, "before": end}
    after = pages.decode(cursor, filters, (int,))
    with context.database.read() as connection:
        row = store.find_schedule(connection, name)
        query = (
            select(fires, runs.c.state.label("run_state"))
            .outerjoin(runs, runs.c.id == fires.c.run_id)
            .where(fires.c.schedule_id == row["id"])
        )
        if outcome is not None:
            query = query.where(fires.c.outcome == outcome)
        if begin is not None:
            query = query.where(fires.c.nominal >= begin)
        if end is not None:
            query = query.where(fires.c.nominal < end)
        if after is not None:
            query = query.where(fires.c.nominal < after[0])
        rows = list(connection.execute(query.order_by(fires.c.nominal.desc()).limit(limit + 1)).mappings())
    following = pages.encode([rows[limit - 1]["nominal"]], filters) if len(rows) > limit else None
    return FirePage(items=[fire_record_of(one) for one in rows[:limit]], next=following)


@router.post("/{name}/backfill", summary="Run for past dates", responses=responses("not-found"))
def backfill_schedule(name: ScheduleName, backfill: Backfill, context: Ctx, principal: Writer) -> BackfillResult:
    """A nominal time whose run is there, unless it failed or was cancelled, is not run again."""
    with context.database.write() as connection:
        row = store.find_schedule(connection, name, lock=True)
        now = context.database.now(connection)
        policy = store.policy_of(row)
        times = backfill_times(policy, backfill.first_date, backfill.last_date, MOST_BACKFILLED)
        if times and times[-1] > datetime.fromtimestamp(now / 1000, UTC):
            message = "a backfill is for the past; the schedule itself will see to the rest"
            raise Problem("invalid", message, [Fault(pointer="/last_date", code="future", message=message)])
        there = _runs_by_nominal(connection, row["id"])
        items = []
        for place, nominal in enumerate(times):
            at = store.milliseconds(nominal)
            run_id, action = there.get(at), "exists" if at in there else "start"
            if action == "start" and not backfill.dry_run:
                run = store.start(
                    connection, context.settings, row, nominal, True, principal.name, now + place, "backfill"
                )
                run_id = run["id"]
            items.append(BackfillTime(nominal=text_of(at), action=action, run=run_id))  # type: ignore[arg-type]
        if not backfill.dry_run:
            detail = {"first": backfill.first_date.isoformat(), "last": backfill.last_date.isoformat()}
            record(connection, principal.name, "schedule.backfill", name, now, detail)
    return BackfillResult(dry_run=backfill.dry_run, items=items)


def _runs_by_nominal(connection: Connection, schedule_id: str) -> dict[int, str]:
    query = select(runs.c.nominal, runs.c.id).where(
        runs.c.schedule_id == schedule_id, runs.c.nominal.is_not(None), runs.c.state.not_in([FAILED, CANCELLED])
    )
    return {nominal: run_id for nominal, run_id in connection.execute(query)}
