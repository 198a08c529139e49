"""Timers, body limit and settings of the local functions host."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request

from local.emulators.functions import appsettings, http
from local.emulators.functions.calls import CallFailed, Calls
from local.emulators.functions.indexing import Function
from local.emulators.functions.invoke import Datum, Metadata
from local.emulators.functions.timers import Timer, timer_trigger
from local.errors import LocalError


class Recorder:
    """An invoker with one function, which counts its calls and the concurrent ones."""

    kind = "recorder"

    def __init__(self, trigger: dict[str, object]) -> None:
        function = Function("tick", "timerTrigger", "timer", trigger, print, False, False)
        self.functions = {"tick": function}
        self.calls = asyncio.Semaphore(0)
        self.running = 0
        self.most_at_once = 0
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def invoke(self, name: str, data: Datum, metadata: Metadata) -> Datum | None:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self.calls.release()
        try:
            if self.error:
                raise self.error
            await self.go_on.wait()
        finally:
            self.running -= 1
        return None

    def close(self) -> None:
        """Nothing to close."""


def timer(recorder: Recorder) -> Timer:
    trigger = timer_trigger(recorder.functions["tick"])
    return Timer(trigger, Calls(recorder, None, lambda: None))


async def called(recorder: Recorder) -> None:
    async with asyncio.timeout(10):
        await recorder.calls.acquire()


def test_a_timer_never_overlaps_itself() -> None:
    async def run() -> None:
        recorder = Recorder({"schedule": "* * * * * *", "runOnStartup": True})
        ticking = timer(recorder)
        ticking.start()
        await called(recorder)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):  # more than one tick
                await recorder.calls.acquire()
        recorder.go_on.set()
        await called(recorder)
        await ticking.stop(grace=1)
        assert (recorder.most_at_once, recorder.running) == (1, 0)

    asyncio.run(run())


def test_a_timer_continues_after_a_failure() -> None:
    async def run() -> None:
        recorder = Recorder({"schedule": "* * * * * *"})
        recorder.error = RuntimeError("once")
        ticking = timer(recorder)
        ticking.start()
        await called(recorder)
        await called(recorder)
        await ticking.stop(grace=1)

    asyncio.run(run())


def test_a_stop_waits_for_a_running_timer_call() -> None:
    async def run() -> None:
        recorder = Recorder({"schedule": "0 0 0 1 1 *", "runOnStartup": True})
        ticking = timer(recorder)
        ticking.start()
        await called(recorder)
        stopping = asyncio.create_task(ticking.stop(grace=10))
        await asyncio.sleep(0)
        assert not stopping.done()
        recorder.go_on.set()
        await asyncio.wait_for(stopping, 5)

    asyncio.run(run())


def test_a_schedule_can_be_a_setting(monkeypatch) -> None:
    monkeypatch.setenv("SWEEP", "0 */2 * * * *")
    function = Function("f", "timerTrigger", "t", {"schedule": "%SWEEP%"}, print, False, False)
    assert timer_trigger(function).expression == "0 */2 * * * *"


def test_successes_and_failures_are_counted() -> None:
    async def run() -> None:
        recorder = Recorder({"schedule": "0 0 0 1 1 *"})
        calls = Calls(recorder, None, lambda: None)
        recorder.go_on.set()
        await calls.run("tick", Datum("{}", "json"), {}, "test")
        recorder.error = TimeoutError("the function's own")
        with pytest.raises(CallFailed):
            await calls.run("tick", Datum("{}", "json"), {}, "test")
        count = calls.counts["tick"]
        assert (count["running"], count["succeeded"], count["failed"]) == (0, 1, 1)

    asyncio.run(run())


def test_a_streamed_body_is_rejected_above_the_limit(monkeypatch) -> None:
    monkeypatch.setattr(http, "BODY_LIMIT", 10)

    def request(*chunks: bytes) -> Request:
        async def parts() -> AsyncIterator[dict[str, object]]:
            for chunk in chunks:
                yield {"type": "http.request", "body": chunk, "more_body": True}
            yield {"type": "http.request", "body": b""}

        messages = parts()
        headers = [(b"content-length", b"10")]
        return Request({"type": "http", "headers": headers}, lambda: anext(messages))

    assert asyncio.run(http._read_body(request(b"12345", b"67890"))) == b"1234567890"
    with pytest.raises(http.BodyTooLarge):
        asyncio.run(http._read_body(request(b"12345", b"67890", b"1")))


def test_the_environment_takes_precedence_over_local_settings(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ONE_SETTING", "from the environment")
    monkeypatch.setenv("OTHER_SETTING", "")
    monkeypatch.delenv("OTHER_SETTING")
    settings = '{"Values": {"ONE_SETTING": "from the file", "OTHER_SETTING": "from the file"}}'
    (tmp_path / "local.settings.json").write_text(settings)
    appsettings.load_local_settings(tmp_path)
    assert appsettings.resolve("%ONE_SETTING%/%OTHER_SETTING%", "f") == (
        "from the environment/from the file"
    )


def test_a_connection_setting_can_have_the_prefix_of_the_host(monkeypatch) -> None:
    monkeypatch.setenv("Bus", "plain")
    assert appsettings.connection_string("Bus", "f") == "plain"
    monkeypatch.setenv("AzureWebJobsBus", "prefixed")
    assert appsettings.connection_string("Bus", "f") == "prefixed"
    monkeypatch.setenv("Other__fullyQualifiedNamespace", "x.servicebus.windows.net")
    with pytest.raises(LocalError) as error:
        appsettings.connection_string("Other", "f")
    assert "managed identity" in error.value.hint


@pytest.mark.parametrize(
    ("text", "expected"), [("", None), ("12", 12), ("0", None), ("many", None), ("-1", None)]
)
def test_the_thread_count(monkeypatch, text: str, expected: int | None) -> None:
    monkeypatch.setenv("PYTHON_THREADPOOL_THREAD_COUNT", text)
    assert appsettings.thread_count() == expected


def test_function_keys_have_names(monkeypatch) -> None:
    monkeypatch.setenv("LOCAL_FUNCTION_KEYS", "default=abc, other=d=e==,broken,empty=")
    assert appsettings.function_keys() == ("abc", "d=e==")
