"""The client and its commands against a real service: submit, follow, look, publish, take home; and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.client import Client, DownloadError, NotFinishedError, ServiceError, UnreachableError
from api.client.download import inside
from api.client.errors import error_of
from api.client.events import messages
from api.client.http import checked_url, segment
from api.client.jobs import job
from cli.main import app
from cli.remote import plain_json, recipe_of, thresholds_of
from curation.errors import GristmillError, InputError
from tests.support.runs import gristmill

ROOT = Path(__file__).parents[2]
CRAWL = ROOT / "examples" / "crawl"
RECIPE = {"name": "small", "stages": [{"stage": "extraction"}, {"stage": "language", "keep": ["en", "zh"]}]}
YAML = "name: small\nstages:\n  - stage: extraction\n  - stage: language\n    keep: [en, zh]\n"
SHARD = "crawl:sample-000.warc.gz"
RULE = "language.language-score"


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A service as a process of its own, that can be stopped and started again."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "cli.main", "serve", "--home", str(self.home), "--port", str(self.port)]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GRISTMILL_")}
        settings = {"GRISTMILL_WORKERS": "1", "GRISTMILL_POLL_SECONDS": "0.1"}
        with open(self.home / "stderr", "ab") as said:
            self._process = subprocess.Popen(command, stderr=said, cwd=ROOT, env={**kept, **settings})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for _ in range(600):
            try:
                opener.open(f"{self.url}/readyz", timeout=5)
                return
            except OSError:
                assert self._process.poll() is None, (self.home / "stderr").read_text()
                time.sleep(0.1)
        raise AssertionError("the service does not start")

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            assert self._process.wait(30) == 0
        finally:
            self._process.kill()

    def says(self, *arguments: str | Path, check: int = 0) -> str:
        """What a command prints in this process; of an error its one line."""
        environment = {"COLUMNS": "200", "NO_COLOR": "1"}
        done = CliRunner().invoke(app, [*map(str, arguments), "--url", self.url], env=environment)
        assert done.exit_code == check, (done.output, done.exception)
        if check:
            *_, last = done.stderr.splitlines()
            assert last.startswith("gristmill: ") and done.stderr.count("gristmill: ") == 1, done.stderr
            return last
        return done.stdout

    def data(self, *arguments: str | Path) -> Any:
        return json.loads(self.says(*arguments, "--json"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    found = Service(tmp_path_factory.mktemp("service"))
    found.start()
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as found:
        found.sources.declare("crawl", str(CRAWL))
        yield found


@pytest.fixture(scope="module")
def run(service: Service, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run that the command line submitted and watched."""
    recipe = tmp_path_factory.mktemp("recipe") / "small.yaml"
    recipe.write_text(YAML)
    arguments = ("runs", "submit", recipe, "-i", SHARD, "--tag", "first", "--publish", "books", "--watch", "--json")
    done = gristmill(*arguments, "--url", service.url)
    for kind in ("run.queued", "run.running", "run.succeeded"):
        assert kind in done.stderr
    found = json.loads(done.stdout)
    assert found["state"] == "succeeded" and found["recipe"] == RECIPE
    return found


# --- runs ---------------------------------------------------------------------------------------------------------


def test_the_client_loads_nothing_of_the_service() -> None:
    code = "import sys, api.client; print([m for m in ('fastapi', 'sqlalchemy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_show_and_list(service: Service, client: Client, run: Any) -> None:
    shown = service.says("runs", "show", run["id"], "--rules")
    assert "succeeded" in shown and "http-status" in shown and "language-score" in shown and "kept" in shown
    assert service.data("runs", "show", run["id"])["funnel"] == client.runs.funnel(run["id"])
    assert run["id"] in service.says("runs", "list", "--tag", "first")
    assert service.data("runs", "list", "--tag", "nobody") == []
    assert [one["id"] for one in client.runs.list(tag="first", limit=1)] == [run["id"]]


def test_watching_again_says_the_same(service: Service, client: Client, run: Any) -> None:
    told = [json.loads(line) for line in service.says("runs", "watch", run["id"], "--json").splitlines()]
    assert [event["number"] for event in told] == list(range(1, len(told) + 1))
    assert told == list(client.runs.events(run["id"]))
    assert told[2:] == list(client.runs.events(run["id"], after=2))


