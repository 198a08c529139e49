"""A machine over memory, and the delivery of its messages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from core.job import JobBase
from core.lease import Leases
from core.machine import CoreMachine
from core.models import Deployment, JobRecord
from core.ports import MessageBus, Ports, StateRepository
from core.registry import Registry
from core.shares import DEFAULT_LIMITS, FlightLimits
from testing.blobs import MemoryBlobs
from testing.bus import MemoryBus
from testing.outputs import MemoryOutputs
from testing.scratch import TemporaryScratch
from testing.state import MemoryState

DEPLOYMENT = Deployment(
    silver_container="silver-cogs",
    default_collection="system-rasters",
    titiler_url="http://titiler.test",
    stac_url="http://stac.test",
)


def memory_ports(blobs: MemoryBlobs | None = None) -> Ports:
    """Ports over memory. There is no catalog: a job that needs one fails."""
    missing: Any = None
    return Ports(
        blobs=blobs or MemoryBlobs(),
        catalog=missing,
        scratch=TemporaryScratch(),
        outputs=MemoryOutputs(),
        deployment=DEPLOYMENT,
    )


@dataclass
class JobHarness:
    """Runs jobs in the calling thread: messages wait until `drain` delivers them."""

    jobs: Sequence[type[JobBase]]
    state: StateRepository = field(default_factory=MemoryState)
    bus: Any = field(default_factory=MemoryBus)
    ports: Ports = field(default_factory=memory_ports)
    lease: timedelta = timedelta(minutes=1)
    heartbeat: timedelta = timedelta(milliseconds=10)
    limits: FlightLimits = DEFAULT_LIMITS

    def __post_init__(self) -> None:
        self.deploy(*self.jobs)

    def deploy(self, *jobs: type[JobBase]) -> None:
        """Continue with another release: the same state and messages, but other jobs."""
        self.registry = Registry(jobs)
        self.machine = self.make_machine(self.bus)

    def make_machine(self, bus: MessageBus) -> CoreMachine:
        """Another host of this release, which sends its messages to `bus`."""
        leases = Leases(self.state, self.lease, self.heartbeat)
        return CoreMachine(self.registry, self.state, bus, self.ports, leases, self.limits)

    def drain(self) -> int:
        """Deliver every message until none is left, scheduled ones without waiting.

        Returns the number delivered.
        """
        delivered = 0
        while self.bus.messages or self.bus.scheduled:
            if not self.bus.messages:
                self._release_scheduled()
            delivered += self.bus.drain(
                self.machine.process_job_message, self.machine.process_tasks
            )
        return delivered

    def run(self, job_type: str, **parameters: Any) -> JobRecord:
        """Submit a job, deliver every message, and return the job."""
        job = self.machine.submit(job_type, parameters).job
        self.drain()
        return self.state.get_job(job.job_id)

    def _release_scheduled(self) -> None:
        for due, message in sorted(self.bus.scheduled, key=lambda each: each[0]):
            if isinstance(self.state, MemoryState):
                self.state.advance_to(due)
            self.bus.messages.append(message)
        self.bus.scheduled.clear()
