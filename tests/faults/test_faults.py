"""A short run of the fault suite: every kind of fault once, in a separate system."""

from tests.faults.driver import run
from tests.faults.plan import KINDS, short_plan

SEED = 20


def test_nothing_is_lost_or_done_twice_under_random_faults(service_folder):
    plan = short_plan(SEED)
    folder = service_folder / "faults"
    folder.mkdir()
    outcome = run(plan, folder)
    assert outcome.violations == [], f"seed {SEED}; it replays: {plan.faults}"
    assert {fault.kind for fault in plan.faults} == set(KINDS)
    struck = {kind for kind, times in outcome.faults.items() if times}
    assert {"host killed", "database killed"} <= struck
    assert {"message lost", "delivery lost", "message doubled", "message delayed"} <= struck
    assert "message garbled" in struck


def test_equal_seeds_give_equal_plans():
    assert short_plan(1) == short_plan(1) != short_plan(2)
