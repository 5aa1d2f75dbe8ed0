"""Documents of a run: found by what became of them, and each with its whole history."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from markupsafe import Markup

from api.pages.marked import Mark, compared, marked
from pipelines.differences import differences
from tests.api.http import make_key, sqlite
from tests.pages.browser import reads_well
from tests.pages.finished import Milled
from tests.pages.reading import path_of, read


def listed(data: Milled, **filters: Any) -> list[dict[str, Any]]:
    """Documents as the API gives them."""
    answer = data.mill.client().get(f"/api/v1/runs/{data.first}/documents", params={"limit": 200, **filters})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def shown(page: Any) -> list[str]:
    """Ids of the documents that a page lists."""
    return [path_of(link).rpartition("/")[2] for link in page.links("//ol[@class='documents']//h2/a/@href")]


@pytest.mark.parametrize(
    "filters",
    [{}, {"verdict": "kept"}, {"verdict": "duplicate"}, {"language": "zh"}, {"host": "host1.example"},
     {"measure": "word_count", "low": "150"}, {"measure": "word_count", "low": "100", "high": "190"}],
)  # fmt: skip
def test_filters_are_those_of_the_api(data: Milled, filters: dict[str, str]) -> None:
    page = read(data.mill.client(), f"/runs/{data.first}/documents?" + "&".join(f"{k}={v}" for k, v in filters.items()))
    expected = [one["id"] for one in listed(data, **filters)]
    assert expected and shown(page) == expected[:25]
    chips = [link for link in page.links("//ul[@class='chips']//a/@href")]
    assert len(chips) == len(filters)
    for chip in chips:  # a chip takes its filter away, a measure its range
        left = parse_qs(urlsplit(chip).query)
        assert set(left) < set(filters)


def test_a_reason_is_a_stage_and_a_rule(data: Milled) -> None:
    page = read(data.mill.client(), f"/runs/{data.first}/documents?reason=gopher-quality.few-words")
    expected = listed(data, stage="gopher-quality", rule="few-words")
    assert shown(page) == [one["id"] for one in expected] and len(expected) == 1
    assert "gopher-quality.few-words" in page.text("//ol[@class='documents']") and "threshold 20" in page.text()


def test_pages_follow_each_other_to_the_end(data: Milled) -> None:
    client, seen, address = data.mill.client(), [], f"/runs/{data.first}/documents"
    path: str | None = address
    while path:
        page = read(client, path)
        seen += shown(page)
        path = next(iter(page.links("//a[@rel='next']/@href")), None)
    assert seen == [one["id"] for one in listed(data)] and len(seen) > 25


def test_the_nearest_to_a_threshold_come_first(data: Milled) -> None:
    page = read(data.mill.client(), f"/runs/{data.first}/documents?near=gopher-quality.few-words&verdict=kept")
    answer = data.mill.client().get(
        f"/api/v1/runs/{data.first}/documents",
        params={"near": "gopher-quality.few-words", "limit": 25, "verdict": "kept"},
    ).json()["items"]  # fmt: skip
    assert shown(page) == [one["id"] for one in answer]
    apart = [abs(one["measured"] - one["limit"]) for one in answer]
    assert apart == sorted(apart)


def test_facets_count_the_whole_run_and_lead_to_what_they_count(data: Milled) -> None:
    client = data.mill.client()
    page = read(client, f"/runs/{data.first}/documents?facet=host")
    for item in page.all("//ul[@class='facet']/li"):
        count = int(item.xpath("./span[@class='amount']")[0].text.replace(",", ""))
        link = str(item.xpath("./a/@href")[0])
        filters = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
        if "reason" in filters:
            filters["stage"], _, filters["rule"] = filters.pop("reason").partition(".")
        assert len(listed(data, **filters)) == count, link
    assert {"zh.example", "host1.example"} <= {a.text_content() for a in page.all("//ul[@class='facet']//a")}


@pytest.mark.parametrize(
    ("query", "said"),
    [("measure=word_count&low=much", "is a number"), ("low=1", "measure"), ("verdict=lost", "is one of"),
     ("near=no-rule", "unknown rule"), ("measure=no-measure", "no measure"), ("cursor=x", "cursor")],
)  # fmt: skip
def test_filters_that_cannot_be_are_told(data: Milled, query: str, said: str) -> None:
    page = read(data.mill.client(), f"/runs/{data.first}/documents?{query}", 422)
    assert said in page.text("//div[@role='alert']") and not shown(page)


def test_a_document_has_every_value_beside_its_threshold(data: Milled) -> None:
    client, one = data.mill.client(), listed(data, rule="few-words")[0]
    told = client.get(f"/api/v1/runs/{data.first}/documents/{one['id']}").json()
    page = read(client, f"/runs/{data.first}/documents/{one['id']}")
    assert "Short" in page.text("//h1") and "by gopher-quality.few-words" in page.text()
    rows = {row[0]: row for row in page.rows("Measures of gopher-quality")}
    assert rows["word_count"][1:3] == ["2", ">= 20"] and "fails" in rows["word_count"][3]
    for rule in told["rules"]:
        row = [row for row in page.rows(f"Measures of {rule['stage']}") if row[3].startswith(rule["rule"])]
        assert row and row[0][2].startswith(rule["comparison"]) and ("fails" in row[0][3]) == rule["fails"]


def test_the_words_that_a_rule_objects_to_are_marked(data: Milled) -> None:
    client, one = data.mill.client(), listed(data, stage="gopher-repetition")[0]
    page = read(client, f"/runs/{data.first}/documents/{one['id']}")
    words = [mark.text_content() for mark in page.all("//div[@aria-label='Text of the document']//mark")]
    assert words and all("same line again" in " ".join(words) for _ in words)
    told = client.get(f"/api/v1/runs/{data.first}/documents/{one['id']}").json()
    names = {f"{o['stage']}.{o['rule']}": o["places"] for o in told["objections"]}
    assert set(told["ledger"]["failing_rules"]) <= set(names)
    rule = next(name for name, places in names.items() if places)
    single = read(client, f"/runs/{data.first}/documents/{one['id']}?mark={rule}")
    titles = {mark.get("title") for mark in single.all("//div[@aria-label='Text of the document']//mark")}
    assert titles == {rule}
    covered = sum(len(mark.text_content()) for mark in single.all("//div[@aria-label='Text of the document']//mark"))
    assert covered == len({place for p in names[rule] for place in range(p["start"], p["end"])})


def test_a_rule_about_the_whole_says_so(data: Milled) -> None:
    page = read(data.mill.client(), f"/runs/{data.first}/documents/{listed(data, rule='few-words')[0]['id']}")
    assert "gopher-quality.few-words speaks of the text as a whole" in page.text()


def test_what_was_masked_is_marked_and_stands_in_the_source(data: Milled) -> None:
    one = listed(data, measure="email_count", low=1)[0]
    page = read(data.mill.client(), f"/runs/{data.first}/documents/{one['id']}")
    marks = [mark.text_content() for mark in page.all("//div[@aria-label='Text of the document']//mark")]
    assert marks == ["email@example.com", "192.0.2.1"]
    source = page.text("//div[@aria-label='Source of the document']")
    assert "anna@firm.org" in source and "<article>" in source  # as text
    assert not page.all("//main//article[not(@class)]")
    assert "WARC-Target-URI: http://host2.example/mail" in page.text("//pre")


def test_a_duplicate_stands_beside_its_witness_and_its_family(data: Milled) -> None:
    client, one = data.mill.client(), listed(data, verdict="duplicate")[0]
    page = read(client, f"/runs/{data.first}/documents/{one['id']}")
    assert f"/runs/{data.first}/documents/{one['witness']}" in page.links()
    assert f"similarity {one['similarity']:.4f}" in page.text()
    diff = client.get(f"/api/v1/runs/{data.first}/documents/{one['id']}").json()["diff"]["pieces"]
    for kind, tag in (("first", "del"), ("second", "ins")):
        marked_ = [e.text_content() for e in page.all(f"//div[@aria-label='Differences']//{tag}")]
        assert marked_ == [piece["text"] for piece in diff if piece["kind"] == kind]
    family = page.rows("Documents of the same family")
    assert len(family) == one["cluster_size"] - 1
    witness = read(client, f"/runs/{data.first}/documents/{one['witness']}")
    assert f"/runs/{data.first}/documents/{one['id']}" in witness.links()


def test_one_goes_from_document_to_document_within_the_filter(data: Milled) -> None:
    client, kept = data.mill.client(), [one["id"] for one in listed(data, verdict="kept")]
    path, seen = f"/runs/{data.first}/documents/{kept[0]}?verdict=kept", []
    while path:
        page = read(client, path)
        seen.append(path_of(path).rpartition("/")[2])
        path = next(iter(page.links("//nav//a[@rel='next']/@href")), "")
    assert seen == kept
    back = page.links("//nav//a[@rel='prev']/@href")[0]
    assert path_of(back).endswith(kept[-2]) and "verdict=kept" in back


def test_previous_and_next_among_the_nearest(data: Milled) -> None:
    client, near = data.mill.client(), "near=gopher-quality.few-words"
    ids = [one["id"] for one in listed(data, near="gopher-quality.few-words")]
    told = client.get(f"/api/v1/runs/{data.first}/documents/{ids[1]}/neighbours?{near}").json()
    assert told == {"previous": ids[0], "next": ids[2]}
    assert client.get(f"/api/v1/runs/{data.first}/documents/{'0' * 32}/neighbours").status_code == 404


def test_an_entry_is_shown_by_its_messages_with_its_marks(data: Milled) -> None:
    client = data.mill.client()
    found = client.get(f"/api/v1/runs/{data.pairs}/documents", params={"rule": "both-refuse"}).json()["items"]
    page = read(client, f"/runs/{data.pairs}/documents/{found[0]['id']}")
    sides = [turn.get("class").split()[1] for turn in page.all("//div[starts-with(@class, 'turn ')]")]
    assert sides == ["prompt", "chosen", "rejected"]
    assert any("sorry" in mark.text_content().lower() for mark in page.all("//div[@class='turn chosen']//mark"))


def test_a_source_that_is_gone_or_changed_is_said_to_be(tmp_path: Any) -> None:
    from tests.pages.finished import CRAWL, Mill, page_of
    from tests.support.corpus import english

    mill = Mill.at(tmp_path / "home")
    pages = mill.pages("p.warc.gz", [("http://a.example/", page_of(english(1)))])
    run = mill.finished("r", CRAWL, [pages])
    client = mill.client()
    id_ = client.get(f"/api/v1/runs/{run}/documents?verdict=kept").json()["items"][0]["id"]
    pages.write_bytes(pages.read_bytes() + b"x")
    assert "bytes now" in read(client, f"/runs/{run}/documents/{id_}").text()
    pages.unlink()
    assert "not there any more" in read(client, f"/runs/{run}/documents/{id_}").text()
    secret = tmp_path / "secret.warc.gz"
    secret.write_bytes(b"x")
    pages.symlink_to(secret)
    answer = client.get(f"/api/v1/runs/{run}/documents/{id_}/source")
    assert answer.status_code == 409 and "below no declared source" in answer.json()["detail"]


def test_whoever_may_not_read_documents_sees_none(data: Milled, tmp_path: Any) -> None:
    from starlette.testclient import TestClient

    from api.app import create_app
    from api.settings import Settings

    database = sqlite(tmp_path)
    app = create_app(Settings(home=tmp_path, require_key=True, admin_key="k" * 20), database)
    client = TestClient(app, "http://127.0.0.1:8321", follow_redirects=False)
    _, key = make_key(database, "viewer", ["runs:read", "statistics:read"])
    client.post("/login", data={"key": key})
    assert client.get(f"/runs/{data.first}/documents").status_code == 403


# --- marks


def test_marks_that_overlap_stand_together() -> None:
    html = marked("abcdef<", [Mark(0, 3, "one"), Mark(2, 5, "two"), Mark(6, 99, "<three>")])
    assert html == Markup(
        '<bdi class="said"><mark title="one">ab</mark><mark title="one, two">c</mark><mark title="two">de</mark>f'
        '<mark title="&lt;three&gt;">&lt;</mark></bdi>'
    )
    assert "a" * 10 in marked("a" * 20, [], 10) and "cut" in marked("a" * 20, [], 10)


def test_differences_are_marked_on_both_sides() -> None:
    pieces, _ = differences("a <b> c", "a d c")
    assert "<del>&lt;b&gt;</del>" in compared(pieces) and "<ins>d</ins>" in compared(pieces)
    assert "<ins>" not in compared(pieces, "first") and "<mark>&lt;b&gt;</mark>" in compared(pieces, "first")


# --- in a browser


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_they_read_well(data: Milled, browser: Any, theme: str) -> None:
    twin, again = listed(data, verdict="duplicate")[0]["id"], listed(data, stage="gopher-repetition")[0]["id"]
    base = f"/runs/{data.first}/documents"
    listed_near = f"{base}?verdict=kept&near=gopher-quality.few-words"
    pages = {"documents": listed_near, "twin": f"{base}/{twin}", "again": f"{base}/{again}"}
    reads_well(data.mill.app, browser, theme, pages)
