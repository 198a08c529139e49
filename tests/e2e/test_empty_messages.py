"""Empty messages in the queue of quick tasks, which the functions host handles specially."""

import time
import uuid

import psycopg
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from local.stack.environment import QUICK_TASKS_QUEUE

EMPTY = 5


def send_empty_messages(connection_string):
    with (
        ServiceBusClient.from_connection_string(connection_string) as client,
        client.get_queue_sender(QUICK_TASKS_QUEUE) as sender,
    ):
        sender.send_messages([ServiceBusMessage("") for _ in range(EMPTY)])


def wait_for_dead_letters(database_url):
    """Return when every empty message is stored as a dead letter."""
    query = "SELECT count(*) FROM app.dead_letters WHERE body = ''"
    until = time.monotonic() + 300
    with psycopg.connect(database_url, autocommit=True) as connection:
        while connection.execute(query).fetchone() != (EMPTY,):
            assert time.monotonic() < until
            time.sleep(0.1)


def test_empty_messages_are_stored_and_do_not_fail_their_batch(own_product):
    environment = own_product.environment
    job_id = own_product.submit("hello_world", n=500, message=uuid.uuid4().hex)["job_id"]
    send_empty_messages(environment.servicebus_connection_string)
    assert own_product.wait(job_id)["status"] == "completed"
    wait_for_dead_letters(environment.database_url)
    with own_product.api as api:
        events = api.get(f"/jobs/{job_id}/events", params={"limit": 1000}).json()["events"]
    assert "dead_lettered" not in [event["kind"] for event in events]