def test_logs_go_on_over_pages(service: Service, client: Client, run: Any) -> None:
    told = list(client.runs.logs(run["id"]))
    assert told == list(client._http.numbered(f"/runs/{run['id']}/logs", after=0, limit=3))
    assert told[0]["text"] in service.says("runs", "logs", run["id"])


def test_documents(service: Service, client: Client, run: Any) -> None:
    dropped = list(client.runs.documents(run["id"], verdict="dropped", limit=50))
    assert len(dropped) == run["result"]["records"]["dropped"] == len({row["id"] for row in dropped})
    assert len(service.data("runs", "documents", run["id"], "--verdict", "dropped", "-n", "60")) == 60
    near = service.data("runs", "documents", run["id"], "--near", "language-score", "-n", "3")
    assert len(near) == 3
    shown = service.says("runs", "documents", run["id"], "--id", near[0]["id"])
    assert near[0]["id"] in shown and "language_score" in shown


def test_what_if_and_fork_agree(service: Service, client: Client, run: Any) -> None:
    answer = client.runs.what_if(run["id"], {RULE: {"en": 0.9, "default": 0.65}}, samples=0)
    shown = service.says("runs", "what-if", run["id"], "-t", f"{RULE}=en:0.9,default:0.65")
    assert "language-score" in shown and "just these" in shown and f"{answer['kept']['after']:,}" in shown
    assert answer["kept"]["lost"] > 0
    fork = service.data("runs", "fork", run["id"], "-t", f"{RULE}=en:0.9,default:0.65", "--publish", "books", "--wait")
    assert fork["parent"] == run["id"] and fork["state"] == "succeeded"
    assert fork["result"]["records"]["kept"] == answer["kept"]["after"]
    compared = client.runs.compare(run["id"], fork["id"])
    assert sum(change["documents"] for change in compared["changes"]) == answer["kept"]["lost"]
    assert "language-score" in service.says("runs", "compare", run["id"], fork["id"])
    assert "version 1 and 2" in service.says("datasets", "diff", "books", "1", "latest")


def test_one_key_is_one_run_whatever_its_name_is(service: Service, client: Client) -> None:
    request = {"recipe": RECIPE, "inputs": [SHARD], "name": "[red]\x1b[31m\u202e"}
    first = client.runs.submit(**request, idempotency_key="one")
    assert client.runs.submit(**request, idempotency_key="one")["id"] == first["id"]
    client.runs.cancel(first["id"])
    with pytest.raises(ServiceError) as refused:
        client.runs.submit(**{**request, "name": "other"}, idempotency_key="one")
    assert refused.value.code == "key-reused" and refused.value.status == 422
    shown = service.says("runs", "list")
    assert r"[red]\x1b[31m\u202e" in shown and "\x1b" not in shown and "\u202e" not in shown


def test_commands_of_a_run(service: Service, client: Client) -> None:
    found = client.runs.submit(recipe=RECIPE, inputs=[SHARD])
    service.says("runs", "cancel", found["id"])
    ended = client.runs.wait(found["id"], timeout=60)
    assert ended["state"] == "cancelled"
    assert "cancelled cannot pause; possible now: retry" in service.says("runs", "pause", found["id"], check=2)
    assert f"run {found['id']} cancelled" in service.says("runs", "watch", found["id"], check=1)


def test_checking_and_waiting(service: Service, client: Client) -> None:
    assert client.runs.validate(recipe=RECIPE, inputs=["crawl"])["inputs"] == 1
    assert "extraction" in service.says("runs", "submit", "fineweb", "-i", "crawl", "--check")
    found = client.runs.submit(recipe=RECIPE, inputs=[SHARD])
    with pytest.raises(NotFinishedError, match="it goes on"):
        client.runs.wait(found["id"], timeout=0.2)
    client.runs.cancel(found["id"])


