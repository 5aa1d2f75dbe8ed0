"""Any sequence of commands, claims, silences and late words leaves the runs in order, on both databases."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import select

from api.runs import states, store
from api.runs.states import ACTIVE, TERMINAL, TRANSITIONS, Actor, IllegalTransition
from api.store.database import Database
from api.store.tables import attempts, events, runs

LEASE, LIMIT, MAX_ATTEMPTS = 1000, 2, 3
LIMITS = store.Limits(MAX_ATTEMPTS, 2000)

# By hand, from the names of the states: what a person may do where.
COMMANDS = {
    "queued": {"pause": "paused", "cancel": "cancelled"},
    "starting": {"pause": "pausing", "cancel": "cancelling"},
    "running": {"pause": "pausing", "cancel": "cancelling"},
    "pausing": {"cancel": "cancelling"},
    "paused": {"resume": "queued", "cancel": "cancelled"},
    "cancelling": {},
    "cancelled": {"retry": "queued"},
    "failed": {"retry": "queued"},
    "succeeded": {},
}


def test_the_table_is_what_a_person_expects() -> None:
    found: dict[str, dict[str, str]] = {state: {} for state in COMMANDS}
    for transition in TRANSITIONS:
        if Actor.USER in transition.actors:
            found[transition.source][transition.action] = transition.target
    assert found == COMMANDS


def test_every_state_can_be_left_unless_it_is_final_and_every_state_is_reached() -> None:
    assert {t.source for t in TRANSITIONS} | {"succeeded"} == set(COMMANDS)
    assert {t.target for t in TRANSITIONS} | {"queued"} == set(COMMANDS)


def new_run(database: Database, now: int) -> str:
    with database.write() as connection:
        new = store.NewRun("curate", "r", {}, "/runs", "tester")
        return str(store.submit(connection, new, now)["id"])


class Runs(RuleBasedStateMachine):
    """Runs against a model: a dictionary of states and epochs, kept by hand."""

    database: Database
    everything = Bundle("everything")

    def __init__(self) -> None:
        super().__init__()
        self.now = 10_000
        self.model: dict[str, dict[str, Any]] = {}
        self.tokens: dict[tuple[str, int], str] = {}
        with self.database.write() as connection:  # other examples left theirs behind
            connection.execute(runs.update().values(state="succeeded"))
            connection.execute(attempts.update().values(finished_at=1))

    @contextmanager
    def write(self) -> Iterator[Any]:
        with self.database.write() as connection:
            yield connection

    @rule(target=everything)
    def submit(self) -> str:
        run = new_run(self.database, self.now)
        self.model[run] = {"state": "queued", "epoch": 0, "failures": 0, "not_before": 0, "events": 1, "lease": 0}
        return run

    @rule(run=everything, command=st.sampled_from(states.COMMANDS))
    def command(self, run: str, command: str) -> None:
        known = self.model[run]
        expected = COMMANDS[known["state"]].get(command)
        try:
            with self.write() as connection:
                state = store.transition(connection, run, command, Actor.USER, "p", self.now)["state"]
        except IllegalTransition as error:
            assert expected is None and known["state"] in str(error) and command in str(error)
            return
        assert state == expected
        known |= {"state": state, "events": known["events"] + 1}
        if command == "retry":
            known |= {"failures": 0, "not_before": 0}

    @rule()
    def claim(self) -> None:
        waiting = [r for r, k in sorted(self.model.items()) if k["state"] == "queued" and k["not_before"] <= self.now]
        busy = sum(known["state"] in ACTIVE for known in self.model.values())
        token = f"token-{len(self.tokens)}"
        with self.write() as connection:
            digest = hashlib.sha256(token.encode()).hexdigest()
            run = store.claim(connection, "c", digest, self.now, LEASE, LIMIT)
        if busy >= LIMIT or not waiting:
            assert run is None
            return
        assert run is not None and run["id"] == waiting[0]
        known = self.model[run["id"]]
        known |= {"state": "starting", "epoch": known["epoch"] + 1, "events": known["events"] + 1}
        known["lease"] = self.now + LEASE
        assert run["epoch"] == known["epoch"]
        self.tokens[run["id"], known["epoch"]] = token

    @rule(
        run=everything, action=st.sampled_from(["begin", "succeed", "fail", "release", "beat"]), back=st.integers(0, 2)
    )
    def driver(self, run: str, action: str, back: int) -> None:
        """A driver speaks: that of the last attempt, or one of those before."""
        known = self.model[run]
        epoch = known["epoch"] - back
        if (run, epoch) not in self.tokens:
            return
        may = known["state"] in ACTIVE and back == 0
        try:
            with self.write() as connection:
                store.current_attempt(connection, run, epoch, self.tokens[run, epoch])
                if action == "beat":
                    store.renew(connection, run, epoch, self.now, LEASE)
                    state = known["state"]
                else:
                    state = store.transition(connection, run, action, Actor.DRIVER, "d", self.now)["state"]
        except store.Fenced:
            assert not may
            return
        except IllegalTransition:
            assert may
            legal = {(t.source, t.action) for t in TRANSITIONS if Actor.DRIVER in t.actors}
            assert (known["state"], action) not in legal
            return
        assert may
        if action == "beat":
            known["lease"] = self.now + LEASE
        else:
            known |= {"state": state, "events": known["events"] + 1}

    @rule(run=everything)
    def forged_token(self, run: str) -> None:
        with pytest.raises(store.Fenced), self.write() as connection:
            store.current_attempt(connection, run, self.model[run]["epoch"], "forged")

    @rule(passed=st.integers(1, 3 * LEASE))
    def time_passes(self, passed: int) -> None:
        self.now += passed

    @rule()
    def expire(self) -> None:
        with self.write() as connection:
            late = {(a["run_id"], a["epoch"]) for a in store.open_attempts(connection) if store.is_late(a, self.now)}
            for run, epoch in sorted(late):
                after = store.lose(connection, run, epoch, "c", Actor.CONTROLLER, "silent", self.now, LIMITS)
                assert after is not None
                self._lost(run, after)
        silent = {run for run, known in self.model.items() if known["state"] in ACTIVE and known["lease"] < self.now}
        assert not silent

    def _lost(self, run: str, after: Any) -> None:
        known = self.model[run]
        assert known["lease"] < self.now
        known["events"] += 1
        ends = {"pausing": "paused", "cancelling": "cancelled"}
        if known["state"] in ends:
            known["state"] = ends[known["state"]]
        else:
            known["failures"] += 1
            known["state"] = "failed" if known["failures"] == MAX_ATTEMPTS else "queued"
            if known["state"] == "queued":
                known["not_before"] = after["not_before"]
                assert after["not_before"] == self.now + 2000 * 2 ** (known["failures"] - 1)
        assert after["state"] == known["state"]

    @invariant()
    def database_agrees(self) -> None:
        with self.database.read() as connection:
            for run, known in self.model.items():
                row = store.find(connection, run)
                assert {name: row[name] for name in ("state", "epoch", "events")} == {
                    name: known[name] for name in ("state", "epoch", "events")
                }
                assert (row["finished_at"] is not None) == (row["state"] in TERMINAL)
                told = connection.execute(select(events).where(events.c.run_id == run).order_by(events.c.number))
                history = [(e.number, e.kind) for e in told]
                assert [number for number, _ in history] == list(range(1, known["events"] + 1))
                assert history[-1][1] == f"run.{known['state']}"
                open_ = connection.execute(
                    select(attempts.c.epoch).where(attempts.c.run_id == run, attempts.c.finished_at.is_(None))
                ).scalars()
                assert list(open_) == ([known["epoch"]] if known["state"] in ACTIVE else [])


def test_runs_keep_to_the_table(database: Database) -> None:
    machine = type("RunsHere", (Runs,), {"database": database})
    steps = 40 if database.dialect == "sqlite" else 30
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=steps, deadline=None))


def test_claims_of_many_controllers_never_overlap(database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    now = 1_000_000
    wanted = {new_run(database, now + i) for i in range(60)}
    taken: list[str] = []

    def controller(name: int) -> None:
        mine = Database(database.url)
        while True:
            with mine.write() as connection:
                run = store.claim(connection, f"c{name}", "0" * 64, now + 10_000, LEASE, 1000)
            if run is None:
                break
            taken.append(run["id"])
        mine.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(controller, range(4)))
    assert len(taken) == len(set(taken)) and set(taken) == wanted
