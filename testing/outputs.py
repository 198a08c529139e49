"""The registry of outputs in memory. It passes the same contract suite as PostgreSQL."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from core.models import (
    BlobRef,
    ItemName,
    JobRecord,
    JobStatus,
    Json,
    Output,
    OutputTarget,
    OverviewFile,
    TaskRecord,
    TaskStatus,
    WrittenBlob,
)
from core.ports import Begun, Published, PublishOutcome, RecordOutcome
from testing.state import MemoryState


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class MemoryOutputs:
    """The OutputRegistry port. Without a state every attempt holds its task."""

    state: MemoryState | None = None
    rows: dict[int, Output] = field(default_factory=dict)
    locations: dict[tuple[str, str], str] = field(default_factory=dict)
    replaced: dict[int, str | None] = field(default_factory=dict)
    overviews: dict[str, OverviewFile] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    """Overviews that their collection names."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def reserve_location(self, container: str, locations: Sequence[str], owner: str) -> str | None:
        with self._lock:
            mine = [each for each in locations if self.locations.get((container, each)) == owner]
            free = [each for each in locations if (container, each) not in self.locations]
            chosen = next(iter([*mine, *free]), None)
            if chosen is not None:
                self.locations[container, chosen] = owner
            return chosen

    def begin(self, target: OutputTarget, task_id: str, attempt: int) -> Begun:
        with self._lock:
            if not self._holds(task_id, attempt):
                return Begun(None)
            later = self._later_writer(target, self._job_of(task_id))
            if later is not None:
                return Begun(None, later)
            for row in self.rows.values():
                is_open = row.written_at is None and row.removed_at is None
                if is_open and (row.task_id, row.blob) == (task_id, target.blob):
                    return Begun(row.output_id)
            output_id = max(self.rows, default=0) + 1
            self.rows[output_id] = Output(
                **target.model_dump(exclude={"blob"}), **target.blob.model_dump(),
                output_id=output_id, job_id=self._job_of(task_id), task_id=task_id,
                begun_at=_now(),
            )  # fmt: skip
            return Begun(output_id)

    def record(
        self, output_id: int, attempt: int | None, written: WrittenBlob, cog: Json | None
    ) -> RecordOutcome:
        with self._lock:
            row = self.rows[output_id]
            if row.written_at is not None and row.etag == written.etag:
                return RecordOutcome.SUPERSEDED if row.superseded_at else RecordOutcome.LIVE
            is_fenced = attempt is not None and not self._holds(row.task_id, attempt)
            if is_fenced or row.removed_at or row.written_at:
                return RecordOutcome.LOST
            live, newer = self.live_at(row.blob), self._replacement(row.blob, written.etag)
            self.replaced[output_id] = written.replaced_etag
            facts: dict[str, Any] = written.model_dump(include={"etag", "checksum", "size"})
            facts |= {"cog": cog, "written_at": _now()}
            if newer or not written.is_current:
                ahead = newer or live
                by = None if ahead is None else ahead.job_id
                self._set(row, **facts, **_ended(by))
                return RecordOutcome.SUPERSEDED
            for other in list(self.rows.values()):
                if other.blob == row.blob and other.written_at and not other.removed_at:
                    by = other.superseded_by if other.superseded_at else row.job_id
                    since = other.superseded_at or _now()
                    ended = {"superseded_at": since, "superseded_by": by, "removed_at": _now()}
                    self._set(other, **ended, is_stale=False)
            if live is not None:
                is_other = live.is_stale or live.checksum != written.checksum
                facts |= {
                    "collection_id": live.collection_id,
                    "item_id": live.item_id,
                    "is_stale": live.item_id is not None and is_other,
                }
            self._set(row, **facts)
            return RecordOutcome.LIVE

    def get(self, output_id: int) -> Output | None:
        return self.rows.get(output_id)

    def live_at(self, blob: BlobRef) -> Output | None:
        return next(iter(self._where(lambda row: row.is_live and row.blob == blob)), None)

    def published_at(self, container: str, location: str) -> list[Output]:
        found = self._where(
            lambda row: (
                row.is_live
                and row.item_id is not None
                and (row.container, row.location) == (container, location)
            )
        )
        return sorted(found, key=lambda row: row.name)

    def of_request(self, request: str) -> list[Output]:
        return self._where(
            lambda row: row.is_live and row.request == request and not self._is_open(row.job_id)
        )

    def of_item(self, item: ItemName) -> list[Output]:
        return self._where(lambda row: _is_stored(row) and row.item == item)

    def of_source(self, source: str) -> list[Output]:
        return self._where(lambda row: _is_stored(row) and row.source == source)

    def unpublished(self, source: str) -> list[Output]:
        return self._where(
            lambda row: (
                row.is_live
                and row.source == source
                and row.item_id is None
                and not self._is_open(row.job_id)
            )
        )

    def of_tasks(self, prefix: str) -> list[Output]:
        return self._where(lambda row: row.task_id.startswith(prefix))

    def generation(self, request: str) -> int:
        last = self._last(lambda row: row.request == request and not row.discarded)
        return max((row.generation + (not row.is_live) for row in last), default=0)

    def superseded_by(self, job_id: str) -> str | None:
        last = self._last(lambda row: row.job_id == job_id)
        ended = [row for row in last if row.superseded_by not in (None, job_id)]
        ended.sort(key=lambda row: row.superseded_at or _now())
        return ended[-1].superseded_by if ended else None

    def publish(self, output_ids: Sequence[int], item: ItemName) -> Published:
        with self._lock:
            chosen = [self.rows[each] for each in output_ids]
            lost = [row for row in chosen if not row.is_live]
            if lost:
                return Published(PublishOutcome.SUPERSEDED, lost[0].superseded_by)
            first = chosen[0]
            others = [
                row for row in self.published_at(first.container, first.location)
                if row.output_id not in output_ids
            ]  # fmt: skip
            if any(row.source_etag == first.source_etag and row.cog for row in others):
                return Published(PublishOutcome.INCOMPLETE)
            of_item = [
                row for row in self._where(lambda row: row.is_live and row.item == item)
                if row.output_id not in output_ids
            ]  # fmt: skip
            for row in {row.output_id: row for row in [*others, *of_item]}.values():
                self._set(row, superseded_at=_now(), superseded_by=first.job_id, is_stale=False)
            before = {
                row.item
                for row in self._where(lambda row: _is_stored(row) and row.item_id is not None)
                if (row.container, row.location) == (first.container, first.location)
            }
            for row in chosen:
                self._set(row, **item.model_dump())
            for row in self._where(lambda row: row.item == item):
                self._set(row, is_stale=False)
            live = {row.item for row in self.rows.values() if row.is_live}
            gone = sorted(before - {item} - live, key=str)
            return Published(PublishOutcome.PUBLISHED, None, [each for each in gone if each])

    def supersede(self, output_id: int, *, is_gone: bool) -> bool:
        with self._lock:
            row = self.rows[output_id]
            if row.is_live:
                self._set(
                    row,
                    superseded_at=_now(),
                    removed_at=_now() if is_gone else None,
                    is_stale=is_gone and row.item_id is not None,
                )
            return row.is_live

    def discard(self, output_id: int) -> bool:
        with self._lock:
            row = self.rows[output_id]
            if row.item_id is None and not row.superseded_at and not row.removed_at:
                self._set(row, superseded_at=_now(), discarded=True)
            return self.rows[output_id].discarded

    def mark_removed(self, output_id: int) -> None:
        with self._lock:
            row = self.rows[output_id]
            if row.removed_at is None:
                since = row.superseded_at or _now()
                self._set(row, superseded_at=since, removed_at=_now())

    def live_after(self, container: str, prefix: str, after: str, limit: int) -> list[Output]:
        found = self._where(
            lambda row: (
                row.is_live
                and row.container == container
                and row.name > after
                and (row.name.startswith(prefix) if prefix else "/" not in row.name)
            )
        )
        return sorted(found, key=lambda row: row.name)[:limit]

    def folders(self, container: str) -> list[str]:
        live = self._where(lambda row: row.is_live and row.container == container)
        return sorted({row.name.partition("/")[0] + "/" for row in live if "/" in row.name})

    def is_abandoned(self, output_id: int) -> bool:
        return not self._runs(self.rows[output_id].task_id)

    def to_remove(self, grace: timedelta, limit: int) -> list[Output]:
        until = _now() - grace
        found = self._where(
            lambda row: (
                row.removed_at is None
                and row.superseded_at is not None
                and row.superseded_at <= until
            )
        )
        return sorted(found, key=lambda row: row.superseded_at or _now())[:limit]

    def to_withdraw(self, grace: timedelta, limit: int) -> list[Output]:
        until = _now() - grace
        return self._where(
            lambda row: (
                row.is_stale
                and (
                    row.superseded_at <= until
                    if row.superseded_at
                    else not self._is_open(row.job_id)
                )
            )
        )[:limit]

    def to_settle(self, age: timedelta, limit: int) -> list[Output]:
        until = _now() - age
        return self._where(
            lambda row: (
                not (row.written_at or row.removed_at or row.superseded_at)
                and row.begun_at <= until
                and not self._runs(row.task_id)
            )
        )[:limit]

    def purge(self, age: timedelta, limit: int) -> int:
        jobs = {} if self.state is None else self.state.jobs
        with self._lock:
            old = self._where(
                lambda row: (
                    row.removed_at is not None
                    and row.removed_at < _now() - age
                    and not row.is_stale
                    and row.job_id not in jobs
                )
            )[:limit]
            for row in old:
                del self.rows[row.output_id]
            return len(old)

    def _where(self, matches: Callable[[Output], bool]) -> list[Output]:
        with self._lock:
            return [row for row in self.rows.values() if matches(row)]

    def _last(self, matches: Callable[[Output], bool]) -> list[Output]:
        """Of each job and blob the row that was written last."""
        rows = self._where(lambda row: row.written_at is not None and matches(row))
        return list({(row.job_id, row.blob): row for row in rows}.values())

    def _set(self, row: Output, **changes: Any) -> None:
        self.rows[row.output_id] = self.rows[row.output_id].model_copy(update=changes)

    def _replacement(self, blob: BlobRef, etag: str) -> Output | None:
        newer = self._where(
            lambda row: (
                row.blob == blob
                and row.written_at is not None
                and self.replaced.get(row.output_id) == etag
            )
        )
        return newer[-1] if newer else None

    def add_overview(self, name: str, collection_id: str, task_id: str) -> None:
        with self._lock:
            self.overviews[name] = OverviewFile(
                name=name, collection_id=collection_id, task_id=task_id, changed_at=_now()
            )
            self.checked.discard(name)

    def recheck_overviews(self, collection_id: str) -> None:
        with self._lock:
            for name, each in self.overviews.items():
                if each.collection_id == collection_id:
                    self.overviews[name] = each.model_copy(update={"changed_at": _now()})
                    self.checked.discard(name)

    def overviews_to_check(self, grace: timedelta, limit: int) -> list[OverviewFile]:
        due = [
            each
            for name, each in self.overviews.items()
            if name not in self.checked and each.changed_at <= _now() - grace
        ]
        return sorted(due, key=lambda each: each.changed_at)[:limit]

    def keep_overview(self, overview: OverviewFile) -> None:
        with self._lock:
            if self.overviews.get(overview.name) == overview:
                self.checked.add(overview.name)

    def forget_overview(self, name: str) -> None:
        with self._lock:
            self.overviews.pop(name, None)

    def _later_writer(self, target: OutputTarget, job_id: str) -> str | None:
        """The job that started later than this one and writes to the same location."""
        jobs = {} if self.state is None else self.state.jobs
        mine = jobs.get(job_id)
        for row in self.rows.values():
            other = jobs.get(row.job_id)
            if mine is None or other is None or row.superseded_at or row.removed_at:
                continue
            is_there = (row.container, row.location) == (target.blob.container, target.location)
            counts = other.status not in (JobStatus.FAILED, JobStatus.CANCELLED)
            if is_there and counts and _start(other) > _start(mine):
                return row.job_id
        return None

    def _task(self, task_id: str) -> TaskRecord | None:
        return None if self.state is None else self.state.tasks.get(task_id)

    def _job_of(self, task_id: str) -> str:
        task = self._task(task_id)
        return task_id if task is None else task.job_id

    def _holds(self, task_id: str, attempt: int) -> bool:
        task = self._task(task_id)
        if self.state is None:
            return True
        held = task is not None and task.status is TaskStatus.PROCESSING
        return held and task is not None and task.attempt == attempt

    def _runs(self, task_id: str) -> bool:
        task = self._task(task_id)
        return task is not None and not task.status.is_final and self._is_open(task.job_id)

    def _is_open(self, job_id: str) -> bool:
        job = None if self.state is None else self.state.jobs.get(job_id)
        return job is not None and not job.status.is_final


def _start(job: JobRecord) -> tuple[datetime, str]:
    return job.started_at or _now(), job.job_id


def _is_stored(row: Output) -> bool:
    return row.written_at is not None and row.removed_at is None


def _ended(superseded_by: str | None) -> Json:
    return {"superseded_at": _now(), "superseded_by": superseded_by, "removed_at": _now()}