def test_events_go_on_behind_a_restart(service: Service, client: Client, run: Any) -> None:
    found = client.runs.submit(recipe=RECIPE, inputs=["crawl:sample-001.warc.gz"])
    heard, starting = [], threading.Thread()
    for event in client.runs.events(found["id"]):
        heard.append(event["number"])
        if event["kind"] == "run.starting" and not starting.ident:
            service.stop()
            starting = threading.Thread(target=lambda: (time.sleep(1), service.start()))
            starting.start()
    starting.join()
    assert event["kind"] == "run.succeeded"
    assert heard == list(range(1, len(heard) + 1))


# --- everything else ----------------------------------------------------------------------------------------------


def test_datasets(service: Service, client: Client, run: Any, tmp_path: Path) -> None:
    assert service.data("datasets", "publish", "shelf", run["id"])["number"] == 1
    assert "stable=1" in service.says("datasets", "alias", "shelf", "stable", "1")
    assert "shelf" in service.says("datasets", "list")
    assert run["id"] in service.says("datasets", "show", "shelf")
    assert "corpus/part-" in service.says("datasets", "show", "shelf", "stable")
    assert service.says("datasets", "show", "shelf", "--card").startswith("---")
    assert len(list(client.datasets.rows("shelf"))) == run["result"]["records"]["kept"]
    assert client.datasets.lineage("shelf")["run"] == run["id"]

    folder = tmp_path / "home"
    done = service.data("datasets", "download", "shelf", "stable", "-o", folder)
    files = {entry["path"]: entry for entry in client.datasets.files("shelf")}
    assert sorted(done["fetched"]) == sorted(files) and done["skipped"] == []
    corpus = next(path for path in files if path.startswith("corpus/"))
    (folder / corpus).write_bytes(b"\0" * files[corpus]["bytes"])
    again = client.datasets.download("shelf", "latest", folder)
    assert again["fetched"] == [corpus] and len(again["skipped"]) == len(files) - 1
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == sorted(files)


def test_a_file_that_was_tampered_with_is_not_taken(service: Service, client: Client, run: Any, tmp_path: Path) -> None:
    client.datasets.publish("tampered", run["id"])
    stored = service.home / "runs" / run["id"] / "statistics.json"
    right = stored.read_bytes()
    try:
        stored.write_bytes(right.replace(b"0", b"1"))
        with pytest.raises(DownloadError, match=r"statistics\.json: what arrived is not what the manifest names"):
            client.datasets.download("tampered", 1, tmp_path / "a")
        assert "statistics.json" in service.says("datasets", "download", "tampered", "-o", tmp_path / "b", check=1)
    finally:
        stored.write_bytes(right)
    assert not list(tmp_path.rglob("statistics.json")) and not list(tmp_path.rglob("*.part"))


