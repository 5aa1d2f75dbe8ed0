"""From bytes to text: which character encoding a page is in.

The order of precedence is that of the HTML Standard (section 13.2.3.2, "Determining the character encoding"):
byte order mark, ``charset`` of the HTTP Content-Type, declaration inside the page, detection.  One departure: a
declaration that the bytes plainly contradict is not believed, since on the open web many are wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from resiliparse.parse.encoding import EncodingDetector

from curation.extraction.labels import MULTIBYTE, UNICODE, codecs_of, detected_encoding, encoding_of

# The Standard asks for the first 1024 bytes; pages with scripts before their declaration need more.
PRESCAN_BYTES = 4096
# Bytes shown to the detector; its verdict seldom changes after the first few thousand letters.
DETECTION_BYTES = 128 << 10

# Share of undecodable sequences among all non-ASCII characters from which on a declaration is disbelieved:
# pages cut inside a character or with one pasted fragment stay well below, mojibake is far above.
_WRONG = 0.1
# Share up to which another encoding counts as fitting.
_CLEAN = 0.01
# That many valid UTF-8 sequences and no invalid one do not come about by chance in another multi-byte
# encoding (one or two do: the GBK bytes of a short Chinese word can be valid UTF-8).
_UTF8_SEQUENCES = 5
# Share of non-ASCII bytes among the letters below which a single-byte verdict other than Western is noise: a
# handful of curly quotes on an English page.  Polish has 6 %, Romanian 5 %, Cyrillic and Greek nearly all.
_SINGLE_BYTE_SHARE = 0.01

_BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32le"),
    (b"\x00\x00\xfe\xff", "utf-32be"),
    (b"\xff\xfe", "utf-16le"),
    (b"\xfe\xff", "utf-16be"),
)
_NON_ASCII = bytes(range(0x80, 0x100))
_FOREIGN = re.compile(rb"[\x80-\xff]")
_MARKUP = re.compile(rb"</?[A-Za-z][^<>]*>")
_LETTERS = re.compile(rb"[^A-Za-z]+")
_ESCAPES = re.compile(rb"\x1b[$(]|~\{")

_SPACE = rb"\t\n\f\r "
_META = re.compile(rb"meta[%s/]" % _SPACE, re.I)
_TAG_NAME = re.compile(rb"/?[a-z][^%s>]*" % _SPACE, re.I)
_ATTRIBUTE = re.compile(
    rb"[%(s)s/]*(?P<name>[^%(s)s/>][^%(s)s/>=]*)"
    rb"(?:[%(s)s]*=[%(s)s]*(?:\"(?P<double>[^\"]*)\"|'(?P<single>[^']*)'|(?P<bare>[^%(s)s>\"'][^%(s)s>]*)?))?"
    % {b"s": _SPACE}
)
_CONTENT_CHARSET = re.compile(
    rb"charset[%(s)s]*=[%(s)s]*(?:\"([^\"]*)\"|'([^']*)'|([^%(s)s;\"'][^%(s)s;]*))" % {b"s": _SPACE}, re.I
)
_XML_DECLARATION = re.compile(rb"<\?xml[^>]*?encoding[\s]*=[\s]*(?:\"([^\">]*)\"|'([^'>]*)')")


def decode(content: bytes, http_charset: str | None = None, html: bool = True) -> tuple[str, str]:
    """Text of a page or a plain-text document.

    Args:
        content: bytes as they came, content encodings undone.
        http_charset: charset parameter of the HTTP Content-Type, as declared.
        html: whether a declaration inside the content is looked for.

    Returns:
        The text, with U+FFFD for bytes that do not decode, and the encoding used (a lower-case name of the
        Encoding Standard, or ``utf-32le``, ``utf-32be``, ``ibm855``, ``x-mac-ce`` beyond it).
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _replaced(content[len(mark) :], encoding)[0], encoding
    declared = encoding_of(http_charset) or (declared_in_html(content) if html else None)
    wide = _without_mark(content)
    if wide:
        return _replaced(content, wide)[0], wide
    if declared in ("utf-16le", "utf-16be") and b"\0" not in content[:1024]:
        declared = None  # markup in UTF-16 has a zero byte in every ASCII letter
    return _by_content(content, declared)


def _by_content(content: bytes, declared: str | None) -> tuple[str, str]:
    """Decode with the declared encoding unless the bytes contradict it, else with what they look like."""
    utf8 = _strict_utf8(content)
    if utf8 is not None and _surely_utf8(content, utf8, declared):
        return utf8, "utf-8"
    if declared is not None:
        text, wrong = _replaced(content, declared)
        if wrong <= _WRONG:
            return text, declared
    detected = _detect(content)
    if detected is not None:
        other, errors = _replaced(content, detected)
        if errors <= (_WRONG if declared is None else _CLEAN):
            return other, detected
    if declared is not None:
        return text, declared
    return _replaced(content, "windows-1252")[0], "windows-1252"


