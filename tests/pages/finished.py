"""A service with finished runs in it, for tests of pages: made in this process, without drivers."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

from api.app import create_app
from api.datasets.store import publish_run
from api.runs import store
from api.settings import Settings
from api.store.database import Database
from api.store.tables import runs, sources
from pipelines.canonical import digest_bytes
from pipelines.inputs import find_shards
from pipelines.look import FinishedRun
from pipelines.plan import plan_for
from pipelines.recipe import load_recipe
from tests.api.http import BASE, sqlite
from tests.support.corpus import chinese, english
from workers.driver import make_executor, run

CRAWL = {
    "name": "pages",
    "stages": [
        {"stage": "extraction", "guard": "none"},
        {"stage": "language", "keep": ["en", "zh"], "min_score": 0.3},
        {
            "stage": "gopher-repetition",
            "profile": "none",
            "max_duplicate_5gram_chars": 0.6,
            "max_duplicate_6gram_chars": 0.6,
        },
        {"stage": "gopher-quality", "min_words": 20},
        {"stage": "fineweb", "max_line_duplicate_chars": 0.5, "max_short_lines": None},
        {"stage": "personal-data"},
    ],
    "deduplication": {"threshold": 0.8},
    "limits": {"max_quarantined_share": None},
}
PAIRS = {
    "name": "pairs",
    "entries": {"kind": "preferences"},
    "stages": [{"stage": "pair"}, {"stage": "refusals", "max_both_refuse": 0.5}, {"stage": "prompt-leak"},
               {"stage": "personal-data", "sides": ["prompt", "chosen", "rejected"]}],
    "hygiene": {"min_answer_words": 5, "held_out": {"share": 0.3}},
    "limits": {"max_quarantined_share": None},
}  # fmt: skip
ASKS = {
    "name": "asks",
    "entries": {"kind": "instructions"},
    "stages": [{"stage": "instruction"}],
    "limits": {"max_quarantined_share": None},
}


@dataclass
class Mill:
    """A home of a service.

    Attributes:
        folder: of everything.
        database: of the service.
        app: the application.
    """

    folder: Path
    database: Database
    app: FastAPI

    @classmethod
    def at(cls, folder: Path, **settings: Any) -> Mill:
        """A new one; its source ``here`` is the folder ``in`` below it."""
        (folder / "in").mkdir(parents=True)
        database = sqlite(folder)
        with database.write() as connection:
            values = {"id": "0" * 36, "name": "here", "root": str(folder / "in"), "description": "", "created_at": 0,
                      "created_by": "test"}  # fmt: skip
            connection.execute(sources.insert().values(values))
        return cls(folder, database, create_app(Settings(home=folder, **settings), database))

    def client(self) -> TestClient:
        """Somebody without a key; redirects are answers."""
        return TestClient(self.app, BASE, follow_redirects=False)

    def lines(self, name: str, rows: Iterable[dict[str, Any]]) -> Path:
        """An input of JSON lines."""
        path = self.folder / "in" / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def pages(self, name: str, found: Sequence[tuple[str, str]]) -> Path:
        """An input of WARC responses in gzip members: addresses and HTML."""
        path = self.folder / "in" / name
        with open(path, "wb") as file:
            for url, html in found:
                file.write(gzip.compress(_response(url, html), mtime=0))
        return path

    def finished(
        self, name: str, recipe: dict[str, Any], inputs: Sequence[Path], publish: str | None = None,
        parent: str | None = None,
    ) -> str:  # fmt: skip
        """Id of a run that has succeeded; published as the next version of a dataset."""
        path = self.folder / f"{recipe['name']}.yaml"
        path.write_text(json.dumps(recipe))
        loaded = load_recipe(path)
        shards = find_shards([str(path) for path in inputs])
        with self.database.write() as connection:
            request = {"recipe": recipe, "display": [{"source": "here", "path": p.name} for p in inputs]}
            new = store.NewRun("curate", name, request, str(self.folder / "runs"), "test", parent_id=parent)
            row = store.submit(connection, new, self.database.now(connection))
        output = row["output"]
        ended = run(plan_for(loaded, shards, output), output, lambda: make_executor("inline", 1))  # type: ignore[arg-type]
        assert ended is not None
        made = FinishedRun(output)
        files = [n for n in made.manifest["files"] if n.startswith("corpus/")]  # type: ignore[index]
        result = {
            "manifest_digest": digest_bytes(made.storage.read("manifest.json")),
            "records": made.statistics["records"], "tokens": made.statistics["tokens"], "corpus_files": len(files),
            "corpus_bytes": sum(made.manifest["files"][n]["bytes"] for n in files),  # type: ignore[index]
        }  # fmt: skip
        with self.database.write() as connection:
            now = self.database.now(connection)
            values = {"state": "succeeded", "result": result, "finished_at": now, "started_at": now}
            connection.execute(update(runs).where(runs.c.id == row["id"]).values(**values))
            if publish:
                publish_run(connection, store.find(connection, row["id"]), publish, "test", now)
        return str(row["id"])


def _response(url: str, html: str) -> bytes:
    body = html.encode("utf-8", "replace")
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    head = io.BytesIO()
    head.write(
        b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000001>\r\n"
    )
    head.write(b"WARC-Date: 2026-11-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n")
    head.write(f"WARC-Target-URI: {url}\r\nContent-Length: {len(http)}\r\n\r\n".encode())
    return head.getvalue() + http + b"\r\n\r\n"


@dataclass
class Milled:
    """What tests of pages look at: three kinds of data, a fork, two versions of a dataset.

    Attributes:
        first, second: ids of runs over the same pages, the second with other thresholds; versions 1 and 2 of ``web``.
        pairs, asks: ids of runs of preferences and instructions, version 1 of ``pairs`` and of ``asks``.
    """

    mill: Mill
    first: str
    second: str
    pairs: str
    asks: str


def milled(folder: Path, **settings: Any) -> Milled:
    """All of it, in a few seconds."""
    mill = Mill.at(folder, **settings)
    texts = [english(seed, 8 if seed % 4 == 1 else 12) for seed in range(24)]
    found = [(f"http://host{n % 3}.example/{n}", page_of(text, f"Page {n}")) for n, text in enumerate(texts)]
    found += [
        ("http://host0.example/twin", page_of(texts[0] + " One more word here.", "Twin")),
        ("http://host0.example/short", page_of("Too short.", "Short")),
        ("http://host1.example/again", page_of("The same line again and again. " * 30, "Again")),
        ("http://host2.example/mail", page_of(english(99) + " Write to anna@firm.org or 8.8.8.8 soon.", "Mail")),
    ]
    pages = [mill.pages("pages.warc.gz", found)]
    pages.append(mill.lines("lines.jsonl", [{"text": chinese(n), "url": f"http://zh.example/{n}"} for n in range(6)]))
    first = mill.finished("First", CRAWL, pages, "web")
    stricter = [{**stage, "min_words": 190} if stage["stage"] == "gopher-quality" else stage
                for stage in CRAWL["stages"]]  # fmt: skip
    second = mill.finished("Second", {**CRAWL, "stages": stricter}, pages, "web", parent=first)
    rows = [
        {"prompt": f"What did they do on day {n}?", "chosen": english(1000 + n, 4), "rejected": english(2000 + n, 4),
         "source": "shop" if n % 2 else "mill", "language": "en"}
        for n in range(24)
    ]  # fmt: skip
    rows.append(
        {
            "prompt": "How do I do it?",
            "chosen": "I'm sorry, but I cannot help with that request at all.",
            "rejected": "I'm sorry, I can't do that for you today.",
            "source": "mill",
            "language": "en",
        }
    )
    pairs = mill.finished("Pairs", PAIRS, [mill.lines("pairs.jsonl", rows)], "pairs")
    asked = [{"instruction": f"Say it for the {n}th time.", "input": "", "output": english(3000 + n, 4)}
             for n in range(8)]  # fmt: skip
    asks = mill.finished("Asks", ASKS, [mill.lines("asks.jsonl", asked)], "asks")
    return Milled(mill, first, second, pairs, asks)


def page_of(text: str, title: str = "A page") -> str:
    """HTML with a text."""
    return (
        f"<!doctype html><html><head><title>{title}</title></head><body><article><p>{text}</p></article></body></html>"
    )
