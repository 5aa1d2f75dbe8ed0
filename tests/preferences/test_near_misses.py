"""What is said of a record that is nearly of some shape."""

from __future__ import annotations

from typing import Any

import pytest

from curation.errors import DocumentError
from curation.preferences import recognise, require_shape
from tests.preferences.examples import BAD, EXAMPLES, GOOD, USER


@pytest.mark.parametrize(
    ("record", "error_class", "detail"),
    [
        (None, "malformed-json-record", "the record is null, not an object"),
        ([EXAMPLES["openai"]], "malformed-json-record", "the record is a list, not an object"),
        ({}, "unknown-shape", "is empty"),
        ({"text": "a", "url": "b"}, "unknown-shape", "has 'text', 'url'"),
        ({"prompt": "a", "chosen": "b"}, "missing-side", "has 'chosen' but 'rejected' is missing"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "missing-side", "has 'rejected' but 'chosen' is null"),
        ({"messages": [USER, GOOD], "chosen": GOOD}, "missing-side", "has 'chosen' but 'rejected' is missing"),
        (
            {"instruction": "a", "response1": "b", "annotator1": 1},
            "missing-side",
            "has 'response1' but 'response2' is missing",
        ),
        (
            {"chosen": "a", "rejected": "b"},
            "missing-prompt",
            "has 'chosen' and 'rejected' but no 'prompt', and no turns in both",
        ),
        (
            {"prompt": "a", "chosen": "b", "rejected": ["c"]},
            "unknown-shape",
            "beside 'prompt', 'chosen' is a text and 'rejected' is a list",
        ),
        (
            {"instruction": "a", "output_1": "b", "output_2": "c"},
            "unknown-shape",
            "has 'output_1' and 'output_2' but no 'preference' of a shape with them",
        ),
        (
            {"prompt": "a", "instruction": "b", "chosen": "c", "rejected": "d"},
            "ambiguous-shape",
            "has 'instruction' and 'prompt'; name the fields in a mapping",
        ),
        (
            {"messages": [USER, GOOD], "conversations": []},
            "ambiguous-shape",
            "has 'conversations' and 'messages'; name the fields in a mapping",
        ),
        (
            {"prompt": "a", "response": "b", "completion": "c"},
            "ambiguous-shape",
            "has 'response' and 'completion'; name the fields in a mapping",
        ),
        ({"prompt": "a", "responses": ["b", "c"]}, "missing-scores", "has 'responses' but no 'scores'"),
        ({"responses": ["b", "c"], "scores": [1, 2]}, "missing-prompt", "has 'responses' but no 'prompt'"),
        ({"prompt": "a"}, "missing-response", "has 'prompt' but no 'response' or 'completion'"),
        ({"instruction": "a", "input": "b"}, "missing-response", "has 'instruction' but no 'output'"),
        ({"output": "a"}, "missing-prompt", "has an answer but no 'instruction', 'prompt', 'messages'"),
        (
            {"preferred_output": [GOOD], "non_preferred_output": [BAD]},
            "missing-prompt",
            "has both outputs but no 'input' with 'messages'",
        ),
    ],
)
def test_near_misses(record: object, error_class: str, detail: str) -> None:
    assert recognise(record) is None
    with pytest.raises(DocumentError) as caught:
        require_shape(record)
    assert (caught.value.error_class, caught.value.detail) == (error_class, detail)


@pytest.mark.parametrize(
    ("record", "names"),
    [
        ({**EXAMPLES["pandalm"], **EXAMPLES["alpaca-eval"]}, "pandalm or alpaca-eval"),
        ({**EXAMPLES["alpaca-ranking"], **EXAMPLES["ultrafeedback"]}, "alpaca-ranking or ultrafeedback"),
        ({**EXAMPLES["hh-rlhf"], **EXAMPLES["openai-dpo"]}, "hh-rlhf or openai-dpo"),
    ],
)
def test_two_shapes_at_once(record: dict[str, Any], names: str) -> None:
    assert recognise(record) is None
    with pytest.raises(DocumentError) as caught:
        require_shape(record)
    assert str(caught.value) == f"ambiguous-shape: could be {names}; name the fields in a mapping"