def _strict_utf8(content: bytes) -> str | None:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def _surely_utf8(content: bytes, text: str, declared: str | None) -> bool:
    """Whether bytes that are valid UTF-8 are that rather than what was declared."""
    ascii_only = len(text) == len(content)
    if declared is None:
        return not (ascii_only and _ESCAPES.search(content))
    if declared in UNICODE or ascii_only:
        return declared in UNICODE
    sequences = len(text) - len(content.translate(None, _NON_ASCII))
    return declared not in MULTIBYTE or sequences >= _UTF8_SEQUENCES


def _replaced(content: bytes, encoding: str) -> tuple[str, float]:
    """Text with U+FFFD where bytes do not decode, and the share of these among the non-ASCII characters."""
    codecs = codecs_of(encoding)
    for codec in codecs:
        try:
            return content.decode(codec), 0.0
        except UnicodeDecodeError:
            continue
    text = content.decode(codecs[0], "replace")
    wrong = text.count("\ufffd")
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    return text, wrong / max(foreign, 1)


def _without_mark(content: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark, known by the zero bytes in the ASCII of a page's first tags."""
    head = content[:64]
    if len(head) < 4 or 4 * head.count(0) < len(head):
        return None
    zero = [head[place::4].count(0) / len(head[place::4]) for place in range(4)]
    if min(zero[2:]) > 0.9 and zero[0] < 0.1:
        return "utf-32le"
    if min(zero[:2]) > 0.9 and zero[3] < 0.1:
        return "utf-32be"
    if min(zero[1], zero[3]) > 0.4 and max(zero[0], zero[2]) < 0.1:
        return "utf-16le"
    if min(zero[0], zero[2]) > 0.4 and max(zero[1], zero[3]) < 0.1:
        return "utf-16be"
    return None


def _detect(content: bytes) -> str | None:
    """What the bytes look like; markup is taken away first, since it is ASCII in every encoding."""
    first = _FOREIGN.search(content)
    start = first.start() if first and first.start() > DETECTION_BYTES // 2 else 0
    sample = _MARKUP.sub(b" ", content[start : start + DETECTION_BYTES])
    detector = EncodingDetector()
    detector.update(sample)
    # ``html5_compatible`` would report EUC-KR as UTF-8, since ``cp949`` is no label of the Standard.
    detected = detected_encoding(detector.encoding(html5_compatible=False))
    if detected is None or detected in MULTIBYTE or detected in UNICODE:
        return detected
    foreign = len(sample) - len(sample.translate(None, _NON_ASCII))
    letters = foreign + len(_LETTERS.sub(b"", sample))
    return detected if foreign >= _SINGLE_BYTE_SHARE * letters else "windows-1252"


def declared_in_html(content: bytes) -> str | None:
    """Encoding that a page declares in its first bytes: ``meta`` element or XML declaration.

    This is the Standard's "prescan a byte stream to determine its encoding", over ``PRESCAN_BYTES``.
    """
    head = content[:PRESCAN_BYTES]
    for attributes in _meta_elements(head):
        encoding = encoding_of(_charset_of(attributes))
        if encoding is not None:
            return "utf-8" if encoding in UNICODE else encoding
        if _charset_of(attributes) == "x-user-defined":
            return "windows-1252"
    xml = _XML_DECLARATION.match(head)
    encoding = encoding_of((xml[1] or xml[2] or b"").decode("latin-1")) if xml else None
    return "utf-8" if encoding in UNICODE else encoding


def _charset_of(attributes: dict[bytes, bytes]) -> str | None:
    """Label in the attributes of one ``meta`` element."""
    if b"charset" in attributes:
        return attributes[b"charset"].decode("latin-1")
    if attributes.get(b"http-equiv", b"").lower() != b"content-type":
        return None
    found = _CONTENT_CHARSET.search(attributes.get(b"content", b""))
    return (found[1] or found[2] or found[3] or b"").decode("latin-1") if found else None


def _meta_elements(head: bytes) -> Iterator[dict[bytes, bytes]]:
    """Attributes of each ``meta`` start tag outside comments, names in lower case, first value of each."""
    at = head.find(b"<")
    while at >= 0:
        if head.startswith(b"<!--", at):
            end = head.find(b"-->", at + 2)
            at = end + 2 if end >= 0 else len(head)
        elif _META.match(head, at + 1):
            attributes, at = _attributes(head, at + 5)
            yield attributes
        elif tag := _TAG_NAME.match(head, at + 1):
            _, at = _attributes(head, tag.end())
        elif head[at + 1 : at + 2] in (b"!", b"/", b"?"):
            end = head.find(b">", at)
            at = end if end >= 0 else len(head)
        at = head.find(b"<", at + 1)


def _attributes(head: bytes, at: int) -> tuple[dict[bytes, bytes], int]:
    """Attributes from a place inside a tag on, and the place where they end."""
    attributes: dict[bytes, bytes] = {}
    while found := _ATTRIBUTE.match(head, at):
        value = found["double"] or found["single"] or found["bare"] or b""
        attributes.setdefault(found["name"].lower(), value)
        at = found.end()
    return attributes, at
