"""``/schedules:new`` and ``/schedules/{name}/edit``: the form of a schedule, with the next fires as one types."""

from __future__ import annotations

import functools
import json
import zoneinfo
from datetime import datetime
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.http.models import NoNul
from api.pages.forms import body_of, lines_of, tried
from api.pages.render import page
from api.pages.visitors import Form, Visitor, Visits
from api.pipelines.routes import list_pipelines
from api.problems import Fault, Problem
from api.scheduling.cron import OF_A_MACHINE, zone_named
from api.scheduling.models import FireTimes, NewSchedule, PreviewRequest, Schedule, ScheduleChange
from api.scheduling.policy import Coalesce, Overlap
from api.scheduling.routes import ScheduleName, change_schedule, get_schedule, make_schedule, preview_policy
from api.sources.routes import list_sources
from curation.errors import InputError
from pipelines.recipe import PACKAGED

router = APIRouter(include_in_schema=False)
Writes = Annotated[Visitor, Depends(Visits("schedules:read", "schedules:write"))]
Text = Annotated[NoNul, Query(max_length=200)]
POLICY = {  # fields of a policy, and what an empty one stands for
    "cron": "30 2 * * *", "time_zone": "UTC", "starts_at": "", "ends_at": "", "jitter_seconds": "0", "overlap": "skip",
    "misfire_window_seconds": "3600", "coalesce": "latest", "max_catch_up": "5",
}  # fmt: skip
OVERLAPS = {
    "skip": "skip this one", "queue_one": "wait, unless another waits already", "queue_all": "wait",
    "cancel_other": "cancel them and start", "allow": "start beside them",
}  # fmt: skip
COALESCES = {"latest": "only the latest", "earliest": "only the earliest", "all": "all, up to a number"}
KEPT = "kept"  # the recipe that the schedule has


@functools.cache
def zones() -> list[str]:
    """Names that are offered: places, and UTC."""
    found = zoneinfo.available_timezones() - OF_A_MACHINE
    return ["UTC", *sorted(name for name in found if "/" in name and not name.startswith("Etc/"))]


def policy_of(form: dict[str, Any]) -> dict[str, Any]:
    """The policy of a form's fields; what is empty has its default."""
    policy = {name: form[name].strip() for name in POLICY if form.get(name, "").strip()}
    for name in ("starts_at", "ends_at"):
        if name in policy:
            policy[name] = _aware(policy[name], policy.get("time_zone", "UTC"))
    return {"cron": "", **policy}


def _aware(text: str, zone: str) -> str:
    """A moment of a wall clock, with its zone; what is none stays as it is."""
    try:
        moment = datetime.fromisoformat(text)
        return text if moment.tzinfo else moment.replace(tzinfo=zone_named(zone)).isoformat()
    except (ValueError, InputError):
        return text


