"""The contract tests run with both adapters of the state, with and without PgBouncer."""

import pytest

from infrastructure.database import open_pool
from infrastructure.postgres import PostgresState
from testing.state import MemoryState


@pytest.fixture(params=["memory", "postgres", "pgbouncer"])
def state(request):
    if request.param == "memory":
        yield MemoryState()
    elif request.param == "postgres":
        yield request.getfixturevalue("postgres_state")
    else:
        with open_pool(request.getfixturevalue("pooled_url"), max_size=8) as pool:
            yield PostgresState(pool)
