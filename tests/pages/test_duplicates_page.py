"""The page of a deduplication, and that everything to which a funnel leads is there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest

from tests.api.http import make_key, serving
from tests.pages.browser import reads_well, watched
from tests.pages.finished import ASKS, Mill, Milled
from tests.pages.reading import Read, read
from tests.support.corpus import chinese, english

PLAIN = {"name": "plain", "stages": [{"stage": "extraction", "guard": "none"}], "deduplication": {"threshold": 0.8}}
SPOKEN = {**PLAIN, "stages": [*PLAIN["stages"], {"stage": "language", "keep": ["en", "zh"], "min_score": 0.1}]}  # type: ignore[misc]


def rows_of(mill: Mill, run: str) -> list[dict[str, Any]]:
    """The ledger of a run, plain."""
    files = sorted((mill.folder / "runs" / run / "ledger").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def edited(text: str, words: int) -> str:
    """The same text with some of its last words changed."""
    parts = text.split(" ")
    return " ".join([*parts[:-words], *(f"other{n}" for n in range(words))])


@pytest.fixture(scope="module")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mill, str]:
    """A run over two files with families of many sizes, within hosts and files and across them."""
    mill = Mill.at(tmp_path_factory.mktemp("repeating") / "home")
    first, second = [], []
    for seed in range(9):
        text = english(seed, 12) if seed % 3 else chinese(seed)
        first.append({"text": text, "url": f"http://a{seed % 2}.example/{seed}"})
        for copy in range(seed):
            at = first if copy % 2 else second
            again = text if copy % 3 == 0 or seed % 3 == 0 else edited(text, copy)
            at.append({"text": again, "url": f"http://b{copy % 2}.example/{seed}/{copy}"})
    first.append({"text": english(100), "url": "http://<b>c</b>.example/alone"})
    inputs = [mill.lines("first.jsonl", first), mill.lines("second.jsonl", second)]
    return mill, mill.finished("<i>Repeating</i>", SPOKEN, inputs)


@pytest.fixture(scope="module")
def ledger(repeating: tuple[Mill, str]) -> list[dict[str, Any]]:
    return rows_of(*repeating)


@pytest.fixture(scope="module")
def shown(repeating: tuple[Mill, str]) -> Read:
    mill, run = repeating
    return read(mill.client(), f"/runs/{run}/stages/deduplication")


def gone(ledger: list[dict[str, Any]], rule: str = "") -> list[dict[str, Any]]:
    """Rows of duplicates."""
    return [row for row in ledger if row["verdict"] == "duplicate" and rule in ("", row["rule"])]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_there_is_something_to_see(ledger: list[dict[str, Any]]) -> None:
    assert len(gone(ledger, "exact")) > 3 and len(gone(ledger, "near")) > 3
    by_id = {row["id"]: row for row in ledger}
    assert {by_id[row["witness"]]["shard"] == row["shard"] for row in gone(ledger)} == {True, False}


def test_both_kinds_are_counted(shown: Read, ledger: list[dict[str, Any]]) -> None:
    compared = [row for row in ledger if row["verdict"] in ("kept", "duplicate")]
    tokens = sum(row["extracted_tokens"] for row in compared)
    expected = []
    for kind in ("exact", "near"):
        own = gone(ledger, kind)
        amount = sum(row["extracted_tokens"] for row in own)
        shares = [f"{100 * len(own) / len(compared):.1f} %", f"{100 * amount / tokens:.1f} %"]
        expected.append([kind, f"{len(own):,}", shares[0], f"{amount:,}", shares[1]])
    assert shown.rows("Duplicates by kind") == expected


def test_similarities_are_those_of_the_ledger(shown: Read, ledger: list[dict[str, Any]]) -> None:
    values = [row["similarity"] for row in gone(ledger, "near")]
    rows = shown.rows("Near-duplicates by similarity")
    counts = Counter(min(int(100 * value + 1e-9), 100) for value in values)
    assert {round(100 * float(row[0].split()[0])): int(row[1]) for row in rows if int(row[1])} == counts
    option = shown.all("//gm-chart[contains(@aria-label, 'similarity')]/@data-option")[0]
    assert '"xAxis":0.8' in option and '"name":"threshold"' in option


def test_a_bin_leads_to_its_documents(repeating: tuple[Mill, str], shown: Read) -> None:
    mill, _ = repeating
    for link in shown.links("//div[@aria-label='Near-duplicates by similarity']//a/@href"):
        asked = {name: value[0] for name, value in parse_qs(urlsplit(link).query).items()}
        page = read(mill.client(), link)
        assert asked["reason"] == "deduplication.near" and page.all("//article")


def test_families_are_counted_by_size(shown: Read, ledger: list[dict[str, Any]]) -> None:
    sizes = Counter(Counter(row["cluster"] for row in ledger if row["cluster"]).values())
    bounds = [(2, 2), (3, 4), (5, 8), (9, 16)]
    expected = []
    for least, most in bounds:
        own = {size: families for size, families in sizes.items() if least <= size <= most}
        if own:
            word = str(least) if least == most else f"{least}–{most}"
            expected.append([word, str(sum(own.values())), str(sum(size * n for size, n in own.items()))])
    assert shown.rows("Families by size") == expected and len(expected) > 2


def test_the_largest_families(repeating: tuple[Mill, str], shown: Read, ledger: list[dict[str, Any]]) -> None:
    counts = Counter(row["cluster"] for row in ledger if row["cluster"])
    expected = []
    for cluster, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:12]:
        own = [row for row in ledger if row["cluster"] == cluster]
        kept = [row for row in own if row["verdict"] == "kept"]
        numbers = [count, len(gone(own, "exact")), len(gone(own, "near")), len(kept), len({row["host"] for row in own})]
        expected.append([cluster[:8], *map(str, numbers), kept[0]["id"][:8]])
    assert shown.rows("The largest families") == expected
    mill, run = repeating
    page = read(mill.client(), f"/runs/{run}/documents?cluster={max(counts, key=lambda one: (counts[one], one))}")
    assert len(page.all("//article")) == max(counts.values())


@pytest.mark.parametrize("by", ["language", "host"])
def test_groups(shown: Read, ledger: list[dict[str, Any]], by: str) -> None:
    rows = {row[0]: [*map(number, row[1:3]), row[3], number(row[4])] for row in shown.rows(f"By {by}")}
    lost = Counter(row[by] for row in gone(ledger))
    assert list(rows) == sorted(lost, key=lambda name: (-lost[name], name)) and len(rows) > 1
    for name, found in rows.items():
        own = [row for row in ledger if row[by] == name and row["verdict"] in ("kept", "duplicate")]
        amounts = [len(gone(own, "exact")), len(gone(own, "near"))]
        assert found == [*amounts, f"{100 * sum(amounts) / len(own):.1f} %",
                         sum(row["extracted_tokens"] for row in gone(own))]  # fmt: skip


def test_what_they_repeat(shown: Read, ledger: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in ledger}
    for word, column in (("host", "host"), ("file", "shard")):
        pairs = Counter((row[column], by_id[row["witness"]][column]) for row in gone(ledger))
        rows = shown.rows(f"By {word} of both")
        assert {(row[0], row[0] if row[1] == "the same" else row[1]): int(row[2]) for row in rows} == pairs
        same = sum(count for (one, other), count in pairs.items() if one == other)
        assert f"of the same {word} {same}" in shown.text()


def test_the_nearest_to_the_threshold_come_with_their_witness(shown: Read, ledger: list[dict[str, Any]]) -> None:
    by_id = {row["id"]: row for row in ledger}
    near = sorted(gone(ledger, "near"), key=lambda row: row["similarity"])[:5]
    cards = shown.all("//li[@class='card document']")
    ids = [urlsplit(card.xpath(".//h3/a/@href")[0]).path.rpartition("/")[2] for card in cards]
    assert ids == [row["id"] for row in near]
    for card, one in zip(cards, ids, strict=True):
        assert card.xpath(".//p[@class='line']//a/@title") == [by_id[one]["witness"]]


def test_the_page_says_what_the_api_says(repeating: tuple[Mill, str], shown: Read) -> None:
    mill, run = repeating
    told = mill.client().get(f"/api/v1/runs/{run}/duplicates", params={"limit": 12}).json()
    assert [[row[0], int(row[1])] for row in shown.rows("Families by size")] == [
        [str(one["least"]) if one["least"] == one["most"] else f"{one['least']}–{one['most']}", one["families"]]
        for one in told["families"]
    ]
    assert told["stage"] == "deduplication" and told["threshold"] == 0.8
    assert sum(told["similarities"]["near"]) == told["near"]["documents"]
    few = mill.client().get(f"/api/v1/runs/{run}/duplicates", params={"limit": 1}).json()
    assert [len(few[name]) for name in ("largest", "closest")] == [1, 1] and len(few["groups"]["host"]) == 1


def test_names_are_text(shown: Read) -> None:
    assert not shown.all("//main//i") and not shown.all("//main//b") and not shown.all("//main//style")
    assert not shown.all("//main//script[not(@type='application/json')]")


def test_nothing_repeated_is_said_and_no_comparison_has_no_page(data: Milled, tmp_path: Path) -> None:
    mill = Mill.at(tmp_path / "home")
    lines = [mill.lines("a.jsonl", [{"text": english(n), "url": f"http://h.example/{n}"} for n in range(3)])]
    alone = mill.finished("Alone", PLAIN, lines)
    assert "Nothing is repeated." in read(mill.client(), f"/runs/{alone}/stages/deduplication").text()
    twice = mill.lines("b.jsonl", [{"text": english(1), "url": "http://h.example/"}] * 2)
    unspoken = read(mill.client(), f"/runs/{mill.finished('Unspoken', PLAIN, [twice])}/stages/deduplication")
    assert unspoken.rows("By host") and not unspoken.rows("By language")  # nothing told the languages apart
    uncompared = mill.finished("Uncompared", {**PLAIN, "name": "none", "deduplication": None}, lines)
    assert mill.client().get(f"/runs/{uncompared}/stages/deduplication").status_code == 404
    assert mill.client().get(f"/api/v1/runs/{uncompared}/duplicates").status_code == 404
    last = read(mill.client(), f"/runs/{uncompared}/stages/sketch")
    assert not [link for link in last.links() if "deduplication" in link]
    assert data.mill.client().get(f"/runs/{data.pairs}/stages/deduplication").status_code == 404


def test_entries_are_repeated_too(tmp_path: Path) -> None:
    mill = Mill.at(tmp_path / "home")
    asked = [{"instruction": "Say it once more.", "input": "", "output": english(n // 2, 4)} for n in range(6)]
    run = mill.finished("Asks", ASKS, [mill.lines("asks.jsonl", asked)])
    page, found = read(mill.client(), f"/runs/{run}/stages/hygiene"), rows_of(mill, run)
    rows = {row[0]: int(row[1]) for row in page.rows("Duplicates by kind")}
    assert rows == {kind: len(gone(found, kind)) for kind in ("exact", "near")} and rows["exact"] == 3
    funnel_leads_somewhere(mill, run)


def funnel_leads_somewhere(mill: Mill, run: str) -> None:
    """Every link of a run's funnel and of its stages."""
    page = read(mill.client(), f"/runs/{run}")
    links = [link for label in ("Funnel", "Stages and what they took away")
             for link in page.links(f"//div[@aria-label='{label}']//a/@href")]  # fmt: skip
    stages = {row[0] for row in page.rows("Funnel") if row[0]}
    assert {urlsplit(link).path.rpartition("/")[2] for link in links if "/stages/" in link} >= stages
    for link in set(links):
        assert mill.client().get(link).status_code == 200, link


