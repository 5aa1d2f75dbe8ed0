"""Datasets: versions, aliases, cards, rows, files, where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.pages.markdown import card
from tests.api.http import ADMIN_KEY, make_key, serving
from tests.pages.browser import reads_well, watched
from tests.pages.finished import ASKS, Mill, Milled
from tests.pages.reading import Read, read


@pytest.fixture
def own(tmp_path: Path) -> tuple[Mill, str]:
    """A mill that may be changed, and a run in it that is version 1 of ``asks``."""
    mill = Mill.at(tmp_path / "home")
    rows = [{"instruction": f"Count to {n}.", "input": "", "output": "One and so on."} for n in range(3)]
    return mill, mill.finished("Asks", ASKS, [mill.lines("a.jsonl", rows)], "asks")


def test_all_are_listed_with_aliases(data: Milled) -> None:
    page = read(data.mill.client(), "/datasets")
    assert {row[0] for row in page.rows("Datasets")} == {"web", "pairs", "asks"}
    assert "/datasets/web/versions/2" in page.links()


def test_a_dataset_has_its_versions(data: Milled) -> None:
    client = data.mill.client()
    versions = client.get("/api/v1/datasets/web/versions").json()["items"]
    rows = read(client, "/datasets/web").rows("Versions")
    assert [row[0] for row in rows] == ["version 2", "version 1"] and "latest" in rows[0][1]
    assert [row[2] for row in rows] == [f"{one['facts']['records']['kept']:,}" for one in versions]


def test_a_version_says_where_it_comes_from(data: Milled) -> None:
    page = read(data.mill.client(), "/datasets/web/versions/2")
    assert f"/runs/{data.second}" in page.links() and f"/runs/{data.first}" in page.links()
    steps = [step.xpath("./h3")[0].text_content() for step in page.all("//div[contains(@class, 'step')]")]
    assert steps == ["Sources", "Run", "Dataset", "Trainings", "Models"]
    inputs = {row[0] for row in page.rows("Input files")}
    assert inputs == {"pages.warc.gz", "lines.jsonl"}
    assert "What became of every record" in page.text("//article[@class='prose']")
    assert page.all("//article[@class='prose']//table") and not page.all("//article[@class='prose']//h1")
    named = {row[0] for row in page.rows("Columns")}
    assert {"id", "text", "language"} <= named


def test_a_training_and_its_model_are_in_the_picture(own: tuple[Mill, str]) -> None:
    from sqlalchemy import update

    from api.store.tables import runs

    mill, _ = own
    client = mill.client()
    body = {"name": "small", "datasets": [{"name": "asks"}], "config": {}}
    training = client.post("/api/v1/trainings", json=body).json()["id"]
    with mill.database.write() as connection:
        result = {"registered": {"model": "tiny", "version": 3}}
        connection.execute(update(runs).where(runs.c.id == training).values(state="succeeded", result=result))
    steps = read(client, "/datasets/asks/versions/1").all("//div[contains(@class, 'step')]")
    assert "small" in steps[3].text_content() and "tiny, version 3" in " ".join(steps[4].text_content().split())


def test_rows_are_previewed_and_filtered(data: Milled) -> None:
    client = data.mill.client()
    told = client.get("/api/v1/datasets/web/versions/1/rows", params={"limit": 10}).json()["items"]
    page = read(client, "/datasets/web/versions/1/rows")
    assert [text.text_content() for text in page.all("//div[@class='text']")] == [row["text"] for row in told]
    chinese = read(client, "/datasets/web/versions/1/rows?language=zh")
    assert len(chinese.all("//article")) == 6 and not chinese.links("//a[@rel='next']/@href")
    assert not read(client, "/datasets/web/versions/1/rows?language=xx").all("//article")
    refused = read(client, "/datasets/web/versions/1/rows?split=train", 422)
    assert "no such column" in refused.text("//div[@role='alert']")
    messages = read(client, "/datasets/asks/versions/1/rows")
    assert [turn.text_content() for turn in messages.all("//p[@class='role']")][:2] == ["user", "assistant"]


def test_groups_count_every_row(data: Milled) -> None:
    client = data.mill.client()
    for name, by in (("web", "language"), ("web", "source"), ("pairs", "source"), ("pairs", "split")):
        groups = client.get(f"/api/v1/datasets/{name}/versions/1/groups", params={"by": by}).json()
        whole = client.get(f"/api/v1/datasets/{name}/versions/1").json()["facts"]["records"]["kept"]
        assert sum(one["rows"] for one in groups["items"]) == whole and groups["total"] == len(groups["items"])
        for one in groups["items"]:
            rows = client.get(f"/api/v1/datasets/{name}/versions/1/rows", params={by: one["name"], "limit": 100}).json()
            assert len(rows["items"]) == one["rows"]
    assert client.get("/api/v1/datasets/web/versions/1/groups?by=split").status_code == 422


def test_cursors_go_through_all_rows_of_a_filter(data: Milled) -> None:
    client, seen, path = data.mill.client(), [], "/datasets/pairs/versions/1/rows?source=shop"
    while path:
        page = read(client, path)
        seen += page.links("//a[contains(., 'history')]/@href")
        path = next(iter(page.links("//a[@rel='next']/@href")), "")
    assert len(seen) == len(set(seen)) == 12


def test_files_are_taken_from_the_api(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, "/datasets/web/versions/1/files")
    told = client.get("/api/v1/datasets/web/versions/1/files").json()["items"]
    links = page.links("//table//a/@href")
    assert links == [one["url"] for one in told]
    assert len(client.get(links[0]).content) == told[0]["bytes"]


def test_two_versions_are_compared(data: Milled) -> None:
    client = data.mill.client()
    told = client.get("/api/v1/datasets/web/diff?first=1&second=2").json()
    page = read(client, "/datasets/web/diff?first=1&second=2")
    assert f"only in 1 {told['documents']['only_first']}" in page.text()
    assert f"/compare?a={data.first}&b={data.second}" in page.links()
    ids = [link.rpartition("/")[2] for link in page.links("//section[@aria-label='Only in version 1']//a/@href")]
    assert ids == client.get("/api/v1/datasets/web/diff?first=1&second=2&samples=10").json()["samples_only_first"]
    assert "no such version" in read(client, "/datasets/web/diff?first=1&second=9", 422).text("//div[@role='alert']")


def test_statistics_are_those_of_the_run(data: Milled) -> None:
    page = read(data.mill.client(), "/datasets/web/versions/1/statistics")
    assert {row[0]: row[1] for row in page.rows("By language")}["zh"] == "6"


# --- forms


def post(client: TestClient, path: str, **form: str) -> Any:
    return client.post(path, data=form)


def test_aliases_are_set_and_removed(own: tuple[Mill, str]) -> None:
    mill, _ = own
    client = mill.client()
    assert post(client, "/datasets/asks/aliases", alias="stable", version="1").headers["location"] == "/datasets/asks"
    assert client.get("/api/v1/datasets/asks").json()["aliases"] == {"stable": 1}
    assert read(client, "/datasets/asks").rows("Aliases") == [["stable", "version 1", "Remove stable"]]
    assert post(client, "/datasets/asks/aliases/stable/remove").status_code == 303
    assert client.get("/api/v1/datasets/asks").json()["aliases"] == {}


@pytest.mark.parametrize(
    ("alias", "version", "said"),
    [("latest", "1", "always is the latest"), ("stable", "7", "no such version"), ("stable", "x", "valid integer"),
     ("", "1", "small letter"), ("../x", "1", "small letter"), ("<script>", "1", "small letter")],
)  # fmt: skip
def test_an_alias_that_cannot_be_is_told(own: tuple[Mill, str], alias: str, version: str, said: str) -> None:
    mill, _ = own
    answer = post(mill.client(), "/datasets/asks/aliases", alias=alias, version=version)
    assert answer.status_code == 422
    page = Read(answer)
    assert said in page.text("//div[@role='alert']")
    assert page.all("//input[@name='alias']")[0].get("value") == alias  # what was given is still there
    assert mill.client().get("/api/v1/datasets/asks").json()["aliases"] == {}


def test_a_dataset_is_described(own: tuple[Mill, str]) -> None:
    mill, _ = own
    assert post(mill.client(), "/datasets/asks/describe", description="What <b>we</b> asked").status_code == 303
    page = read(mill.client(), "/datasets/asks")
    assert "What <b>we</b> asked" in page.text() and not page.all("//main//b")
    assert post(mill.client(), "/datasets/asks/describe", description="x" * 2001).status_code == 422


def test_a_run_is_published_from_a_form(own: tuple[Mill, str]) -> None:
    mill, run = own
    client = mill.client()
    again = post(client, "/datasets/asks/versions", run=run)
    assert again.headers["location"] == "/datasets/asks/versions/1"  # it is that one already
    rows = [{"instruction": "Say more.", "input": "", "output": "There is no more to say."}]
    other = mill.finished("Other", ASKS, [mill.lines("b.jsonl", rows)])
    assert post(client, "/datasets/asks/versions", run=other).headers["location"] == "/datasets/asks/versions/2"
    for wrong in ("x", "0" * 36):
        assert Read(post(client, "/datasets/asks/versions", run=wrong)).all("//div[@role='alert']")


def test_who_may_only_read_sees_no_form_and_is_refused(tmp_path: Path) -> None:
    mill = Mill.at(tmp_path / "home", require_key=True, admin_key=ADMIN_KEY)
    rows = [{"instruction": "Say it.", "input": "", "output": "I say it."}]
    mill.finished("Asks", ASKS, [mill.lines("a.jsonl", rows)], "asks")
    client = mill.client()
    _, key = make_key(mill.database, "viewer")
    client.post("/login", data={"key": key})
    assert not read(client, "/datasets/asks").all("//main//form")
    for path in ("aliases", "describe", "versions", "aliases/stable/remove"):
        assert post(client, f"/datasets/asks/{path}").status_code == 403


# --- cards


def test_cards_are_text_tables_and_links() -> None:
    front, told = card(
        "---\nconfigs: x\n---\n# One\n\n| a | b |\n|---|---:|\n| 1 | 2 |\n\n[w](https://a.example/x) `c`\n"
    )
    assert front == "configs: x"
    assert "<h2>One</h2>" in told and '<td class="number">2</td>' in told and "<code>c</code>" in told
    assert 'href="https://a.example/x" rel="noopener noreferrer nofollow"' in told


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "![x](https://evil.example/x.png)",
     "[x](javascript:alert(1))", "[x](data:text/html,x)", "[x](//evil.example)", "[x](/\\evil.example)",
     '[x](https://a.example/"onmouseover="alert(1))', "```\n<script>alert(1)</script>\n```",
     "[x](https://a.example 'a\" onclick=alert(1)')", "<https://a.example/\u202e>", "| <b>a</b> |\n|---|\n| \u202eb |",
     "a\u202eb\u200bc", "&lt;script&gt;", "<!-- x -->", "[a]: javascript:alert(1)\n\n[a]"],
)  # fmt: skip
def test_nothing_in_a_card_runs_or_loads(hostile: str) -> None:
    import lxml.html

    told = card(f"# Card\n\n{hostile}\n")[1]
    tree = lxml.html.fromstring(f"<div>{told}</div>")
    allowed = {"div", "h2", "p", "a", "pre", "code", "table", "thead", "tbody", "tr", "th", "td", "span"}
    assert {element.tag for element in tree.iter()} <= allowed
    for element in tree.iter():
        assert set(element.attrib) <= {"href", "rel", "class", "title", "tabindex", "role", "aria-label", "scope"}
        address = element.get("href", "#")  # another site only by its whole address
        assert address.startswith(("https://", "#", "/")) and not address.startswith(("//", "/\\"))
    assert "\u202e" not in told and "\u200b" not in told


# --- in a browser


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_read_well(data: Milled, browser: Any, theme: str) -> None:
    names = {"datasets": "/datasets", "dataset": "/datasets/web", "version": "/datasets/web/versions/2",
             "rows": "/datasets/asks/versions/1/rows", "files": "/datasets/web/versions/1/files",
             "diff": "/datasets/web/diff?first=1&second=2", 
             "figures": "/datasets/web/versions/1/statistics"}  # fmt: skip
    reads_well(data.mill.app, browser, theme, names)


@pytest.mark.slow
def test_a_file_is_downloaded_with_the_cookie(tmp_path: Path, browser: Any) -> None:
    mill = Mill.at(tmp_path / "home", require_key=True, admin_key=ADMIN_KEY)
    rows = [{"instruction": "Say it.", "input": "", "output": "I say it."}]
    mill.finished("Asks", ASKS, [mill.lines("a.jsonl", rows)], "asks")
    with serving(mill.app) as (host, port), watched(browser, f"http://{host}:{port}") as seen:
        page = seen.open("/login?next=/datasets/asks/versions/1/files")
        page.fill("#key", ADMIN_KEY)
        page.click("main button.main")
        with page.expect_download() as download:
            page.click("table a:has-text('manifest.json')")
        assert "files" in json.loads(Path(download.value.path()).read_text())
        seen.quiet()
