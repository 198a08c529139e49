"""Turns on the processors, tested with sequences of events."""

import threading
from contextlib import ExitStack
from queue import Queue

import pytest

from services.sandbox.turns import Turns


class Waiting(Exception):
    """Raised instead of waiting."""


def stop():
    raise Waiting


def take(turns, stack, *lengths):
    for length in lengths:
        stack.enter_context(turns.take(length, 0, stop))


def is_refused(turns, length):
    try:
        with turns.take(length, 0, stop):
            return False
    except Waiting:
        return True


@pytest.mark.parametrize("processors", [1, 2, 4])
def test_a_short_task_runs_while_long_ones_hold_all_processors(processors):
    turns = Turns(processors)
    with ExitStack() as stack:
        take(turns, stack, *["long"] * processors)
        assert is_refused(turns, "long")
        take(turns, stack, "short")
        assert is_refused(turns, "short")
    assert not is_refused(turns, "long")


@pytest.mark.parametrize("processors", [1, 2, 4])
def test_short_tasks_do_not_starve_long_ones(processors):
    turns = Turns(processors)
    with ExitStack() as stack:
        take(turns, stack, *["short"] * processors)
        assert is_refused(turns, "short")
        take(turns, stack, "long")
        assert is_refused(turns, "long")


def test_a_waiting_task_gets_the_next_free_turn():
    turns, waits, entered = Turns(1), Queue(), threading.Event()

    def work():
        with turns.take("long", 0.01, lambda: waits.put("waiting")):
            entered.set()

    with turns.take("long", 0, stop):
        thread = threading.Thread(target=work)
        thread.start()
        waits.get(timeout=60)
        assert not entered.is_set()
    assert entered.wait(60)
    thread.join()


def test_turns_are_given_in_the_order_of_arrival():
    """Also to those whose wait was interrupted meanwhile."""
    turns, order, waits = Turns(1), [], Queue()

    def work(number):
        def wait():
            waits.put(number)

        with turns.take("long", 0.001, wait):
            order.append(number)

    with turns.take("long", 0, stop):
        threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
        for number, thread in enumerate(threads):
            thread.start()
            while waits.get(timeout=60) != number:
                """Until this one waits, too."""
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4, 5]


def test_a_turn_is_released_after_an_error():
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.take("long", 0, stop):
        raise ZeroDivisionError
    assert not is_refused(turns, "long")


def test_a_lower_limit_applies_to_the_next_turn():
    turns = Turns(3)
    with ExitStack() as stack:
        take(turns, stack, "long", "long")
        turns.limit(1)
        assert is_refused(turns, "long") and is_refused(turns, "short")
        turns.limit(4)
        assert not is_refused(turns, "long")
