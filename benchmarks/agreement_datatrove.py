"""Agreement of the rule profiles with datatrove 0.10.1, document by document.

    python -m venv .venv-peers && .venv-peers/bin/pip install 'datatrove[processing]==0.10.1' 'xxhash<4' spacy
    python benchmarks/agreement_datatrove.py --peer .venv-peers/bin/python texts.jsonl.gz [more.jsonl.gz ...]

Reads JSON lines with the field ``text`` (or the one that ``--field`` names), has datatrove filter them in a
process of its own, and compares verdicts, the first failing rule, and the text that C4 leaves.  Both sides
see the untouched text.  datatrove manages some 20 to 30 documents a second; ``--limit`` takes that many documents
of each file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

# datatrove's reason → our rule, by profile.
RULES = {
    "gopher-quality": {
        "gopher_short_doc": "few-words",
        "gopher_long_doc": "many-words",
        "gopher_below_avg_threshold": "short-words",
        "gopher_above_avg_threshold": "long-words",
        "gopher_too_many_hashes": "hashes",
        "gopher_too_many_ellipsis": "ellipses",
        "gopher_too_many_bullets": "bullet-lines",
        "gopher_too_many_end_ellipsis": "ellipsis-lines",
        "gopher_below_alpha_threshold": "few-alphabetic-words",
        "gopher_enough_stop_words": "few-stop-words",
    },
    "gopher-repetition": {
        "empty": "empty",
        "dup_para_frac": "duplicate-paragraphs",
        "dup_para_char_frac": "duplicate-paragraph-chars",
        "dup_line_frac": "duplicate-lines",
        "dup_line_char_frac": "duplicate-line-chars",
        **{f"top_{n}_gram": f"top-{n}gram-chars" for n in (2, 3, 4)},
        **{f"duplicated_{n}_n_grams": f"duplicate-{n}gram-chars" for n in range(5, 11)},
    },
    "c4": {
        "lorem_ipsum": "lorem-ipsum",
        "curly_bracket": "curly-bracket",
        "too_few_sentences": "few-sentences",
    },
    "fineweb": {
        "empty": "empty",
        "line_punct_ratio": "line-punctuation",
        "short_line_ratio": "short-lines",
        "char_dup_ratio": "line-duplicates",
        "list_ratio": "lists",
    },
}


def serve() -> None:
    """The other side: texts as JSON lines on standard input, reasons as JSON lines on standard output."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    filters = {
        "gopher-quality": GopherQualityFilter(),
        "gopher-repetition": GopherRepetitionFilter(),
        "c4": C4QualityFilter(),
        "fineweb": FineWebQualityFilter(),
    }
    for line in sys.stdin:
        text = json.loads(line)
        answer: dict[str, Any] = {}
        for name, step in filters.items():
            document = Document(text=text, id="0")
            try:
                result = step.filter(document)
            except ZeroDivisionError:
                result = (False, "division by zero")
            answer[name] = result[1] if isinstance(result, tuple) else (None if result else "")
            if name == "c4" and answer[name] is None:
                answer["c4_text"] = sha256(document.text.encode()).hexdigest()
        print(json.dumps(answer), flush=True)


def peer(python: Path, texts: list[str]) -> Iterator[dict[str, Any]]:
    """datatrove's answers, one for each text."""
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    command = [str(python), __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        from threading import Thread

        assert process.stdin is not None and process.stdout is not None
        Thread(target=lambda: (process.stdin.write(lines), process.stdin.close()), daemon=True).start()
        yield from (json.loads(line) for line in process.stdout)
    if process.returncode:
        raise SystemExit(f"the peer ended with {process.returncode}")


def ours(texts: list[str]) -> list[dict[str, Any]]:
    """Our answers: the first failing rule by profile, and a hash of the text that C4 leaves."""
    import pyarrow as pa

    from curation.batch import Batch
    from curation.rules import C4, FineWeb, GopherQuality, GopherRepetition
    from curation.stage import decide

    languages = pa.array(["en"] * len(texts))
    batch = Batch(pa.table({"text": pa.array(texts, pa.large_string()), "language": languages}))
    answers: list[dict[str, Any]] = [{} for _ in texts]
    for stage in (kind(kind.Parameters()) for kind in (GopherQuality, GopherRepetition, C4, FineWeb)):
        measured, rules = stage.measure(batch), stage.rules()
        first = decide(rules, {"language": languages, **measured.columns}, len(batch)).first
        for answer, rule in zip(answers, first, strict=True):
            answer[stage.name] = rules[rule].name if rule >= 0 else None
        if measured.text is not None:
            for answer, text in zip(answers, measured.text.to_pylist(), strict=True):
                answer["c4_text"] = sha256(text.encode()).hexdigest()
    return answers


def read(path: Path, field: str) -> Iterator[str]:
    """Texts of a JSON-lines file, compressed or not; lines without the field are passed over."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line).get(field)
            if text:
                yield text


def compare(texts: list[str], theirs: Iterable[dict[str, Any]]) -> tuple[Counter, Counter]:
    """Counts of what agrees: ``(profile, what)`` and ``(profile, their rule, our rule)``."""
    totals: Counter = Counter()
    rules: Counter = Counter()
    for number, (mine, other) in enumerate(zip(ours(texts), theirs, strict=True)):
        for profile, names in RULES.items():
            reason = other[profile]
            theirs_rule = names.get(reason, reason) if reason is not None else "kept"
            mine_rule = mine[profile] or "kept"
            totals[profile, "documents"] += 1
            totals[profile, "same verdict"] += (reason is None) == (mine[profile] is None)
            totals[profile, "same rule"] += theirs_rule == mine_rule
            rules[profile, theirs_rule, mine_rule] += 1
            if theirs_rule != mine_rule:
                print(f"differs: text {number}, {profile}: {theirs_rule} / {mine_rule}", file=sys.stderr)
        if "c4_text" in other:
            totals["c4", "texts"] += 1
            totals["c4", "same text"] += other["c4_text"] == mine["c4_text"]
    return totals, rules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--peer", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--field", default="text")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve()
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    texts = [text for path in arguments.files for text in list(read(path, arguments.field))[: arguments.limit]]
    totals, rules = compare(texts, peer(arguments.peer, texts))
    for profile in RULES:
        documents = totals[profile, "documents"]
        shares = [f"{what} {totals[profile, what] / documents:.4%}" for what in ("same verdict", "same rule")]
        print(f"{profile}: {documents} documents, {', '.join(shares)}")
        for (name, theirs_rule, mine_rule), count in sorted(rules.items()):
            if name == profile:
                print(f"    {theirs_rule:28s} {mine_rule:28s} {count}")
    if totals["c4", "texts"]:
        print(f"c4: same text in {totals['c4', 'same text'] / totals['c4', 'texts']:.4%} of {totals['c4', 'texts']}")


if __name__ == "__main__":
    main()
