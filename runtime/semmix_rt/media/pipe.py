"""A bounded queue between two threads that can be broken off from either side."""

from __future__ import annotations

from collections import deque
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Broken(Exception):  # noqa: N818 - a signal between threads, not a failure of its own
    """The pipe was broken off; whoever broke it knows why."""


class Pipe(Generic[T]):
    """First in, first out, bounded by the summed cost of what waits in it.

    An item that alone costs more than the limit passes when the pipe is empty.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cost = 0
        self._items: deque[tuple[T, int]] = deque()
        self._changed = Condition()
        self._ended = False
        self._broken = False

    def put(self, item: T, cost: int) -> None:
        """Append, waiting for room.

        Raises:
            Broken: the pipe was broken off.
        """
        with self._changed:
            while not self._broken and self._items and self._cost + cost > self._limit:
                self._changed.wait()
            if self._broken:
                raise Broken
            self._items.append((item, cost))
            self._cost += cost
            self._changed.notify_all()

    def get(self) -> T | None:
        """The next item, waiting for it; `None` at the end.

        Raises:
            Broken: the pipe was broken off.
        """
        with self._changed:
            while not self._broken and not self._items and not self._ended:
                self._changed.wait()
            if self._broken:
                raise Broken
            if not self._items:
                return None
            item, cost = self._items.popleft()
            self._cost -= cost
            self._changed.notify_all()
            return item

    def end(self) -> None:
        """No more items will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def break_off(self) -> None:
        """Wake everybody with `Broken` and forget what waits."""
        with self._changed:
            self._broken = True
            self._items.clear()
            self._changed.notify_all()
