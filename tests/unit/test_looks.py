"""Many who ask at once share a look, and each look is younger than its question."""

import asyncio
import threading

import pytest

from triggers.looks import Looks


class Watched:
    """Something that changes, and looks that last until they are let go."""

    def __init__(self):
        self.value = 0
        self.looks = 0
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def look(self, name):
        self.looks += 1
        seen = self.value
        self.begun.release()
        assert self.let_go.acquire(timeout=10)
        return name, seen


async def begun(watched):
    assert await asyncio.to_thread(watched.begun.acquire, timeout=10)


def test_those_who_ask_during_a_look_share_the_next_one():
    async def scenario():
        watched = Watched()
        looks = Looks(watched.look)
        first = asyncio.create_task(looks.at("job"))
        await begun(watched)
        watched.value = 1
        later = [asyncio.create_task(looks.at("job")) for _ in range(50)]
        other = asyncio.create_task(looks.at("other"))
        await begun(watched)
        watched.let_go.release(3)
        assert await first == ("job", 0)
        assert set(await asyncio.gather(*later)) == {("job", 1)}
        assert await other == ("other", 1)
        assert watched.looks == 3
        watched.let_go.release()
        assert await looks.at("job") == ("job", 1) and watched.looks == 4

    asyncio.run(scenario())


def test_an_error_reaches_everybody_and_spoils_nothing():
    def look(name):
        raise KeyError(name)

    async def scenario():
        looks = Looks(look)
        answers = await asyncio.gather(*(looks.at("job") for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [KeyError] * 5
        with pytest.raises(KeyError):
            await looks.at("job")

    asyncio.run(scenario())


def test_who_leaves_takes_the_look_from_nobody():
    async def scenario():
        watched = Watched()
        looks = Looks(watched.look)
        leaver, stayer = (asyncio.create_task(looks.at("job")) for _ in range(2))
        await begun(watched)
        leaver.cancel()
        watched.let_go.release()
        assert await stayer == ("job", 0)
        assert leaver.cancelled() or leaver.cancelling()

    asyncio.run(scenario())
