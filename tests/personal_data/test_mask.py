"""Addresses of people go, everything else stays."""

from __future__ import annotations

import ipaddress
import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.batch import Batch
from curation.personal_data import PersonalData
from curation.personal_data.mask import MAYBE_EMAIL, MAYBE_IP, mask_emails, mask_ips

HOSTILE = 2_000_000


def emails(text: str) -> str:
    return mask_emails(text, "«E»")[0]


def ips(text: str) -> str:
    return mask_ips(text, "«4»", "«6»")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to john.smith@mail.co.uk, please", "write to «E», please"),
        ("john_smith+news@gmail.com.", "«E»."),
        ("<mailto:a@b.de>", "<mailto:«E»>"),
        ("联系邮箱abc@163.com谢谢", "联系邮箱«E»谢谢"),
        ("o'brien@irish.ie and 'quoted@site.org'", "«E» and '«E»'"),
        ("one@a.com,two@b.com;three@c.com", "«E»,«E»;«E»"),
        ("...dots@a.com", "...«E»"),
        ("x@münchen.de", "x@münchen.de"),  # international names are not looked for
        ("x@mail.xn--p1ai", "«E»"),
        ("ends x@a.com.2nd", "ends «E».2nd"),
        ("a@b", "a@b"),
        ("user@192.168.1.1", "user@192.168.1.1"),
        ("logo@2x.png icon@3x.jpg", "logo@2x.png icon@3x.jpg"),
        ("@twitter and me @ home.com", "@twitter and me @ home.com"),
        ("someone@example.com me@mail.example.org Email@Example.NET test@example.test a@b.invalid", None),
        ("a@notexample.com a@example.com.de a@my-example.com", "«E» «E» «E»"),
        ("git clone git@github.com:owner/name.git && ssh -T git@mill.org", None),
        ("legit@mill.org digit@github.com", "«E» «E»"),
        ("a@notexample.com", "«E»"),
        ("price 5@1.50", "price 5@1.50"),
        ("a" * 64 + "@b.com", "«E»"),
        ("", ""),
    ],
)
def test_emails(text: str, expected: str | None) -> None:
    assert emails(text) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host 81.2.69.142 said", "host «4» said"),
        ("http://81.2.69.142:8080/x", "http://«4»:8080/x"),
        ("81.2.69.142-81.2.69.160", "«4»-«4»"),
        ("地址81.2.69.142。", "地址«4»。"),
        ("ends with 81.2.69.142.", "ends with «4»."),
        ("10.0.0.1 127.0.0.1 192.168.1.1 172.16.5.4 169.254.1.1 0.0.0.0 255.255.255.255", None),
        ("192.0.2.1 198.51.100.7 203.0.113.9 224.0.0.251 100.64.0.1 240.1.2.3", None),
        ("256.1.1.1 81.2.69 81.2.69.142.5 081.2.69.142 1181.2.69.142 v81.2.69.142", None),
        ("version 81.2.69.142, Release: 45.1.2.3, 版本：45.1.2.3, Build-45.1.2.3", None),
        (
            "ask 1.1.1.1 and 8.8.8.8, Chapter 12.1.3.19, section 4.1.3.9",
            "ask «4» and «4», Chapter 12.1.3.19, section 4.1.3.9",
        ),
        ("see 20.2.3.4", "see «4»"),
        ("conversion 81.2.69.142", "conversion «4»"),  # a word that only ends like version
        ("2a00:1450:4001:829::200e", "«6»"),
        ("[2a00:1450:4001:829::200E]:443", "[«6»]:443"),
        ("from 2a00:1450:4001:0829:0000:0000:0000:200e: hello", "from «6»: hello"),
        ("2001:db8::1 fe80::1 fc00::1 ::1 ff02::1 2001:db8:ffff::", None),
        ("std::vector a::b 12:30:45 2020:12:30 add::bad 2a00:zz::1 00:1b:44:11:3a:b7", None),
        ("", ""),
    ],
)
def test_ips(text: str, expected: str | None) -> None:
    assert ips(text) == (text if expected is None else expected)


