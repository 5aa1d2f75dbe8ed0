"""Which encoding a page is in, and that the text comes out right."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resiliparse.parse.encoding import map_encoding_to_html5

from curation.extraction.charset import PRESCAN_BYTES, declared_in_html, decode
from curation.extraction.labels import _LABELS, codecs_of, encoding_of

CHINESE = "今天天气很好，我们一起去公园散步，看到许多花。" * 4
RUSSIAN = "Сегодня хорошая погода, и мы пошли гулять в парк. " * 4


def page(text: str, head: str = "") -> str:
    return f"<html><head>{head}<title>t</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize(
    ("label", "encoding"),
    [
        ("GB2312", "gb18030"),
        (" gbk\n", "gb18030"),
        ("ISO-8859-1", "windows-1252"),
        ("us-ascii", "windows-1252"),
        ("iso-8859-9", "windows-1254"),
        ("shift-jis", "shift_jis"),
        ("ks_c_5601-1987", "euc-kr"),
        ("UTF8", "utf-8"),
        ("iso-8559-1", None),
        ("utf-8;", None),
        ("", None),
        (None, None),
    ],
)
def test_labels_of_the_standard(label: str | None, encoding: str | None) -> None:
    assert encoding_of(label) == encoding


def test_labels_agree_with_another_implementation() -> None:
    same = {"windows-1252": "cp1252", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}
    compared = 0
    for name, labels in _LABELS.items():
        for label in labels.split():
            theirs = map_encoding_to_html5(label, False)
            if theirs is None:  # it lacks a few labels, and the encodings that browsers refuse
                continue
            theirs = theirs.replace("_", "-")
            ours = {codec.replace("_", "-") for codec in (*codecs_of(name), same.get(name, name))}
            ours |= {one.replace("windows-", "cp").replace("iso-", "iso") for one in ours}
            extra = {"gb18030": {"gbk"}, "windows-874": {"iso8859-11"}, "shift_jis": {"shift-jis"}, "big5": {"big5"}}
            extra |= {"euc-kr": {"euc-kr"}, "ibm866": {"cp866"}, "macintosh": {"mac-roman"}}
            extra |= {"iso-8859-8-i": {"iso8859-8"}}
            assert theirs in ours | extra.get(name, set()), (label, theirs, name)
            compared += 1
    assert compared > 150


@pytest.mark.parametrize("name", sorted(_LABELS))
def test_every_encoding_has_codecs(name: str) -> None:
    assert all("plain".encode(codec) for codec in codecs_of(name))


@pytest.mark.parametrize(
    ("markup", "encoding"),
    [
        (b'<meta charset="gbk">', "gb18030"),
        (b"<META CHARSET=koi8-r >", "koi8-r"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=big5">', "big5"),
        (b"<meta content='text/html;charset=\"windows-1251\"' http-equiv=content-type>", "windows-1251"),
        (b'<meta content="text/html; charset=big5">', None),
        (b'<meta name="x" content="charset=big5">', None),
        (b'<!-- <meta charset="gbk"> --><meta charset="euc-kr">', "euc-kr"),
        (b'<!--><meta charset="gbk">', "gb18030"),
        (b'<a title="<meta charset=gbk>"><meta charset=big5>', "big5"),
        (b'<? <meta charset="gbk"><meta charset=big5>', "big5"),
        (b'<meta charset="utf-16">', "utf-8"),
        (b'<meta charset="x-user-defined">', "windows-1252"),
        (b'<meta charset="nonsense"><meta charset="big5">', "big5"),
        (b'<?xml version="1.0" encoding="EUC-JP"?><html>', "euc-jp"),
        (b"<metadata charset=gbk>", None),
        (b"<meta charset=", None),
        (b"", None),
    ],
)
def test_prescan(markup: bytes, encoding: str | None) -> None:
    assert declared_in_html(markup) == encoding


def test_prescan_looks_at_the_beginning_only() -> None:
    declaration = b'<meta charset="gbk">'
    assert declared_in_html(b" " * (PRESCAN_BYTES - len(declaration)) + declaration) == "gb18030"
    assert declared_in_html(b" " * PRESCAN_BYTES + declaration) is None


@given(st.binary(max_size=300))
def test_prescan_survives_anything(tail: bytes) -> None:
    declared_in_html(b"<meta " + tail)
    text, charset = decode(tail)
    assert isinstance(text, str)
    assert charset


def test_precedence() -> None:
    meta = '<meta charset="gbk">'
    assert decode(b"\xef\xbb\xbf" + page(CHINESE, meta).encode(), "big5") == (page(CHINESE, meta), "utf-8")
    western = page("naïve café, déjà vu, garçon " * 5, '<meta charset="windows-1251">')
    assert decode(western.encode("cp1252"), "iso-8859-1") == (western, "windows-1252")
    assert decode(western.encode("cp1252"))[1] == "windows-1251"
    assert decode(page(CHINESE, meta).encode("gb18030")) == (page(CHINESE, meta), "gb18030")


@pytest.mark.parametrize("declared", ["iso-8859-1", "gb2312", "windows-1251", "shift_jis"])
def test_wrongly_declared_utf8(declared: str) -> None:
    assert decode(page(CHINESE).encode(), declared) == (page(CHINESE), "utf-8")


def test_a_wrong_declaration_is_not_believed() -> None:
    assert decode(page(RUSSIAN).encode("cp1251"), "utf-8") == (page(RUSSIAN), "windows-1251")
    assert decode(page(CHINESE).encode("gb18030"), "utf-8") == (page(CHINESE), "gb18030")
    assert decode(page(RUSSIAN).encode("cp1251"), "utf-16") == (page(RUSSIAN), "windows-1251")


def test_a_misspelt_label_falls_through_to_detection() -> None:
    assert decode(page("Plain text.").encode(), "iso-8559-1") == (page("Plain text."), "utf-8")
    assert decode(page(RUSSIAN).encode("koi8-r"), "koi-8-russian") == (page(RUSSIAN), "koi8-r")


def test_a_damaged_page_stays_in_its_declared_encoding() -> None:
    whole = page(CHINESE).encode()
    text, charset = decode(whole[:200] + b"\xff" + whole[200:], "utf-8")
    assert charset == "utf-8"
    assert text.count("\ufffd") <= 3
    assert text.replace("\ufffd", "")[:60] == page(CHINESE)[:60]


def test_short_text_that_is_valid_in_two_encodings_keeps_its_declaration() -> None:
    assert decode("一丁".encode("gbk"), "gbk")[1] == "gb18030"
    both = b"\xd2\xbb" * 2  # 一一 in GBK, һһ in UTF-8
    assert decode(both, "gb2312") == ("一一", "gb18030")
    assert decode(both) == ("һһ", "utf-8")


def test_a_few_quotes_do_not_make_a_language() -> None:
    english = page("It\x92s a \x93quoted\x94 line of English text that goes on. " * 30).encode("latin-1")
    text, charset = decode(english)
    assert charset == "windows-1252"
    assert "It’s a “quoted” line" in text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_encodings_without_a_mark(codec: str) -> None:
    text, charset = decode(page(RUSSIAN).encode(codec))
    assert (text, charset) == (page(RUSSIAN), codec.replace("-le", "le").replace("-be", "be"))


def test_vendor_characters() -> None:
    assert decode("①㈱髙".encode("cp932"), "shift_jis") == ("①㈱髙", "shift_jis")
    assert decode("똠방각하".encode("cp949"), "euc-kr") == ("똠방각하", "euc-kr")
    assert decode("嘅喺咁".encode("big5hkscs"), "big5") == ("嘅喺咁", "big5")


# What the folder names of the collection mean to Python.
_CODECS = {
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "tis-620": "cp874",
    "iso-8859-1": "cp1252",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "maccyrillic": "mac_cyrillic",
    "ibm855": "cp855",
    "ascii": "utf-8",
}


def test_real_pages_in_old_encodings(real_data: Path) -> None:
    right, wrong = 0, []
    with zipfile.ZipFile(real_data / "language" / "charsets-chardet.zip") as archive:
        for name in archive.namelist():
            content = archive.read(name)
            folder = name.split("/")[0].lower()
            match = re.match(r"windows-\d+|iso-8859-\d+", folder)
            base = match[0] if match else folder
            expected = content.decode(_CODECS.get(base, base), "replace").removeprefix("\ufeff")
            found = [decode(content)[0], decode(content, None, html=False)[0]]
            right += sum(one == expected for one in found)
            wrong += [name for one in found if one != expected]
    assert right >= 540, wrong  # of 550
