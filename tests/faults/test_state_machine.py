"""The SQL functions against a small model: any operations, in any order, also concurrently.

After every step the tables must equal the model. Concurrent operations, each with its own
connection, must have the same outcome as in some sequential order.
"""

import dataclasses
import itertools
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from psycopg_pool import ConnectionPool

from infrastructure.postgres import PostgresState
from testing.state import MemoryState
from tests.faults import operations as do
from tests.faults.evidence import rows
from tests.faults.invariants import ALWAYS
from tests.fixtures.records import MINUTE

AT_ONCE = 3
QUICK = settings(max_examples=20, stateful_step_count=20, derandomize=True)

jobs = st.sampled_from((0, 0, 0, 0, 0, 1))
tasks = st.integers(0, 2)
lease = st.sampled_from(do.LEASES)
seldom = st.sampled_from((False, False, False, True))
limits = st.sampled_from((None, 1, 2))
start = st.builds(
    do.StartStage, jobs, st.sampled_from((1, 2, 3, 0)), st.booleans(), seldom, seldom, limits
)
claim = st.builds(do.Claim, jobs, tasks, lease)
complete = st.builds(do.Complete, jobs, tasks, seldom, seldom)
operation = st.one_of(
    start, start, claim, claim, claim, complete, complete, complete,
    st.builds(do.ClaimAll, jobs, lease),
    st.builds(do.CompleteAll, jobs, seldom),
    st.builds(do.Renew, jobs, tasks, seldom, lease),
    st.builds(do.RetryLater, jobs, tasks, seldom, lease),
    st.builds(do.Finish, jobs, seldom, seldom),
    st.builds(do.RetryJob, jobs),
    st.builds(do.Sweep, lease),
    st.one_of(
        st.builds(do.Submit, jobs), st.builds(do.Cancel, jobs),
        st.builds(do.Discarded, jobs, seldom),
    ),
)  # fmt: skip
lasting = operation.filter(lambda each: not do.is_instant(each))


def copy_of(model):
    """Another model with the same rows, which are immutable."""
    fields = {
        field.name: type(value)(value)
        for field in dataclasses.fields(model)
        if isinstance(value := getattr(model, field.name), dict | list)
    }
    return MemoryState(**fields, swept=model.swept)


def outcomes_in_order(model, acts, order):
    """What each operation returns when they run sequentially, and the resulting rows."""
    answers = {position: acts[position](model) for position in order}
    return [answers[position] for position in range(len(acts))], do.snapshot(model)


class States(RuleBasedStateMachine):
    """Applies each operation to the tables and to the model."""

    database_url = ""
    pool = None
    threads = None

    def __init__(self):
        super().__init__()
        self.state = PostgresState(self.pool)
        self.model = MemoryState()
        with self.pool.connection() as connection:
            connection.execute("TRUNCATE app.jobs CASCADE")

    @initialize(first=start, claims=st.integers(0, 2))
    def under_way(self, first, claims):
        """Start with a job whose first stage is running."""
        begin = do.Submit(first.job), dataclasses.replace(first, late=False, again=False)
        for drawn in (*begin, *(do.Claim(first.job, task, MINUTE) for task in range(claims))):
            self.one(drawn)

    def one(self, drawn):
        act = drawn.bind(self.model)
        if act is not None:
            assert act(self.state) == act(self.model)

    @rule(drawn=operation, repeats=st.integers(1, AT_ONCE))
    def again(self, drawn, repeats):
        """Apply an operation once or several times, as redelivered messages do."""
        act = drawn.bind(self.model)
        for _ in range(repeats if act else 0):
            assert act(self.state) == act(self.model)

    @rule(job=jobs, fails=st.booleans(), ends=st.booleans())
    def forward(self, job, fails, ends):
        """Close the current stage, and possibly end the job."""
        for task in range(3):
            self.one(do.Claim(job, task, MINUTE))
            self.one(do.Complete(job, task, late=False, fails=fails))
        if ends:
            self.one(do.Finish(job, fails, late=False))

    @rule(drawn=st.lists(lasting, min_size=2, max_size=AT_ONCE))
    def at_once(self, drawn):
        self._race([act for each in drawn if (act := each.bind(self.model))])

    @rule(drawn=lasting, repeats=st.integers(2, AT_ONCE))
    def same_at_once(self, drawn, repeats):
        act = drawn.bind(self.model)
        self._race([act] * repeats if act else [])

    def _race(self, acts):
        answers = list(self.threads.map(lambda act: act(self.state), acts))
        found = answers, do.snapshot(self.state)
        for order in itertools.permutations(range(len(acts))):
            model = copy_of(self.model)
            if outcomes_in_order(model, acts, order) == found:
                self.model = model
                return
        raise AssertionError(f"no order explains {found}")

    @invariant()
    def the_tables_say_what_the_model_says(self):
        assert do.snapshot(self.state) == do.snapshot(self.model)

    def teardown(self):
        """Check that nothing was stored twice and that the counters are right."""
        with self.pool.connection() as connection:
            for text, query in ALWAYS.items():
                assert rows(connection, query) == [], text


@pytest.fixture
def states(superuser_url):
    """The state machine with a superuser's connections, because it empties the tables."""
    plain = {"autocommit": True}
    with (
        ConnectionPool(superuser_url, min_size=AT_ONCE, kwargs=plain) as pool,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        yield type("States", (States,), {"pool": pool, "threads": threads})


def chosen_settings():
    profile = settings.get_current_profile_name()
    chosen = settings() if profile == "faults" else QUICK
    return settings(chosen, deadline=None, suppress_health_check=list(HealthCheck))


def test_any_sequence_of_operations_agrees_with_the_model(states):
    run_state_machine_as_test(states, settings=chosen_settings())
