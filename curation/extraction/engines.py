"""From the bytes of a page to its main content as plain text.

Resiliparse (https://resiliparse.chatnoir.eu) is the default: rules over a fast parser.  Trafilatura
(https://trafilatura.readthedocs.io) finds the main content more exactly and takes some fifteen times as long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from curation.errors import DocumentError
from curation.extraction.charset import decode
from curation.extraction.clean import clean, clean_line
from curation.extraction.nesting import deeper_than

Engine = Literal["resiliparse", "trafilatura"]
Favour = Literal["balanced", "precision", "recall"]

TITLE_CHARACTERS = 300

# First bytes of formats that servers like to call text (MIME Sniffing Standard, section 6, and the archives
# and documents met most in crawls).
_BINARY = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "audio, video or image in RIFF",
    b"OggS\x00": "application/ogg",
    b"ID3": "audio/mpeg",
    b"PK\x03\x04": "application/zip",
    b"\x1f\x8b\x08": "application/gzip",
    b"Rar!\x1a\x07": "application/x-rar-compressed",
    b"7z\xbc\xaf\x27\x1c": "application/x-7z-compressed",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "application/x-ole-storage",
    b"wOFF": "font/woff",
    b"wOF2": "font/woff2",
    b"FWS": "application/x-shockwave-flash",
    b"CWS": "application/x-shockwave-flash",
}
_MARKUP = re.compile(rb"<(?:!doctype|!--|\?xml|/?[a-z][a-z0-9]*[\s/>])", re.I)


@dataclass(frozen=True)
class Options:
    """How text is extracted.

    Attributes:
        engine: what finds the main content.
        favour: for Trafilatura, which kind of mistake to avoid.
        full_text_below: a page whose main content has fewer UTF-8 bytes than this, and less than half of
            its full text, gives its full text instead (Resiliparse only); 0 never does.
        max_depth: most elements open at once.
    """

    engine: Engine = "resiliparse"
    favour: Favour = "balanced"
    full_text_below: int = 0
    max_depth: int = 10_000


@dataclass(frozen=True)
class Extracted:
    """Text of a document.

    Attributes:
        text: main content, cleaned; may be empty.
        charset: encoding in which the bytes were read.
        title: of an HTML page, if it has one.
    """

    text: str
    charset: str
    title: str | None = None


def extract(content: bytes, content_type: str | None, charset: str | None, options: Options) -> Extracted:
    """Decode, extract, clean.

    Args:
        content: payload with content encodings undone.
        content_type: media type as declared, if any.
        charset: charset parameter as declared in HTTP, if any.

    Raises:
        DocumentError: ``binary-content`` for bytes that are no text whatever their declared type,
            ``html-too-deep`` for more nested elements than ``options.max_depth``.
    """
    for magic, name in _BINARY.items():
        if content.startswith(magic):
            raise DocumentError("binary-content", name)
    html = is_html(content, content_type)
    text, used = decode(content, charset, html)
    if not html:
        return Extracted(clean(text), used)
    if deeper_than(content, options.max_depth):
        raise DocumentError("html-too-deep", f"more than {options.max_depth} nested elements")
    if options.engine == "trafilatura":
        return Extracted(trafilatura_main_content(text, options.favour), used, _title(_parse(text)))
    tree = _parse(text)
    return Extracted(_from_tree(tree, options.full_text_below), used, _title(tree))


def is_html(content: bytes, content_type: str | None) -> bool:
    """Whether bytes are parsed as HTML: by their declared type, by looking at them where there is none."""
    if content_type is None:
        return _MARKUP.search(content, 0, 4096) is not None
    return content_type != "text/plain"


def resiliparse_main_content(html: str, full_text_below: int = 0) -> str:
    """Main content of a page by Resiliparse; see ``Options``."""
    return _from_tree(_parse(html), full_text_below)


def _parse(html: str) -> HTMLTree:
    try:
        return HTMLTree.parse(html)
    except ValueError as error:  # every string is HTML: all that the parser can lack is memory
        raise MemoryError(str(error)) from None


def _from_tree(tree: HTMLTree, full_text_below: int) -> str:
    text = clean(_plain_text(tree, main_content=True))
    size = len(text.encode())
    if size < full_text_below:
        full = clean(_plain_text(tree, main_content=False))
        if 2 * size < len(full.encode()):
            return full
    return text


def _plain_text(tree: HTMLTree, main_content: bool) -> str:
    # Chosen by agreement with reference texts; see docs/extraction.md.  Bullets are kept because the
    # Gopher rules count them.
    text: str = extract_plain_text(
        tree,
        preserve_formatting=True,
        main_content=main_content,
        list_bullets=True,
        alt_texts=False,
        links=False,
        form_fields=False,
        noscript=False,
        comments=False,
    )
    return text


def trafilatura_main_content(html: str, favour: Favour = "balanced") -> str:
    """Main content of a page by Trafilatura; needs the extra ``trafilatura``."""
    import trafilatura

    text: str | None = trafilatura.extract(
        html,
        include_comments=False,
        include_tables=True,
        favor_precision=favour == "precision",
        favor_recall=favour == "recall",
        deduplicate=False,  # its memory of earlier pages would make a document depend on its neighbours
    )
    return clean(text or "")


def _title(tree: HTMLTree) -> str | None:
    return clean_line(tree.title or "", TITLE_CHARACTERS) or None