@given(st.integers(0, 2**32 - 1))
def test_every_global_ipv4_address(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    octets = address.packed
    masked = address.is_global and octets[0] < 224  # above are multicast and reserved ones
    assert ips(f"a {address} b") == ("a «4» b" if masked else f"a {address} b")


@given(st.integers(0x2000 << 112, (0x4000 << 112) - 1), st.booleans())
def test_every_global_ipv6_address(number: int, long: bool) -> None:
    address = ipaddress.IPv6Address(number)
    text = address.exploded if long else str(address)
    assert ips(f"[{text}]") == ("[«6»]" if address.is_global else f"[{text}]")


@given(
    st.from_regex(r"[a-z][a-z0-9.]{0,20}[a-z0-9]@[a-z0-9]{1,10}(\.[a-z0-9]{2,5}){0,2}\.(de|com|info)", fullmatch=True)
)
def test_every_plain_email(address: str) -> None:
    expected = address if re.search(r"@\dx\.", address) else "«E»"
    assert emails(f"to {address} now") == f"to {expected} now"


PIECES = st.sampled_from(
    ["a", "1", ".", "@", ":", "2001", "x.com", " ", "81.2.69.142", "é", "中", "%", "-", "_", "2a00::"]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_masking_twice_changes_nothing(text: str) -> None:
    once, count = mask_emails(text, "email@example.com")
    assert mask_emails(once, "email@example.com") == (once, 0) or "@" in once.replace("email@example.com", "")
    assert (once != text) == (count > 0)
    again, count = mask_ips(text, "192.0.2.1", "2001:db8::1")
    assert (again != text) == (count > 0)


@given(st.lists(st.lists(PIECES, max_size=20).map("".join), max_size=6))
def test_the_quick_look_misses_nothing(texts: list[str]) -> None:
    stage = PersonalData(PersonalData.Parameters(email_replacement="E", ipv4_replacement="4", ipv6_replacement="6"))
    measured = stage.measure(Batch(pa.table({"text": pa.array(texts, pa.large_string())})))
    expected = []
    for text in texts:
        masked, email_count = mask_emails(text, "E")
        masked, ip_count = mask_ips(masked, "4", "6")
        expected.append((masked, email_count, ip_count))
    assert measured.text is not None
    columns = (measured.text, measured.columns["email_count"], measured.columns["ip_count"])
    assert list(zip(*(column.to_pylist() for column in columns), strict=True)) == expected


def test_stage() -> None:
    texts = ["nothing here", "", None, "a@b.com from 81.2.69.142", "2a00:1450::1 x@y.de z@y.de", "host 10.0.0.1 @"]
    table = pa.table({"text": pa.array(texts, pa.large_string())}).slice(1)
    stage = PersonalData(PersonalData.Parameters())
    measured = stage.measure(Batch(table))
    assert stage.changes_text
    assert measured.text is not None
    assert measured.text.to_pylist() == [
        "",
        None,
        "email@example.com from 192.0.2.1",
        "2001:db8::1 email@example.com email@example.com",
        "host 10.0.0.1 @",
    ]
    assert measured.columns["email_count"].to_pylist() == [0, 0, 1, 2, 0]
    assert measured.columns["ip_count"].to_pylist() == [0, 0, 1, 1, 0]
    assert [field.type for field in stage.schema] == [column.type for column in measured.columns.values()]
    assert stage.rules() == []


def test_kinds_can_be_switched_off() -> None:
    table = pa.table({"text": pa.array(["a@b.com 81.2.69.142"], pa.large_string())})

    def masked(**given: object) -> object:
        text = PersonalData(PersonalData.Parameters(**given)).measure(Batch(table)).text
        assert text is not None
        return text.to_pylist()[0]

    assert masked(email=False) == "a@b.com 192.0.2.1"
    assert masked(ip=False) == "email@example.com 81.2.69.142"
    assert masked(email=False, ip=False) == "a@b.com 81.2.69.142"
    assert masked(email_replacement="", ipv4_replacement="<ip>") == " <ip>"


@pytest.mark.parametrize(
    ("unit", "size"),
    [("a@", 10_000_000), ("1.1.1.1.", 10_000_000)]
    + [(unit, HOSTILE) for unit in ["a.", "a@b.", "1.", "a", "%", "1", "2001:", "2001::", "b-@", "a@b.c.d-", ":"]],
)
def test_hostile_text_takes_linear_time(unit: str, size: int) -> None:
    """A search that backtracked over millions of characters would not come back."""
    text = unit * (size // len(unit)) + "@"
    mask_emails(text, "x")
    mask_ips(text, "x", "y")


def test_patterns_of_the_quick_look() -> None:
    assert MAYBE_EMAIL == "@"
    assert re.search(MAYBE_IP, "81.2.69.142")
    assert re.search(MAYBE_IP, "2a00:1450::")
