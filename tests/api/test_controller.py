"""Controllers at the moments that matter: between claim and launch, at launch, when leases end, and all at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from api.controller.loop import Controller
from api.runs import store
from api.runs.states import Actor
from api.settings import Settings
from api.store.database import Database
from api.store.tables import attempts, runs


class Stage:
    """Drivers that are played: they live until the test says otherwise.

    Args:
        fails: raised at launch.
    """

    def __init__(self, fails: BaseException | None = None) -> None:
        self.fails = fails
        self.tickets: list[dict[str, Any]] = []
        self.gone: set[str] = set()
        self.ended: list[str] = []

    def launch(self, ticket: dict[str, Any]) -> dict[str, Any]:
        if self.fails is not None:
            raise self.fails
        self.tickets.append(ticket)
        return {"name": f"{ticket['run_id']}-{ticket['epoch']}"}

    def is_gone(self, handle: dict[str, Any]) -> bool:
        return handle["name"] in self.gone

    def end(self, handle: dict[str, Any]) -> None:
        self.ended.append(handle["name"])

    def stop(self, handles: Sequence[dict[str, Any]], seconds: float) -> None:
        self.ended += [handle["name"] for handle in handles]

    def last_words(self, handle: dict[str, Any]) -> str:
        return "its last words"


class Clock:
    """Milliseconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(database: Database, clock: Clock) -> Iterator[Database]:
    """A database of each kind whose clock the test moves."""
    timed = Database(database.url, now=clock)
    yield timed
    timed.close()


def controller(database: Database, stage: Stage, listening: bool = True, **settings: Any) -> Controller:
    """A controller; ``listening`` says whether drivers could have been heard for long."""
    given = Settings(lease_seconds=10, retry_seconds=0, **settings)
    found = Controller(given, database, stage)
    found._api_answers = lambda: True  # type: ignore[method-assign]
    found._silence_counts = lambda: listening  # type: ignore[method-assign]
    return found


def submit(database: Database, count: int = 1) -> list[str]:
    with database.write() as connection:
        now = database.now(connection)
        new = store.NewRun("curate", "x", {}, "/runs", "t")
        return [store.submit(connection, new, now + n)["id"] for n in range(count)]


def state(database: Database, run_id: str) -> tuple[str, int]:
    with database.read() as connection:
        run = store.find(connection, run_id)
    return run["state"], run["epoch"]


def begin(database: Database, ticket: dict[str, Any]) -> None:
    with database.write() as connection:
        store.current_attempt(connection, ticket["run_id"], ticket["epoch"], ticket["token"])
        store.transition(connection, ticket["run_id"], "begin", Actor.DRIVER, "d", database.now(connection))


def test_dying_between_claim_and_launch_costs_one_lease(timed: Database, clock: Clock) -> None:
    (run_id,) = submit(timed)
    dying = controller(timed, Stage(fails=SystemExit()))
    with pytest.raises(SystemExit):
        dying.round()
    assert state(timed, run_id) == ("starting", 1)
    stage = Stage()
    other = controller(timed, stage)
    clock.now += 9_000
    assert not other.round() and state(timed, run_id) == ("starting", 1)
    clock.now += 2_000
    other.round()
    assert state(timed, run_id) == ("starting", 2)
    assert [ticket["epoch"] for ticket in stage.tickets] == [2]


def test_a_launch_that_fails_is_tried_again_and_given_up_at_last(timed: Database, clock: Clock) -> None:
    (run_id,) = submit(timed)
    failing = controller(timed, Stage(fails=OSError("no more processes")), max_attempts=3)
    for _ in range(5):
        failing.round()
        clock.now += 1
    assert state(timed, run_id) == ("failed", 3)
    with timed.read() as connection:
        assert "no more processes" in store.find(connection, run_id)["reason"]


def test_a_driver_that_died_is_noticed_at_once_with_its_last_words(timed: Database) -> None:
    (run_id,) = submit(timed)
    stage = Stage()
    one = controller(timed, stage, listening=False)
    one.round()
    begin(timed, stage.tickets[0])
    stage.gone.add(f"{run_id}-1")
    one.round()
    assert state(timed, run_id) == ("starting", 2)
    with timed.read() as connection:
        reason = connection.execute(select(attempts.c.reason).where(attempts.c.epoch == 1)).scalar_one()
        assert reason == "the driver died"


