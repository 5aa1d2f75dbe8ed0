"""Pages of the service over finished runs of 10⁶ documents: milliseconds of the first view and of the next, as JSON.

    python -m benchmarks.pages [--documents 1000000] [--rounds 5] [--keep DIR] [--only WORD]

Two real runs over the same made-up pages (sentences of real text, with ``GRISTMILL_DATA`` set; one in five an edited
copy of another, one in ten in Chinese; hosts from one page to thousands), the second with other thresholds.  Each
page is asked for twice by a client in a process that has never opened the runs; that is done ``--rounds`` times.  The
service has noticed that the runs have finished, as it does when their drivers say so.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.duplicates import SHARD, document, sentences

WORDS = 60
HOSTS = 20_000
ORIGIN = "http://127.0.0.1:8321"
RULES = [
    {"stage": "extraction"},
    {"stage": "language", "keep": ["en", "zh"], "min_score": 0.5},
    {"stage": "gopher-repetition"},
    {"stage": "gopher-quality", "min_words": 40},
    {"stage": "fineweb", "max_short_lines": None, "min_line_punctuation": None},
    {"stage": "personal-data"},
]  # fmt: skip
RECIPE = {"name": "made-up", "stages": RULES, "deduplication": {"threshold": 0.8}}
STRICTER = [{**stage, "min_words": 50} if stage["stage"] == "gopher-quality" else stage for stage in RULES]


class Made(NamedTuple):
    """What is asked about.

    Attributes:
        first, second: ids of the runs.
        rare, common: hosts with one document and with the most.
        duplicate, kept: documents of the first run.
        cluster: of the duplicate.
    """

    first: str
    second: str
    rare: str
    common: str
    duplicate: str
    kept: str
    cluster: str


# --- the runs -----------------------------------------------------------------------------------------------------


def _chinese() -> list[str]:
    """Sentences; made up where no real text is given."""
    folder = os.environ.get("GRISTMILL_DATA")
    if not folder:
        rng = random.Random(2)
        return ["".join(chr(rng.randrange(0x4E00, 0x5E00)) for _ in range(25)) for _ in range(10_000)]
    with gzip.open(Path(folder) / "text" / "chinanews-zh.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [part for line in lines for part in json.loads(line)["text"].split("。") if len(part) > 10]


_english: list[list[str]] = []
_han: list[str] = []


def _load() -> None:
    _english.extend(sentences())
    _han.extend(_chinese())


def _text(number: int) -> str:
    rng = random.Random(-number)
    if number % 10 == 9:
        return "。".join(rng.choice(_han) for _ in range(4)) + "。"
    text = " ".join(document(number, _english, WORDS))
    return text if number % 100 else "the same words again and again " * 12


def _host(number: int) -> str:
    return f"host{min(HOSTS, int(random.Random(number).paretovariate(0.5)))}.example"


def _write(task: tuple[Path, range]) -> None:
    path, numbers = task
    urls = [f"http://{_host(number)}/{number}" for number in numbers]
    texts = pa.array([_text(number) for number in numbers], pa.large_string())
    pq.write_table(pa.table({"id": [str(n) for n in numbers], "url": urls, "text": texts}), path, compression="zstd")


def make_shards(folder: Path, count: int) -> list[Path]:
    """Files of 20,000 pages."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, count, SHARD)
    tasks = [(folder / f"{first:08d}.parquet", range(first, min(count, first + SHARD))) for first in starts]
    with multiprocessing.get_context("spawn").Pool(initializer=_load) as pool:
        pool.map(_write, tasks, chunksize=1)
    return [path for path, _ in tasks]


def make_home(home: Path, count: int) -> None:
    """A service with both runs in it."""
    from api.store.database import Database
    from api.store.migrate import upgrade

    paths = make_shards(home / "in", count)
    database = Database(_address(home))
    upgrade(database)
    first = _run(home, database, "First", RECIPE, paths, None)
    second = _run(home, database, "Second", {**RECIPE, "stages": STRICTER}, paths, first)
    database.close()
    (home / "made.json").write_text(json.dumps(_made(home, first, second)._asdict()))


