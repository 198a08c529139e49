"""`./dev faults` runs more hypothesis examples than `./dev test`, and new ones each time."""

from hypothesis import settings

settings.register_profile("faults", max_examples=150, stateful_step_count=30, print_blob=True)
settings.register_profile("catalogue", max_examples=20, stateful_step_count=25, print_blob=True)
