"""A hostile corpus: texts made to run, to mislead or to break a page, in every field that a crawl or a person fills.

They go through the mill into finished runs and published datasets; then a browser opens every page that links lead to.
Nothing may run, load from elsewhere, be wider than a telephone, or hide what it holds.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from starlette.testclient import TestClient

from tests.api.http import serving
from tests.pages.browser import screenshot, watched
from tests.pages.finished import ASKS, CRAWL, PAIRS, Mill, page_of
from tests.pages.reading import Read
from tests.support.corpus import english

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
END = "</textarea></script></title></style><svg onload=alert(1)>"
TURNED = "user\u202egpj.exe\u202c\u2066x\u2069"  # looks like another name
LONG = "W" * 10_000
HIDDEN = "a\u200bb\ufeffc\u00add\u2060e\U000e0041f"
ZALGO = "e" + "\u0301" * 300
TEMPLATE = "{{ 7 * 7 }}{% raw %}${7*7}"
CONTROL = "a\x00b\x1b[31mc\x07\x9b"
HALF = "\ud800half"
TEXTS = [SCRIPT, IMAGE, END, TURNED, LONG, HIDDEN, ZALGO, TEMPLATE, CONTROL, HALF]
MARKS = ("U+202E", "U+200B", "U+FEFF", "U+2066")
MOST = 70  # pages that are opened in the browser
_SPECIAL = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\ufeff\u2060\x00\x1b\x07\ud800-\udfff]")


def _texts(hostile: list[str]) -> list[dict[str, Any]]:
    """Documents of JSON lines with hostile texts, addresses and hosts."""
    rows = [
        {"text": f"{english(n, 12)} {one} {one[:50]}", "url": f"http://{one[:60]}/{one[:3000]}", "id": one[:500]}
        for n, one in enumerate(hostile)
    ]
    rows += [{"text": one, "url": one[:2000]} for one in hostile]  # too short: dropped with their text
    return [*rows, {"text": rows[0]["text"] + " And one more.", "url": IMAGE}, {"url": SCRIPT}]


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Mill:
    """Finished runs over hostile files, published."""
    made = Mill.at(tmp_path_factory.mktemp("hostile") / "home")
    lines = made.lines('"><img src=x onerror=alert(1)>.jsonl', _texts(TEXTS))
    pages = made.pages("<script>alert(1)<.warc.gz", [
        (f"http://h{n}.example/", page_of(f"{english(n + 50)} &lt;script&gt; {SCRIPT} {n}", one.replace("\ud800", "")))
        for n, one in enumerate(TEXTS)
    ])  # fmt: skip
    first = made.finished(f"{IMAGE}{TURNED}", CRAWL, [lines, pages], "web")
    changed = [
        {**stage, "min_words": 212} if stage["stage"] == "gopher-quality" else stage for stage in CRAWL["stages"]
    ]  # type: ignore[index]
    made.finished(f"{SCRIPT}{LONG[:180]}", {**CRAWL, "stages": changed}, [lines, pages], "web", parent=first)
    rows = [
        {"prompt": f"{one} {n}", "chosen": f"{english(n, 4)} {one}", "rejected": f"{english(n + 9, 4)} {one} x",
         "source": one[:300], "language": one[:60], "license": one[:300], "margin": n + 0.5}
        for n, one in enumerate(TEXTS)
    ]  # fmt: skip
    made.finished("pairs", PAIRS, [made.lines("' onload='x.jsonl", rows)], "pairs")
    asked = [
        {"messages": [{"role": "system", "content": one}, {"role": "user", "content": f"{one} {n}"},
                      {"role": "assistant", "content": f"{english(n, 4)} {one}"}],
         "tools": json.dumps([{"name": one[:100]}]), "source": one[:300]}
        for n, one in enumerate(TEXTS)
    ]  # fmt: skip
    made.finished(TEMPLATE, ASKS, [made.lines("asks.jsonl", asked)], "asks")
    client = made.client()
    for name in ("web", "pairs"):
        description = f"{SCRIPT}{IMAGE}{TURNED}{LONG}"[:2000]
        assert client.patch(f"/api/v1/datasets/{name}", json={"description": description}).status_code == 200
    run = client.get("/api/v1/runs").json()["items"][0]["id"]
    note = f"{SCRIPT}\n{IMAGE}\n{TURNED}{LONG}"[:10_000]
    assert client.patch(f"/api/v1/runs/{run}", json={"note": note}).status_code == 200
    return made


def crawl(client: TestClient, most: int) -> list[str]:
    """Pages that links lead to from the first one, of each kind some: what differs in ids only is one kind."""
    kinds: dict[str, int] = {}
    waiting, seen, found = ["/"], {"/"}, []
    while waiting and len(found) < most:
        path = waiting.pop(0)
        kind = re.sub(r"[0-9a-f-]{32,36}|=[^&]*|\d+", "*", path)
        kinds[kind] = kinds.get(kind, 0) + 1
        if kinds[kind] > 4:
            continue
        answer = client.get(path)
        assert answer.status_code in (200, 404, 422), (path, answer.status_code, answer.text[:500])
        if answer.status_code != 200:  # what is not there, and a form that says what is missing
            harmless(answer.text, path)
            continue
        found.append(path)
        for link in Read(answer).all("//a/@href"):
            target = urlsplit(urljoin(f"http://here{path}", str(link)))
            address = target.path + (f"?{target.query}" if target.query else "")
            if target.netloc == "here" and not target.path.startswith(("/api", "/static")) and address not in seen:
                seen.add(address)
                waiting.append(address)
    return found


def documents(client: TestClient) -> list[str]:
    """Pages of every document of every run."""
    return [
        f"/runs/{run['id']}/documents/{one['id']}"
        for run in client.get("/api/v1/runs").json()["items"]
        for one in client.get(f"/api/v1/runs/{run['id']}/documents", params={"limit": 200}).json()["items"]
    ]


def harmless(html: str, path: str) -> None:
    """Nothing of a corpus is markup, and nothing of it is hidden."""
    tree = Read(type("Answer", (), {"status_code": 200, "text": html})()).tree
    for element in tree.iter():
        if not isinstance(element.tag, str):
            continue
        assert not [name for name in element.attrib if name.lower().startswith("on") or name == "style"], path
        assert element.tag not in ("svg", "iframe", "object", "embed", "base"), path
        if element.tag == "script":
            assert element.get("src") or element.get("type") == "application/json", path
        if element.tag == "img":
            assert element.get("src", "").startswith("/static/"), path
        for name in ("href", "src", "action"):
            assert not (element.get(name) or "").lower().startswith(("javascript:", "data:", "//")), path
    assert not _SPECIAL.search(html), (path, ascii(_SPECIAL.findall(html)[:3]))
    assert "49" not in re.findall(r"\{\{ 7|7 \}\}", html), path


def test_the_mill_keeps_hostile_texts_and_drops_some(mill: Mill) -> None:
    """Else these tests would look at nothing."""
    client = mill.client()
    for run in client.get("/api/v1/runs").json()["items"]:
        assert run["result"]["records"]["kept"] > 0
    texts = json.dumps(client.get("/api/v1/datasets/web/versions/1/rows?limit=100&full=true").json())
    for one in (SCRIPT, TURNED, HIDDEN):
        assert json.dumps(one)[1:-1].split()[0] in texts


def test_every_page_is_harmless_as_it_is_sent(mill: Mill) -> None:
    client = mill.client()
    paths = [*crawl(client, 200), *documents(client)]
    assert len(paths) > 60
    whole = ""
    for path in paths:
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text[:500])
        harmless(answer.text, path)
        whole += answer.text
    for mark in MARKS:
        assert mark in whole, f"{mark} is nowhere to be seen"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in whole and "{{ 7 * 7 }}" in whole


def test_a_page_takes_hostile_queries(mill: Mill) -> None:
    client = mill.client()
    run = client.get("/api/v1/runs?kind=curate").json()["items"][-1]["id"]
    for one in (SCRIPT, IMAGE, END, TURNED, HIDDEN, TEMPLATE, CONTROL, LONG):
        for path, names in (
            (f"/runs/{run}/documents", ("verdict", "reason", "language", "host", "measure", "near", "low", "cluster")),
            (f"/runs/{run}/documents", ("cursor", "facet")),
            ("/datasets/web/versions/1/rows", ("language", "source", "cursor")),
            ("/datasets/pairs/versions/1/pairs", ("source", "split", "differ")),
            ("/datasets/web/diff", ("first", "second")),
            ("/compare", ("a", "b", "measure")),
        ):  # fmt: skip
            for name in names:
                answer = client.get(path, params={name: one, **({"second": "1"} if name == "first" else {})})
                assert answer.status_code in (200, 400, 404, 422), (path, name, answer.status_code, answer.text[:300])
                harmless(answer.text, f"{path} {name}")


@pytest.mark.slow
def test_nothing_runs_in_a_browser(mill: Mill, browser: Any) -> None:
    client = mill.client()
    every = documents(client)
    paths = [*crawl(client, MOST), *every[:: max(1, len(every) // 15)]]
    with serving(mill.app) as (host, port), watched(browser, f"http://{host}:{port}", 375) as seen:
        seen.page.add_init_script("window.alert = () => { throw new Error('something ran'); };")
        for path in paths:
            page = seen.open(path)
            seen.quiet()
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} pixels too wide"
            for mark in page.query_selector_all(".hidden-character")[:3]:
                assert re.fullmatch(r"U\+[0-9A-F]{4,6}", mark.inner_text())
        page = seen.open(every[0])
        screenshot(page, "hostile")


def test_files_are_sent_as_files_and_never_shown(mill: Mill) -> None:
    client = mill.client()
    for one in client.get("/api/v1/datasets/web/versions/1/files").json()["items"]:
        answer = client.get(one["url"])
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "html" not in answer.headers["content-type"]


def test_a_hostile_name_opens_nothing_else(mill: Mill, tmp_path: Path) -> None:
    client = mill.client()
    for name in ("..%2f..%2fx", "<script>", "a%00b", "web%2Fversions"):
        for path in (f"/datasets/{name}", f"/datasets/{name}/versions/1", f"/datasets/web/versions/{name}"):
            assert client.get(path).status_code in (400, 404, 405, 422), path
