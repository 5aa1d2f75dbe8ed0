"""HTML of a page, read as a browser without scripts would."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import lxml.html
from starlette.testclient import TestClient


class Read:
    """A page that was answered.

    Args:
        answer: of a client.
    """

    def __init__(self, answer: Any) -> None:
        self.status = answer.status_code
        self.html = answer.text
        self.tree = lxml.html.fromstring(answer.text)

    def all(self, selector: str) -> list[Any]:
        """Elements by XPath."""
        return list(self.tree.xpath(selector))

    def text(self, selector: str = "//main") -> str:
        """Words of the first element."""
        return " ".join(" ".join(self.all(selector)[0].itertext()).split())

    def links(self, selector: str = "//main//a/@href") -> list[str]:
        return [str(link) for link in self.all(selector)]

    def rows(self, label: str) -> list[list[str]]:
        """Cells of the table of a name."""
        found = self.all(f'//div[@aria-label="{label}"]//tbody/tr')
        return [[" ".join(cell.text_content().split()) for cell in row.xpath("./td|./th")] for row in found]


def read(client: TestClient, path: str, status: int = 200) -> Read:
    """A page; one heading, a title, every field with a label."""
    answer = client.get(path)
    assert answer.status_code == status, (path, answer.status_code, answer.text[:2000])
    found = Read(answer)
    assert len(found.all("//h1")) == 1 and found.text("//title")
    for field in found.all("//main//input[not(@type='hidden')]|//main//select|//main//textarea"):
        named = field.get("aria-label") or field.xpath("ancestor::label")
        assert named or found.all(f'//label[@for="{field.get("id")}"]'), lxml.html.tostring(field)
    return found


def path_of(link: str) -> str:
    """Path of an address, without its query."""
    return urlsplit(link).path
