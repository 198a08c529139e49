"""The catalogue stays true whatever is submitted, changed, cancelled, deleted or killed.

Random sequences run jobs over PostgreSQL, Azurite and pgSTAC. Messages wait until a rule delivers
some of them, so jobs overlap. After every step, what is stored has a row in the registry; once all
messages are delivered and overdue work is swept up, storage, registry and catalogue agree, and
each link answers as it should.
"""

import hashlib

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core.assets import grant_download
from core.errors import AssetNotFound, ItemNotFound
from core.models import JobStatus
from tests.fixtures.catalogue import open_catalogue

QUICK = settings(max_examples=2, stateful_step_count=12, derandomize=True)
NAMES = ("in/a.tif", "in/b.tif")
QUALITIES = (30, 95)
EXPECTED_FAILURES = {"OUTPUT_SUPERSEDED", "SOURCE_CHANGED", "WORKER_LOST", "ITEM_ID_TAKEN"}

names = st.sampled_from(NAMES)
parameters = st.fixed_dictionaries(
    {"output_tier": st.sampled_from(("visualization", "analysis", "all"))},
    optional={
        "jpeg_quality": st.sampled_from(QUALITIES),
        "output_folder": st.just("other"),
        "item_id": st.just("given"),
    },
)
positions = st.integers(0, 20)


class WorkerKilled(BaseException):
    """Ends a worker as SIGKILL does: no code of the product handles it."""


class CatalogueMachine(RuleBasedStateMachine):
    """Jobs, people and faults over one catalogue."""

    world = None

    def __init__(self):
        super().__init__()
        self.jobs = []
        self.links = set()
        for name in NAMES:
            self.world.put_raster(name)

    @rule(name=names, chosen=parameters, delivered=positions)
    def submit(self, name, chosen, delivered):
        """A request for a completed job is answered only by outputs that exist."""
        source = {"blob_name": name, "container_name": self.world.bronze}
        job = self.world.submit(**source, **chosen)
        self.jobs.append(job.job_id)
        if job.status is JobStatus.COMPLETED:
            self._check_result(job)
        self.world.deliver(delivered)

    @rule(name=names, value=st.integers(1, 3))
    def change_source(self, name, value):
        self.world.put_raster(name, value)

    @rule(position=positions)
    def cancel(self, position):
        self._act(self.world.machine.cancel, position, {JobStatus.QUEUED, JobStatus.PROCESSING})

    @rule(position=positions)
    def retry(self, position):
        self._act(self.world.machine.retry, position, {JobStatus.FAILED})

    @rule(name=names, delivered=positions)
    def unpublish(self, name, delivered):
        self.jobs.append(
            self.world.submit("unpublish_raster", source=f"{self.world.bronze}/{name}").job_id
        )
        self.world.deliver(delivered)

    @rule(position=positions)
    def delete_blob(self, position):
        stored = sorted(self.world.stored())
        if stored:
            name = stored[position % len(stored)]
            self.world.storage.get_blob_client(self.world.silver, name).delete_blob()

    @rule(name=names, chosen=parameters, after=st.booleans())
    def kill_worker(self, name, chosen, after):
        """The worker of an upload dies before it or between it and its recording."""
        replace = self.world.blobs.replace

        def killed(*args, **kwargs):
            if after:
                replace(*args, **kwargs)
            raise WorkerKilled

        self.world.blobs.replace = killed
        try:
            self.submit(name, chosen, 10)
        except WorkerKilled:
            pass
        finally:
            self.world.blobs.replace = replace

    @rule()
    def settle(self):
        """Everything is delivered, and the timers and an administrator have repaired the rest."""
        self.world.settle()
        self.world.run("reconcile_catalog", apply=True)
        self.world.clean()
        self._check_jobs()
        self._check_links()
        self.world.check()

    @invariant()
    def what_is_stored_is_known(self):
        assert set(self.world.stored()) <= self.world.known()

    def teardown(self):
        """Unpublishing the sources leaves nothing."""
        self.settle()
        for name in NAMES:
            self.world.run("unpublish_raster", source=f"{self.world.bronze}/{name}")
        self._check_links()
        assert self.world.items() == set() and self.world.stored() == {} == self.world.live()

    def _act(self, action, position, allowed):
        states = (self.world.state.get_job(job_id) for job_id in dict.fromkeys(self.jobs))
        fitting = [job.job_id for job in states if job.status in allowed]
        if fitting:
            action(fitting[position % len(fitting)])

    def _check_jobs(self):
        for job in map(self.world.state.get_job, dict.fromkeys(self.jobs)):
            assert job.status.is_final, job
            if job.status is JobStatus.FAILED:
                assert job.error.code in EXPECTED_FAILURES, job.error

    def _check_result(self, job):
        for cog in (job.result or {}).get("cogs", []):
            assert cog["checksum"] == self._checksum(cog["cog_blob"])

    def _checksum(self, name):
        content = self.world.storage.get_blob_client(self.world.silver, name).download_blob()
        return "1220" + hashlib.sha256(content.readall()).hexdigest()

    def _check_links(self):
        """Links of items lead to the bytes that the item describes; earlier ones are not found."""
        world = self.world
        live = set()
        for collection_id, item_id in world.items():
            assets = world.catalog.get_item(collection_id, item_id)["assets"]
            live |= {
                (collection_id, item_id, key, asset["file:checksum"])
                for key, asset in assets.items()
                if "file:checksum" in asset
            }
        for *path, checksum in live:
            download = grant_download(world.blobs, world.catalog, world.silver, tuple(path))
            assert self._checksum(download.blob_name) == checksum == download.checksum
        self.links |= {tuple(path) for *path, _ in live}
        for path in self.links - {tuple(path) for *path, _ in live}:
            with pytest.raises((ItemNotFound, AssetNotFound)):
                grant_download(world.blobs, world.catalog, world.silver, path)


@pytest.fixture
def machine(azurite, pool, tmp_path):
    with open_catalogue(azurite.connection_string, pool, tmp_path) as world:
        yield type("Machine", (CatalogueMachine,), {"world": world})


def test_the_catalogue_stays_true(machine):
    chosen = settings() if settings.get_current_profile_name() == "catalogue" else QUICK
    run_state_machine_as_test(
        machine, settings=settings(chosen, deadline=None, suppress_health_check=list(HealthCheck))
    )
