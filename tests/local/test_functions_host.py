"""The local functions host as a process, used through HTTP and a real broker."""

import contextlib
import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from tests.fixtures.broker import RunningBroker, start_broker
from tests.fixtures.functions_host import (
    REPOSITORY,
    SAMPLE_APP,
    TIMEOUT,
    HostProcess,
    environment,
    start_host,
)

QUEUES = {
    "work": {"lock_duration": 5, "max_delivery_count": 3},
    "batch": {"lock_duration": 30, "max_delivery_count": 3},
}
MASTER = {"x-functions-key": "master-key"}
HAS_RUNTIME = importlib.util.find_spec("azure_functions_runtime") is not None
INVOKERS = ["sdk", "runtime"] if HAS_RUNTIME else ["sdk"]


@pytest.fixture(scope="module")
def shared_broker() -> Iterator[RunningBroker]:
    with start_broker(QUEUES) as broker:
        yield broker


@pytest.fixture(scope="module", params=INVOKERS)
def host(request, shared_broker, tmp_path_factory) -> Iterator[HostProcess]:
    """A host shared by the tests that do not stop it."""
    folder = tmp_path_factory.mktemp("host")
    env = environment(folder, shared_broker.connection_string, LOCAL_HOST_INVOKER=request.param)
    with start_host(SAMPLE_APP, env, "--port-file", str(folder / "port")) as host:
        host.url  # noqa: B018 - waits until it listens
        assert (folder / "port").read_text().strip() == str(urlsplit(host.url).port)
        yield host


@pytest.fixture(scope="module")
def http(host: HostProcess) -> Iterator[httpx.Client]:
    with host.client() as client:
        yield client


@pytest.fixture
def broker() -> Iterator[RunningBroker]:
    with start_broker(QUEUES) as broker:
        yield broker


def send(connection_string: str, queue: str, *messages: ServiceBusMessage | str) -> None:
    whole = [
        message if isinstance(message, ServiceBusMessage) else ServiceBusMessage(message)
        for message in messages
    ]
    with (
        ServiceBusClient.from_connection_string(connection_string) as client,
        client.get_queue_sender(queue) as sender,
    ):
        sender.send_messages(whole)


def wait_until(is_so, what: str) -> None:
    """Poll for a change that is not announced."""
    end = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < end, f"not within {TIMEOUT} s: {what}"
        time.sleep(0.02)


def read_all(raw: socket.socket) -> bytes:
    """Everything that is received until the peer closes the connection."""
    return b"".join(iter(lambda: raw.recv(4096), b""))


def is_empty(broker: RunningBroker, queue: str) -> bool:
    return not broker.active(queue) and not broker.dead_letters(queue)


def test_both_invokers_are_tried() -> None:
    if not HAS_RUNTIME:
        pytest.skip(
            "azure-functions-runtime needs Python 3.13: only the SDK's converters are tried"
        )


# HTTP


def test_the_function_gets_every_part_of_a_request(http: httpx.Client) -> None:
    response = http.post(
        "/api/echo/a%20b%2Fc",
        params={"code": "function-key", "q": ["1", "2"], "empty": ""},
        headers=[("X-Two", "a"), ("X-Two", "b")],
        content=b"\x00\xff",
    )
    seen = response.json()
    assert response.headers["content-type"] == "application/json"
    assert seen["method"] == "POST"
    assert seen["url"].startswith(f"{http.base_url}/api/echo/a%20b%2Fc?code=function-key&q=1")
    assert seen["route"] == {"name": "a b%2Fc"}
    assert seen["params"] == {"code": "function-key", "q": "1,2"}
    assert seen["headers"]["x-two"] == "a,b"
    assert seen["body"] == "\x00\xff"
    assert seen["thread"] is True


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/numbers/7", "number 7"),
        ("/api/numbers/seven", "word seven"),
        ("/api/numbers/pi", "pi itself"),
        ("/API/Numbers/PI", "pi itself"),
        ("/api/numbers/zeta", "word zeta"),
        ("/api/maybe", "maybe nothing"),
        ("/api/maybe/3", "maybe 3"),
        ("/api/maybe/a%0Ab", "maybe a\nb"),
        ("/api/files/a/b.tif", "file a/b.tif True"),
        ("/api/files", "file  True"),
    ],
)
def test_routes(http: httpx.Client, path: str, answer: str) -> None:
    response = http.get(path)
    assert (response.status_code, response.text) == (200, answer)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/unknown"),
        ("GET", "/numbers/7"),
        ("GET", "/api/numbers/7/8"),
        ("DELETE", "/api/echo/x?code=function-key"),
        ("GET", "/admin/unknown"),
    ],
)
def test_an_unknown_path_or_method_is_404(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, path).status_code == 404


