"""``/trainings/new``: from a dataset version, a stage, a family and a size to a configuration that can be edited."""

from __future__ import annotations

import json
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import RedirectResponse

from api.datasets.models import Dataset
from api.datasets.routes import list_datasets
from api.http.models import NoNul
from api.models.routes import get_model_version, list_models
from api.pages.forms import body_of, lines_of, tried
from api.pages.presets import FAMILIES, REWARDED, STAGES, STARTED, config_of, sizes_of
from api.pages.render import page
from api.pages.visitors import Form, Visitor, Visits
from api.problems import Fault, Problem
from api.runs.routes import get_run
from api.trainings.routes import NewTraining, start_training

router = APIRouter(include_in_schema=False)
Starts = Annotated[Visitor, Depends(Visits("runs:read", "datasets:read", "models:read", "trainings:write"))]
Word = Annotated[NoNul, Query(max_length=210)]
ROLES = ("start", "tokenizer", "reward")  # of models that a training may be given
MOST = 100  # datasets and models that are offered; others are found by their names


class Chosen(NamedTuple):
    """What the first form asks."""

    dataset: str = ""
    version: str = ""
    stage: str = ""
    family: str = ""
    size: str = ""
    start: str = ""
    tokenizer: str = ""
    reward: str = ""


def chosen_of(
    dataset: Word = "", version: Word = "", stage: Word = "", family: Word = "", size: Word = "", start: Word = "",
    tokenizer: Word = "", reward: Word = "",
) -> Chosen:  # fmt: skip
    """As the address has it."""
    return Chosen(dataset, version, stage, family, size, start, tokenizer, reward)


def _settled(chosen: Chosen, kind: str | None) -> Chosen:
    """What was left open, or cannot be, as it usually is."""
    fitting = [name for name, (_, kinds) in STAGES.items() if kind is None or kind in kinds]
    stage = chosen.stage if chosen.stage in STAGES else next(iter(fitting), "pretrain")
    family = chosen.family if chosen.family in FAMILIES else "dense"
    sizes = [one.name for one in sizes_of(family)]
    size = chosen.size if chosen.size in sizes else sizes[0]
    start = "" if stage == "tokenizer" else chosen.start
    tokenizer = "" if start or stage in ("tokenizer", *STARTED) else chosen.tokenizer
    reward = chosen.reward if stage in REWARDED else ""
    return Chosen(chosen.dataset, chosen.version or "latest", stage, family, size, start, tokenizer, reward)


@router.get("/trainings/new", name="page_new_training")
def page_new_training(visitor: Starts, asked: Annotated[Chosen, Depends(chosen_of)], like: Word = "") -> Response:
    datasets = list_datasets(visitor.context, visitor.principal, MOST).items
    kind = next((one.kind for one in datasets if one.name == asked.dataset), None)
    chosen = _settled(asked, kind)
    config = config_of(chosen.stage, chosen.family, chosen.size, fresh=not chosen.start, shares=bool(chosen.tokenizer))
    fields = {
        "name": "-".join(part for part in (chosen.dataset, chosen.stage) if part), "model": "", "note": "",
        "datasets": f"{chosen.dataset}@{chosen.version}" if chosen.dataset else "", "start": chosen.start,
        "tokenizer": chosen.tokenizer, "reward": chosen.reward, "config": _text(config),
    }  # fmt: skip
    if like:
        fields |= _like(visitor, like)
    return _form(visitor, chosen, fields, datasets, kind, like=like)


def _text(config: Any) -> str:
    return json.dumps(config, indent=2, ensure_ascii=False)


def _like(visitor: Visitor, run_id: str) -> dict[str, str]:
    """Fields that would start a training like another."""
    run = get_run(run_id, visitor.request, Response(), visitor.context, visitor.principal)
    if run.kind != "training":
        raise Problem("not-found", "this run is no training")
    given = [(one.get("role"), f"{one['source']}@{one['path'].removeprefix('version ')}") for one in run.inputs]
    roles = {role: ref for role, ref in given if role}
    return {
        "name": run.name, "note": run.note, "datasets": "\n".join(ref for role, ref in given if not role),
        "config": _text(run.config), **{role: roles.get(role, "") for role in ROLES},
    }  # fmt: skip