def _address(home: Path) -> str:
    return f"sqlite:///{home / 'gristmill.db'}"


def _run(
    home: Path, database: Any, name: str, recipe: dict[str, Any], paths: Sequence[Path], parent: str | None
) -> str:  # fmt: skip
    """Id of a run that has succeeded; it takes over what its parent has computed."""
    from sqlalchemy import update

    from api.runs import store
    from api.store.tables import runs
    from pipelines.canonical import digest_bytes
    from pipelines.inputs import find_shards
    from pipelines.look import FinishedRun
    from pipelines.plan import plan_for
    from pipelines.recipe import load_recipe
    from pipelines.reuse import reuse
    from workers.driver import make_executor, run

    written = home / f"{name}.yaml"
    written.write_text(json.dumps(recipe))
    with database.write() as connection:
        new = store.NewRun("curate", name, {"recipe": recipe, "display": []}, str(home / "runs"), "benchmark",
                           parent_id=parent)  # fmt: skip
        row = store.submit(connection, new, database.now(connection))
    output = row["output"]
    if parent:
        reuse(str(home / "runs" / parent), output)
    plan = plan_for(load_recipe(written), find_shards([str(path) for path in paths]), output)
    run(plan, output, lambda: make_executor("inline", 2))
    made = FinishedRun(output)
    result = {"manifest_digest": digest_bytes(made.storage.read("manifest.json")),
              "records": made.statistics["records"], "tokens": made.statistics["tokens"]}  # fmt: skip
    with database.write() as connection:
        now = database.now(connection)
        values = {"state": "succeeded", "result": result, "started_at": now, "finished_at": now}
        connection.execute(update(runs).where(runs.c.id == row["id"]).values(**values))
    return str(row["id"])


def _made(home: Path, first: str, second: str) -> Made:
    import duckdb

    def one(what: str, rest: str) -> Any:
        ledger = f"{home}/runs/{first}/ledger/*.parquet"
        return duckdb.sql(f"select {what} from '{ledger}' {rest} limit 1").fetchall()[0]

    rare = one("host", "group by host order by count(*), host")[0]
    common = one("host", "group by host order by count(*) desc, host")[0]
    duplicate, cluster = one("id, cluster", "where rule = 'near' and cluster_size > 2 order by id")
    return Made(first, second, rare, common, duplicate, one("id", "where verdict = 'kept' order by id")[0], cluster)


# --- the questions ------------------------------------------------------------------------------------------------


def addresses(made: Made) -> dict[str, str]:
    """Pages by what they are."""
    run = f"/runs/{made.first}"
    stage, found = f"{run}/stages/gopher-quality", f"{run}/documents"
    return {
        "run": run,
        "stage": stage,
        "stage of one language": f"{stage}?group=zh",
        "stage by language": f"{stage}?by=language",
        "stage by domain": f"{stage}?by=domain",
        "stage by host": f"{stage}?by=host",
        "stage, what if": f"{stage}?t.gopher-quality.few-words=50",
        "deduplication": f"{run}/stages/deduplication",
        "documents": found,
        "documents of a verdict": f"{found}?verdict=dropped",
        "documents of a frequent reason": f"{found}?reason=deduplication.near",
        "documents of a rare reason": f"{found}?reason=gopher-repetition.top-2gram-chars",
        "documents of a language": f"{found}?language=zh",
        "documents of a large host": f"{found}?host={made.common}",
        "documents of a small host": f"{found}?host={made.rare}",
        "documents of a small host, dropped": f"{found}?host={made.rare}&verdict=dropped",
        "documents counted by host": f"{found}?facet=host",
        "documents of a family": f"{found}?cluster={made.cluster}",
        "documents by a range": f"{found}?measure=word_count&low=45&high=46",
        "documents by an empty range": f"{found}?measure=word_count&low=100000&high=200000",
        "documents near a threshold": f"{found}?near=gopher-quality.few-words",
        "document, kept": f"{found}/{made.kept}",
        "document, duplicate, in its list": f"{found}/{made.duplicate}?reason=deduplication.near",
        "compare": f"/compare?a={made.first}&b={made.second}",
        "compare, one measure": f"/compare?a={made.first}&b={made.second}&measure=word_count",
    }


