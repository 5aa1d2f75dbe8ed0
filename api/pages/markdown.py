"""Markdown of dataset cards as markup: text, tables, lists and links; no raw HTML, no pictures, nothing foreign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from api.pages.visible import plain, shown

_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_ALLOWED = re.compile(r"(?:https?://|/(?![/\\])|#)[^\s\\]*\Z", re.IGNORECASE)
LONGEST = 200_000  # characters


def card(text: str) -> tuple[str, Markup]:
    """The front matter of a card as it stands there, and the rest as markup.

    Headings go down one level, since the page has a title of its own.
    """
    found = _FRONT.match(text)
    front, rest = (found[1], text[found.end() :]) if found else ("", text)
    return front, Markup(_parser().render(rest[:LONGEST]))


@cache
def _parser() -> MarkdownIt:
    made = MarkdownIt("commonmark", {"html": False, "linkify": False, "typographer": False}).enable("table")
    made.disable(["image", "html_block", "html_inline"])
    made.validateLink = lambda url: _ALLOWED.match(url) is not None  # type: ignore[method-assign]
    for kind, rule in (("text", _text), ("code_inline", _code), ("code_block", _block), ("fence", _block),
                       ("heading_open", _heading), ("heading_close", _heading), ("link_open", _link),
                       ("table_open", _table), ("table_close", _table), ("th_open", _cell),
                       ("td_open", _cell)):  # fmt: skip
        made.add_render_rule(kind, rule)
    return made


def _text(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return str(shown(tokens[at].content))


def _code(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return str(Markup("<code>{}</code>").format(shown(tokens[at].content)))


def _block(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    number = 1 + sum(token.type in ("code_block", "fence") for token in tokens[:at])
    begin = Markup('<pre tabindex="0" role="region" aria-label="Code {} of the card"><code>').format(number)
    return str(begin + shown(tokens[at].content) + Markup("</code></pre>\n"))


def _heading(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    level = min(6, int(tokens[at].tag[1:]) + 1)
    return f"</h{level}>\n" if tokens[at].nesting < 0 else f"<h{level}>"


def _link(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    address = str(tokens[at].attrGet("href") or "")
    return str(Markup('<a href="{}" rel="noopener noreferrer nofollow">').format(plain(address)))


def _table(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    if tokens[at].nesting < 0:
        return "</table></div>\n"
    number = 1 + sum(token.type == "table_open" for token in tokens[:at])  # landmarks have names of their own
    return f'<div class="scroll" tabindex="0" role="region" aria-label="Table {number} of the card"><table>\n'


def _cell(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A cell; how it is aligned is a class, since inline styles are refused."""
    right = "right" in str(tokens[at].attrGet("style") or "")
    kind = ' class="number"' if right else ""
    return f'<th scope="col"{kind}>' if tokens[at].tag == "th" else f"<td{kind}>"
