"""Let an iterator work ahead of its consumer, in a thread of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from time import perf_counter
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """Iterates over `source` in a background thread, at most `limit` items ahead.

    An error in the source surfaces from `next()`, after the items that came before it. Leaving
    the `with` block stops the thread and waits for it, wherever it is; a generator is closed in
    the thread that ran it.

    Attributes:
        waited_s: time the consumer spent waiting for items.
        worked_s: wall time the source has taken, without waiting for room.
    """

    def __init__(self, source: Iterator[T], limit: int, name: str) -> None:
        """Prepare; the thread starts on entering the `with` block.

        Args:
            source: what to iterate over; only the thread touches it from now on.
            limit: items that may wait for the consumer.
            name: of the thread, for debuggers.
        """
        self.waited_s = 0.0
        self.worked_s = 0.0
        self._source = source
        self._limit = limit
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._ended = False
        self._error: BaseException | None = None
        # Daemon: an interpreter that is told to die must not wait for a decoder.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """The next item, waiting for it.

        Raises:
            StopIteration: the source is exhausted, or this was closed.
            BaseException: whatever the source raised.
        """
        with self._changed:
            if not self._items and not self._ended:
                started = perf_counter()
                while not self._items and not self._ended:
                    self._changed.wait()
                self.waited_s += perf_counter() - started
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration

    def close(self) -> None:
        """Stop the source after the item it is working on, and join the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        self._items.clear()

    def _work(self) -> None:
        try:
            while self._advance():
                pass
        except BaseException as exc:
            self._error = exc
        finally:
            try:
                close = getattr(self._source, "close", None)
                if close is not None:
                    close()
            except BaseException as exc:
                self._error = self._error or exc
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _advance(self) -> bool:
        with self._changed:
            while len(self._items) >= self._limit and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
        started = perf_counter()
        try:
            item = next(self._source)
        except StopIteration:
            return False
        finally:
            self.worked_s += perf_counter() - started
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()
        return True


class AheadFeed(Generic[T]):
    """What feeds have in common: a thread that works from entering to leaving them."""

    def __init__(self, source: Iterator[T], limit: int, name: str) -> None:
        """Prepare; see `Ahead`."""
        self._ahead = Ahead(source, limit, name)

    @property
    def waited_s(self) -> float:
        """Time the consumer has waited."""
        return self._ahead.waited_s

    @property
    def worked_s(self) -> float:
        """Time the thread has worked."""
        return self._ahead.worked_s

    def __enter__(self) -> Self:
        self._ahead.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ahead.close()
