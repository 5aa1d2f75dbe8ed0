"""What the documentation shows is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

from curation.preferences import SHAPES, read_record, read_unpaired, require_shape
from curation.preferences.messages import ROLES

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "preferences.md").read_text(encoding="utf-8")


def test_examples() -> None:
    name, seen = "", []
    for first, example in re.findall(r"^\| (`[a-z-]+`|) \|.*\| `(\{.*\})` \|$", DOCS, re.MULTILINE):
        name = first.strip("`") or name
        record = json.loads(example)
        assert require_shape(record).name == name
        (read_unpaired if name == "kto" else read_record)(record)
        seen.append(name)
    assert list(dict.fromkeys(seen)) == [shape.name for shape in SHAPES]


def test_roles() -> None:
    table = DOCS.partition("| role | names")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    assert {name: role for role, names in rows for name in re.findall(r"`(\w+)`", names)} == dict(ROLES)


def test_error_classes() -> None:
    """Every class that the code raises is in the table, and no other."""
    listed = set(
        re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", DOCS.partition("## Errors")[2], re.M)))
    )
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "curation/preferences").rglob("*.py"))
    raised = set(re.findall(r'DocumentError\(\s*"([a-z-]+)"', source)) | {"missing-column", "missing-side"}
    assert raised == listed
