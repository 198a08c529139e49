"""Items of a mosaic are read in their order, a few at the same time."""

import threading

import pytest

from tiles.mosaic import READ_AHEAD, Gap, _ReadAhead


def test_the_next_items_are_read_while_the_first_one_is():
    started, release = [], threading.Event()
    is_full = threading.Semaphore(0)

    def read(number):
        started.append(number)
        is_full.release()
        release.wait(10)
        return -number

    items = list(range(3 * READ_AHEAD))
    with _ReadAhead(items, read) as get:
        found = []
        reading = threading.Thread(target=lambda: found.extend(map(get, items)))
        reading.start()
        assert all(is_full.acquire(timeout=10) for _ in range(READ_AHEAD))
        assert sorted(started) == items[:READ_AHEAD]
        release.set()
        reading.join(10)
    assert found == [-number for number in items]


def test_an_item_that_cannot_be_read_does_not_end_the_others():
    def read(number):
        if number == 1:
            raise Gap("1")
        return number

    with _ReadAhead([0, 1, 2], read) as get:
        assert get(0) == 0
        with pytest.raises(Gap):
            get(1)
        assert get(2) == 2
