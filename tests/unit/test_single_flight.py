"""Concurrent requests for one key share a read, and no read is older than its request."""

import asyncio
import threading

import pytest

from triggers.http.single_flight import SingleFlight


class Source:
    """A value that changes, and reads that block until the test releases them."""

    def __init__(self):
        self.value = 0
        self.reads = 0
        self.started = threading.Semaphore(0)
        self.released = threading.Semaphore(0)

    def read(self, key):
        self.reads += 1
        value = self.value
        self.started.release()
        assert self.released.acquire(timeout=10)
        return key, value


async def wait_for_start(source):
    assert await asyncio.to_thread(source.started.acquire, timeout=10)


def test_requests_during_a_read_share_the_next_one():
    async def scenario():
        source = Source()
        flight = SingleFlight(source.read)
        first = asyncio.create_task(flight.get("job"))
        await wait_for_start(source)
        source.value = 1
        later = [asyncio.create_task(flight.get("job")) for _ in range(50)]
        other = asyncio.create_task(flight.get("other"))
        await wait_for_start(source)
        source.released.release(3)
        assert await first == ("job", 0)
        assert set(await asyncio.gather(*later)) == {("job", 1)}
        assert await other == ("other", 1)
        assert source.reads == 3
        source.released.release()
        assert await flight.get("job") == ("job", 1) and source.reads == 4

    asyncio.run(scenario())


def test_an_error_reaches_every_caller_and_the_next_read_starts_afresh():
    def read(key):
        raise KeyError(key)

    async def scenario():
        flight = SingleFlight(read)
        errors = await asyncio.gather(
            *(flight.get("job") for _ in range(5)), return_exceptions=True
        )
        assert [type(error) for error in errors] == [KeyError] * 5
        with pytest.raises(KeyError):
            await flight.get("job")

    asyncio.run(scenario())


def test_a_cancelled_caller_does_not_cancel_the_read_of_others():
    async def scenario():
        source = Source()
        flight = SingleFlight(source.read)
        leaving, staying = (asyncio.create_task(flight.get("job")) for _ in range(2))
        await wait_for_start(source)
        leaving.cancel()
        source.released.release()
        assert await staying == ("job", 0)
        assert leaving.cancelled() or leaving.cancelling()

    asyncio.run(scenario())
