"""Settings: every one is documented, and doors that are open have a key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from api.settings import Settings, is_loopback
from tests.support.runs import gristmill

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("GRISTMILL_"):
            monkeypatch.delenv(name)


def test_every_setting_is_documented_with_its_default() -> None:
    table = (ROOT / "docs" / "service.md").read_text().partition("## Settings")[2]
    rows = dict(re.findall(r"^\| `GRISTMILL_([A-Z_]+)` \| ([^|]*) \|", table, re.M))
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    assert set(rows) - {"LOG_LEVEL"} == set(fields)
    for name, field in fields.items():
        said = rows[name].strip().strip("`")
        if name == "MAX_BODY_BYTES":
            assert said == "1 MiB" and field.default == 1 << 20
        elif field.default in (None, ()):
            assert said == ""
        else:
            assert said == (str(field.default).lower() if isinstance(field.default, bool) else str(field.default))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_what_others_reach_needs_a_key(host: str) -> None:
    with pytest.raises(ValidationError, match="GRISTMILL_ADMIN_KEY"):
        Settings(host=host)
    with pytest.raises(ValidationError, match="GRISTMILL_ADMIN_KEY"):
        Settings(host=host, admin_key="gm_secret", require_key=False)
    assert Settings(host=host, admin_key="gm_secret").keys_required


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.9.1"])
def test_loopback_needs_none(host: str) -> None:
    assert is_loopback(host) and not Settings(host=host).keys_required


def test_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    done = gristmill("serve", "--host", "0.0.0.0", check=2)
    assert done.returncode == 2 and "GRISTMILL_ADMIN_KEY" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("PORT", "x"), ("BACKEND", "slurm"), ("LEASE_SECONDS", "0"), ("MAX_RUNNING", "0")],
)
def test_a_wrong_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"GRISTMILL_{name}", value)
    done = gristmill("migrate", check=2)
    assert done.returncode == 2 and f"GRISTMILL_{name}" in done.stderr and value not in done.stdout


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_ALLOWED_HOSTS", "a.example, b.example")
    assert Settings().allowed_hosts == ("a.example", "b.example")


def test_secrets_do_not_show() -> None:
    settings: Any = Settings(admin_key="gm_canary", database_url="postgresql+psycopg://u:canary@h/d")
    assert "canary" not in repr(settings) + str(settings) + str(settings.model_dump())
