"""The states of a run, what may happen in each, and who may cause it: one table."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

QUEUED, STARTING, RUNNING = "queued", "starting", "running"
PAUSING, PAUSED = "pausing", "paused"
CANCELLING, CANCELLED = "cancelling", "cancelled"
SUCCEEDED, FAILED = "succeeded", "failed"

ACTIVE = frozenset({STARTING, RUNNING, PAUSING, CANCELLING})  # a driver may be at work
TERMINAL = frozenset({SUCCEEDED, FAILED, CANCELLED})
UNFINISHED = frozenset({QUEUED, PAUSED}) | ACTIVE


class Actor(StrEnum):
    """Who causes a transition."""

    USER = "user"  # a person or program with a key
    CONTROLLER = "controller"
    DRIVER = "driver"  # holds the lease of the current attempt


class Transition(NamedTuple):
    """In state ``source``, ``action`` by one of ``actors`` leads to ``target``."""

    source: str
    action: str
    target: str
    actors: frozenset[Actor]


_user, _controller, _driver = frozenset({Actor.USER}), frozenset({Actor.CONTROLLER}), frozenset({Actor.DRIVER})

TRANSITIONS = (
    # commands
    Transition(QUEUED, "pause", PAUSED, _user),
    Transition(STARTING, "pause", PAUSING, _user),
    Transition(RUNNING, "pause", PAUSING, _user),
    Transition(PAUSED, "resume", QUEUED, _user),
    Transition(QUEUED, "cancel", CANCELLED, _user | _controller),
    Transition(PAUSED, "cancel", CANCELLED, _user | _controller),
    Transition(STARTING, "cancel", CANCELLING, _user | _controller),
    Transition(RUNNING, "cancel", CANCELLING, _user | _controller),
    Transition(PAUSING, "cancel", CANCELLING, _user | _controller),
    Transition(FAILED, "retry", QUEUED, _user),
    Transition(CANCELLED, "retry", QUEUED, _user),
    # an attempt begins and ends
    Transition(QUEUED, "claim", STARTING, _controller),
    Transition(STARTING, "begin", RUNNING, _driver),
    Transition(RUNNING, "succeed", SUCCEEDED, _driver),
    Transition(PAUSING, "succeed", SUCCEEDED, _driver),  # the pause came after the last shard
    Transition(STARTING, "fail", FAILED, _driver | _controller),
    Transition(RUNNING, "fail", FAILED, _driver | _controller),
    Transition(PAUSING, "fail", FAILED, _driver | _controller),
    Transition(STARTING, "release", QUEUED, _driver | _controller),  # lease lost, driver stopped or died
    Transition(RUNNING, "release", QUEUED, _driver | _controller),
    Transition(PAUSING, "release", PAUSED, _driver | _controller),
    Transition(CANCELLING, "release", CANCELLED, _driver | _controller),
)

_TABLE = {(transition.source, transition.action): transition for transition in TRANSITIONS}
COMMANDS = ("cancel", "pause", "resume", "retry")


class IllegalTransition(Exception):
    """An action that the state, or the actor, does not allow."""

    def __init__(self, state: str, action: str, actor: Actor) -> None:
        self.state, self.action = state, action
        allowed = sorted(t.action for t in TRANSITIONS if t.source == state and actor in t.actors)
        then = f"; possible now: {', '.join(allowed)}" if allowed else "; nothing is possible any more"
        super().__init__(f"a run that is {state} cannot {action}{then}")


def target(state: str, action: str, actor: Actor) -> str:
    """The state that an action leads to.

    Raises:
        IllegalTransition: naming state and action.
    """
    transition = _TABLE.get((state, action))
    if transition is None or actor not in transition.actors:
        raise IllegalTransition(state, action, actor)
    return transition.target


STATES_OF = (QUEUED, STARTING, RUNNING, PAUSING, PAUSED, CANCELLING, CANCELLED, SUCCEEDED, FAILED)
