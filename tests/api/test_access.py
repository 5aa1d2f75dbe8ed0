"""Who may call what: every route of the application, each kind of key, and the tokens of drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.access.roles import SCOPES, Role, scopes_of
from api.store.database import Database
from api.store.tables import api_keys, audit, idempotency, runs
from tests.api.http import (
    ADMIN_KEY,
    NOBODY,
    Operation,
    ask,
    attempt_of,
    bearer,
    client_of,
    locked,
    make_key,
    operations,
    pointers,
    problem,
    queued_run,
    sqlite,
)

# Routes that need no key.  The description of the API is one of them: it is the same for everybody, is public in the
# repository, and says nothing of what an installation holds.
OPEN = {"healthz", "readyz", "get_service_version", "openapi"}


def words(text: str) -> list[str]:
    """Words of a text."""
    return text.split()


# The least role of each operation, decided by people.  A route that is not here fails a test below.
VIEWER = words("""
    validate_run explain_recipe count_runs_by_day get_storage list_events list_runs get_run list_attempts list_logs
    get_funnel get_set get_duplicates list_stages list_rules get_calendar
    list_overlap list_measures get_histogram get_breakdown ask_what_if list_documents get_document compare_runs
    get_neighbours get_source_record list_groups
    list_trainings list_metrics list_curves list_checkpoints preview_policy list_schedules get_schedule list_next_fires
    list_fires list_datasets get_dataset list_versions get_version get_card get_statistics get_lineage
    list_files get_file head_file list_rows diff_versions list_pipelines get_pipeline list_revisions
    get_revision list_sources get_source browse_source get_self get_metrics
    list_models get_model list_model_versions get_model_version get_model_lineage list_model_files get_model_file
    head_model_file list_evaluations get_evaluation_file list_questions ask_advice
""")  # fmt: skip
OPERATOR = words("""
    estimate_run submit_run change_run cancel_run pause_run resume_run retry_run fork_run start_training make_schedule
    change_schedule pause_schedule resume_schedule remove_schedule trigger_schedule backfill_schedule change_dataset
    publish_version set_alias remove_alias make_pipeline add_revision
    change_model set_model_alias remove_model_alias start_evaluation
""")  # fmt: skip
ADMIN = words("""
    declare_source list_webhooks make_webhook get_webhook change_webhook remove_webhook list_deliveries
    redeliver_message test_webhook
    list_keys make_key revoke_api_key list_audit