def _form(
    visitor: Visitor, chosen: Chosen, fields: dict[str, Any], datasets: list[Dataset], kind: str | None,
    problem: Problem | None = None, like: str = "",
) -> Response:  # fmt: skip
    sizes = sizes_of(chosen.family)
    return page(
        visitor, "training_new.html", problem.status if problem else 200, chosen=chosen, given=fields, problem=problem,
        datasets=[("", "choose")] + [(one.name, f"{one.name} ({one.kind})") for one in datasets], kind=kind, like=like,
        stages=[(name, f"{name}: {word}") for name, (word, _) in STAGES.items()], sizes=sizes,
        size_words=[(one.name, f"{one.name}: {_short(one.parameters)} weights") for one in sizes],
        families=[(name, f"{name}: {word}") for name, word in FAMILIES.items()], models=model_options(visitor),
        meant=next(one for one in sizes if one.name == chosen.size), reads=STAGES[chosen.stage][1],
        needs_start=chosen.stage in STARTED, needs_reward=chosen.stage in REWARDED,
    )  # fmt: skip


def _short(number: int) -> str:
    """``2.7 M``."""
    for unit, word in ((10**9, "G"), (10**6, "M")):
        if number >= unit:
            return f"{number / unit:.3g} {word}"
    return f"{number:,}"


def model_options(visitor: Visitor) -> list[tuple[str, str]]:
    """Registered models, by their latest versions and aliases, and what they are."""
    found = []
    for model in list_models(visitor.context, visitor.principal, MOST).items:
        latest = get_model_version(model.name, "latest", visitor.context, visitor.principal)
        what = ", ".join(word for word in (latest.kind, latest.family, latest.stage) if word)
        found.append((f"{model.name}@{latest.number}", f"{model.name}, version {latest.number} ({what})"))
        found += [(f"{model.name}@{n}", f"{model.name}, {alias}: version {n}") for alias, n in model.aliases.items()
                  if n != latest.number]  # fmt: skip
    return found


@router.post("/trainings/new", name="page_start_training")
def page_start_training(visitor: Starts, form: Form) -> Response:
    names = ("name", "model", "datasets", *ROLES, "config", "note")
    fields = {name: form.get(name, "") for name in names}
    made, problem = tried(
        lambda: start_training(body_of(NewTraining, _body(fields)), Response(), visitor.context, visitor.principal)
    )
    if made is None:
        datasets = list_datasets(visitor.context, visitor.principal, MOST).items
        return _form(visitor, _settled(Chosen(), None), fields, datasets, None, problem, like="given")
    return RedirectResponse(f"/trainings/{made.id}", 303)


def json_of(text: str) -> Any:
    """JSON of a field.

    Raises:
        Problem: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        message = "this is nested too deeply" if isinstance(error, RecursionError) else f"this is no JSON: {error}"
        fault = Fault(pointer="/config", code="json", message=message)
        raise Problem("invalid", "1 thing(s) are wrong", [fault]) from None


def _body(fields: dict[str, str]) -> dict[str, Any]:
    """The body of the request."""
    models = [{**ref_of(fields[role]), "role": role} for role in ROLES if fields[role].strip()]
    return {
        "name": fields["name"].strip(), "datasets": [ref_of(line) for line in lines_of(fields["datasets"])],
        "models": models, "config": json_of(fields["config"]), "note": fields["note"],
        **({"model": fields["model"].strip()} if fields["model"].strip() else {}),
    }  # fmt: skip


def ref_of(text: str) -> dict[str, str]:
    """``NAME@VERSION``; the latest version without one."""
    name, _, version = text.strip().partition("@")
    return {"name": name.strip(), **({"version": version.strip()} if version.strip() else {})}
