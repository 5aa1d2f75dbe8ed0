"""What every iterator over data is, and one that works ahead in a thread."""

from __future__ import annotations

import queue
import threading
from typing import Any, Generic, Protocol, TypeVar

from trainer.errors import StateError

B_co = TypeVar("B_co", covariant=True)
B = TypeVar("B")
State = dict[str, int]


class Stream(Protocol[B_co]):
    """Batches one after the other; ``state`` says where, in integers, and ``restore`` goes there.

    The state is that of all ranks together: whatever their number, the same rows come next.
    """

    def __iter__(self) -> Stream[B_co]: ...
    def __next__(self) -> B_co: ...
    def state(self) -> State: ...
    def restore(self, state: State) -> None: ...


def checked_state(state: State, names: tuple[str, ...]) -> list[int]:
    """The integers of a state, if it is one of this kind of stream."""
    if set(state) != set(names) or any(not isinstance(state[n], int) or state[n] < 0 for n in names):
        raise StateError(f"{state} is no position in this data; one has {', '.join(names)}")
    return [state[name] for name in names]


class Prefetch(Generic[B]):
    """The batches of a stream, made ahead in a thread.  The same batches; ``state`` is that behind the last one given.

    Args:
        stream: must not be used by others meanwhile.
        depth: how many batches may wait.
    """

    def __init__(self, stream: Stream[B], depth: int = 2) -> None:
        self._stream, self._depth = stream, depth
        self._state = stream.state()
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Prefetch[B]:
        return self

    def __next__(self) -> B:
        if self._thread is None:
            self._start()
        batch, state, error = self._queue.get()
        if error is not None:
            self._queue.put((None, None, error))  # and so whenever it is asked again
            raise error
        self._state = state
        return batch

    def state(self) -> State:
        return dict(self._state)

    def restore(self, state: State) -> None:
        self.close()
        self._stream.restore(state)
        self._state = self._stream.state()

    def close(self) -> None:
        """End the thread; the stream stands where the last batch given ended."""
        if self._thread is None:
            return
        self._stop.set()
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                continue
        self._thread = None
        self._stream.restore(self._state)

    def _start(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(self._depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                batch = next(self._stream)
                self._queue.put((batch, self._stream.state(), None))
            except Exception as error:
                self._queue.put((None, None, error))
                return
