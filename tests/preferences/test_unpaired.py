"""Single rated answers become pairs where their prompts are the same."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from curation.preferences import Message, Unpaired, pair_unpaired


def rated(prompt: str, response: str, good: bool, **more: str) -> Unpaired:
    return Unpaired((Message("user", prompt),), (Message("assistant", response),), good, **more)  # type: ignore[arg-type]


def test_pairs_and_what_is_left() -> None:
    given_ = [
        rated("a", "1", False, source_id="x", license="MIT"),
        rated("b", "2", True),
        rated("a", "3", True, source_id="y", license="MIT"),
        rated("a", "4", True, source_id="z", license="MIT"),
        rated("a", "5", False),  # another licence
    ]
    pairs, left = pair_unpaired(given_)
    assert [(pair.chosen[0].content, pair.rejected[0].content) for pair in pairs] == [("3", "1")]
    assert (pairs[0].source_id, pairs[0].license, pairs[0].margin) == ("y+x", "MIT", None)
    assert left == [given_[3], given_[1], given_[4]]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12))
def test_nothing_is_lost(records: list[tuple[str, bool]]) -> None:
    entries = [rated(prompt, str(index), good) for index, (prompt, good) in enumerate(records)]
    pairs, left = pair_unpaired(entries)
    for prompt in "abc":
        good, bad = (sum(record == (prompt, side) for record in records) for side in (True, False))
        assert sum(pair.prompt[0].content == prompt for pair in pairs) == min(good, bad)
    used = [side for pair in pairs for side in (pair.chosen, pair.rejected)] + [entry.response for entry in left]
    assert sorted(side[0].content for side in used) == sorted(str(index) for index in range(len(records)))
    assert all(replace(entry, good=not entry.good) not in left for entry in left)
