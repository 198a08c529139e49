"""The test kit for authors of jobs: run a job in memory and look at what it did.

    run = run_job(MeasureBlobs, {"container_name": "a", "blob_names": ["b"]}, blobs={"a/b": b"123"})
    assert run.result == {"bytes": 3}

Not deployed, and not imported by the product.
"""

from testing.harness import JobHarness, memory_ports
from testing.run import JobRun, run_job

__all__ = ["JobHarness", "JobRun", "memory_ports", "run_job"]