def _client(home: Path) -> Any:
    from starlette.testclient import TestClient

    from api.app import create_app
    from api.settings import Settings
    from api.store.database import Database

    return TestClient(create_app(Settings(home=home), Database(_address(home))), ORIGIN)


def notice(home: Path, made: Made) -> None:
    """What the service does when a driver says that its run has finished; says what that took."""
    from api.statistics.finished import LOOKUPS, look_through

    context = _client(home).app.state.context
    for run in (made.first, made.second):
        began, used = time.perf_counter(), time.process_time()
        look_through(run, context)
        seconds = [round(end - start, 2) for start, end in ((began, time.perf_counter()), (used, time.process_time()))]
        print(f"lookup: {seconds[0]} s, {seconds[1]} s of a processor", file=sys.stderr)
    sizes = [path.stat().st_size for path in (home / LOOKUPS).iterdir()]
    print(f"lookups: {[round(size / 1e6, 1) for size in sizes]} MB", file=sys.stderr, flush=True)


def views(task: tuple[Path, str]) -> list[float]:
    """Milliseconds of a page in a process that has not opened the runs before: first and second view by the clock,
    the first one's of processors."""
    from api.pages.render import environment

    home, path = task
    client = _client(home)
    for name in environment().list_templates():  # once for each service, not for each run
        environment().get_template(name)
    client.get("/runs?state=failed")
    clock, processors = [], []
    for _ in range(2):
        began, used = time.perf_counter(), time.process_time()
        answer = client.get(path)
        clock.append(1000 * (time.perf_counter() - began))
        processors.append(1000 * (time.process_time() - used))
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:500])
    return [*clock, processors[0]]


def main() -> None:
    """Make the runs where they are not there, ask for every page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="folder for the runs, to ask them again")
    parser.add_argument("--only", default="", help="pages whose name has this word")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = (given.keep or Path(scratch) / "home").absolute()
        if not (home / "made.json").exists():
            make_home(home, given.documents)
        made = Made(**json.loads((home / "made.json").read_text()))
        notice(home, made)
        pages = {name: path for name, path in addresses(made).items() if given.only in name}
        tell(measured(home, pages, given.rounds))


def measured(home: Path, pages: dict[str, str], rounds: int) -> dict[str, dict[str, float]]:
    """Medians and greatest milliseconds of every page."""
    found = {}
    for name, path in pages.items():
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            first, second, processors = zip(*pool.map(views, [(home, path)] * rounds, chunksize=1), strict=True)
        found[name] = {
            "first, median": statistics.median(first), "greatest": max(first),
            "second, median": statistics.median(second), "greatest of these": max(second),
            "first, processors": statistics.median(processors),
        }  # fmt: skip
        print(name, [round(value) for value in found[name].values()], file=sys.stderr, flush=True)
    return found


def tell(found: dict[str, dict[str, float]]) -> None:
    """A table for people, then JSON."""
    head = list(next(iter(found.values())))
    print(f"| page | {' | '.join(head)} |\n|---|{'---:|' * len(head)}")
    for name, row in found.items():
        print(f"| {name} | {' | '.join(f'{row[word]:.0f}' for word in head)} |")
    print(json.dumps({"milliseconds": {n: {w: round(ms, 1) for w, ms in row.items()} for n, row in found.items()}}))


if __name__ == "__main__":
    main()
