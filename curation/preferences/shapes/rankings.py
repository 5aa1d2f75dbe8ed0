"""Records with several answers that are ranked or scored."""

from __future__ import annotations

from curation.errors import DocumentError
from curation.preferences.checked import checked_ranking
from curation.preferences.common import Fields, common_of
from curation.preferences.entries import Ranking
from curation.preferences.limits import Limits
from curation.preferences.messages import Conversation
from curation.preferences.shapes.alpaca_prompt import alpaca_prompt
from curation.preferences.shapes.base import Shape, carriers, has
from curation.preferences.sides import prompt_of, responses_of, with_system
from curation.preferences.values import kind_of, list_of, number_of

# Names that the score of a completion may have, the first that is there.
_SCORES = ("overall_score", "score", "rating")


def _is_alpaca(record: Fields) -> bool:
    return isinstance(record.get("output"), list) and carriers(record) == {"instruction"}


def _read_alpaca(record: Fields, limits: Limits) -> Ranking:
    responses = responses_of(record["output"], "output", limits)
    return checked_ranking(alpaca_prompt(record, limits), responses, None, common_of(record, limits))


def _is_ultrafeedback(record: Fields) -> bool:
    return isinstance(record.get("completions"), list) and carriers(record) in ({"prompt"}, {"instruction"})


def _read_ultrafeedback(record: Fields, limits: Limits) -> Ranking:
    if has(record, "prompt"):
        prompt = with_system(record.get("system"), prompt_of(record["prompt"], "prompt", limits), limits)
    else:
        prompt = alpaca_prompt(record, limits)
    texts: list[object] = []
    scores: list[object] = []
    for index, completion in enumerate(record["completions"]):
        where = f"completions[{index}]"
        if not isinstance(completion, dict):
            raise DocumentError("malformed-completion", f"{where} is {kind_of(completion)}")
        if completion.get("response") is None:
            raise DocumentError("missing-response", f"{where} has no 'response'")
        texts.append(completion["response"])
        scores.append(_score_of(record["completions"][0], completion))
    responses = responses_of(texts, "completions", limits)
    numbers = tuple(number_of(score, f"the score of completions[{index}]") for index, score in enumerate(scores))
    return checked_ranking(prompt, responses, numbers, common_of(record, limits))


def _score_of(first: Fields, completion: Fields) -> object:
    """The score under the name that the first completion uses, since scores of two names do not compare."""
    name = next((name for name in _SCORES if first.get(name) is not None), None)
    return None if name is None else completion.get(name)


def _is_scored(record: Fields) -> bool:
    return has(record, "responses", "scores") and carriers(record) == {"prompt"}


def _read_scored(record: Fields, limits: Limits) -> Ranking:
    prompt: Conversation = prompt_of(record["prompt"], "prompt", limits)
    responses = responses_of(record["responses"], "responses", limits)
    scores = scores_of(record["scores"], "scores", len(responses))
    prompt = with_system(record.get("system"), prompt, limits)
    return checked_ranking(prompt, responses, scores, common_of(record, limits))


def scores_of(value: object, where: str, count: int) -> tuple[float, ...]:
    """A list of as many numbers; ``scores-mismatch`` where it has another length."""
    items = list_of(value, where)
    if len(items) != count:
        raise DocumentError("scores-mismatch", f"{count} responses and {len(items)} {where}")
    return tuple(number_of(item, f"{where}[{index}]") for index, item in enumerate(items))


ALPACA_RANKING = Shape("alpaca-ranking", "ranking", _is_alpaca, _read_alpaca)
ULTRAFEEDBACK = Shape("ultrafeedback", "ranking", _is_ultrafeedback, _read_ultrafeedback)
SCORED = Shape("scored", "ranking", _is_scored, _read_scored)

RANKING_SHAPES = (ALPACA_RANKING, ULTRAFEEDBACK, SCORED)
