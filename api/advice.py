"""``/advice``: where to begin, from what a model is for and what there is.  It is answered at once."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from api.access.principals import Principal
from api.http.context import Needs
from api.http.models import Body, example
from api.problems import Fault, Problem, pointer
from trainer.deploy.advise import advise, questions, table

router = APIRouter(prefix="/advice", tags=["advice"])
Reader = Annotated[Principal, Depends(Needs("runs:read"))]
Number = Annotated[float, Field(ge=0, le=1e15)]
Word = Annotated[str, Field(max_length=100)]


class Question(BaseModel):
    """What can be answered."""

    name: str
    text: str
    kind: str = Field(description="`choice`, `number`, `whole`, or `shares`: names with how much there is of each.")
    default: Any = Field(description="Answer of who says nothing; null: there is none, or the task decides.")
    choices: list[str]
    low: float = Field(description="Least number.")
    unit: str


class QuestionList(BaseModel):
    """All questions; only `task` has to be answered."""

    items: list[Question]


class Asked(Body):
    """Answers, by the names of the questions."""

    model_config = example(answers={"task": "summarisation", "corpus_tokens": 5e9, "languages": {"en": 3, "zh": 1}})

    answers: dict[Word, Word | Number | dict[Word, Number]] = Field(max_length=50)


class Advised(BaseModel):
    """What to train, and why."""

    answers: dict[str, Any] = Field(description="All of them, those that nobody gave as assumed.")
    family: str
    size: str
    path: list[dict[str, Any]] = Field(description="Question, answer and reason of every branch that was taken.")
    reasons: list[str]
    stages: list[dict[str, Any]] = Field(description="Trainings in order; `config` is that of `POST /trainings`.")
    ranges: list[dict[str, Any]] = Field(description="What to vary, and how far.")
    estimates: dict[str, Any]
    assumptions: list[str]
    warnings: list[str]
    text: str = Field(description="The same for people.")


@router.get("", summary="Questions that advice rests on")
def list_questions(_: Reader) -> QuestionList:
    names = ("name", "text", "kind", "default", "low", "unit")
    return QuestionList(
        items=[
            Question(**{name: one[name] for name in names}, choices=list(one["choices"]))
            for one in questions()
        ]
    )  # fmt: skip


@router.post("", summary="Which family, size and trainings to begin with")
def ask_advice(asked: Asked, _: Reader) -> Advised:
    known = {one["name"]: one for one in questions()}
    faults = [_fault(name, known.get(name), asked.answers.get(name)) for name in ("task", *asked.answers)]
    found = list({fault.pointer: fault for fault in faults if fault is not None}.values())
    if found:
        raise Problem("invalid", f"{len(found)} thing(s) are wrong", found)
    advice = advise(asked.answers)
    return Advised(**advice.to_dict(), text=table(advice))


def _fault(name: str, question: dict[str, Any] | None, answer: Any) -> Fault | None:
    """What is wrong with an answer; the words are ours, not those that were sent."""
    if question is None:
        message = f"there is no such question; there are {', '.join(one['name'] for one in questions())}"
    elif question["kind"] == "choice":
        if answer in question["choices"]:
            return None
        message = f"one of {', '.join(question['choices'])} is expected"
    elif question["kind"] == "shares":
        if isinstance(answer, dict) and answer and all(share > 0 for share in answer.values()):
            return None
        message = "names with how much there is of each are expected, more than nothing"
    else:
        is_number = isinstance(answer, float) and math.isfinite(answer) and answer >= question["low"]
        if is_number and (question["kind"] == "number" or answer == int(answer)):
            return None
        message = f"a {'whole ' if question['kind'] == 'whole' else ''}number from {question['low']:g} on is expected"
    return Fault(pointer=pointer(["answers", name]), code="answer", message=message)
