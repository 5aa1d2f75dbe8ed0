"""Recipes come from strangers: what is refused, and that every value knows its place."""

from __future__ import annotations

import pytest

from curation.errors import InputError
from pipelines.yaml_source import read_yaml


def test_every_value_knows_line_and_column() -> None:
    source = read_yaml(b"name: x\nstages:\n  - stage: a\n    limit: 3\n", "r.yaml")
    assert source.data == {"name": "x", "stages": [{"stage": "a", "limit": 3}]}
    assert source.where(("stages", 0, "limit")) == "r.yaml:4:5"
    assert source.where(("stages", 0, "missing")) == "r.yaml:3:5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: &x [1]\nb: *x\n", "r.yaml:1:4: anchors and aliases"),
        (b"a: 1\na: 2\n", "r.yaml:2:1: the key 'a' stands here twice"),
        (b"a: [1\n", "r.yaml:2:1: not valid YAML"),
        (b"\xff\xfe\x00", "not UTF-8 at byte 0"),
        (b"", "the file is empty"),
        (b"[" * 40 + b"]" * 40, "nested deeper than 32"),
        (b"? [a, b]\n: 1\n", "keys must be plain words"),
        (b"a: !!python/object/apply:os.system ['true']\n", "cannot read this value"),
        (b"x" * (1 << 20) + b"y", "has at most"),
    ],
)
def test_refused(text: bytes, message: str) -> None:
    with pytest.raises(InputError, match=r"r\.yaml") as caught:
        read_yaml(text, "r.yaml")
    assert message in str(caught.value)


def test_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n".encode() for i in range(9)
    )
    with pytest.raises(InputError, match=r"r\.yaml:1:4"):
        read_yaml(bomb, "r.yaml")


def test_language_codes_stay_text() -> None:
    assert read_yaml(b"no: 1\non: 2\n", "r.yaml").data == {"no": 1, "on": 2}
