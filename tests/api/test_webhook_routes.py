"""Webhooks from their registration to the last attempt: what is told, to whom, how often, and what becomes of it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from api.runs import store
from api.runs.states import Actor
from api.settings import Settings
from api.store.database import Database
from api.store.tables import audit, deliveries, events, runs
from api.webhooks.deliver import MAX_ATTEMPTS, Delivered, backoff, deliver
from api.webhooks.relay import BATCH, CLAIM, KEPT, Relay
from api.webhooks.signing import verify
from tests.api.http import ADMIN_KEY, NOBODY, bearer, client_of, locked, pointers, problem, queued_run

START = 1_900_000_000_000  # milliseconds since the epoch
HOOKS = "/api/v1/webhooks"


class Clock:
    """A database's clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


class Receiver(http.server.ThreadingHTTPServer):
    """An endpoint that keeps what it got and answers what it is told, 204 where nothing more is."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(database: Database, clock: Clock) -> Iterator[Database]:
    """A migrated database, of each kind in turn, whose clock the test moves."""
    timed = Database(database.url, now=clock)
    yield timed
    timed.close()


class Service:
    """An application and its relay, with private addresses allowed."""

    def __init__(self, home: Path, database: Database) -> None:
        self.database = database
        self.settings = Settings(home=home, webhooks_allow_private=True)
        self.client: TestClient = client_of(home, database, webhooks_allow_private=True)
        self.relay = Relay(self.settings, database)
        self.run = queued_run(database)

    def hook(self, url: str, kinds: tuple[str, ...] = ("run.*",)) -> dict[str, Any]:
        """Register a webhook."""
        made = self.client.post(HOOKS, json={"url": url, "kinds": list(kinds)})
        assert made.status_code == 201, made.text
        answer: dict[str, Any] = made.json()
        return answer

    def emit(self, kind: str = "run.failed", data: dict[str, Any] | None = None) -> int:
        """Let something happen to the run."""
        with self.database.write() as connection:
            now = self.database.now(connection)
            return store.emit(connection, self.run, kind, "t", now, data or {})

    def send(self) -> bool:
        """One round of the relay, to its end."""
        found = self.relay()
        self.relay.wait()
        return found

    def deliveries(self, hook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        """Deliveries of a webhook, newest first."""
        answer = self.client.get(f"{HOOKS}/{hook['id']}/deliveries", params=query)
        assert answer.status_code == 200
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest.fixture
def service(tmp_path: Path, timed: Database) -> Service:
    return Service(tmp_path, timed)


# --- routes


def test_a_webhook_is_made_looked_at_changed_and_removed(service: Service) -> None:
    made = service.hook("https://hooks.example/a", ("run.*", "dataset.published"))
    secret = made.pop("secret")
    assert secret.startswith("whsec_") and made["paused"] is False and made["created_by"] == "local"
    assert made["created_at"] == "2030-03-17T17:46:40.000Z"
    one = f"{HOOKS}/{made['id']}"
    assert service.client.get(one).json() == made
    assert service.client.get(HOOKS).json() == {"items": [made]}
    changed = service.client.patch(one, json={"paused": True, "kinds": ["*"]})
    assert changed.json() == {**made, "paused": True, "kinds": ["*"]}
    assert service.client.patch(one, json={}).json() == changed.json()
    assert secret not in service.client.get(one).text + service.client.get(HOOKS).text + changed.text
    gone = service.client.delete(one)
    assert gone.status_code == 204 and gone.content == b""
    problem(service.client.get(one), 404, "not-found")
    problem(service.client.delete(one), 404, "not-found")
    problem(service.client.patch(one, json={"paused": True}), 404, "not-found")
    problem(service.client.get(f"{one}/deliveries"), 404, "not-found")
    with service.database.read() as connection:
        actions = connection.execute(select(audit.c.action).order_by(audit.c.at, audit.c.id)).scalars().all()
    assert sorted(actions) == ["webhook.change", "webhook.make", "webhook.remove"]


@pytest.mark.parametrize(
    "body",
    [{}, {"url": ""}, {"url": "x" * 2001}, {"url": "https://a.example", "kinds": []}, {"url": 1},
     {"url": "https://a.example", "kinds": ["NOT"]}, {"url": "https://a.example", "kinds": ["a.b.c"]},
     {"url": "https://a.example", "kinds": ["run.[a-z]"]}, {"url": "https://a.example", "kinds": ["*"] * 21},
     {"url": "https://a.example", "secret": "whsec_mine"}, {"url": "https://a.example", "paused": True}],
    ids=str,
)  # fmt: skip
def test_what_is_no_webhook_is_refused(service: Service, body: dict[str, Any]) -> None:
    assert pointers(service.client.post(HOOKS, json=body))
    assert service.client.get(HOOKS).json()["items"] == []


def test_there_are_a_hundred_webhooks_at_most(service: Service) -> None:
    hooks = [service.hook("https://hooks.example") for _ in range(100)]
    problem(service.client.post(HOOKS, json={"url": "https://hooks.example"}), 409, "conflict")
    assert service.client.delete(f"{HOOKS}/{hooks[0]['id']}").status_code == 204
    service.hook("https://hooks.example")
    assert len({hook["secret"] for hook in hooks}) == 100


def test_only_administrators_see_webhooks(tmp_path: Path, timed: Database) -> None:
    client = locked(tmp_path, timed)
    problem(client.get(HOOKS), 401)
    made = client.post(HOOKS, json={"url": "https://hooks.example"}, headers=bearer(ADMIN_KEY)).json()
    assert made["created_by"] == "admin-key"


# --- what is told


def test_an_event_reaches_the_endpoint_signed(service: Service, receiver: Receiver, clock: Clock) -> None:
    hook = service.hook(receiver.url)
    number = service.emit("run.failed", {"reason": "réason"})
    [waiting] = service.deliveries(hook)
    assert waiting["state"] == "pending" and waiting["attempts"] == 0 and receiver.got == []
    clock.forward(7)
    assert service.send()
    [(headers, body)] = receiver.got
    assert json.loads(body) == {
        "run": service.run, "event": number, "at": START, "kind": "run.failed", "data": {"reason": "réason"},
    }  # fmt: skip
    assert headers["webhook-id"] == waiting["id"] and headers["content-type"] == "application/json"
    assert headers["webhook-timestamp"] == str(clock.now // 1000)  # of the attempt, by the shared clock
    assert verify(hook["secret"], headers, body, now=clock.now / 1000)
    assert not verify(hook["secret"], headers, body + b" ", now=clock.now / 1000)
    assert not verify(service.hook(receiver.url)["secret"], headers, body, now=clock.now / 1000)
    [done] = service.deliveries(hook)
    assert (done["state"], done["attempts"], done["last_status"], done["last_error"]) == ("delivered", 1, 204, None)
    clock.forward(10 * 24 * 3600)
    assert not service.send() and len(receiver.got) == 1


def test_each_webhook_hears_what_it_asked_for(service: Service, receiver: Receiver) -> None:
    wanted = {
        ("run.failed",): {"run.failed"},
        ("run.*",): {"run.failed", "run.succeeded", "run.progress"},
        ("*",): {"run.failed", "run.succeeded", "run.progress", "dataset.published", "training.metrics"},
        ("*.published",): {"dataset.published"},
        ("dataset.published", "run.succeeded", "run.succeeded"): {"dataset.published", "run.succeeded"},
        ("run",): set(),
        ("run.fail",): set(),
    }
    hooks = {kinds: service.hook(receiver.url, kinds) for kinds in wanted}
    for kind in ("run.failed", "run.succeeded", "run.progress", "dataset.published", "training.metrics"):
        service.emit(kind)
    for kinds, hook in hooks.items():
        heard = [delivery["body"]["kind"] for delivery in service.deliveries(hook)]
        assert set(heard) == wanted[kinds] and len(heard) == len(wanted[kinds])


def test_a_paused_webhook_gathers_nothing_and_is_sent_nothing(service: Service, receiver: Receiver) -> None:
    hook = service.hook(receiver.url)
    one = f"{HOOKS}/{hook['id']}"
    service.emit("run.queued")
    assert service.client.patch(one, json={"paused": True}).json()["paused"]
    service.emit("run.starting")
    service.send()
    assert receiver.got == []
    assert service.client.patch(one, json={"paused": False}).status_code == 200
    service.emit("run.running")
    service.send()
    assert sorted(body["kind"] for body in receiver.bodies) == ["run.queued", "run.running"]


def test_a_removed_webhook_hears_nothing_more(service: Service, receiver: Receiver) -> None:
    hook = service.hook(receiver.url)
    service.emit()
    assert service.client.delete(f"{HOOKS}/{hook['id']}").status_code == 204
    service.emit()
    assert not service.send() and receiver.got == []


def test_the_kinds_may_be_changed(service: Service) -> None:
    hook = service.hook("https://hooks.example", ("run.failed",))
    service.emit("run.succeeded")
    service.client.patch(f"{HOOKS}/{hook['id']}", json={"kinds": ["run.succeeded"]})
    service.emit("run.succeeded")
    service.emit("run.failed")
    assert [delivery["body"]["kind"] for delivery in service.deliveries(hook)] == ["run.succeeded"]


def test_what_is_undone_is_not_told(service: Service, receiver: Receiver) -> None:
    """The delivery is written in the transaction of the transition: both are there, or none."""
    hook = service.hook(receiver.url, ("*",))
    with pytest.raises(ZeroDivisionError), service.database.write() as connection:
        store.transition(connection, service.run, "cancel", Actor.USER, "t", START)
        assert connection.execute(select(deliveries)).all()
        _ = 1 / 0
    assert service.deliveries(hook) == [] and not service.send() and receiver.got == []
    with service.database.read() as connection:
        assert connection.execute(select(runs.c.state)).scalar_one() == "queued"
        assert connection.execute(select(events.c.kind)).scalars().all() == ["run.queued"]
    assert service.client.post(f"/api/v1/runs/{service.run}/cancel").status_code == 200
    [told] = service.deliveries(hook)
    assert told["body"]["kind"] == "run.cancelled" and told["body"]["data"] == {"from": "queued"}
    with service.database.read() as connection:
        last = connection.execute(select(events).order_by(events.c.number.desc()).limit(1)).mappings().one()
    assert (told["body"]["event"], told["body"]["at"]) == (last["number"], last["at"])


def test_a_refused_transition_tells_nothing(service: Service) -> None:
    hook = service.hook("https://hooks.example", ("*",))
    problem(service.client.post(f"/api/v1/runs/{service.run}/resume"), 409, "illegal-transition")
    assert service.deliveries(hook) == []


# --- when it fails


def test_a_failed_delivery_is_tried_again_later_each_time(service: Service, receiver: Receiver, clock: Clock) -> None:
    hook = service.hook(receiver.url)
    service.emit()
    receiver.answers = [500, 404, 302, 204]
    for attempt, status in enumerate((500, 404, 302), start=1):
        assert service.send()
        [waiting] = service.deliveries(hook)
        assert (waiting["state"], waiting["attempts"], waiting["last_status"]) == ("pending", attempt, status)
        assert str(status) in waiting["last_error"]
        pause = int(backoff(attempt, waiting["id"]) * 1000)
        clock.now += pause - 1
        assert not service.send()  # not before
        clock.now += 1
        assert len(receiver.got) == attempt
    assert service.send()
    [done] = service.deliveries(hook)
    assert (done["state"], done["attempts"], done["last_status"], done["last_error"]) == ("delivered", 4, 204, None)
    assert len(set(receiver.ids)) == 1, "one message keeps its id over all attempts"
    stamps = [headers["webhook-timestamp"] for headers, _ in receiver.got]
    assert len(set(stamps)) == 4 and stamps == sorted(stamps)
    assert len({body for _, body in receiver.got}) == 1
    for headers, body in receiver.got:
        assert verify(hook["secret"], headers, body, now=int(headers["webhook-timestamp"]))


def test_an_endpoint_that_never_answers_is_given_up(service: Service, receiver: Receiver, clock: Clock) -> None:
    hook = service.hook(receiver.url)
    service.emit()
    receiver.answers = [503] * MAX_ATTEMPTS
    pauses = []
    for _ in range(MAX_ATTEMPTS):
        assert service.send()
        [delivery] = service.deliveries(hook)
        pauses.append(backoff(delivery["attempts"], delivery["id"]))
        clock.forward(6 * 3600 + 1)
    assert (delivery["state"], delivery["attempts"], delivery["last_status"]) == ("parked", MAX_ATTEMPTS, 503)
    assert not service.send() and len(receiver.got) == MAX_ATTEMPTS
    assert service.deliveries(hook, state="parked") == [delivery]
    assert service.deliveries(hook, state="pending") == [] == service.deliveries(hook, state="delivered")


def test_an_endpoint_that_is_not_there_is_tried_again(service: Service, receiver: Receiver) -> None:
    with receiver.socket:
        pass  # closed: nobody listens
    hook = service.hook(receiver.url)
    service.emit()
    service.send()
    [waiting] = service.deliveries(hook)
    assert (waiting["state"], waiting["attempts"], waiting["last_status"]) == ("pending", 1, None)
    assert "connection failed" in waiting["last_error"]


def test_somebody_may_ask_for_it_again(service: Service, receiver: Receiver, clock: Clock) -> None:
    hook = service.hook(receiver.url)
    service.emit()
    receiver.answers = [500] * MAX_ATTEMPTS
    for _ in range(MAX_ATTEMPTS):
        service.send()
        clock.forward(6 * 3600 + 1)
    [parked] = service.deliveries(hook, state="parked")
    again = service.client.post(f"{HOOKS}/{hook['id']}/deliveries/{parked['id']}/redeliver")
    assert again.status_code == 202
    assert (again.json()["state"], again.json()["attempts"]) == ("pending", 0)
    assert service.send()
    [done] = service.deliveries(hook)
    assert (done["state"], done["attempts"]) == ("delivered", 1) and set(receiver.ids) == {parked["id"]}
    # What arrived may be asked for once more, too, and keeps its id.
    assert service.client.post(f"{HOOKS}/{hook['id']}/deliveries/{done['id']}/redeliver").status_code == 202
    assert service.send() and receiver.ids == [parked["id"]] * (MAX_ATTEMPTS + 2)


def test_a_delivery_is_asked_for_at_its_own_webhook(service: Service) -> None:
    hook, other = service.hook("https://a.example"), service.hook("https://b.example", ("*.published",))
    service.emit()
    [waiting] = service.deliveries(hook)
    for path in (f"{other['id']}/deliveries/{waiting['id']}", f"{hook['id']}/deliveries/{NOBODY}",
                 f"{NOBODY}/deliveries/{waiting['id']}"):  # fmt: skip
        problem(service.client.post(f"{HOOKS}/{path}/redeliver"), 404, "not-found")
    assert service.deliveries(hook) == [waiting]


def test_deliveries_are_listed_page_by_page(service: Service, clock: Clock) -> None:
    hook = service.hook("https://hooks.example")
    for number in range(7):
        service.emit("run.progress", {"number": number})
        clock.forward(number % 2)  # some at the same moment
    seen, cursor = [], None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = service.client.get(f"{HOOKS}/{hook['id']}/deliveries", params=query).json()
        seen += [delivery["id"] for delivery in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == 7 == len(set(seen)) and seen == [d["id"] for d in service.deliveries(hook)]
    first = service.client.get(f"{HOOKS}/{hook['id']}/deliveries", params={"limit": 3}).json()["next"]
    other = service.hook("https://other.example")
    for path, query in ((hook["id"], {"state": "pending"}), (other["id"], {})):
        answer = service.client.get(f"{HOOKS}/{path}/deliveries", params={"cursor": first, **query})
        assert pointers(answer) == ["query/cursor"]  # it belongs to another list


# --- relays that die, and relays that meet


class Died(BaseException):
    """The process ended here."""


def test_what_was_sent_and_not_written_down_is_sent_again(service: Service, receiver: Receiver, clock: Clock) -> None:
    hook = service.hook(receiver.url)
    service.emit()

    def dies(*args: Any, **options: Any) -> Delivered:
        deliver(*args, **options)
        raise Died

    first = Relay(service.settings, service.database, dies)
    assert first()
    first.wait()
    [claimed] = service.deliveries(hook)
    assert (claimed["state"], claimed["attempts"]) == ("pending", 0) and len(receiver.got) == 1
    clock.now += CLAIM - 1
    assert not service.send()  # somebody may still be at it
    clock.now += 1
    assert service.send()
    assert receiver.ids == [claimed["id"]] * 2, "receivers know the repetition by its id"
    [done] = service.deliveries(hook)
    assert (done["state"], done["attempts"]) == ("delivered", 1)


def test_a_claim_outlasts_an_attempt() -> None:
    from api.webhooks.deliver import TIMEOUT

    assert CLAIM >= 2 * TIMEOUT * 1000


def test_an_error_in_here_costs_no_room(service: Service, clock: Clock) -> None:
    """More deliveries than there is room for fail in here; the relay goes on with others."""
    hook = service.hook("https://hooks.example")
    for _ in range(BATCH + 4):
        service.emit()
    sent: list[str] = []

    def broken(url: str, secret: str, message_id: str, *_: Any, **__: Any) -> Delivered:
        sent.append(message_id)
        raise RuntimeError("a mistake of ours")

    relay = Relay(service.settings, service.database, broken)
    for _ in range(3):
        relay()
        relay.wait()
    assert len(sent) == BATCH + 4 == len(set(sent))
    clock.now += CLAIM
    relay()
    relay.wait()
    assert len(sent) == 2 * BATCH + 4
    assert {delivery["state"] for delivery in service.deliveries(hook)} == {"pending"}


def test_a_relay_takes_no_more_than_it_has_room_for(service: Service, clock: Clock) -> None:
    hook = service.hook("https://hooks.example")
    for _ in range(2 * BATCH + 1):
        service.emit()
    gate = threading.Event()
    sent: list[str] = []

    def slow(url: str, secret: str, message_id: str, *_: Any, **__: Any) -> Delivered:
        gate.wait()
        sent.append(message_id)
        return Delivered(200, None, 0.0)

    relay = Relay(service.settings, service.database, slow)
    assert relay() and not relay() and not relay()  # full: what waits stays for others
    other = Relay(service.settings, service.database, slow)
    assert other() and not other()
    gate.set()
    relay.wait()
    other.wait()
    assert len(sent) == 2 * BATCH == len(set(sent))
    assert relay()
    relay.wait()
    assert len(set(sent)) == 2 * BATCH + 1 == len(sent)
    assert len(service.deliveries(hook, limit=200, state="delivered")) == 2 * BATCH + 1


def test_two_relays_at_once_send_each_message_once(service: Service, receiver: Receiver) -> None:
    hooks = [service.hook(receiver.url) for _ in range(2)]
    for _ in range(40):
        service.emit()
    start = threading.Barrier(4)
    failures: list[BaseException] = []

    def work() -> None:
        database = Database(service.database.url, now=lambda: START)
        relay = Relay(service.settings, database)
        try:
            start.wait()
            while relay():
                pass
            relay.wait()
        except BaseException as error:
            failures.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    while service.send():
        pass
    assert len(receiver.ids) == 80 == len(set(receiver.ids))
    for hook in hooks:
        found = service.deliveries(hook, limit=200)
        assert len(found) == 40
        assert {(delivery["state"], delivery["attempts"]) for delivery in found} == {("delivered", 1)}


def test_a_slow_endpoint_holds_no_other_up(service: Service, receiver: Receiver) -> None:
    with stuck() as (url, reached):
        slow, fast = service.hook(url), service.hook(receiver.url)
        service.emit()
        assert service.relay()
        assert reached.wait(30)
        for _ in range(3000):
            if receiver.got:
                break
            threading.Event().wait(0.01)
        assert len(receiver.got) == 1
    service.relay.wait()
    assert [delivery["state"] for delivery in service.deliveries(fast)] == ["delivered"]
    assert [delivery["state"] for delivery in service.deliveries(slow)] == ["pending"]


@contextmanager
def stuck() -> Iterator[tuple[str, threading.Event]]:
    """URL of an endpoint that takes connections and says nothing until the block ends; and whether one came."""
    import socket

    reached, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            connection, _ = server.accept()
            with connection:
                reached.set()
                over.wait()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", reached
        over.set()
        thread.join()


def test_what_was_delivered_long_ago_is_forgotten(service: Service, receiver: Receiver, clock: Clock) -> None:
    hook = service.hook(receiver.url)
    service.emit("run.queued")
    service.send()
    clock.now += KEPT
    receiver.answers = [500] * MAX_ATTEMPTS
    service.emit("run.failed")
    for _ in range(MAX_ATTEMPTS):
        service.send()
        clock.forward(6 * 3600 + 1)
    service.relay.forget()
    assert [delivery["body"]["kind"] for delivery in service.deliveries(hook)] == ["run.failed"]
    clock.now += 2 * KEPT
    service.relay.forget()
    assert [delivery["state"] for delivery in service.deliveries(hook)] == ["parked"]  # somebody may still want it


def test_the_controller_sends(tmp_path: Path, timed: Database, receiver: Receiver) -> None:
    """The relay is a chore of the controller that `gristmill serve` runs."""
    from api.serve import make_controller

    settings = Settings(home=tmp_path, webhooks_allow_private=True)
    controller = make_controller(settings, timed)
    [relay] = [chore for chore in controller.chores if isinstance(chore, Relay)]
    service = Service(tmp_path, timed)
    service.hook(receiver.url)
    service.emit()
    assert relay()
    relay.wait()
    assert len(receiver.got) == 1
