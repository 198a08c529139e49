"""The Service Bus triggers."""

import json

import azure.functions as func
import pytest

from core.models import JobMessage, JobStatus, TaskMessage
from tests.fixtures.squares import Bench
from triggers import queues


class Message(func.ServiceBusMessage):
    """A message as the host passes it to a queue function."""

    def __init__(self, body, message_id="m1", number=None, **properties):
        self._body, self._id, self._properties = body, message_id, properties
        self._number = number

    @property
    def sequence_number(self):
        return self._number

    def get_body(self):
        return self._body

    @property
    def message_id(self):
        return self._id

    @property
    def application_properties(self):
        return self._properties


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def functions(bench):
    app = func.FunctionApp()
    app.register_functions(queues.blueprint(bench.machine))
    return {f.get_function_name(): f.get_user_function() for f in app.get_functions()}


NUL = b'{"job_id": "a\\u0000b", "task_id": "a\\u0000b", "run": 1, "stage": 1}'
INVALID = [b"", b"hello", b"{}", b"\xff\x00\x01", b'{"job_id": 3}', b"[]", NUL]
EXCEEDED = {"DeadLetterReason": "MaxDeliveryCountExceeded"}


@pytest.mark.parametrize("body", INVALID)
@pytest.mark.parametrize("name", ["process_job", "process_task"])
def test_an_invalid_message_is_stored_once_as_a_dead_letter(functions, bench, name, body):
    functions[name](Message(body))
    [dead_letter] = bench.state.dead_letters.values()
    assert dead_letter.reason.startswith("invalid message: ") and "\0" not in dead_letter.body
    assert dead_letter.queue == {"process_job": "jobs", "process_task": "tasks"}[name]
    assert bench.state.health().dead_letters == 1


def test_an_invalid_message_in_a_batch_does_not_stop_the_others(functions, bench):
    job = bench.machine.submit("squares", {"n": 2}).job
    bench.machine.process_job_message(bench.bus.messages.popleft())
    bodies = [each.model_dump_json().encode() for each in bench.bus.messages]
    functions["process_quick_tasks"]([Message(body) for body in (bodies[0], b"{", bodies[1])])
    assert bench.state.get_stage(job.job_id, 1).is_closed
    assert bench.state.health().dead_letters == 1


def test_a_dead_letter_adds_its_reason_to_the_timeline(functions, bench):
    job = bench.machine.submit("squares", {"n": 1}).job
    bench.machine.process_job_message(bench.bus.messages.popleft())
    task_message = bench.bus.messages.popleft()
    why = {"DeadLetterReason": "MaxDeliveryCountExceeded", "DeadLetterErrorDescription": "10 times"}
    functions["record_dead_task"](Message(task_message.model_dump_json().encode(), **why))
    dead_job = JobMessage(job_id=job.job_id, run=1, stage=1).model_dump_json().encode()
    functions["record_dead_job"](Message(dead_job, "m2", **why))
    first, second = bench.state.dead_letters.values()
    assert (first.task_id, first.reason) == (task_message.task_id, "MaxDeliveryCountExceeded")
    assert (second.job_id, second.description) == (job.job_id, "10 times")
    kinds = [event.kind for event in bench.state.events(job.job_id, 0, 100)]
    assert kinds.count("dead_lettered") == 2


@pytest.mark.parametrize("body", INVALID)
def test_an_invalid_dead_letter_is_stored(functions, bench, body):
    functions["record_dead_job"](Message(body, **EXCEEDED))
    [dead_letter] = bench.state.dead_letters.values()
    assert dead_letter.job_id is None and "\0" not in dead_letter.body


def test_dead_letters_without_a_message_id_are_distinguished_by_their_sequence_number(
    functions, bench
):
    for number in (1, 2, 2):
        functions["record_dead_task"](Message(b"{", message_id=None, number=number))
    assert bench.state.health().dead_letters == 2


def deliver_dead(functions, message, ids):
    for message_id in ids:
        body = message.model_dump_json().encode()
        functions["record_dead_job"](Message(body, message_id, **EXCEEDED))


def test_a_job_whose_stage_cannot_be_started_fails_after_three_dead_letters(functions, bench):
    job = bench.machine.submit("squares", {"n": 1}).job
    deliver_dead(functions, bench.bus.messages.popleft(), ["1", "2", "2", "2"])
    assert bench.state.get_job(job.job_id).status is JobStatus.QUEUED
    deliver_dead(functions, JobMessage(job_id=job.job_id, run=1, stage=1), ["3"])
    ended = bench.state.get_job(job.job_id)
    assert ended.status is JobStatus.FAILED and ended.error.code == "STAGE_FAILED"
    assert bench.machine.retry(job.job_id).run == 2


def test_dead_letters_of_an_earlier_stage_do_not_fail_the_job(functions, bench):
    job = bench.machine.submit("squares", {"n": 1}).job
    first = bench.bus.messages.popleft()
    bench.machine.process_job_message(first)
    deliver_dead(functions, first, ["1", "2", "3", "4"])
    deliver_dead(functions, first.model_copy(update={"stage": 2}), ["5", "6", "7", "8"])
    assert bench.state.get_job(job.job_id).status is JobStatus.PROCESSING


def test_messages_carry_ids_only_and_are_small():
    job = JobMessage(job_id="f" * 64, run=10**6, stage=10**3)
    task = TaskMessage(task_id=f"{'f' * 32}-1000000-1000-100000")
    for message in (job, task):
        text = message.model_dump_json()
        assert len(text) < 1024
        assert set(json.loads(text)) <= {
            "job_id",
            "run",
            "stage",
            "handoffs",
            "correlation_id",
            "traceparent",
            "job_type",
            "task_id",
            "quick",
        }
