"""What comes out of a page: its main content, as clean text."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import DocumentError
from curation.extraction.clean import clean, clean_line
from curation.extraction.engines import (
    Options,
    extract,
    is_html,
    resiliparse_main_content,
    trafilatura_main_content,
)
from curation.extraction.nesting import deeper_than

PARAGRAPH = "The mill ground flour for the village for three hundred years before the river changed its course. "
PAGE = f"""<!doctype html><html><head><title> Old
 mills </title><style>p {{ color: red }}</style><script>var x = "<p>never</p>";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<article><h1>Old mills</h1><p>{PARAGRAPH * 3}</p><ul><li>wheat</li><li>rye</li></ul><p>{PARAGRAPH * 2}</p></article>
<footer><a href="/imprint">Imprint</a></footer></body></html>"""


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
def test_main_content(engine: str) -> None:
    if engine == "trafilatura":
        pytest.importorskip("trafilatura")
    found = extract(PAGE.encode(), "text/html", None, Options(engine=engine))  # type: ignore[arg-type]
    assert found.text.count("three hundred years") == 5
    assert "never" not in found.text
    assert "color" not in found.text
    assert "Imprint" not in found.text
    assert found.title == "Old mills"
    assert found.charset == "utf-8"


def test_engines_give_the_same_text_alone() -> None:
    assert resiliparse_main_content(PAGE) == extract(PAGE.encode(), "text/html", None, Options()).text
    pytest.importorskip("trafilatura")
    first = trafilatura_main_content(PAGE)
    assert first
    assert [trafilatura_main_content(PAGE) for _ in range(5)] == [first] * 5  # no memory of earlier pages


def test_full_text_in_place_of_very_little() -> None:
    links = "".join(f"<li><a href='/{i}'>entry number {i}</a></li>" for i in range(50))
    html = f"<body><div class='navigation'><ul>{links}</ul></div><p>Short.</p></body>".encode()
    little = extract(html, "text/html", None, Options()).text
    assert "entry number 30" not in little
    assert "entry number 30" in extract(html, "text/html", None, Options(full_text_below=300)).text
    assert extract(PAGE.encode(), None, None, Options(full_text_below=300)).text.count("Imprint") == 0


@pytest.mark.parametrize(
    ("content", "media_type", "expected"),
    [
        (b"<p>x", "text/html", True),
        (b"no markup at all", "text/html", True),
        (b"<p>x", "text/plain", False),
        (b"<p>x", None, True),
        (b"<!DOCTYPE html>", None, True),
        (b"1 < 2 and 3 > 2", None, False),
        (b"plain words", None, False),
    ],
)
def test_what_is_html(content: bytes, media_type: str | None, expected: bool) -> None:
    assert is_html(content, media_type) is expected


def test_plain_text_passes_through() -> None:
    found = extract(b"a < b\r\nc <p> d\r\r\r\re\0\x07", "text/plain", "us-ascii", Options())
    assert (found.text, found.title) == ("a < b\nc <p> d\n\ne", None)


@pytest.mark.parametrize(
    ("content", "name"), [(b"%PDF-1.4 ...", "application/pdf"), (b"\x89PNG\r\n\x1a\n...", "image/png")]
)
def test_binary_content_is_refused(content: bytes, name: str) -> None:
    with pytest.raises(DocumentError) as caught:
        extract(content, "text/html", None, Options())
    assert (caught.value.error_class, caught.value.detail) == ("binary-content", name)


def test_surrogates_and_nulls_in_entities() -> None:
    html = b"<p>a&#xD800;b&#0;c\0d &#x1F600; &#xDFFF;&#x110000;&#x80;</p>"
    text = extract(html, "text/html", "utf-8", Options()).text
    assert text.encode().decode() == text
    assert "\0" not in text
    assert "\U0001f600" in text
    assert "€" in text  # &#x80; is the euro sign for the HTML Standard


TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\n\r\t \x00\x0b\x0c\x85\u2028\ufeff\ud800a<&")))


@given(TEXTS)
def test_clean_text_is_clean(text: str) -> None:
    once = clean(text)
    assert once.encode().decode() == once
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]", once)
    assert "\n\n\n" not in once
    assert not any(line != line.rstrip() for line in once.split("\n"))
    assert clean(once) == once


@given(TEXTS)
def test_cleaning_takes_nothing_else_away(text: str) -> None:
    visible = [c for c in text if not c.isspace() and not 0xD800 <= ord(c) < 0xE000 and c != "\ufeff"]
    controls = {chr(c) for c in (*range(0x20), *range(0x7F, 0xA0))}
    assert [c for c in clean(text) if not c.isspace()] == [c for c in visible if c not in controls]


def test_clean_by_example() -> None:
    assert clean("\ufeff\n\na  \r\n\r\n \r\n\t\r\nb\x00c\u2028d \x0c") == "a\n\nbc\nd"
    assert clean("  indented\n\tcode") == "  indented\n\tcode"
    assert clean_line(" a\n b\tc ", 300) == "a b c"
    assert clean_line("x" * 500, 300) == "x" * 300


def naive_depth(tags: list[tuple[str, bool]]) -> int:
    """Greatest number of open elements: an end tag closes up to its start tag, if there is one."""
    stack: list[str] = []
    deepest = 0
    for name, closes in tags:
        if not closes:
            stack.append(name)
        elif name in stack:
            while stack.pop() != name:
                pass
        deepest = max(deepest, len(stack))
    return deepest


@given(st.lists(st.tuples(st.sampled_from(["div", "b", "span", "table"]), st.booleans()), max_size=40))
def test_nesting_counts_like_its_naive_twin(tags: list[tuple[str, bool]]) -> None:
    html = "".join(f"</{name}>x" if closes else f"<{name} a='b'>y<br><p>" for name, closes in tags).encode()
    deepest = naive_depth(tags)
    assert not deeper_than(html, deepest)
    if deepest:
        assert deeper_than(html, deepest - 1)


@pytest.mark.parametrize(
    "html",
    [
        b"<p>one" * 50 + b"<li>two" * 50 + b"<tr><td>" * 50,
        b"<br><img src=x><input>" * 50,
        b"<!--" + b"<div>" * 50 + b"-->",
        b"<script>" + b"<div>" * 50 + b"</script>",
        b"<TextArea>" + b"<div>" * 50,
        b"<div>x</div>" * 50,
        b"a < b" * 50,
    ],
)
def test_what_is_not_nested(html: bytes) -> None:
    assert not deeper_than(html, 3)
    assert deeper_than(html + b"</script></textarea>" + b"<div>" * 4, 3)


def tokens(text: str) -> Counter[str]:
    return Counter(re.findall(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+", text.casefold()))


def agreement(found: str, expected: str) -> float:
    """F1 of the two bags of tokens."""
    ours, theirs = tokens(found), tokens(expected)
    return 2 * (ours & theirs).total() / max(1, ours.total() + theirs.total())


def test_agreement_with_reference_texts(real_data: Path) -> None:
    """On every sixth page of the first built shard; the whole collection gives 0.86."""
    iterator = pytest.importorskip("warcio.archiveiterator").ArchiveIterator
    with gzip.open(real_data / "html" / "pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        pages = {page["id"]: page for page in map(json.loads, lines)}
    scores = []
    with (real_data / "crawl" / "built" / "pages-000.warc.gz").open("rb") as file:
        for number, record in enumerate(iterator(file)):
            if record.rec_type != "response" or number % 6:
                continue
            page = pages[record.rec_headers.get_header("WARC-Record-ID").split(":")[-1].rstrip(">")]
            if page.get("gold"):
                declared = re.search("charset=(.*)", record.http_headers.get_header("Content-Type") or "")
                found = extract(
                    record.content_stream().read(), "text/html", declared[1] if declared else None, Options()
                )
                scores.append(agreement(found.text, page["gold"]))
    assert len(scores) > 30
    assert sum(scores) / len(scores) > 0.8
