"""Broken, hostile and empty files through the whole mill: every record has its place and its fate."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pipelines.verify import verify_run
from tests.hygiene.sets import recipe, run
from tests.hygiene.twin import Policies
from tests.support.corpus import chinese, english
from tests.support.runs import rows

CHOSEN = Policies(share="0.3")
HUGE = "grain " * ((10 << 20) // 6)
LONGEST = (1 << 20) - 1


def pair(name: str, prompt: Any, chosen: Any = "A wheel of stone.", rejected: Any = "No idea.") -> dict[str, Any]:
    return {"id": name, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def turns(*said: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in said]


# What a line is, and what becomes of it: None is kept.
LINES: list[tuple[str, Any, str | None]] = [
    ("good", pair("good", "What grinds?"), None),
    ("half a line", '{"prompt": "What grinds?", "chosen": "A wh', "malformed-json"),
    ("no JSON", "{'prompt': 1}", "malformed-json"),
    ("a list", '["prompt", "chosen", "rejected"]', "not-an-object"),
    ("missing side", {"prompt": "What grinds?", "chosen": "A wheel."}, "missing-side"),
    ("null side", pair("null", "What grinds?", None), "missing-side"),
    ("empty prompt", pair("empty", "   "), "empty-prompt"),
    ("number", pair("number", "What grinds?", 7), "unknown-shape"),
    ("ranking", {"instruction": "a", "input": "", "output": ["best", "worst"]}, "mixed-schema"),
    ("instruction", {"messages": turns(("user", "a"), ("assistant", "b"))}, "mixed-schema"),
    ("huge answer", pair("huge", "What grinds?", HUGE), "too-long"),
    ("empty answer", pair("blank", "What grinds wheat?", "A mill.", ""), "empty-rejected"),
    ("copy", pair("copy", "What  GRINDS?", "A wheel of stone."), "exact"),
    ("in Chinese", pair("chinese", "什么在磨？", "一块石头做的轮子。", "不知道。"), None),
    ("half of a letter", json.dumps(pair("surrogate", "What \ud800 grinds?")), None),
    ("nul", pair("nul", "What\x00grinds?", "A\x00wheel.", "No\x00idea."), None),
    ("nested", '{"prompt": ' + "[" * 5000 + "]" * 5000 + "}", "malformed-json"),
]
TURNED: list[tuple[str, Any, str | None]] = [
    ("good", pair("good", turns(("user", "Hi")), turns(("assistant", "Hello")), turns(("assistant", "Go."))), None),
    ("wrong role", pair("role", turns(("pope", "Hi")), turns(("assistant", "a")), turns(("assistant", "b"))),
     "wrong-role"),
    ("assistant first", pair("first", turns(("assistant", "Hi")), turns(("assistant", "a")),
                             turns(("assistant", "b"))), "wrong-role"),
    ("user answers", pair("user", turns(("user", "Hi")), turns(("user", "a")), turns(("assistant", "b"))),
     "wrong-role"),
    ("plain between turns", pair("plain", "Hi", "a", "b"), "mixed-schema"),
    ("many turns", pair("many", turns(*[("user", "a"), ("assistant", "b")] * 1100, ("user", "c")),
                        turns(("assistant", "a")), turns(("assistant", "b"))), "too-many-turns"),
    ("two answers", pair("two", turns(("user", "Hi")), turns(("assistant", "a"), ("user", "b")),
                         turns(("assistant", "c"))), "missing-response"),
]  # fmt: skip


def line_of(value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "surrogatepass") + b"\n"


def written(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def places_are_right(ledger: list[dict[str, Any]], shard: str, lines: list[bytes]) -> None:
    """Each row tells where its line begins and how long it is."""
    text = b"".join(lines)
    found = {row["offset"]: row["length"] for row in ledger if row["shard"] == shard}
    assert [text[offset : offset + length] for offset, length in sorted(found.items())] == lines


@pytest.mark.parametrize("lines", [LINES, TURNED], ids=["texts", "messages"])
def test_each_bad_line_has_its_fate_and_its_place(lines: list[tuple[str, Any, str | None]], tmp_path: Path) -> None:
    data = [line_of(value) for _, value, _ in lines]
    shard = written(tmp_path / "lines.jsonl", data)
    packed = tmp_path / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(b"".join(data)))
    ledger = run(recipe(tmp_path, "preferences", CHOSEN), [shard], tmp_path / "out")
    assert len(ledger) == len(lines)
    fates = {name: row["rule"] for (name, _, _), row in zip(lines, sorted(ledger, key=place), strict=True)}
    wanted = {name: rule for name, _, rule in lines}
    repeated = {name for name in fates if fates[name] != wanted[name]}
    assert repeated <= {"good", "copy"}, {name: (fates[name], wanted[name]) for name in repeated}  # either may stay
    places_are_right(ledger, "lines.jsonl", data)
    verify_run(str(tmp_path / "out"))
    ledger = run(recipe(tmp_path, "preferences", CHOSEN), [packed], tmp_path / "unpacked")
    places_are_right(ledger, "packed.jsonl.gz", data)
    verify_run(str(tmp_path / "unpacked"))


def place(row: dict[str, Any]) -> int:
    return int(row["offset"])


def tie(number: int) -> dict[str, Any]:
    return {"instruction": f"a {number}", "input": "", "output_1": "x", "output_2": "y", "preference": 0}


def test_a_file_of_ties_gives_no_pair(tmp_path: Path) -> None:
    data = [line_of(tie(number)) for number in range(9)]
    ledger = run(recipe(tmp_path, "preferences", CHOSEN), [written(tmp_path / "t.jsonl", data)], tmp_path / "out")
    assert Counter(row["rule"] for row in ledger) == {"no-pair": 9}
    places_are_right(ledger, "t.jsonl", data)
    verify_run(str(tmp_path / "out"))


@pytest.mark.parametrize("kind", ["preferences", "instructions"])
def test_nothing_but_broken_lines(kind: str, tmp_path: Path) -> None:
    data = [b"{\n", b"]]\n", b'"text"\n']
    ledger = run(recipe(tmp_path, kind, CHOSEN), [written(tmp_path / "b.jsonl", data)], tmp_path / "out")
    assert {row["verdict"] for row in ledger} == {"quarantined"} and len(ledger) == 3
    places_are_right(ledger, "b.jsonl", data)
    verify_run(str(tmp_path / "out"))


def test_an_empty_file_beside_others(tmp_path: Path) -> None:
    shards = [written(tmp_path / "a.jsonl", []), written(tmp_path / "b.jsonl", [line_of(pair("good", "What?"))]),
              written(tmp_path / "c.jsonl", [line_of(tie(1))])]  # fmt: skip
    ledger = run(recipe(tmp_path, "preferences", CHOSEN), shards, tmp_path / "out")
    assert {row["shard"]: row["rule"] for row in ledger} == {
        "a.jsonl": "empty-file", "b.jsonl": None, "c.jsonl": "no-pair",
    }  # fmt: skip
    verify_run(str(tmp_path / "out"))


# Not ru_maxrss: a child begins with that of its parent.
MEASURED = """
import sys
from pathlib import Path
from tests.hygiene.sets import run
run(Path(sys.argv[1]), [Path(sys.argv[2])], Path(sys.argv[3]))
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
"""


@pytest.mark.slow
def test_the_longest_answers_are_compared_in_sane_memory(tmp_path: Path) -> None:
    """Answers just below the limit are kept and compared, those above it quarantined with their place."""
    texts = [(make(1, 30_000) * 9)[:LONGEST] for make in (english, chinese)]
    lines = []
    for number in range(12):
        text = texts[number % 2]
        prompt = f"Tell me everything about mills, part {number % 2}."
        lines.append(line_of(pair(f"{number}", prompt, text[: LONGEST - number], "I will not tell.")))
        lines.append(line_of(pair(f"huge{number}", prompt, HUGE, "No.")))
    shard = written(tmp_path / "long.jsonl", lines)
    made = recipe(tmp_path, "preferences", Policies(), memory_mib=64)
    command = [sys.executable, "-c", MEASURED, str(made), str(shard), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ledger = rows(tmp_path / "out")
    assert Counter(row["rule"] for row in ledger) == {"too-long": 12, "near": 10, None: 2}
    places_are_right(ledger, "long.jsonl", lines)
    verify_run(str(tmp_path / "out"))
    assert int(done.stdout.split()[-1]) < 2000, "MiB"
