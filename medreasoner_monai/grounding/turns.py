"""A lock for a model that several requests share."""

from __future__ import annotations

import threading
from collections import deque


class Turns:
    """A lock that is granted in the order in which it was asked for, so that requests take turns batch by batch.

    ``threading.Lock`` promises no order: a thread that releases it and asks again at once mostly gets it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    def __enter__(self) -> None:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket)
            except BaseException:  # interrupted while waiting: those behind must not wait for this ticket
                self._queue.remove(ticket)
                self._changed.notify_all()
                raise

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()
