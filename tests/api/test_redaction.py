"""No secret survives on its way into a log, and little else is lost."""

from __future__ import annotations

import base64
import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from api.access.keys import new_key
from api.redaction import CUT, MASK, MAX_DEPTH, MAX_VALUES, redact
from api.webhooks.signing import new_secret

CANARY = "c4narY-hunter2"


@pytest.mark.parametrize(
    "name",
    [
        "password", "Password", "db_password", "PGPASSWORD", "passwd", "pwd", "passphrase", "password_hash", "secret",
        "client_secret", "secretAccessKey", "secrets", "token", "access_token", "authToken", "authtoken", "tokenValue",
        "Authorization", "proxy-authorization", "authorization_header", "key", "api_key", "apiKey", "APIKey",
        "x-api-key",
        "private_key_pem", "dsn", "sentry_dsn", "database-dsn", "keys", "tokens", "Cookie", "set-cookie", "credentials",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), [CANARY], {"a": CANARY}, (CANARY,)])
def test_names_of_secrets(name: str, value: Any) -> None:
    assert redact({name: value, "other": 1}) == {name: MASK, "other": 1}
    assert redact([{"deep": ({name: value},)}]) == [{"deep": ({name: MASK},)}]
    assert redact({name.encode(): value}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        "keyword",
        "tokenizer",
        "tokenization",
        "key_id",
        "api_key_id",
        "token_count",
        "key_name",
        "user",
        "url",
    ],
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert redact({name: "plain"}) == {name: "plain"}


def test_counts_and_absences_may_be_known() -> None:
    plain = {"tokens": 512, "n_tokens": 1.5, "password": None, "require_key": True}
    assert redact(plain) == plain
    assert redact({"password": 12345, "token": 7}) == {"password": MASK, "token": MASK}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://user:pw@host/db", "postgresql://user:***@host/db"),
        ("postgresql+psycopg://user:p@ss/w:rd@host:5432/db?x=1", "postgresql+psycopg://user:***@host:5432/db?x=1"),
        ("at s3://AKIAKEY:wJal/rX+t@bucket/a, then", "at s3://AKIAKEY:***@bucket/a, then"),
        ("redis://:pw@host", "redis://:***@host"),
        ("https://ghp_x@github.com/a", "https://***@github.com/a"),
        ("u='postgresql://u:it's@h'", "u='postgresql://u:***@h'"),
        ("https://h/?to=https://u:p@h", "https://h/?to=https://u:***@h"),
        ("postgresql://u:p@h1,postgresql://u:q@h2", "postgresql://u:***@h2"),
        ("https://host/a@b", "https://host/a@b"),
        ("https://host:8443/a?b=c#d mail me@x.example", "https://host:8443/a?b=c#d mail me@x.example"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        ("host=h password='p w' user=u", "host=h password=*** user=u"),
        ("GET /x?token=abc&y=1", "GET /x?token=***&y=1"),
        ('{"api_key": "a\\"b c", "y": 1}', '{"api_key": ***, "y": 1}'),
        ("Bearer abcdefgh.ijkl", "Bearer ***"),
        ("a basic idea", "a basic idea"),
        ("document kept: 12 %", "document kept: 12 %"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert redact(text) == expected


@given(st.text(max_size=20), st.text(max_size=20))
def test_own_secrets_anywhere(before: str, after: str) -> None:
    key, webhook = new_key(), new_secret()
    secret = key.text.rsplit(key.id + "_")[1]
    quoted = webhook.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    for text, hidden in (
        (key.text, secret),
        (webhook, webhook[6:]),
        (quoted, quoted[6:]),
        (key.text[:40], secret[:20]),
    ):
        whole = before + text + after
        for value in (whole, [whole], {"x": whole}, {whole: 1}, (whole,), {whole}, whole.encode(), ValueError(whole)):
            assert hidden not in str(redact(value))
    assert key.id in redact(f"by {key.text}")  # says which key it was


@given(
    st.text(st.characters(exclude_categories=("Z", "C")), min_size=6, max_size=30).filter(lambda text: "*" not in text),
    st.sampled_from(["postgresql://user:{}@host/db", "s3://key:{}@bucket", "https://:{}@h", "see(x://a:{}@b)!"]),
)
def test_passwords_in_urls(password: str, url: str) -> None:
    assert password not in redact(f"before {url.format(password)} after")


NAMES = st.sampled_from(["a", "password", "api_key", "note"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.integers(), inner, max_size=3) | st.tuples(inner)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_never_raises_and_never_changes_its_argument(value: Any) -> None:
    before = copy.deepcopy(value)
    found = redact(value)
    assert repr(value) == repr(before)
    json.dumps(found)
    assert repr(redact(found)) == repr(found)  # a second time changes nothing


def test_plain_values_stay() -> None:
    plain = {"a": [1, 2.5, None, True, "text", ("x", "y")], 3: {"b": "c"}}
    assert redact(plain) == plain


def test_depth_and_number_are_bounded() -> None:
    deep: Any = CANARY
    for _ in range(5000):
        deep = [deep]
    assert CANARY not in str(redact(deep))
    loop: list[Any] = []
    loop.extend([loop, loop, loop])
    began = time.monotonic()
    assert CUT in str(redact(loop))
    laughs: Any = "ha"
    for _ in range(MAX_DEPTH):
        laughs = [laughs] * 10
    assert str(redact(laughs)).count("ha") <= 10 * MAX_VALUES
    assert time.monotonic() - began < 5


def test_strange_objects_become_text() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

    assert redact(Broken()) == "<Broken>"
    assert redact({Broken(): 1}) == {"<Broken>": 1}
    assert redact(SecretStr(CANARY)) == "**********"
    assert redact(ValueError(f"no postgresql://u:{CANARY}@h")) == "no postgresql://u:***@h"


@pytest.mark.parametrize(
    "text", ["://a:" * 40_000, "a://" * 50_000, "@" * 200_000, "gm_" * 60_000, "whsec_" * 30_000, "password=" * 20_000,
             "password='" * 20_000, "bearer " * 30_000, "a" * 200_000, "secret   " * 20_000, "A" * 200_000 + "a"]
)  # fmt: skip
def test_long_texts_take_no_longer_than_their_length(text: str) -> None:
    began = time.monotonic()
    redact(text)
    redact({text: "x"})
    assert time.monotonic() - began < 2


def test_basic_credentials() -> None:
    encoded = base64.b64encode(f"user:{CANARY}".encode()).decode()
    assert encoded not in redact(f"Authorization: Basic {encoded}")
    assert encoded not in redact(f"curl -H 'authorization: basic {encoded}' x")
