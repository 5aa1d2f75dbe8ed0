"""What the Compose file promises, of every service in it."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import re
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings
from tests.deploy.compose import FILE, METRICS, ROOT, VARIABLE, environment, load

COMPOSE = load()
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ["api", "bucket", "controller", "migrate", "ray-head", "ray-worker", "trainer"]
ON_RAY = ["controller", "ray-head", "ray-worker", "trainer"]
every_service = pytest.mark.parametrize("name", sorted(SERVICES))


# --- the file


def test_it_follows_the_compose_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema, which holds the schema")
    schemas = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    plain = yaml.safe_load(FILE.read_text())
    assert [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(plain)] == []
    assert list(validator.iter_errors({**plain, "services": {"api": {"image": 1}}})), "the schema refuses nothing"


def test_it_names_no_version() -> None:
    assert "version" not in COMPOSE


def test_its_services_are_these_and_wait_for_these_profiles() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert {name for name, wanted in profiles.items() if not wanted} == {
        "postgres", "migrate", "api", "controller", "ray-head", "ray-worker",
    }  # fmt: skip
    assert {name: wanted for name, wanted in profiles.items() if wanted} == {
        "object-store": ["s3"], "bucket": ["s3"], "trainer": ["gpu"],
        "prometheus": ["monitoring"], "grafana": ["monitoring"],
    }  # fmt: skip


def test_variables_are_settings_or_documented() -> None:
    text = re.sub(r"(?m)^\s*#.*$", "", FILE.read_text())
    assert VARIABLE.sub("", text).count("$") == 0, "a form of variable that these tests do not understand"
    used = {found[2] for found in VARIABLE.finditer(text) if found[2]}
    guide = (ROOT / "docs" / "deployment.md").read_text()
    settings = {f"GRISTMILL_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in used - settings if f"`{name}`" not in guide} == set()


# --- every service


@every_service
def test_only_the_api_publishes_a_port_and_on_loopback(name: str) -> None:
    service = SERVICES[name]
    assert service.get("ports", []) == (["127.0.0.1:8321:8321"] if name == "api" else [])
    assert "network_mode" not in service and "pid" not in service and "ipc" not in service


@every_service
def test_nobody_is_root(name: str) -> None:
    user = str(SERVICES[name]["user"]).partition(":")[0]
    assert user.isdigit() and int(user) > 0
    assert (user == "10001") == (name in OURS)


@every_service
def test_the_root_is_read_only_and_what_is_written_goes_to_volumes_and_memory(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert any(entry.startswith("/tmp:") for entry in service["tmpfs"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        assert source in COMPOSE["volumes"] or (source.startswith("./deploy/") and volume.endswith(":ro")), volume


@every_service
def test_no_capability_and_no_way_to_one(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged", False)


@every_service
def test_memory_has_a_limit(name: str) -> None:
    limit = SERVICES[name]["deploy"]["resources"]["limits"]["memory"]
    assert re.fullmatch(r"[1-9][0-9]*[mg]", limit)


@every_service
def test_it_starts_again_unless_it_is_a_job(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name in ("migrate", "bucket") else "unless-stopped")


@every_service
def test_its_image_is_pinned(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.match(r"v?[0-9]+\.[0-9]+", tag), "no version, so another day brings another image"


@every_service
def test_networks(name: str) -> None:
    outside = {"api", "controller", "trainer"}  # answers; delivers webhooks
    assert SERVICES[name]["networks"] == (["front", "back"] if name in outside else ["back"])
    assert COMPOSE["networks"]["back"] == {"internal": True}


@every_service
def test_its_settings_exist(name: str) -> None:
    known = {f"GRISTMILL_{field.upper()}" for field in Settings.model_fields}
    used = {key for key in SERVICES[name].get("environment", {}) if key.startswith("GRISTMILL_")}
    assert used <= known
    assert not used & {"GRISTMILL_DATABASE_URL", "GRISTMILL_ADMIN_KEY"}, "these are secrets"


@every_service
def test_secrets_are_files(name: str) -> None:
    service = SERVICES[name]
    for key, value in service.get("environment", {}).items():
        if re.search(r"PASSWORD|SECRET|TOKEN|CREDENTIAL|(^|_)KEY", key) and str(value) not in ("true", "false"):
            assert str(value).startswith("/run/secrets/"), key
    mounted = set(service.get("secrets", []))
    assert mounted <= COMPOSE["secrets"].keys()
    named = set(re.findall(r"/run/secrets/([\w.]+)", json.dumps(service)))
    assert named <= mounted


@every_service
def test_what_it_waits_for_is_healthy_or_done(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if SERVICES[other]["restart"] == "no":
            wanted = "service_completed_successfully"
        else:
            wanted = "service_healthy" if "healthcheck" in SERVICES[other] else "service_started"
        assert how["condition"] == wanted, other
        assert set(SERVICES[other].get("profiles", [])) <= set(SERVICES[name].get("profiles", []))


# --- some services


def test_the_schema_comes_before_api_and_controllers() -> None:
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("api", "controller", "trainer"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", ON_RAY)
def test_ray_has_a_token(name: str) -> None:
    found = environment(name)
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
    assert "ray_token" in SERVICES[name]["secrets"]


def test_who_starts_ray_is_known_here() -> None:
    """A service that speaks of Ray and lacks the token would be a way around it."""
    assert {name for name, service in SERVICES.items() if "ray start" in json.dumps(service)} <= set(ON_RAY)
    assert "ray start" in (ROOT / "deploy" / "controller.sh").read_text()


def test_api_and_those_who_work_agree() -> None:
    """The API tells drivers where everything lies."""
    shared = (
        "GRISTMILL_RUNS_ROOT", "GRISTMILL_MODELS_ROOT", "GRISTMILL_PUBLIC_URL", "GRISTMILL_BACKEND",
        "GRISTMILL_RAY_ADDRESS", "GRISTMILL_RAY_DASHBOARD_URL", "AWS_DEFAULT_REGION", "AWS_SHARED_CREDENTIALS_FILE",
    )  # fmt: skip
    for name in ("controller", "ray-worker", "trainer"):
        assert {key: environment(name)[key] for key in shared} == {key: environment("api")[key] for key in shared}
        there = [volume.removesuffix(":ro") for volume in SERVICES[name]["volumes"]]
        assert {"models:/data/models", "sources:/data/sources", "runs:/data/runs"} <= set(there)
        assert "runs:/data/runs" in SERVICES[name]["volumes"]


def test_the_store_is_used_where_it_is_named() -> None:
    given = {"AWS_ENDPOINT_URL": "http://object-store:8333", "GRISTMILL_RUNS_ROOT": "s3://gristmill/runs"}
    for name in ("api", "controller", "ray-worker", "trainer"):
        assert given.items() <= environment(name, given).items()
        assert "AWS_ENDPOINT_URL" not in environment(name), "an empty address is not the same as none"
    assert environment("bucket")["AWS_ENDPOINT_URL"] == given["AWS_ENDPOINT_URL"]


def test_only_the_api_has_the_key_and_only_three_the_database() -> None:
    holders = {secret: {name for name, service in SERVICES.items() if secret in service.get("secrets", [])}
               for secret in COMPOSE["secrets"]}  # fmt: skip
    assert holders["gristmill_admin_key"] == {"api"}
    assert holders["gristmill_database_url"] == {"migrate", "api", "controller", "trainer"}
    assert holders["postgres_password"] == {"postgres"}


def test_the_trainer_has_one_gpu() -> None:
    devices = SERVICES["trainer"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


# --- the image


def test_the_image_ends_without_root_and_without_tools_to_build() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.split(r"(?m)^FROM ", text)[1:]
    assert len(stages) == 2 and all(stage.startswith("${PYTHON_IMAGE}") for stage in stages)
    assert re.search(r"(?m)^ARG PYTHON_IMAGE=python:3\.12-slim-\w+$", text)
    assert "USER 10001:10001" in stages[1]
    assert not re.search(r"apt-get|pip install|g\+\+|cmake", stages[1])


def test_only_what_is_named_goes_into_the_build() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert [line for line in lines if "deploy" in line] == ["!deploy/controller.sh"]
    packages = re.search(r"include = \[(.*)\]", (ROOT / "pyproject.toml").read_text())
    assert packages is not None
    for package in re.findall(r'"(\w+)\*"', packages[1]):
        assert f"!{package}" in lines


# --- secrets


def test_secrets_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def make() -> dict[str, str]:
        subprocess.run([ROOT / "deploy" / "init-secrets.sh", folder], check=True, capture_output=True)
        return {path.name: path.read_text() for path in folder.iterdir()}

    made = make()
    assert make() == made
    assert {f"./deploy/secrets/{name}" for name in made} == {entry["file"] for entry in COMPOSE["secrets"].values()}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in folder.iterdir())
    assert len(made["ray_token"]) == len(made["postgres_password"]) == 64
    settings = Settings(_secrets_dir=folder)
    assert settings.database == f"postgresql+psycopg://gristmill:{made['postgres_password']}@postgres:5432/gristmill"
    assert settings.admin_key is not None and settings.admin_key.get_secret_value() == made["gristmill_admin_key"]
    (credentials,) = json.loads(made["s3.json"])["identities"][0]["credentials"]
    assert f"aws_access_key_id = {credentials['accessKey']}\n" in made["aws_credentials"]
    assert f"aws_secret_access_key = {credentials['secretKey']}\n" in made["aws_credentials"]


def test_secrets_are_not_committed() -> None:
    assert "secrets/" in (ROOT / "deploy" / ".gitignore").read_text().splitlines()


# --- the controller's container


@pytest.fixture
def container(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``ray`` and ``gristmill`` are scripts that wait, or end at once when told to."""
    log = tmp_path / "log"
    for name in ("ray", "gristmill"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f"#!/bin/bash\ntrap 'echo {name} stopped >>{log}; exit 0' TERM\necho {name} $* >>{log}\n"
            "mkdir -p $RAY_TMPDIR/ray && echo there >$RAY_TMPDIR/ray/ray_current_cluster\n"
            f"while [ ! -e {tmp_path}/{name}.ends ]; do sleep 0.05; done; exit 3\n"
        )
        script.chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "RAY_TMPDIR": str(tmp_path),
            "GRISTMILL_BACKEND": "ray", "GRISTMILL_RAY_ADDRESS": "ray-head:6379"}  # fmt: skip