""")  # fmt: skip
LEAST = {
    **dict.fromkeys(VIEWER, Role.VIEWER),
    **dict.fromkeys(OPERATOR, Role.OPERATOR),
    **dict.fromkeys(ADMIN, Role.ADMIN),
}
DRIVERS = {"begin", "heartbeat", "complete"}  # want the token of an attempt


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Database]]:
    """An application that wants keys; what tests do with it leaves nothing that others see."""
    folder = tmp_path_factory.mktemp("access")
    database = sqlite(folder)
    yield locked(folder, database), database
    database.close()


@pytest.fixture(scope="module")
def all_operations(shared: tuple[TestClient, Database]) -> list[Operation]:
    """Every route."""
    return operations(shared[0].app)  # type: ignore[arg-type]


def guarded(found: list[Operation]) -> list[Operation]:
    """Those that want an API key."""
    return [operation for operation in found if operation.name not in OPEN | DRIVERS]


def test_every_route_has_a_decision(all_operations: list[Operation]) -> None:
    names = {operation.name for operation in all_operations}
    assert len(VIEWER) + len(OPERATOR) + len(ADMIN) == len(LEAST)
    assert names - OPEN - DRIVERS == set(LEAST), "decide who may call a new route, here and with Needs"
    assert names >= OPEN | DRIVERS
    assert not any(operation.method == "WEBSOCKET" for operation in all_operations)


def test_no_two_routes_share_a_name(all_operations: list[Operation]) -> None:
    names = [operation.name for operation in all_operations if operation.name != "openapi"]
    assert len(names) == len(set(names))


def test_only_drivers_routes_are_undescribed(all_operations: list[Operation]) -> None:
    hidden = {operation.name for operation in all_operations if not operation.public}
    assert hidden == DRIVERS | {"openapi"}
    internal = {operation.name for operation in all_operations if operation.path.startswith("/internal/")}
    assert internal == DRIVERS


def unauthorised(answer: Any) -> None:
    """A 401 that says how to do it; a HEAD has no body."""
    if answer.request.method == "HEAD":
        assert answer.status_code == 401
    else:
        problem(answer, 401, "key-required")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_without_a_key_only_the_open_routes_answer(
    shared: tuple[TestClient, Database], all_operations: list[Operation]
) -> None:
    client, database = shared
    there = queued_run(database)
    for operation in all_operations:
        for run_id in (NOBODY, there):  # whether something is there must not show
            answer = ask(client, operation, run_id=run_id)
            if operation.name in OPEN:
                assert answer.status_code == 200, operation
            else:
                assert answer.status_code == 401, f"{operation}: {answer.status_code} {answer.text}"
                unauthorised(answer)


def test_without_a_key_nothing_tells_whether_a_request_is_valid(
    shared: tuple[TestClient, Database], all_operations: list[Operation]
) -> None:
    client, _ = shared
    bad = {"run_id": "no-id", "other_id": "no-id", "hook_id": "no-id", "key_id": "no", "number": "x"}
    for operation in guarded(all_operations):
        answer = client.request(operation.method, operation.url(**bad), params={"limit": "x", "cursor": "x"})
        assert answer.status_code == 401, f"{operation}: {answer.status_code} {answer.text}"


WRONG = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Basic " + ADMIN_KEY,
    ADMIN_KEY,
    "Bearer " + ADMIN_KEY[:-1],
    "Bearer " + ADMIN_KEY + "x",
    "Bearer " + ADMIN_KEY.upper(),
    "Bearer gm_" + "a" * 16 + "_" + "A" * 43,
    "Bearer \xe9",
    "Bearer " + "x" * 8000,
]


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_key_is_none(shared: tuple[TestClient, Database], all_operations: list[Operation], header: str) -> None:
    client, _ = shared
    for operation in all_operations:
        if operation.name in OPEN | DRIVERS:
            continue
        answer = client.request(operation.method, operation.url(), headers={"Authorization": header.encode("latin-1")})
        assert answer.status_code == 401, f"{operation}: {answer.status_code} {answer.text}"
        unauthorised(answer)


def test_a_key_in_the_query_or_a_cookie_is_none(shared: tuple[TestClient, Database]) -> None:
    client, _ = shared
    for name in ("key", "api_key", "access_token", "token", "authorization"):
        unauthorised(client.get("/api/v1/self", params={name: ADMIN_KEY}))
        unauthorised(client.get("/api/v1/self", headers={"Cookie": f"{name}={ADMIN_KEY}"}))
    unauthorised(client.get("/api/v1/self", headers={"X-API-Key": ADMIN_KEY}))


def test_a_revoked_key_is_none(shared: tuple[TestClient, Database], all_operations: list[Operation]) -> None:
    client, database = shared
    key_id, key = make_key(database, Role.ADMIN)
    assert client.get("/api/v1/self", headers=bearer(key)).status_code == 200
    revoked = client.delete(f"/api/v1/keys/{key_id}", headers=bearer(ADMIN_KEY))
    assert revoked.status_code == 200 and revoked.json()["revoked_at"]
    for operation in guarded(all_operations):
        unauthorised(ask(client, operation, key))
    again = client.delete(f"/api/v1/keys/{key_id}", headers=bearer(ADMIN_KEY))
    assert again.json()["revoked_at"] == revoked.json()["revoked_at"]  # for good, once


def refused(answer: Any) -> None:
    """A 403 for want of a scope."""
    assert answer.status_code == 403, f"{answer.request.url}: {answer.status_code} {answer.text}"
    if answer.request.method != "HEAD":
        problem(answer, 403, "forbidden")


def test_a_key_with_no_scopes_may_only_ask_who_it_is(
    shared: tuple[TestClient, Database], all_operations: list[Operation]
) -> None:
    client, database = shared
    _, key = make_key(database, Role.ADMIN, [])
    for operation in guarded(all_operations):
        answer = ask(client, operation, key)
        if operation.name == "get_self":
            assert answer.json()["scopes"] == ["self:read"]
        else:
            refused(answer)


@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_says(
    shared: tuple[TestClient, Database], all_operations: list[Operation], role: Role
) -> None:
    client, database = shared
    _, key = make_key(database, role)
    for operation in guarded(all_operations):
        answer = ask(client, operation, key)
        if role >= LEAST[operation.name]:
            assert answer.status_code not in (401, 403) and answer.status_code < 500, f"{operation}: {answer.text}"
        else:
            refused(answer)


def test_the_admin_key_may_do_everything(shared: tuple[TestClient, Database], all_operations: list[Operation]) -> None:
    client, _ = shared
    assert client.get("/api/v1/self", headers=bearer(ADMIN_KEY)).json()["scopes"] == sorted(SCOPES)
    for operation in guarded(all_operations):
        answer = ask(client, operation, ADMIN_KEY)
        assert answer.status_code not in (401, 403) and answer.status_code < 500, f"{operation}: {answer.text}"


def test_each_route_wants_one_scope_of_its_role(
    shared: tuple[TestClient, Database], all_operations: list[Operation]
) -> None:
    """Without any scope, the refusal names the one that is wanted; with that one alone, the route opens."""
    client, database = shared
    _, nothing = make_key(database, Role.ADMIN, [])
    alone = {scope: make_key(database, Role.ADMIN, [scope])[1] for scope in SCOPES}
    wanted: dict[str, str] = {"get_self": "self:read"}
    for operation in guarded(all_operations):
        if operation.name in wanted or operation.method == "HEAD":
            continue
        scope = ask(client, operation, nothing).json()["detail"].removeprefix("it lacks the scope ")
        assert ask(client, operation, alone[scope]).status_code != 403, operation
        wanted[operation.name] = scope
    assert set(wanted.values()) == set(SCOPES), "a scope that opens nothing"
    assert {name: SCOPES[scope] for name, scope in wanted.items()} == {n: LEAST[n] for n in wanted}
    # Posts that change nothing.
    asking = {"validate_run", "explain_recipe", "preview_policy", "ask_what_if", "ask_advice"}
    for operation in guarded(all_operations):
        if operation.name in wanted:
            reads = operation.method == "GET" or operation.name in asking
            assert wanted[operation.name].endswith(":read") == reads, operation


def test_a_narrowed_key_says_what_it_may(shared: tuple[TestClient, Database]) -> None:
    client, _ = shared
    body = {"name": "reader", "role": "operator", "scopes": ["runs:read", "runs:read"]}
    made = client.post("/api/v1/keys", json=body, headers=bearer(ADMIN_KEY))
    assert made.status_code == 201 and made.json()["scopes"] == ["runs:read"]
    key = made.json()["key"]
    assert client.get("/api/v1/self", headers=bearer(key)).json() == {
        "name": "key:reader", "scopes": ["runs:read", "self:read"],
    }  # fmt: skip
    assert client.get("/api/v1/runs", headers=bearer(key)).status_code == 200
    refused(client.get("/api/v1/sources", headers=bearer(key)))


@pytest.mark.parametrize(("role", "scope"), [("viewer", "runs:write"), ("operator", "keys:read"), ("admin", "all")])
def test_no_key_is_made_with_more_than_its_role(shared: tuple[TestClient, Database], role: str, scope: str) -> None:
    client, _ = shared
    body = {"name": "more", "role": role, "scopes": ["runs:read", scope]}
    assert pointers(client.post("/api/v1/keys", json=body, headers=bearer(ADMIN_KEY))) == ["/scopes"]


def test_only_its_answer_shows_a_key(shared: tuple[TestClient, Database]) -> None:
    client, database = shared
    made = client.post("/api/v1/keys", json={"name": "shown-once"}, headers=bearer(ADMIN_KEY)).json()
    assert made["role"] == "viewer"  # the least, where nothing is said
    secret = made["key"].rpartition("_")[2]
    listed = client.get("/api/v1/keys", headers=bearer(ADMIN_KEY))
    assert made["id"] in listed.text and secret not in listed.text and "digest" not in listed.text
    with database.read() as connection:
        stored = [dict(row) for row in connection.execute(select(api_keys)).mappings()]
        told = [dict(row) for row in connection.execute(select(audit)).mappings()]
    assert secret not in repr(stored) and secret not in repr(told)


def test_a_key_with_the_longest_name_works_everywhere(database: Database, tmp_path: Path) -> None:
    """Its name goes into columns of who did what."""
    client = locked(tmp_path, database)
    body = {"name": "n" * 96, "role": "admin"}
    made = client.post("/api/v1/keys", json=body, headers=bearer(ADMIN_KEY))
    assert made.status_code == 201
    key = bearer(made.json()["key"])
    (tmp_path / "root").mkdir()
    source = client.post("/api/v1/sources", json={"name": "s", "root": str(tmp_path / "root")}, headers=key)
    assert source.status_code == 201 and source.json()["created_by"] == "key:" + "n" * 96
    job = {"recipe": {"name": "r", "stages": [{"stage": "extraction"}]}, "inputs": [{"source": "s"}]}
    sent = client.post("/api/v1/runs", json=job, headers={**key, "Idempotency-Key": "i" * 200})
    assert sent.status_code == 202
    with database.read() as connection:
        assert connection.execute(select(idempotency.c.owner)).scalar_one() == "key:" + "n" * 96
    body["name"] = "n" * 97
    assert pointers(client.post("/api/v1/keys", json=body, headers=bearer(ADMIN_KEY))) == ["/name"]
    # One from before that limit is cut, not refused.
    _, old = make_key(database, Role.ADMIN, name="o" * 100)
    assert client.post("/api/v1/keys", json={"name": "a"}, headers=bearer(old)).status_code == 201


def test_without_required_keys_everybody_here_is_local(tmp_path: Path) -> None:
    database = sqlite(tmp_path)
    client = client_of(tmp_path, database)
    assert client.get("/api/v1/self").json() == {"name": "local", "scopes": sorted(SCOPES)}
    # But who shows a key means it: a wrong one does not fall back to none, a lesser one is what it is.
    unauthorised(client.get("/api/v1/self", headers=bearer("wrong")))
    _, key = make_key(database, Role.VIEWER)
    assert client.get("/api/v1/self", headers=bearer(key)).json()["scopes"] == sorted(scopes_of(Role.VIEWER))
    refused(client.get("/api/v1/keys", headers=bearer(key)))


# --- drivers

TOKEN = "token-of-an-attempt-0123456789abcdefghijklmn"


def internal(run_id: str, what: str, epoch: int | str = 1) -> str:
    return f"/internal/v1/attempts/{run_id}/{epoch}/{what}"


ENDS: dict[str, Any] = {"begin": {}, "heartbeat": {}, "complete": {"outcome": "released"}}


@pytest.fixture
def driven(database: Database, tmp_path: Path) -> tuple[TestClient, Database, str]:
    """A run with an attempt whose driver has ``TOKEN``."""
    run_id = queued_run(database)
    attempt_of(database, run_id, TOKEN)
    return locked(tmp_path, database), database, run_id


def state_of(database: Database, run_id: str) -> tuple[str, int]:
    with database.read() as connection:
        row = connection.execute(select(runs.c.state, runs.c.version).where(runs.c.id == run_id)).one()
        return row.state, row.version


@pytest.mark.parametrize("what", list(ENDS))
def test_internal_routes_take_no_api_key(driven: tuple[TestClient, Database, str], what: str) -> None:
    client, database, run_id = driven
    before = state_of(database, run_id)
    _, key = make_key(database, Role.ADMIN)
    for wrong in (ADMIN_KEY, key, TOKEN[:-1], TOKEN + "x", "\xe9"):
        sent = {"Authorization": f"Bearer {wrong}".encode("latin-1")}
        problem(client.post(internal(run_id, what), json=ENDS[what], headers=sent), 409, "attempt-fenced")
    for header in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN):
        sent = {"Authorization": header.encode()}
        unauthorised(client.post(internal(run_id, what), json=ENDS[what], headers=sent))
    unauthorised(client.post(internal(run_id, what), json=ENDS[what], params={"token": TOKEN}))
    assert state_of(database, run_id) == before


@pytest.mark.parametrize("what", list(ENDS))
def test_a_token_is_for_one_attempt_of_one_run(driven: tuple[TestClient, Database, str], what: str) -> None:
    client, database, run_id = driven
    other = queued_run(database)
    attempt_of(database, other, "token-of-another-run")
    before = state_of(database, other), state_of(database, run_id)
    fenced = "attempt-fenced"
    problem(client.post(internal(other, what), json=ENDS[what], headers=bearer(TOKEN)), 409, fenced)
    problem(client.post(internal(run_id, what), json=ENDS[what], headers=bearer("token-of-another-run")), 409, fenced)
    problem(client.post(internal(run_id, what, 2), json=ENDS[what], headers=bearer(TOKEN)), 409, fenced)
    problem(client.post(internal(NOBODY, what), json=ENDS[what], headers=bearer(TOKEN)), 404, "not-found")
    # A later attempt: the earlier token does not count any more, and the later one not for the earlier attempt.
    attempt_of(database, run_id, "token-of-the-second", epoch=2)
    problem(client.post(internal(run_id, what, 1), json=ENDS[what], headers=bearer(TOKEN)), 409, fenced)
    problem(client.post(internal(run_id, what, 2), json=ENDS[what], headers=bearer(TOKEN)), 409, fenced)
    problem(client.post(internal(run_id, what, 1), json=ENDS[what], headers=bearer("token-of-the-second")), 409, fenced)
    assert (state_of(database, other)[0], state_of(database, run_id)[0]) == (before[0][0], before[1][0])


def test_a_token_works_until_its_attempt_ends(driven: tuple[TestClient, Database, str]) -> None:
    client, database, run_id = driven
    assert client.post(internal(run_id, "begin"), json={}, headers=bearer(TOKEN)).status_code == 200
    problem(client.post(internal(run_id, "begin"), json={}, headers=bearer(TOKEN)), 409, "attempt-fenced")
    beat = client.post(internal(run_id, "heartbeat"), json={"state": {"done": 1}}, headers=bearer(TOKEN))
    assert beat.json() == {"command": "go"}
    end = client.post(internal(run_id, "complete"), json={"outcome": "failed", "reason": "r"}, headers=bearer(TOKEN))
    assert end.json() == {"state": "failed"}
    for what, body in ENDS.items():
        problem(client.post(internal(run_id, what), json=body, headers=bearer(TOKEN)), 409, "attempt-fenced")
    assert state_of(database, run_id)[0] == "failed"


def test_a_token_opens_nothing_else(driven: tuple[TestClient, Database, str]) -> None:
    client, _, run_id = driven
    for operation in guarded(operations(client.app)):  # type: ignore[arg-type]
        unauthorised(ask(client, operation, TOKEN, run_id=run_id))


@pytest.mark.parametrize("epoch", ["0", "-1", "99999999999", "9" * 30, "1.5", "x", "1%00"])
def test_an_epoch_that_cannot_be_is_refused(driven: tuple[TestClient, Database, str], epoch: str) -> None:
    client, _, run_id = driven
    answer = client.post(internal(run_id, "heartbeat", epoch), json={}, headers=bearer(TOKEN))
    assert answer.status_code in (400, 404, 409, 422), answer.text
    problem(answer, answer.status_code)