def request_of(form: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The job of a form's fields.

    Args:
        base: the job that the schedule has; what the form does not ask stays.

    Raises:
        Problem: a line of the form is nothing that the API could be given.
    """
    request, faults = dict(base), []
    kind, _, chosen = form.get("recipe", "").partition(":")
    if kind != KEPT:
        request |= {"recipe": None, "recipe_yaml": None, "pipeline": None}
        if kind == "packaged":
            request["recipe"] = chosen
        elif kind == "pipeline":
            revision = form.get("revision", "").strip()
            request["pipeline"] = {"name": chosen, **({"revision": revision} if revision else {})}
        else:
            request["recipe_yaml"] = form.get("recipe_yaml", "")
    inputs = [line.partition(":") for line in lines_of(form.get("inputs", ""))]
    request["inputs"] = [{"source": source.strip(), "path": path.strip()} for source, _, path in inputs]
    request["publish"] = form.get("publish", "").strip() or None
    request["tags"] = form.get("tags", "").replace(",", " ").split()
    if form.get("priority", "").strip():
        request["priority"] = form["priority"].strip()
    request["thresholds"] = {}
    for line in lines_of(form.get("thresholds", "")):
        name, _, value = line.partition("=")
        try:
            request["thresholds"][name.strip()] = json.loads(value)
        except ValueError:
            message = f"{name.strip()[:100]!r}: write NAME=NUMBER, or NAME=null to switch a rule off"
            faults.append(Fault(pointer="/request/thresholds", code="threshold", message=message))
    if faults:
        raise Problem("invalid", f"{len(faults)} thing(s) are wrong", faults)
    return request


def fields_of(schedule: Schedule) -> dict[str, Any]:
    """Fields of a form that would change nothing."""
    policy, request = schedule.policy, schedule.request
    zone = zone_named(policy["time_zone"])
    fields = {name: "" if policy.get(name) is None else str(policy[name]) for name in POLICY}
    for name in ("starts_at", "ends_at"):
        if fields[name]:
            local = datetime.fromisoformat(fields[name].replace("Z", "+00:00")).astimezone(zone)
            fields[name] = f"{local:%Y-%m-%dT%H:%M:%S}"
    fields |= {
        "recipe": KEPT, "revision": "", "recipe_yaml": request.get("recipe_yaml") or "",
        "inputs": "\n".join(f"{one['source']}:{one['path']}" if one["path"] else one["source"]
                            for one in request["inputs"]),
        "publish": request.get("publish") or "", "tags": " ".join(request.get("tags") or []),
        "priority": str(request.get("priority", 0)), "only_new": "yes" if schedule.only_new else "",
        "thresholds": "\n".join(f"{name}={json.dumps(value)}" for name, value in request["thresholds"].items()),
    }  # fmt: skip
    if isinstance(request.get("recipe"), str):
        fields["recipe"] = f"packaged:{request['recipe']}"
    elif request.get("pipeline"):
        fields["recipe"] = f"pipeline:{request['pipeline']['name']}"
        fields["revision"] = str(request["pipeline"].get("revision") or "")
    elif request.get("recipe_yaml"):
        fields["recipe"] = "yaml:"
    return fields


def _form(
    visitor: Visitor, fields: dict[str, Any], schedule: Schedule | None = None, problem: Problem | None = None,
    version: str = "",
) -> Response:  # fmt: skip
    """The form, with what would be started next."""
    coming, wrong = _next(visitor, fields)
    pipelines = list_pipelines(visitor.context, visitor.principal, 200).items if visitor.may("pipelines:read") else []
    recipes = [(f"packaged:{name}", name) for name in PACKAGED]
    recipes += [(f"pipeline:{one.name}", f"pipeline {one.name}") for one in pipelines]
    recipes.append(("yaml:", "the YAML below"))
    if schedule is not None and fields["recipe"] == KEPT:
        recipes.insert(0, (KEPT, "the recipe that it has"))
    sources = list_sources(visitor.context, visitor.principal).items if visitor.may("sources:read") else []
    return page(
        visitor, "schedule_form.html", problem.status if problem else 200, schedule=schedule, given=fields,
        problem=problem, version=version, recipes=recipes, zones=zones(), coming=coming, wrong=wrong,
        overlaps=[(name, OVERLAPS[name]) for name in get_args(Overlap)], sources=[one.name for one in sources],
        coalesces=[(name, COALESCES[name]) for name in get_args(Coalesce)],
    )  # fmt: skip


def _next(visitor: Visitor, fields: dict[str, Any]) -> tuple[FireTimes | None, Problem | None]:
    wanted = {"policy": policy_of(fields), "count": 10}
    return tried(lambda: preview_policy(body_of(PreviewRequest, wanted), visitor.context, visitor.principal))


@router.get("/schedules:next", name="page_next_fires")
def page_next_fires(
    visitor: Writes, cron: Text = "", time_zone: Text = "", starts_at: Text = "", ends_at: Text = ""
) -> Response:  # fmt: skip
    """Only the next fires, for a form that is being filled in."""
    fields = {"cron": cron, "time_zone": time_zone, "starts_at": starts_at, "ends_at": ends_at}
    coming, wrong = _next(visitor, fields)
    return page(visitor, "schedule_next.html", coming=coming, wrong=wrong, given=fields)


@router.get("/schedules:new", name="page_new_schedule")
def page_new_schedule(visitor: Writes, source: Text = "") -> Response:
    fields = {**POLICY, "name": "", "recipe": "packaged:crawl", "revision": "", "recipe_yaml": "", "inputs": source,
              "publish": "", "tags": "", "priority": "0", "only_new": "yes", "thresholds": ""}  # fmt: skip
    return _form(visitor, fields)


@router.post("/schedules:new", name="page_make_schedule")
def page_make_schedule(visitor: Writes, form: Form) -> Response:
    fields = {**dict.fromkeys([*POLICY, *_ASKED], ""), **form}
    if form.get("look"):
        return _form(visitor, fields)

    def make() -> Schedule:
        body = {"name": fields["name"].strip(), "policy": policy_of(fields), "request": request_of(fields, {}),
                "only_new": fields["only_new"] == "yes"}  # fmt: skip
        return make_schedule(body_of(NewSchedule, body), Response(), visitor.context, visitor.principal)

    made, problem = tried(make)
    if made is None:
        return _form(visitor, fields, problem=problem)
    return RedirectResponse(f"/schedules/{made.name}", 303)


_ASKED = ("name", "recipe", "revision", "recipe_yaml", "inputs", "publish", "tags", "priority", "only_new",
          "thresholds")  # fmt: skip


def _read(visitor: Visitor, name: str) -> tuple[Schedule, str]:
    """A schedule and its version."""
    answer = Response()
    schedule = get_schedule(name, answer, visitor.context, visitor.principal)
    return schedule, answer.headers["ETag"].strip('"').partition("-")[0]


@router.get("/schedules/{name}/edit", name="page_edit_schedule")
def page_edit_schedule(name: ScheduleName, visitor: Writes) -> Response:
    schedule, version = _read(visitor, name)
    return _form(visitor, fields_of(schedule), schedule, version=version)


@router.post("/schedules/{name}/edit", name="page_change_schedule")
def page_change_schedule(name: ScheduleName, visitor: Writes, form: Form) -> Response:
    schedule, version = _read(visitor, name)
    fields = {**dict.fromkeys([*POLICY, *_ASKED], ""), **form}
    if form.get("look"):
        return _form(visitor, fields, schedule, version=form.get("version", ""))

    def change() -> Schedule:
        if form.get("version") != version:
            raise Problem("conflict", "Somebody changed it since this form was opened; look at it again.")
        body = {"policy": policy_of(fields), "request": request_of(fields, schedule.request),
                "only_new": fields["only_new"] == "yes"}  # fmt: skip
        wanted = body_of(ScheduleChange, body)
        return change_schedule(name, wanted, visitor.request, Response(), visitor.context, visitor.principal)

    made, problem = tried(change)
    if made is None:
        return _form(visitor, fields, schedule, problem, form.get("version", ""))
    return RedirectResponse(f"/schedules/{name}", 303)