@pytest.fixture
def start(container: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the script and waits until some lines were said; what is left of it at the end is killed."""
    scripts = []

    def run(lines: int, **settings: str) -> subprocess.Popen[bytes]:
        command = [ROOT / "deploy" / "controller.sh"]
        script = subprocess.Popen(command, env={**container, **settings}, start_new_session=True)
        scripts.append(script)
        deadline = time.monotonic() + 20
        while len(said(tmp_path)) < lines:
            assert script.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        return script

    yield run
    for script in scripts:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)
        script.wait()


def said(folder: Path) -> list[str]:
    """What the two said so far."""
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


def test_a_controller_that_is_told_to_stop_ends_before_its_node(start: Any, tmp_path: Path) -> None:
    script = start(2)
    script.send_signal(signal.SIGTERM)
    assert script.wait(30) == 0
    assert said(tmp_path)[0].startswith("ray start --address=ray-head:6379 --num-cpus=0 ")
    assert said(tmp_path)[1:] == ["gristmill controller", "gristmill stopped", "ray stopped"]


@pytest.mark.parametrize(("ends", "stays"), [("ray", "gristmill"), ("gristmill", "ray")])
def test_node_and_controller_end_together(ends: str, stays: str, start: Any, tmp_path: Path) -> None:
    script = start(2)
    (tmp_path / f"{ends}.ends").touch()
    assert script.wait(30) == 3
    assert said(tmp_path)[-1] == f"{stays} stopped"


def test_controllers_end_their_drivers() -> None:
    for name in ("controller", "trainer"):
        service = load()["services"][name]
        given = environment(name)
        assert given["GRISTMILL_END_DRIVERS"] == "true"
        grace = {"30s": 30, "2m": 120}[service["stop_grace_period"]]
        assert float(given["GRISTMILL_STOP_SECONDS"]) < grace


def test_without_ray_a_controller_is_alone(start: Any, tmp_path: Path) -> None:
    script = start(1, GRISTMILL_BACKEND="inline")
    script.send_signal(signal.SIGTERM)
    assert script.wait(30) == 0
    assert said(tmp_path) == ["gristmill controller", "gristmill stopped"]


# --- monitoring


def test_prometheus_asks_the_api() -> None:
    (job,) = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["api:8321"]}] and job["metrics_path"] == "/metrics"
    assert job["authorization"]["credentials_file"] == "/run/secrets/metrics_key"
    assert "metrics_key" in SERVICES["prometheus"]["secrets"]


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "gristmill.json").read_text())
    shown = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "prometheus"
        for target in panel["targets"]:
            shown |= set(re.findall(r"gristmill_\w+", target["expr"]))
            assert target["expr"].count("(") == target["expr"].count(")")
    assert shown == METRICS
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places)


def test_grafana_finds_what_is_provisioned() -> None:
    folder = ROOT / "deploy" / "grafana"
    (source,) = yaml.safe_load((folder / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["uid"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((folder / "provisioning/dashboards/gristmill.yml").read_text())["providers"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]
