"""``/runs/new``: a recipe, what it reads, its thresholds; checked as it is written, forecast, previewed, started."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.pages.render import page
from api.pages.runs import words_of
from api.pages.thresholds import changed_thresholds, fields_of
from api.pages.visitors import Form, Visitor, Visits
from api.pipelines.routes import list_pipelines
from api.problems import Fault, Problem, invalid
from api.runs.overview import RecipeExplained, RuleExplained, explain_recipe
from api.runs.requests import RecipeChoice, RunRequest
from api.runs.routes import estimate_run, submit_run, validate_run
from api.sources.routes import Folder, browse_source, list_sources
from pipelines.recipe import PACKAGED

router = APIRouter(include_in_schema=False)
Writes = Annotated[Visitor, Depends(Visits("runs:read", "runs:write"))]
MOST_INPUTS = 50  # rows of the form
FIELDS = ("name", "publish", "tags", "note", "priority", "sample_share")
ACTIONS = ("check", "choose", "add", "estimate", "preview", "submit")


@dataclass
class Draft:
    """A form as it was filled in, and what is known of it.

    Attributes:
        form: fields by name.
        faults: messages by the field they belong to; those of no field under an empty name.
        checked: whether everything was looked at and is in order.
        looked: row whose source is looked into, with what lies there.
    """

    form: dict[str, str]
    explained: RecipeExplained | None = None
    faults: dict[str, list[str]] = field(default_factory=dict)
    checked: bool = False
    looked: tuple[int, str, Folder] | None = None

    @property
    def rows(self) -> int:
        """How many rows of inputs there are."""
        text = self.form.get("rows", "1")
        return min(MOST_INPUTS, max(1, int(text))) if text.isascii() and text.isdigit() and len(text) < 4 else 1

    def blame(self, name: str, message: str) -> None:
        """Note a fault at a field."""
        self.faults.setdefault(name, []).append(message)

    def mark(self) -> str:
        """Which recipe is chosen: thresholds belong to it and to no other."""
        text = f"{self.form.get('choice', '')}\0{self.form.get('paste', '')}"
        return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


@router.get("/runs/new", name="page_new_run")
def page_new_run(visitor: Writes) -> Response:
    given = {name: value[:2000] for name, value in visitor.request.query_params.items()}
    draft = Draft({"rows": "1", **given})
    sources = _sources(visitor)
    if len(sources) == 1:
        draft.form.setdefault("source.0", sources[0])
    for choice in [given["choice"]] if "choice" in given else _likely(visitor):
        draft.form["choice"], draft.faults = choice, {}
        _explain(visitor, draft)
        if draft.explained is not None:
            break
    return _page(visitor, draft, 200)


def _likely(visitor: Visitor) -> list[str]:
    """Recipes to begin with: one of this service, the whole crawl, or, where it has no models, one without any."""
    return [*(f"pipeline:{name}" for name in _pipelines(visitor)[:1]), "recipe:crawl", "recipe:fineweb"]


@router.post("/runs/new", name="page_submit_run")
def page_submit_run(visitor: Writes, form: Form) -> Response:
    draft = Draft(dict(form))
    if form.get("shown") != draft.mark():  # of another recipe
        draft.form = {name: value for name, value in form.items() if not name.startswith("t.")}
    action = form.get("do", "check")
    _explain(visitor, draft)
    if action == "add":
        draft.form["rows"] = str(draft.rows + 1)
    elif action.partition(":")[0] in ("browse", "into", "take"):
        _browse(visitor, draft, action)
    elif action in ("check", "estimate", "preview", "submit"):
        answer = _act(visitor, draft, action)
        if answer is not None:
            return answer
    return _page(visitor, draft)


def _page(visitor: Visitor, draft: Draft, status: int | None = None) -> Response:
    languages = (draft.explained.languages if draft.explained else None) or ["en", "zh"]
    stages = [
        (stage, [(rule, fields_of(rule, draft.form, languages)) for rule in stage.rules if rule.parameter is not None])
        for stage in (draft.explained.stages if draft.explained else [])
    ]
    slots = [f"source.{n}" for n in range(draft.rows)] + [f"path.{n}" for n in range(draft.rows)]
    refused = bool(draft.faults) and not visitor.live  # htmx shows no answer that says of itself that it is an error
    return page(
        visitor, "new_run.html", status or (422 if refused else 200), draft=draft, form=draft.form,
        stages=[(stage.stage, stage.about, rules, any(one.changed for _, fields in rules for one in fields))
                for stage, rules in stages if rules],
        sources=_sources(visitor), pipelines=_pipelines(visitor), packaged=PACKAGED, key=uuid4().hex,
        slots=[*slots, "choice", "paste", "thresholds", *FIELDS],
    )  # fmt: skip


def _sources(visitor: Visitor) -> list[str]:
    if not visitor.may("sources:read"):
        return []
    return [one.name for one in list_sources(visitor.context, visitor.principal).items]


def _pipelines(visitor: Visitor) -> list[str]:
    if not visitor.may("pipelines:read"):
        return []
    return [one.name for one in list_pipelines(visitor.context, visitor.principal, 200).items]


def _choice(form: Mapping[str, str]) -> dict[str, Any]:
    """The recipe of a form, as the API takes it."""
    kind, _, name = form.get("choice", "").partition(":")
    if kind == "pipeline":
        return {"pipeline": {"name": name}}
    return {"recipe_yaml": form.get("paste", "")} if kind == "paste" else {"recipe": name}


def _explain(visitor: Visitor, draft: Draft) -> None:
    """What the chosen recipe does; what is wrong with it stands at its field."""
    body = _choice(draft.form)
    if body == {"recipe_yaml": ""}:
        return
    try:
        draft.explained = explain_recipe(RecipeChoice.model_validate(body), visitor.context, visitor.principal)
    except ValidationError as error:
        _note(draft, invalid(error, body), [])
    except Problem as refused:
        _note(draft, refused, [])


def _act(visitor: Visitor, draft: Draft, action: str) -> Response | None:
    """Check, or do what was asked for; None where the form is to be shown again."""
    body, rows = _body(draft, action)
    if draft.faults:
        return None
    key = f"{draft.form.get('key', '')[:64]}-{action}" if draft.form.get("key", "").isalnum() else None
    context, principal = visitor.context, visitor.principal
    try:
        request = RunRequest.model_validate(body)
        if action == "check":
            validate_run(request, context, principal)
            draft.checked = True
            return None
        does = estimate_run if action == "estimate" else submit_run
        run = does(request, Response(), context, principal, key)
    except ValidationError as error:
        _note(draft, invalid(error, body), rows)
        return None
    except Problem as refused:
        if refused.code not in ("invalid", "conflict", "key-reused"):
            raise
        _note(draft, refused, rows)
        return None
    return RedirectResponse(f"/runs/{run.id}", 303)


def _body(draft: Draft, action: str) -> tuple[dict[str, Any], list[int]]:
    """What the API is sent, and which row of the form each input is."""
    form = draft.form
    rows = [n for n in range(draft.rows) if form.get(f"source.{n}") or form.get(f"path.{n}", "").strip()]
    body: dict[str, Any] = {
        **_choice(form), "kind": "preview" if action == "preview" else "curate",
        "inputs": [{"source": form.get(f"source.{n}", ""), "path": form.get(f"path.{n}", "").strip()} for n in rows],
        "tags": words_of(form.get("tags", "")), "note": form.get("note", ""),
    }  # fmt: skip
    if not rows:
        draft.blame("source.0", "Choose a source to read from.")
    if draft.explained is None and not draft.faults:
        draft.blame("paste", "Paste a recipe, or choose another one.")
    rules = [rule for rule in _rules(draft.explained) if rule.parameter is not None]
    body["thresholds"], faults = changed_thresholds(rules, form)
    for fault in faults:
        draft.blame("thresholds", f"{fault.pointer[3:]} {fault.message}")
    for name in ("name", "publish") if action != "preview" else ("name",):
        if form.get(name, "").strip():
            body[name] = form[name].strip()
    if form.get("priority", "").strip():
        body["priority"] = form["priority"].strip()
    if action == "preview" and form.get("sample_share", "").strip():
        body["sample_share"] = form["sample_share"].strip()
    return body, rows


def _rules(explained: RecipeExplained | None) -> list[RuleExplained]:
    return [rule for stage in explained.stages for rule in stage.rules] if explained else []


def _note(draft: Draft, problem: Problem, rows: list[int]) -> None:
    """Put every fault where its field is."""
    for fault in problem.errors:
        draft.blame(field_of(fault, rows, draft.form), fault.message)
    if not problem.errors:
        draft.blame("", problem.detail or "This cannot be.")


def field_of(fault: Fault, rows: list[int], form: Mapping[str, str]) -> str:
    """The field that a fault is about."""
    first, _, rest = fault.pointer.lstrip("/").partition("/")
    if first == "inputs":
        index, _, part = rest.partition("/")
        if index.isdigit() and int(index) < len(rows):
            return f"{part if part in ('source', 'path') else 'source'}.{rows[int(index)]}"
        return "source.0"
    if first in ("recipe", "recipe_yaml", "pipeline"):
        return "paste" if form.get("choice", "").startswith("paste") else "choice"
    return first if first in (*FIELDS, "thresholds") else ""


def _browse(visitor: Visitor, draft: Draft, action: str) -> None:
    """Look into the source of a row, or take what was found there."""
    does, _, rest = action.partition(":")
    number, _, path = rest.partition(":")
    if not (number.isascii() and number.isdigit() and int(number) < draft.rows):
        return
    row = int(number)
    if does == "take":
        draft.form[f"path.{row}"] = path
        return
    source = draft.form.get(f"source.{row}", "")
    if not visitor.may("sources:read"):
        raise Problem("forbidden", "it lacks the scope sources:read")
    if not source:
        draft.blame(f"source.{row}", "Choose a source to look into.")
        return
    try:
        draft.looked = row, path, browse_source(source, visitor.context, visitor.principal, path)
    except Problem as refused:
        draft.blame(f"path.{row}", refused.detail or "This cannot be looked into.")
