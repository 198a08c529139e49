"""One behavioural suite for both adapters of the state."""

import pytest

from testing.state import MemoryState


@pytest.fixture(params=["memory", "postgres"])
def state(request):
    if request.param == "memory":
        return MemoryState()
    return request.getfixturevalue("postgres_state")
