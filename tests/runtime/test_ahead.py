import threading
from time import sleep

import pytest
from semmix_rt.ahead import Ahead


def test_items_come_in_order_and_the_source_runs_in_another_thread():
    seen = []

    def source():
        for number in range(100):
            seen.append(threading.current_thread())
            yield number

    with Ahead(source(), 7, "test") as ahead:
        assert list(ahead) == list(range(100))
        assert list(ahead) == []
    assert set(seen) != {threading.current_thread()}
    assert not any(thread.is_alive() for thread in seen)


def test_it_runs_no_further_ahead_than_its_limit():
    made = []

    def source():
        for number in range(50):
            made.append(number)
            yield number

    with Ahead(source(), 5, "test") as ahead:
        for taken in range(50):
            sleep(0.002)
            assert len(made) <= taken + 5
            assert next(ahead) == taken


def test_an_error_surfaces_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    with Ahead(source(), 10, "test") as ahead:
        assert next(ahead) == 1
        assert next(ahead) == 2
        for _ in range(2):
            with pytest.raises(OSError, match="the disk is gone"):
                next(ahead)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_early_joins_the_thread_and_closes_the_source(taken):
    closed = threading.Event()

    def source():
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    before = threading.active_count()
    with Ahead(source(), 2, "test") as ahead:
        for _ in range(taken):
            next(ahead)
        # A generator that never started has nothing to clean up.
        while not taken and not ahead.worked_s:
            sleep(0.001)
    assert closed.is_set()
    assert threading.active_count() == before
    assert list(ahead) == []


def test_waiting_is_counted():
    def source():
        sleep(0.05)
        yield 1

    with Ahead(source(), 2, "test") as ahead:
        assert list(ahead) == [1]
    assert ahead.waited_s > 0.03
    assert ahead.worked_s > 0.03