def test_schedules(service: Service, client: Client, tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(YAML)
    options = ("--cron", "30 2 * * *", "--time-zone", "Europe/Berlin", "-i", "crawl:sample-{day}*", "--paused")
    made = service.data("schedules", "make", "nightly", recipe, *options, "--publish", "nights")
    assert made["paused"] and made["policy"]["cron"] == "30 2 * * *" and made["request"]["publish"] == "nights"
    assert "paused" in service.says("schedules", "list")
    assert "crawl:sample-{day}*" in service.says("schedules", "show", "nightly")
    assert len(service.says("schedules", "next", "nightly").splitlines()) == 11
    assert "T02:30:00" in service.says("schedules", "next", "nightly")
    assert "next: 20" in service.says("schedules", "resume", "nightly")
    assert "paused" in service.says("schedules", "pause", "nightly")
    assert service.data("schedules", "fires", "nightly") == []
    planned = service.data("schedules", "backfill", "nightly", "2026-01-01", "2026-01-03")
    assert [item["action"] for item in planned["items"]] == ["start"] * 3
    triggered = service.says("schedules", "trigger", "nightly").strip()
    assert client.runs.cancel(triggered)["schedule"] == made["id"]
    assert "removed" in service.says("schedules", "remove", "nightly")
    assert "there is no schedule of this name" in service.says("schedules", "show", "nightly", check=2)


def test_pipelines_and_sources(service: Service, client: Client, tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(YAML)
    assert "revision 1" in service.says("pipelines", "make", "small", recipe)
    assert "revision 2" in service.says("pipelines", "make", "small", recipe, "-t", f"{RULE}=0.7", "--revise")
    assert "min_score" not in service.says("pipelines", "show", "small", "1")
    assert "min_score" in service.says("pipelines", "show", "small")
    assert "small" in service.says("pipelines", "list")
    found = client.runs.validate(pipeline="small@2", inputs=[SHARD])
    assert found["recipe"]["stages"][1]["min_score"] == 0.7
    assert str(CRAWL) in service.says("sources", "list")
    assert "sample-000.warc.gz" in service.says("sources", "browse", "crawl")
    assert "a source never changes" in service.says("sources", "declare", "crawl", CRAWL, check=2)


def test_trainings(service: Service, client: Client, run: Any, tmp_path: Path) -> None:
    client.datasets.publish("lessons", run["id"])
    (tmp_path / "config.json").write_text('{"steps": 1}')
    options = ("-c", tmp_path / "config.json", "-d", "corpus=lessons@1")
    found = service.data("trainings", "start", "tiny", *options)
    client.runs.cancel(found["id"])
    assert found["config"] == {"steps": 1} and client.datasets.lineage("lessons")["trainings"] == [found["id"]]
    assert found["id"] in service.says("trainings", "list")
    assert "lessons version 1" in service.says("trainings", "show", found["id"])
    assert "/datasets/0: " in service.says("trainings", "start", "x", *options[:2], "-d", "nothing", check=2)


def test_a_version_of_a_service_is_trained_on_here(
    service: Service, client: Client, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRISTMILL_TRAINER_COMMAND", f"python {ROOT / 'tests' / 'api' / 'trainer.py'}")
    (config := tmp_path / "c.json").write_text('{"steps": 2}')
    out, number = tmp_path / "out", client.datasets.version("books")["number"]
    asked = ("train", config, "-d", "pages=books@latest", "-o", out, "-q")
    assert service.data(*asked)["model"] == "final"
    (given,) = json.loads((out / "job.json").read_text())["datasets"]
    told = client.datasets.version("books", number)
    assert (given["name"], given["version"], given["role"]) == ("books", number, "pages")
    assert given["manifest_digest"] == told["manifest_digest"]
    there = Path(given["location"])
    assert there == out / "given" / "datasets" / f"books-{number}"
    made = service.home / "runs" / told["run"]
    parts = sorted(path.relative_to(there) for path in there.rglob("*") if path.is_file())
    assert parts == sorted([*(path.relative_to(made) for path in (made / "corpus").iterdir()), Path("manifest.json")])
    assert all((there / part).read_bytes() == (made / part).read_bytes() for part in parts)
    (there / parts[0]).write_bytes(b"")  # what was cut is fetched again
    service.says(*asked)
    assert (there / parts[0]).read_bytes() == (made / parts[0]).read_bytes()
    service.says("train", config, "-d", made, "-o", tmp_path / "second", "-q")  # a folder stays one
    assert "there is no" in service.says("train", config, "-d", "nothing@1", "-o", tmp_path / "third", check=2)
    assert not (tmp_path / "third" / "job.json").exists()
    assert "there is no" in service.says("train", config, "-d", made, "--start", "m@1", "-o", tmp_path / "f", check=2)


def test_keys(service: Service, client: Client) -> None:
    made = service.data("keys", "make", "reader", "--role", "viewer", "--scope", "runs:read")
    assert made["id"] in service.says("keys", "list") and made["key"] not in service.says("keys", "list")
    with Client(service.url, made["key"]) as reader:
        assert "runs:read" in reader.whoami()["scopes"]
        list(reader.runs.list())
        with pytest.raises(ServiceError) as refused:
            reader.sources.list()
        assert (refused.value.status, refused.value.code) == (403, "forbidden")
        assert "it lacks the scope sources:read" in str(refused.value)
        assert "revoked" in service.says("keys", "revoke", made["id"])
        with pytest.raises(ServiceError, match="key") as refused:
            list(reader.runs.list())
        assert refused.value.status == 401 and made["key"] not in str(refused.value)
    assert "give a key in GRISTMILL_KEY" in service.says("runs", "list", "--key", made["key"], check=2)


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_every_fault_is_named(service: Service, client: Client, tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text(YAML.replace("keep", "kep"))
    said = service.says("runs", "submit", recipe, "-i", "nowhere:x", "-i", "crawl:../x", check=2)
    for pointer in ("/recipe_yaml/stages/1/kep: ", "/inputs/0/source: there is no source", "/inputs/1/path: "):
        assert pointer in said
    with pytest.raises(ServiceError) as refused:
        client.runs.submit(recipe=RECIPE, inputs=["nowhere"])
    assert [error["pointer"] for error in refused.value.errors] == ["/inputs/0/source"]
    assert str(refused.value).startswith("/inputs/0/source: there is no source of this name")


def test_what_is_wrong_before_anybody_is_asked(service: Service, tmp_path: Path) -> None:
    assert "nothing.yaml: no such recipe" in service.says("runs", "submit", "nothing.yaml", "-i", "a:b", check=2)
    assert "recipes: ccnet, crawl, fineweb" in service.says("pipelines", "make", "x", "crawll", check=2)
    assert "--input" in service.says("runs", "submit", "crawl", check=2)
    assert "--threshold: 'a=b'" in service.says("runs", "submit", "crawl", "-i", "a", "-t", "a=b", check=2)
    assert "cannot be the name" in service.says("runs", "show", "..", check=2)


def test_nobody_is_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = gristmill("runs", "list", "--url", url, check=1)
    assert done.stderr.startswith(f"gristmill: the service at {url} cannot be reached: ")
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(UnreachableError, match=url):
        next(Client(url).runs.events("x"))


def test_addresses_and_keys_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("", "here", "ftp://h", "http://", "http://h:x", "http://h?a", "http://me:secret@h"):
        with pytest.raises(InputError) as refused:
            checked_url(url)
        assert "secret" not in str(refused.value)
    assert checked_url("https://h:1/below/") == "https://h:1/below"
    with pytest.raises(InputError) as refused:
        Client(key="sec\nret")
    assert "ret" not in str(refused.value)
    monkeypatch.setenv("GRISTMILL_URL", "http://elsewhere:1")
    assert Client().url == "http://elsewhere:1" and Client("http://h").url == "http://h"


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers each connection with some bytes, perhaps none, and closes it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def answer() -> None:
            for bytes_ in answers:
                connection, _ = server.accept()
                with connection:
                    heard.append(connection.recv(65536))
                    connection.sendall(bytes_)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        thread.join(10)


def response(body: bytes, status: str = "200 OK", kind: str = "application/json", *more: str, cut: int = 0) -> bytes:
    """An HTTP response; the last ``cut`` bytes never arrive."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", f"Content-Type: {kind}", "Connection: close", *more]
    return "\r\n".join([*head, "", ""]).encode() + body[: len(body) - cut]


def test_only_what_is_safe_is_sent_again() -> None:
    fine = response(b'{"id": "x"}')
    with answering(b"", b"", fine) as (url, heard):
        assert Client(url).runs.get("x") == {"id": "x"} and len(heard) == 3
    with answering(b"", fine) as (url, heard):
        assert Client(url).runs.fork("x", {"a.b": 1}) == {"id": "x"}
        assert len(heard) == 2 and len({part for one in heard for part in one.split(b"\r\n") if b"Idem" in part}) == 1
    with answering(b"") as (url, heard), pytest.raises(UnreachableError):
        Client(url).runs.cancel("x")


def test_answers_of_somebody_else() -> None:
    page = response(b"<html>", kind="text/html")
    with answering(page) as (url, _), pytest.raises(ServiceError, match="answered 200, and not as the service does"):
        Client(url).runs.get("x")
    with answering(page) as (url, _), pytest.raises(ServiceError, match="not as the service does"):
        next(Client(url).runs.events("x"))
    moved = response(b"", "301 Moved", "text/plain", "Location: https://there/")
    with answering(moved) as (url, heard), pytest.raises(ServiceError, match="sends to https://there/"):
        Client(url, "secret").runs.get("x")
    assert b"Bearer secret" in heard[0]
    broken = response(b"oops", "502 Bad Gateway", "text/html")
    with answering(broken) as (url, _), pytest.raises(ServiceError) as refused:
        Client(url).runs.get("x")
    assert refused.value.status == 502 and not refused.value.is_mine


def test_a_download_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    from hashlib import blake2b

    text = bytes(range(256)) * 800
    there = 3 * (1 << 16)  # whole chunks
    digest = blake2b(text, digest_size=32).hexdigest()
    entries = {"items": [{"path": "a/b.bin", "bytes": len(text), "digest": f"blake2b:{digest}"}]}
    answers = [response(b'{"number": 1}'), response(json.dumps(entries).encode()), response(text, cut=240)]
    rest = response(text[there:], "206 Partial Content")
    with answering(*answers, rest) as (url, heard):
        done = Client(url).datasets.download("d", "latest", tmp_path)
    assert done["fetched"] == ["a/b.bin"] and (tmp_path / "a" / "b.bin").read_bytes() == text
    assert f"Range: bytes={there}-".encode() in heard[3] and digest.encode() in heard[3]


@pytest.mark.parametrize(
    "name",
    ["/etc/x", "../x", "a/../../x", "a//b", "a/./b", "", "C:\\x", "a\\b", "a\x00", "a\nb", "a/..", "x:y", "a/b."],
)
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        inside(tmp_path, name)


def test_links_that_lead_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "corpus").symlink_to(tmp_path)
    with pytest.raises(DownloadError, match="link"):
        inside(tmp_path / "folder", "corpus/x")
    assert inside(tmp_path / "folder", "ledger/x") == tmp_path / "folder" / "ledger" / "x"


def test_one_readable_line() -> None:
    errors = [{"pointer": "/a", "code": "x", "message": "one"}, {"pointer": "", "code": "y", "message": "two"}]
    body = {
        "type": "urn:gristmill:problem:invalid",
        "title": "T",
        "status": 422,
        "detail": "2 things",
        "errors": errors,
    }
    found = error_of(422, "http://h", body)
    assert str(found) == "2 things: /a: one; the body: two" and found.is_mine and isinstance(found, GristmillError)
    body = {"type": "urn:gristmill:problem:internal-error", "title": "T", "instance": "urn:uuid:7"}
    assert str(error_of(500, "http://h", body)) == "T (request 7)"
    assert not error_of(429, "http://h", body).is_mine


def test_server_sent_events_however_they_are_cut() -> None:
    stream = "retry: 5\n\n: hm\nid: 1\r\nevent: a\r\ndata: {\ndata:}\n\ndata: é\r\rdata: lost".encode()
    for size in (1, 2, 3, 7, 1000):
        parts = [stream[at : at + size] for at in range(0, len(stream), size)]
        found = list(messages([*parts, b""]))
        assert [(one.event, one.data, one.id, one.retry) for one in found] == [
            ("a", "{\n}", "1", 5),
            ("message", "é", "1", 5),
        ]


def test_short_forms(tmp_path: Path) -> None:
    assert thresholds_of(["a.b=0.5", "c.d=off", "e.f=en:1,zh:off"]) == {
        "a.b": 0.5, "c.d": None, "e.f": {"en": 1.0, "zh": None}
    }  # fmt: skip
    assert thresholds_of([]) is None
    for wrong in ("a", "a=", "=1", "a=nan", "a=inf", "a=x", "a=en:", "a=en:1,2"):
        with pytest.raises(InputError):
            thresholds_of([wrong])
    made = job(["s:a:b", "t"], pipeline="p@3", earlier=["d", "e@2"], note=None)
    assert made == {
        "pipeline": {"name": "p", "revision": 3}, "earlier": [{"name": "d"}, {"name": "e", "version": 2}],
        "inputs": [{"source": "s", "path": "a:b"}, {"source": "t", "path": ""}],
    }  # fmt: skip
    with pytest.raises(InputError):
        job([], pipeline="p@x")
    assert recipe_of("crawl", None) == {"recipe": "crawl"} and recipe_of(None, "p") == {"pipeline": "p"}
    for wrong_pair in ((None, None), ("crawl", "p"), (str(tmp_path), None)):
        with pytest.raises(InputError):
            recipe_of(*wrong_pair)
    assert segment("a/b c") == "a%2Fb%20c" and segment("a/b", slashes=True) == "a/b"
    assert plain_json("\x7f\u202e", None) == '"\\u007f\\u202e"'
