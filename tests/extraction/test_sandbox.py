"""One page costs one page: limits of time and memory, crashes, hostile pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import DocumentError, RunError
from curation.extraction import sandbox as module
from curation.extraction.engines import Options, extract
from curation.extraction.frames import pack, unpack
from curation.extraction.sandbox import ExtractionSandbox, Limits, shared_sandbox

GOOD = b"<title>t</title><p>hello world</p>"
# Many attributes of one element: quadratic in the parser, flat for the nesting guard.
SLOW = b"<div " + b" ".join(b"a%d=1" % i for i in range(120_000)) + b">x"


@pytest.fixture
def box() -> Iterator[ExtractionSandbox]:
    with ExtractionSandbox(limits=Limits(cpu_seconds=5.0)) as one:
        yield one


def error_of(box: ExtractionSandbox, content: bytes) -> tuple[str, str]:
    with pytest.raises(DocumentError) as caught:
        box.extract(content, "text/html", None)
    return caught.value.error_class, caught.value.detail


def child_pid(box: ExtractionSandbox) -> int:
    assert box._child is not None
    return box._child.process.pid


def test_the_child_gives_what_this_process_gives(box: ExtractionSandbox) -> None:
    for content, media_type, charset in [
        (GOOD, "text/html", None),
        ("<p>Привет, мир</p>".encode("cp1251"), "text/html", "windows-1251"),
        ("今天天气很好".encode("gbk"), "text/plain", "gb2312"),
        (b"", None, None),
        (b"\0" * 1000, "text/html", ""),
        (b"<p>" + b"x" * 3_000_000, "text/html", None),  # more than a pipe holds, both ways
    ]:
        assert box.extract(content, media_type, charset) == extract(content, media_type, charset, Options())
    pid = child_pid(box)
    box.extract(GOOD, None, None)
    assert child_pid(box) == pid


def test_cpu_time_is_limited() -> None:
    with ExtractionSandbox(limits=Limits(cpu_seconds=0.3)) as box:
        assert error_of(box, SLOW) == ("extraction-timeout", "more than 0.3 s of CPU time")
        assert box.extract(GOOD, "text/html", None).text == "hello world"


def test_many_pages_do_not_add_up_to_the_limit() -> None:
    with ExtractionSandbox(limits=Limits(cpu_seconds=0.5)) as box:
        page = b"<p>x</p>" * 20_000
        for _ in range(12):
            assert box.extract(page, "text/html", None).text.startswith("x\n\nx")


def test_a_child_that_hangs_is_given_up(box: ExtractionSandbox) -> None:
    box.extract(GOOD, None, None)
    box.limits = Limits(wall_seconds=0.3)
    os.kill(child_pid(box), signal.SIGSTOP)
    assert error_of(box, GOOD) == ("extraction-timeout", "no answer within 0.3 s")
    box.limits = Limits()
    assert box.extract(GOOD, None, None).text == "hello world"


def test_memory_is_limited() -> None:
    with ExtractionSandbox(limits=Limits(memory_bytes=256 << 20)) as box:
        page = b"<p>x" * 400_000
        expected = ("extraction-out-of-memory", "more than 256 MiB of memory")
        assert error_of(box, page) == expected
        assert box.extract(GOOD, None, None).text == "hello world"
        assert error_of(box, page) == expected  # now not the first of its child


def test_a_death_between_pages_costs_no_page(box: ExtractionSandbox) -> None:
    box.extract(GOOD, None, None)
    os.kill(child_pid(box), signal.SIGKILL)
    assert box.extract(GOOD, None, None).text == "hello world"


def test_a_page_that_kills_every_child_is_named(box: ExtractionSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.extract(GOOD, None, None)
    first = child_pid(box)
    real_send = module._send

    def send_and_kill(child: module._Child, fields: list[bytes], deadline: float) -> None:
        os.kill(child.process.pid, signal.SIGSEGV)
        child.process.wait()
        real_send(child, fields, deadline)

    monkeypatch.setattr(module, "_send", send_and_kill)
    assert error_of(box, GOOD) == ("extraction-crashed", "SIGSEGV")
    monkeypatch.undo()
    assert box.extract(GOOD, None, None).text == "hello world"
    assert child_pid(box) != first


def test_size_is_limited() -> None:
    with ExtractionSandbox(limits=Limits(max_html_bytes=100)) as box:
        assert box.extract(b"<p>" + b"x" * 97, None, None).text == "x" * 97
        assert error_of(box, b"<p>" + b"x" * 98) == ("html-too-large", "more than 100 bytes")


@pytest.mark.parametrize(
    "content",
    [
        b"<div>" * 1_000_000,
        b"<div></nothing>" * 100_000,
        b"<b><p>" * 100_000,
        b"<table>" * 1_000_000,
        b"<svg>" * 100_000,
    ],
)
def test_nesting_is_limited(box: ExtractionSandbox, content: bytes) -> None:
    assert error_of(box, content) == ("html-too-deep", "more than 10000 nested elements")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'<div class="' + b"a " * 4_000_000 + b'">hello', "hello"),
        (b"<p>he\0llo</p>", "hello"),
        (b"<script>" + b"<!--<script>" * 100_000 + b"</script><p>hidden", ""),
        (b"<script>" + b"x" * 4_000_000 + b"</script><p>hello", "hello"),
        (b"<table>" + b"<tr><td>x</td></tr>" * 20_000 + b"</table>", "\n".join(["x"] * 20_000)),
        (b"<!--" * 1_000_000, ""),
        (b"&amp;" * 500_000, "&" * 500_000),
        (b"&#" * 500_000, "&#" * 500_000),
        (b"<div>" * 2_000 + b"hello", "hello"),
    ],
)
def test_hostile_pages(box: ExtractionSandbox, content: bytes, expected: str) -> None:
    assert box.extract(content, "text/html", None).text == expected


def test_threads_take_turns(box: ExtractionSandbox) -> None:
    texts: list[str] = []

    def work(number: int) -> None:
        for _ in range(20):
            texts.append(box.extract(b"<p>number %d" % number, None, None).text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(texts) == sorted(f"number {number}" for number in range(4) for _ in range(20))


def test_a_child_started_by_a_thread_outlives_it(box: ExtractionSandbox) -> None:
    thread = threading.Thread(target=box.extract, args=(GOOD, None, None))
    thread.start()
    thread.join()
    pid = child_pid(box)
    assert box.extract(GOOD, None, None).text == "hello world"
    assert child_pid(box) == pid


def test_a_fork_gets_a_child_of_its_own(box: ExtractionSandbox) -> None:
    box.extract(GOOD, None, None)
    pid = child_pid(box)
    forked = os.fork()
    if forked == 0:
        status = 1
        try:
            same = box.extract(b"<p>other", None, None).text == "other" and child_pid(box) != pid
            box.close()
            status = 0 if same else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    assert box.extract(GOOD, None, None).text == "hello world"
    assert child_pid(box) == pid


@pytest.mark.parametrize("thread", [False, True])
def test_the_child_ends_with_its_parent(thread: bool) -> None:
    start = "threading.Thread(target=box.extract, args=(b'x', None, None))" if thread else None
    code = (
        "import threading, time\n"
        "from curation.extraction.sandbox import ExtractionSandbox\n"
        "box = ExtractionSandbox()\n"
        + (f"t = {start}; t.start(); t.join()\n" if thread else "box.extract(b'x', None, None)\n")
        + "print(box._child.process.pid, flush=True)\ntime.sleep(60)\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": root}
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_a_child_that_cannot_start_blames_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with ExtractionSandbox() as box, pytest.raises(RunError, match="did not start"):
        box.extract(GOOD, None, None)


def test_one_sandbox_for_the_same_settings() -> None:
    assert shared_sandbox(Options(), Limits()) is shared_sandbox(Options(), Limits())
    assert shared_sandbox(Options(), Limits()) is not shared_sandbox(Options(max_depth=5), Limits())


@pytest.mark.parametrize("fields", [[], [b""], [b"a", b"", b"bc" * 1000]])
def test_frames(fields: list[bytes]) -> None:
    stream = b"".join(pack(fields))
    position = 0

    def receive(size: int) -> bytes:
        nonlocal position
        position += size
        return stream[position - size : position]

    assert unpack(receive) == fields
    assert position == len(stream)
