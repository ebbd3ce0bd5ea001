"""A few requests at a time, their answers in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ask_all(ask: Callable[[T, threading.Event], R], items: Sequence[T], at_once: int) -> list[R]:
    """Ask about each item, some at the same time; answers in the order of the items.

    The first error, or Ctrl-C, ends it at once: nothing new is asked, and what was asked already
    is left to end by itself, its answer unread.

    Args:
        ask: gets an item, and an event that tells it not to try again.
        items: what to ask about.
        at_once: the most that are asked about at the same time, 1 or more.

    Raises:
        BaseException: the first that `ask` raised.
    """
    stopped = threading.Event()
    todo = iter(enumerate(items))
    lock = threading.Lock()
    done: SimpleQueue[tuple[int, R] | BaseException] = SimpleQueue()

    def work() -> None:
        while not stopped.is_set():
            with lock:
                entry = next(todo, None)
            if entry is None:
                return
            try:
                done.put((entry[0], ask(entry[1], stopped)))
            except BaseException as exc:
                done.put(exc)
                return

    for _ in range(min(at_once, len(items))):
        # Daemon: an interpreter that is told to die must not wait for a server.
        threading.Thread(target=work, name="semmix-request", daemon=True).start()
    answers: dict[int, R] = {}
    try:
        while len(answers) < len(items):
            outcome = done.get()
            if isinstance(outcome, BaseException):
                raise outcome
            answers[outcome[0]] = outcome[1]
    finally:
        stopped.set()
    return [answers[number] for number in range(len(items))]
