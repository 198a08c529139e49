"""A database that is read-only or unreachable: the adapter waits, for a limited time."""

import os
import socket
import threading

import psycopg

from infrastructure.database import transaction
from tests.fixtures.records import new_job

OTHERS_OUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()"""


def test_the_state_survives_a_read_only_server(postgres_state, superuser_url):
    """The server is read-only, as in a failover or with a full disk."""
    options = "-c default_transaction_read_only=off"
    with psycopg.connect(superuser_url, autocommit=True, options=options) as admin:

        def switch(to):
            name = admin.info.dbname
            admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {to}")
            admin.execute(OTHERS_OUT)

        switch("on")
        timer = threading.Timer(0.5, switch, ["off"])
        timer.start()
        assert postgres_state.submit_job(new_job())[0] is True
        timer.join()


def test_a_lost_server_and_a_stuck_transaction_time_out(pool):
    with transaction(pool) as conn, socket.socket(fileno=os.dup(conn.fileno())) as wire:
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert conn.execute("SHOW idle_in_transaction_session_timeout").fetchone() == ("30s",)