def test_silence_does_not_count_while_nobody_listens(timed: Database, clock: Clock) -> None:
    (run_id,) = submit(timed)
    stage = Stage()
    controller(timed, stage).round()
    begin(timed, stage.tickets[0])
    clock.now += 60_000
    controller(timed, stage, listening=False).round()
    assert state(timed, run_id) == ("running", 1) and not stage.ended
    controller(timed, stage).round()
    assert state(timed, run_id)[1] == 2 and stage.ended == [f"{run_id}-1"]


def test_a_driver_of_an_older_attempt_is_refused_everything(timed: Database, clock: Clock) -> None:
    submit(timed)
    stage = Stage()
    one = controller(timed, stage)
    one.round()
    begin(timed, stage.tickets[0])
    clock.now += 11_000
    one.round()
    for ticket in ({**stage.tickets[0]}, {**stage.tickets[0], "epoch": 2}, {**stage.tickets[1], "epoch": 1}):
        with timed.write() as connection, pytest.raises(store.Fenced):
            store.current_attempt(connection, ticket["run_id"], ticket["epoch"], ticket["token"])
    begin(timed, stage.tickets[1])


def test_many_controllers_launch_each_run_once_and_no_more_at_a_time_than_allowed(timed: Database) -> None:
    ids = submit(timed, 12)
    stages = [Stage() for _ in range(4)]
    failures: list[BaseException] = []

    def work(stage: Stage) -> None:
        try:
            one = controller(timed, stage, max_running=5)
            for _ in range(6):
                one.start_next()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(stage,)) for stage in stages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    launched = [ticket["run_id"] for stage in stages for ticket in stage.tickets]
    assert sorted(launched) == sorted(ids[:5])


def test_a_controller_claims_its_kinds_only_and_counts_only_them(timed: Database) -> None:
    with timed.write() as connection:
        now = timed.now(connection)
        for number, kind in enumerate(("curate", "training", "training")):
            store.submit(connection, store.NewRun(kind, kind, {}, "/runs", "t"), now + number)
    trainings, others = Stage(), Stage()
    controller(timed, others, claim_kinds=("curate", "preview")).round()
    one = controller(timed, trainings, claim_kinds=("training",))
    one.round()
    one.round()
    with timed.read() as connection:
        kinds = dict(connection.execute(select(runs.c.id, runs.c.kind)).tuples().all())
    assert [kinds[ticket["run_id"]] for ticket in trainings.tickets] == ["training"]  # one at a time
    assert [kinds[ticket["run_id"]] for ticket in others.tickets] == ["curate"]


def test_a_chore_that_fails_keeps_nobody_from_working(timed: Database) -> None:
    (run_id,) = submit(timed)
    one = controller(timed, Stage())

    def fails() -> None:
        raise ValueError("a chore")

    done: list[int] = []
    one.chores += [fails, lambda: done.append(1)]
    one.round()
    assert state(timed, run_id) == ("starting", 1) and done == [1]


def test_nothing_is_launched_on_a_cluster_that_is_not_known_to_refuse_strangers(timed: Database) -> None:
    (run_id,) = submit(timed)
    stage = Stage()
    one = controller(timed, stage, backend="ray", ray_address="127.0.0.1:1")
    assert not one.round() and state(timed, run_id) == ("queued", 0)
    assert "GRISTMILL_RAY_DASHBOARD_URL" in str(one.ray_guard.objection())


@pytest.mark.parametrize(("status", "safe"), [(401, True), (403, True), (200, False), (404, False), (500, False)])
def test_only_a_refusal_makes_a_cluster_safe(status: int, safe: bool, tmp_path: Path) -> None:
    import http.server

    class Jobs(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers and self.path == "/api/jobs/"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    from api.controller.ray_guard import RayGuard

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Jobs) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        guard = RayGuard(Settings(home=tmp_path, backend="ray", ray_address="a:1", ray_dashboard_url=url))
        objection = guard.objection()
        server.shutdown()
    assert (objection is None) == safe
    if safe:
        assert guard.objection() is None  # believed for a while
    else:
        assert "RAY_AUTH_MODE" in str(objection)
        assert "cannot be asked" in str(guard.objection())