def test_every_link_of_every_funnel_leads_somewhere(data: Milled, repeating: tuple[Mill, str]) -> None:
    for run in (data.first, data.second, data.pairs, data.asks):
        funnel_leads_somewhere(data.mill, run)
    funnel_leads_somewhere(*repeating)
    first = read(data.mill.client(), f"/runs/{data.first}")
    assert any(row[0] == "deduplication" for row in first.rows("Funnel"))
    told = data.mill.client().get(f"/api/v1/runs/{data.first}/duplicates").json()
    row = first.rows("Stages and what they took away")[-1]
    assert [row[0], int(row[1])] == ["deduplication", told["documents_in"]["documents"]] and row[2] == "1"
    last = read(data.mill.client(), f"/runs/{data.first}/stages/sketch")
    assert f"/runs/{data.first}/stages/deduplication" in last.links()


def test_who_may_not_read_documents_sees_figures_only(tmp_path: Path) -> None:
    mill = Mill.at(tmp_path / "home", require_key=True, admin_key="k" * 20)
    text = english(1)
    lines = [{"text": one, "url": "http://h.example/"} for one in (text, text, edited(text, 3))]
    run = mill.finished("Own", PLAIN, [mill.lines("a.jsonl", lines)])
    client = mill.client()
    _, key = make_key(mill.database, "viewer", ["runs:read", "statistics:read", "self:read"])
    client.post("/login", data={"key": key})
    page = read(client, f"/runs/{run}/stages/deduplication")
    assert [row[1] for row in page.rows("Duplicates by kind")] == ["1", "1"]
    assert not page.all("//ul[@class='documents']") and not any("/documents" in link for link in page.links())


# --- in a browser -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_reads_well(repeating: tuple[Mill, str], browser: Any, theme: str) -> None:
    mill, run = repeating
    reads_well(mill.app, browser, theme, {"duplicates": f"/runs/{run}/stages/deduplication"}, "gm-chart.drawn canvas")


@pytest.mark.slow
def test_it_leads_from_the_funnel_to_what_differs(repeating: tuple[Mill, str], browser: Any) -> None:
    mill, run = repeating
    with serving(mill.app) as (host, port), watched(browser, f"http://{host}:{port}", scripts=False) as found:
        page = found.open(f"/runs/{run}")
        page.locator("div[aria-label='Funnel'] a", has_text="deduplication").first.click()
        assert page.inner_text("h1") == "deduplication"
        page.locator("li.document h3 a").first.click()
        assert page.locator("main").inner_text().count("other") > 0 and page.locator("mark, ins, del").count() > 0
        found.quiet()