def test_status_headers_cookies_and_bytes_of_a_response(http: httpx.Client) -> None:
    response = http.get("/api/binary")
    assert response.status_code == 201
    assert response.content == bytes(range(256))
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-kind"] == "bytes"
    assert response.headers.get_list("set-cookie") == ["a=1; HttpOnly; Path=/", "b=2"]


def test_head_has_no_body(http: httpx.Client) -> None:
    response = http.head("/api/binary")
    assert (response.status_code, response.content) == (201, b"")


def test_no_return_value_is_500_as_in_azure(http: httpx.Client, host: HostProcess) -> None:
    response = http.get("/api/nothing")
    assert (response.status_code, response.content) == (500, b"")
    host.wait_for_log("nothing failed (GET /api/nothing)")


def test_an_exception_is_500_with_an_empty_body_and_logged(
    http: httpx.Client, host: HostProcess
) -> None:
    response = http.get("/api/boom")
    assert (response.status_code, response.content) == (500, b"")
    host.wait_for_log("boom failed (GET /api/boom)")
    host.wait_for_log("RuntimeError: boom")


def test_a_header_that_cannot_be_sent_is_500(http: httpx.Client, host: HostProcess) -> None:
    assert http.get("/api/strange").status_code == 500
    host.wait_for_log("strange: its response cannot be sent")
    assert http.get("/api/numbers/1").status_code == 200


def test_the_context_of_a_call(http: httpx.Client) -> None:
    first, second = (http.get("/api/about").json() for _ in range(2))
    assert first["function"] == "about"
    assert Path(first["directory"]) == SAMPLE_APP
    assert first["invocation"] != second["invocation"]
    assert first["same"] is True


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/api/echo/x", None, 401),
        ("/api/echo/x", "wrong", 401),
        ("/api/echo/x", "", 401),
        ("/api/echo/x", "function-key", 200),
        ("/api/echo/x", "second-key", 200),
        ("/api/echo/x", "master-key", 200),
        ("/api/secret", None, 401),
        ("/api/secret", "function-key", 401),
        ("/api/secret", "master-key", 200),
        ("/api/length", None, 200),
    ],
)
def test_keys(http: httpx.Client, path: str, key: str | None, status: int) -> None:
    headers = {} if key is None else {"x-functions-key": key}
    query = {} if key is None else {"code": key}
    assert http.get(path, headers=headers).status_code == status
    response = http.get(path, params=query)
    assert response.status_code == status
    if status == 401:
        assert response.content == b""


def test_a_body_beyond_100_mb_is_413(http: httpx.Client) -> None:
    address = urlsplit(str(http.base_url))
    with socket.create_connection((address.hostname, address.port), TIMEOUT) as raw:
        raw.sendall(
            b"POST /api/length HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 104857601\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413")
    assert http.post("/api/length", content=b"x" * 5_000_000).text == "5000000"


def test_a_body_without_its_length_is_not_forwarded(http: httpx.Client) -> None:
    """As the Functions host does; httpx sends what an iterator yields in chunks."""
    assert http.post("/api/length", content=iter([b"some", b"thing"])).text == "0"


