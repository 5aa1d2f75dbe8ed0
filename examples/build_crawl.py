"""Builds the sample crawl in ``examples/crawl`` from the texts in ``examples/texts``.

The crawl is small but has what real ones have: pages in several layouts and charsets, mirrors, lightly edited
copies, menus, spam, other languages, errors, redirects, images, a revisit, and one damaged record.  The
corpora and labels in ``examples/fit`` come from the same texts; the demo fits its models on them.

Run it again after changing a text: ``python examples/build_crawl.py``.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import random
import uuid
import zlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
CRAWL, FIT = HERE / "crawl", HERE / "fit"
DATE = "2024-05-{day:02d}T{hour:02d}:{minute:02d}:00Z"

MENUS = {
    "en": ["Home", "Articles", "Archive", "About us", "Contact", "Newsletter", "Log in"],
    "zh": ["首页", "文章", "专题", "关于我们", "联系方式", "订阅", "登录"],
    "zh-hant": ["首頁", "文章", "專題", "關於我們", "聯絡方式", "訂閱", "登入"],
    "de": ["Startseite", "Artikel", "Archiv", "Impressum", "Kontakt"],
}
FOOTERS = {
    "en": "© 2024 The Daily Sheaf. All rights reserved. Terms of use. Privacy policy. Cookie settings.",
    "zh": "版权所有 © 2024 麦穗日报 未经授权不得转载 隐私政策 使用条款",
    "zh-hant": "版權所有 © 2024 麥穗日報 未經授權不得轉載 隱私權政策 使用條款",
    "de": "© 2024 Die Ähre. Alle Rechte vorbehalten. Datenschutz. Nutzungsbedingungen.",
}


def texts(name: str) -> list[dict]:
    """Objects of one file of ``examples/texts``."""
    with open(HERE / "texts" / f"{name}.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def article_page(language: str, title: str, paragraphs: list[str], layout: int, related: list[str]) -> str:
    """One article as a page, in one of three layouts."""
    menu = "".join(f'<li><a href="/{i}">{html.escape(m)}</a></li>' for i, m in enumerate(MENUS[language]))
    links = "".join(f'<li><a href="/r{i}">{html.escape(r)}</a></li>' for i, r in enumerate(related))
    body = "".join(f"<p>{html.escape(p)}</p>\n" for p in paragraphs)
    head = f"<title>{html.escape(title)}</title>"
    footer = f"<footer><p>{html.escape(FOOTERS[language])}</p></footer>"
    nav = f'<nav class="menu"><ul>{menu}</ul></nav>'
    script = "<script>window.track = function (x) { return {page: x}; };</script><style>body { margin: 0 }</style>"
    if layout == 0:
        main = f"<main><article><h1>{html.escape(title)}</h1>\n{body}</article></main>"
        return f"{head}{script}<body><header>{nav}</header>{main}<aside><ul>{links}</ul></aside>{footer}</body>"
    if layout == 1:
        main = f'<div id="content" class="post"><h2>{html.escape(title)}</h2>{body}</div>'
        return f'{head}<body>{nav}<div class="sidebar"><ul>{links}</ul></div>{main}{script}{footer}</body>'
    rows = f'<table><tr><td class="menu">{nav}</td><td><div class="entry-content">{body}</div></td></tr></table>'
    return f"{head}<body><h1>{html.escape(title)}</h1>{rows}{footer}</body>"


def edited(paragraphs: list[str], words: int, rng: random.Random) -> list[str]:
    """A copy with some words (or, without spaces, characters) replaced."""
    copy = list(paragraphs)
    for _ in range(words):
        index = rng.randrange(len(copy))
        if " " in copy[index]:
            parts = copy[index].split(" ")
            parts[rng.randrange(len(parts))] = rng.choice(["indeed", "perhaps", "almost", "again", "often"])
            copy[index] = " ".join(parts)
        else:
            at = rng.randrange(len(copy[index]))
            copy[index] = copy[index][:at] + rng.choice("也又更还再") + copy[index][at + 1 :]
    return copy


class WarcWriter:
    """Writes WARC 1.0 records, one gzip member each, the way crawlers do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: list[bytes] = []
        self.count = 0

    def record(self, kind: str, url: str | None, block: bytes, content_type: str, extra: Iterable[str] = ()) -> None:
        """Add one record."""
        self.count += 1
        name = uuid.UUID(bytes=hashlib.md5(f"{self.path.name}:{self.count}".encode()).digest())
        date = DATE.format(day=1 + self.count % 28, hour=self.count % 24, minute=self.count % 60)
        lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Record-ID: <urn:uuid:{name}>", f"WARC-Date: {date}"]
        lines += [f"WARC-Target-URI: {url}"] if url else []
        lines += [*extra, f"Content-Type: {content_type}", f"Content-Length: {len(block)}"]
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        self.members.append(compressor.compress(data) + compressor.flush())

    def response(
        self, url: str, body: bytes, content_type: str = "text/html; charset=utf-8", status: str = "200 OK"
    ) -> None:
        """Add a request and its response."""
        request = f"GET {url} HTTP/1.1\r\nUser-Agent: sample-crawler\r\n\r\n".encode()
        self.record("request", url, request, "application/http; msgtype=request")
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.record("response", url, head.encode() + body, "application/http; msgtype=response")

    def close(self, damage: int | None = None) -> None:
        """Write the file; with ``damage``, flip some bytes in the middle of that member."""
        if damage is not None:
            member = bytearray(self.members[damage])
            for at in range(len(member) // 2, len(member) // 2 + 16):
                member[at] ^= 0x5A
            self.members[damage] = bytes(member)
        self.path.write_bytes(b"".join(self.members))


def pages(rng: random.Random) -> list[tuple[str, bytes, str]]:
    """(url, body, content type) of every page that answers 200, in a fixed mixed order."""
    found: list[tuple[str, bytes, str]] = []
    for name, language in (("en", "en"), ("zh", "zh"), ("zh-hant", "zh-hant"), ("de", "de")):
        articles = texts(f"articles-{name}")
        for number, article in enumerate(articles):
            related = [other["title"] for other in rng.sample(articles, min(4, len(articles)))]
            title, paragraphs = article["title"], article["paragraphs"]
            url = f"https://www.{article['domain']}.example/{language}/{article['id']}.html"
            page = article_page(language, title, paragraphs, number % 3, related)
            if language == "zh" and number % 5 == 2:
                declared = f'<meta charset="gb2312">{page}'
                found.append((url, declared.encode("gb18030"), "text/html"))
            else:
                found.append((url, page.encode(), "text/html; charset=utf-8"))
            found += copies(language, article, number, related, rng)
    for name, language in (("junk-en", "en"), ("junk-zh", "zh")):
        for number, junk in enumerate(texts(name)):
            page = article_page(language, junk["title"], junk["paragraphs"], number % 3, [])
            found.append((f"https://offers{number}.example/{junk['id']}", page.encode(), "text/html; charset=utf-8"))
    rng.shuffle(found)
    return found


def copies(language: str, article: dict, number: int, related: list[str], rng: random.Random) -> list:
    """Mirrors (equal text, other layout), lightly edited copies, and heavily edited ones that must stay."""
    made = []
    for every, offset, host, words in ((9, 0, "mirror", 0), (7, 1, "reprint", 2), (11, 3, "rewrite", 60)):
        if number % every == offset:
            paragraphs = edited(article["paragraphs"], words, rng)
            page = article_page(language, article["title"], paragraphs, (number + 1) % 3, related)
            made.append((f"https://{host}.example/{article['id']}", page.encode(), "text/html; charset=utf-8"))
    return made


def write_warcs(found: list[tuple[str, bytes, str]]) -> None:
    """Three WARC files, with errors, redirects, images and a revisit between the pages."""
    for part in range(3):
        writer = WarcWriter(CRAWL / f"sample-{part:03d}.warc.gz")
        writer.record(
            "warcinfo", None, b"software: sample\r\nformat: WARC File Format 1.0\r\n", "application/warc-fields"
        )
        for number, (url, body, content_type) in enumerate(found[part::3]):
            writer.response(url, body, content_type)
            if number % 12 == 5:
                writer.response(f"{url}?old", b"<h1>Not Found</h1>", status="404 Not Found")
            if number % 17 == 3:
                writer.response(f"{url}?moved", b"", status="301 Moved Permanently")
            if number % 14 == 8:
                writer.response(f"{url}.png", b"\x89PNG\r\n\x1a\n" + bytes(64), "image/png")
        if part == 0:
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
            profile = "WARC-Profile: http://netpreserve.org/warc/1.0/revisit/identical-payload-digest"
            writer.record("revisit", found[0][0], head, "application/http; msgtype=response", [profile])
        writer.close(damage=41 if part == 2 else None)


def write_other_formats(rng: random.Random) -> None:
    """A WET, a JSONL and a Parquet shard: reprints of articles that the WARC files hold as pages."""
    english, chinese = texts("articles-en"), texts("articles-zh")
    wet = WarcWriter(CRAWL / "sample.warc.wet.gz")
    wet.record("warcinfo", None, b"software: sample\r\n", "application/warc-fields")
    for article in english[5:12]:
        block = "\n".join([article["title"], *article["paragraphs"]]).encode()
        wet.record("conversion", f"https://wet.example/{article['id']}", block, "text/plain")
    wet.close()
    lines = [
        {
            "id": f"feed-{a['id']}",
            "url": f"https://feed.example/{a['id']}",
            "text": "\n".join(edited(a["paragraphs"], 1, rng)),
        }
        for a in english[20:28] + chinese[10:16]
    ]
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines) + '{"id": "cut", "text": "half a l\n'
    (CRAWL / "feed.jsonl.gz").write_bytes(gzip.compress(data.encode(), 9, mtime=0))
    rows = [{"id": f"store-{a['id']}", "text": "\n\n".join(a["paragraphs"]), "url": None} for a in chinese[30:36]]
    pq.write_table(pa.Table.from_pylist(rows), CRAWL / "store.parquet", compression="zstd")


def write_fit() -> None:
    """Corpora for the perplexity models and labels for the domain classifier."""
    for language in ("en", "zh"):
        with open(FIT / f"corpus-{language}.jsonl", "w", encoding="utf-8") as out:
            for article in texts(f"articles-{language}")[::2]:  # the other half is new to the model
                out.writelines(json.dumps({"text": p}, ensure_ascii=False) + "\n" for p in article["paragraphs"])
    with open(FIT / "domains.jsonl", "w", encoding="utf-8") as out:
        for article in texts("articles-en") + texts("articles-zh"):
            for paragraph in article["paragraphs"]:
                out.write(json.dumps({"text": paragraph, "label": article["domain"]}, ensure_ascii=False) + "\n")


def main() -> None:
    """Build everything."""
    CRAWL.mkdir(exist_ok=True)
    FIT.mkdir(exist_ok=True)
    rng = random.Random(20240501)
    write_warcs(pages(rng))
    write_other_formats(rng)
    write_fit()


if __name__ == "__main__":
    main()