def test_a_disconnecting_client_does_not_affect_others(
    http: httpx.Client, host: HostProcess
) -> None:
    release = host.make_pipe("leaver")
    address = urlsplit(str(http.base_url))
    with socket.create_connection((address.hostname, address.port), TIMEOUT) as raw:
        raw.sendall(b"GET /api/block/leaver HTTP/1.1\r\nHost: x\r\n\r\n")
        host.wait_for_records("block", call="leaver")
    with socket.create_connection((address.hostname, address.port), TIMEOUT) as raw:
        raw.sendall(b"POST /api/length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    release()
    assert http.get("/api/numbers/1").text == "number 1"
    assert not any("Exception in ASGI" in line for line in host.log)


def test_status_lists_functions_and_counts(http: httpx.Client) -> None:
    http.get("/api/numbers/1")
    status = http.get("/admin/host/status").json()
    assert status["state"] == "Running"
    assert {"name": "tick", "type": "timerTrigger"} in status["functions"]
    assert status["counts"]["number"]["succeeded"] >= 1
    assert status["counts"]["number"]["running"] == 0


def test_a_function_is_run_manually_with_the_master_key(
    http: httpx.Client, host: HostProcess
) -> None:
    before = len(host.find("tick"))
    path = "/admin/functions/tick"
    assert http.post(path, json={}).status_code == 401
    assert http.post(path, headers={"x-functions-key": "function-key"}).status_code == 401
    assert http.post("/admin/functions/none", headers=MASTER).status_code == 404
    assert http.post(path, headers=MASTER, content=b"{").status_code == 400
    assert http.post(path, headers=MASTER, json={}).status_code == 202
    host.wait_for_records("tick", before + 1)
    queue = "/admin/functions/work"
    assert http.post(queue, headers=MASTER, json={"input": "manual"}).status_code == 202
    host.wait_for_records("worked", body="manual")


def test_the_start_is_announced_in_one_line(host: HostProcess) -> None:
    [line] = [line for line in host.log if "functions (" in line]
    assert "3 serviceBusTrigger, 2 timerTrigger" in line
    assert "maxConcurrentCalls 4" in line and "functionTimeout 0:00:30" in line


# Timers


def test_a_timer_runs_on_startup(host: HostProcess) -> None:
    [first, *_] = host.wait_for_records("tick")
    assert first["past_due"] is False
    assert first["status"]["Next"].startswith("20")


def test_a_timer_that_returns_something_fails(http: httpx.Client, host: HostProcess) -> None:
    assert http.post("/admin/functions/talker", headers=MASTER).status_code == 202
    host.wait_for_log("talker failed (run manually)")


# Service Bus


def test_the_function_gets_every_part_of_a_message(
    host: HostProcess, shared_broker: RunningBroker
) -> None:
    message = ServiceBusMessage(
        "hello", message_id="m-1", subject="greeting", application_properties={"a": 1, "b": "é"}
    )
    send(shared_broker.connection_string, "work", message)
    [seen] = host.wait_for_records("work", message_id="m-1")
    assert (seen["body"], seen["subject"], seen["delivery"]) == ("hello", "greeting", 1)
    assert seen["properties"] == {"a": 1, "b": "é"}
    assert seen["sequence_number"] > 0 and seen["enqueued"].startswith("20")
    assert seen["thread"] is True
    wait_until(lambda: not shared_broker.active("work"), "completed")


def test_a_failing_message_is_dead_lettered_after_the_delivery_limit(
    host: HostProcess, shared_broker: RunningBroker
) -> None:
    send(shared_broker.connection_string, "work", "fail for good")
    tries = host.wait_for_records("work", 3, body="fail for good")
    assert [seen["delivery"] for seen in tries] == [1, 2, 3]
    host.wait_for_log("ValueError: asked to fail for good", 3)
    [buried] = host.wait_for_records("bury", body="fail for good")
    assert buried["properties"]["DeadLetterReason"] == "MaxDeliveryCountExceeded"
    assert buried["attribute"] is None, "Azure's binding does not have it either"
    wait_until(lambda: is_empty(shared_broker, "work"), "dead letter completed")


def test_calls_run_concurrently_up_to_the_limit(
    host: HostProcess, shared_broker: RunningBroker
) -> None:
    bodies = {f"block-{number}" for number in range(5)}
    releases = {body: host.make_pipe(body) for body in bodies}
    send(shared_broker.connection_string, "work", *bodies)

    def started() -> set[str]:
        return {seen["body"] for seen in host.find("work")} & bodies

    wait_until(lambda: len(started()) == 4, "four calls are running")
    [waiting] = [message for message in shared_broker.active("work") if not message.is_locked]
    assert {waiting.body.decode()} == bodies - started(), "maxConcurrentCalls is 4"
    for body in started():
        releases[body]()
    host.wait_for_records("work", body=waiting.body.decode())
    releases[waiting.body.decode()]()
    wait_until(lambda: not shared_broker.active("work"), "all completed")


def test_a_batch_is_settled_together(host: HostProcess, shared_broker: RunningBroker) -> None:
    send(shared_broker.connection_string, "batch", *(f"item {n}" for n in range(25)))
    wait_until(lambda: not shared_broker.active("batch"), "completed")
    batches = [seen["bodies"] for seen in host.find("batch") if "item" in seen["bodies"][0]]
    assert [body for bodies in batches for body in bodies] == [f"item {n}" for n in range(25)]
    assert max(map(len, batches)) <= 10, "maxMessageBatchSize is 10"


def test_a_failed_batch_is_redelivered_completely(
    host: HostProcess, shared_broker: RunningBroker
) -> None:
    messages = [
        ServiceBusMessage(body, message_id=f"id of {body}", application_properties={"of": body})
        for body in ("fail", "good", "better")
    ]
    send(shared_broker.connection_string, "batch", *messages)
    wait_until(lambda: not shared_broker.active("batch"), "completed")
    facts = [
        (body, fact)
        for seen in host.find("batch")
        for body, fact in zip(seen["bodies"], seen["facts"], strict=True)
        if body in ("fail", "good", "better")
    ]
    assert sum(body == "fail" for body, _ in facts) == 2
    for body, (message_id, delivery, properties) in facts:
        assert message_id == f"id of {body}" and properties == {"of": body}
        assert delivery in (1, 2)
    assert is_empty(shared_broker, "batch")


def test_a_lock_is_renewed_while_the_function_runs(
    host: HostProcess, shared_broker: RunningBroker
) -> None:
    release = host.make_pipe("block-long")
    send(shared_broker.connection_string, "work", "block-long")
    host.wait_for_records("work", body="block-long")

    def locked_until() -> float:
        queue = shared_broker.broker.find("work")
        [until] = [
            message.lock.until
            for message in list(queue.messages.values())
            if message.lock is not None
        ]
        return until

    first = locked_until()
    wait_until(lambda: locked_until() > first, "renewed")
    release()
    wait_until(lambda: not shared_broker.active("work"), "completed")
    assert len(host.find("work", body="block-long")) == 1


# Stopping


def test_a_stop_lets_calls_finish(broker: RunningBroker, tmp_path: Path) -> None:
    with start_host(SAMPLE_APP, environment(tmp_path, broker.connection_string)) as host:
        release = host.make_pipe("block-a")
        answer = host.make_pipe("b")
        url = host.url
        send(broker.connection_string, "work", "block-a")
        host.wait_for_records("work", body="block-a")
        with socket.create_connection(("127.0.0.1", urlsplit(url).port), TIMEOUT) as raw:
            raw.sendall(b"GET /api/block/b HTTP/1.1\r\nHost: x\r\n\r\n")
            host.wait_for_records("block", call="b")
            host.signal(signal.SIGTERM)
            host.wait_for_log("stopping")
            send(broker.connection_string, "work", "too late")
            release()
            answer()
            assert read_all(raw).endswith(b"released")
        assert host.wait() == 0
        assert host.find("worked", body="block-a")
        assert not host.find("work", body="too late")
    assert [message.body for message in broker.active("work")] == [b"too late"]
    assert not any("Traceback" in line for line in host.log)


def test_a_stop_releases_messages_of_calls_that_outlast_the_grace_period(
    broker: RunningBroker, tmp_path: Path
) -> None:
    env = environment(tmp_path, broker.connection_string)
    with start_host(SAMPLE_APP, env, "--grace", "0.2") as host:
        host.make_pipe("block-a")
        host.make_pipe("b")
        port = urlsplit(host.url).port
        send(broker.connection_string, "work", "block-a")
        host.wait_for_records("work", body="block-a")
        with socket.create_connection(("127.0.0.1", port), TIMEOUT) as raw:
            raw.sendall(b"GET /api/block/b HTTP/1.1\r\nHost: x\r\n\r\n")
            host.wait_for_records("block", call="b")
            assert host.stop() == 0
            assert read_all(raw).startswith(b"HTTP/1.1 503")
        host.wait_for_log("work: abandoning the messages of 1 calls that are still running")
    [message] = broker.active("work")
    assert (message.is_locked, message.delivery_count) == (False, 1)
    assert not any("Traceback" in line for line in host.log)


def test_an_interrupt_ends_an_idle_host_without_errors(
    broker: RunningBroker, tmp_path: Path
) -> None:
    with start_host(SAMPLE_APP, environment(tmp_path, broker.connection_string)) as host:
        host.url  # noqa: B018 - waits until it listens
        host.signal(signal.SIGINT)
        assert host.wait() == 0
    assert not any(word in line for line in host.log for word in ("Traceback", "ERROR", "WARN"))


def test_a_killed_host_loses_no_message(tmp_path: Path) -> None:
    queues = {**QUEUES, "work": {"lock_duration": 1}}
    with start_broker(queues) as broker:
        env = environment(tmp_path, broker.connection_string)
        with start_host(SAMPLE_APP, env) as host:
            release = host.make_pipe("block-a")
            send(broker.connection_string, "work", "block-a")
            host.wait_for_records("work", body="block-a")
            host.signal(signal.SIGKILL)
            assert host.wait() == -signal.SIGKILL
        with start_host(SAMPLE_APP, env) as host:
            [seen] = host.wait_for_records("work", body="block-a")
            assert seen["delivery"] == 2
            release()
            host.wait_for_records("worked", body="block-a")
            wait_until(lambda: is_empty(broker, "work"), "completed")


def test_an_empty_text_fails_its_batch_before_the_function(tmp_path: Path) -> None:
    with start_broker(QUEUES) as broker:
        with start_host(SAMPLE_APP, environment(tmp_path, broker.connection_string)) as host:
            send(broker.connection_string, "batch", "")
            wait_until(lambda: broker.dead_letters("batch"), "dead-lettered")
            assert host.find("batch") == []
        [dead_letter] = broker.dead_letters("batch")
    assert (dead_letter.body, dead_letter.delivery_count) == (
        b"",
        QUEUES["batch"]["max_delivery_count"],
    )


def app_with(folder: Path, **options: object) -> Path:
    """A copy of the sample app with other options in its host.json."""
    copy = shutil.copytree(SAMPLE_APP, folder / "app")
    path = copy / "host.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | options))
    return copy


def test_a_timeout_ends_the_process_and_releases_the_message(
    broker: RunningBroker, tmp_path: Path
) -> None:
    app = app_with(tmp_path, functionTimeout="00:00:01")
    with start_host(app, environment(tmp_path, broker.connection_string)) as host:
        host.make_pipe("block-a")
        send(broker.connection_string, "work", "block-a")
        assert host.wait() == 124
        host.wait_for_log("ran longer than functionTimeout")
    [message] = broker.active("work")
    assert (message.is_locked, message.delivery_count) == (False, 1)


def test_a_timeout_can_leave_the_process_running(broker: RunningBroker, tmp_path: Path) -> None:
    app = app_with(tmp_path, functionTimeout="00:00:01")
    env = environment(tmp_path, broker.connection_string)
    with start_host(app, env, "--on-timeout", "continue") as host, host.client() as http:
        release = host.make_pipe("slow")
        assert http.get("/api/block/slow").status_code == 500
        assert http.get("/api/numbers/1").status_code == 200
        release()
        assert host.stop() == 0


# Broker outages


def start_broker_process(folder: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], int]:
    """A broker process with a store, which can be killed."""
    port_file = folder / "broker.port"
    port_file.unlink(missing_ok=True)
    configuration = folder / "broker.json"
    configuration.write_text(
        json.dumps(
            {
                "port": port,
                "port_file": str(port_file),
                "keys": {"RootManageSharedAccessKey": "dGVzdHMtb25seQ=="},
                "queues": QUEUES,
                "store": str(folder / "store"),
            }
        )
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "local.emulators.servicebus", str(configuration)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(port_file.exists, "broker listens")
    return process, int(port_file.read_text())


def test_a_broker_outage_is_logged_once_and_recovered_from(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:

        def run(port: int = 0) -> tuple[subprocess.Popen[bytes], int]:
            process, port = start_broker_process(tmp_path, port)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process, port

        process, port = run()
        connection = (
            f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
            "SharedAccessKey=dGVzdHMtb25seQ==;UseDevelopmentEmulator=true"
        )
        host = stack.enter_context(start_host(SAMPLE_APP, environment(tmp_path, connection)))
        send(connection, "work", "before")
        host.wait_for_records("worked", body="before")
        process.kill()
        process.wait()
        host.wait_for_log("Service Bus is unavailable")
        with host.client() as http:
            assert http.get("/api/numbers/1").status_code == 200
        run(port)
        send(connection, "work", "after")
        host.wait_for_records("worked", body="after")
        host.wait_for_log("Service Bus is available again")
        assert sum("Service Bus is unavailable" in line for line in host.log) == 1
        assert not any("Traceback" in line for line in host.log), "\n".join(host.log)


def test_a_host_starts_and_stops_without_a_broker(tmp_path: Path) -> None:
    unreachable = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=dg==;"
    env = environment(tmp_path, unreachable + "UseDevelopmentEmulator=true")
    with start_host(SAMPLE_APP, env) as host, host.client() as http:
        host.wait_for_log("Service Bus is unavailable")
        assert http.get("/api/numbers/1").status_code == 200
        assert host.stop() == 0
    assert not any("Traceback" in line for line in host.log)


def test_a_queue_that_does_not_exist_is_named(broker: RunningBroker, tmp_path: Path) -> None:
    env = environment(tmp_path, broker.connection_string, BATCH_QUEUE="nowhere")
    with start_host(SAMPLE_APP, env) as host:
        host.wait_for_log("queue nowhere is unavailable")
        send(broker.connection_string, "work", "fine")
        host.wait_for_records("worked", body="fine")
        assert host.stop() == 0


# Errors at start


def test_an_app_that_cannot_be_imported_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("import no_such_module")
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    with start_host(tmp_path, environment(tmp_path, "")) as host:
        assert host.wait() == 1
        host.wait_for_log("cannot be imported: ModuleNotFoundError")
        host.wait_for_log(f'File "{tmp_path}/function_app.py", line 1')


def test_a_missing_setting_fails_the_start_with_its_name(tmp_path: Path) -> None:
    unreachable = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=dg=="
    with start_host(SAMPLE_APP, environment(tmp_path, unreachable, WORK_QUEUE="")) as host:
        assert host.wait() == 1
        host.wait_for_log(
            "work: the app setting WORK_QUEUE is not set (set the environment variable"
        )
        assert not any("Traceback" in line for line in host.log)


def test_a_port_in_use_fails_the_start(broker: RunningBroker, tmp_path: Path) -> None:
    env = environment(tmp_path, broker.connection_string)
    with start_host(SAMPLE_APP, env, "--port", str(broker.port)) as host:
        assert host.wait() == 1
        host.wait_for_log(f"port {broker.port} cannot be used: Address already in use")
