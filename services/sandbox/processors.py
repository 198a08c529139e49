"""What this process may use of the machine: os.cpu_count() and free memory ignore the limits of a
container. Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

import math
import os
from pathlib import Path

_CGROUP = Path("sys/fs/cgroup")
_CGROUP_1 = (_CGROUP / "cpu", _CGROUP / "cpu,cpuacct")
_UNLIMITED = 2**60
"""cgroup v1 has no word for "no limit": it reports the largest number of pages, in bytes."""


def count_processes(memory_bytes: int, root: Path = Path("/")) -> int:
    """How many processes of `memory_bytes` each can run at once, at least 1.

    One for each processor, as far as the memory limit allows, from which one process is deducted:
    turns.py admits one more, and the worker itself needs memory, too.
    """
    limit = memory_limit(root)
    if limit is None:
        return count_processors(root)
    return max(1, min(count_processors(root), limit // memory_bytes - 1))


def count_processors(root: Path = Path("/")) -> int:
    """The smaller of the processors that the scheduler offers and the CPU quota, at least 1.

    The quota is that of cgroup v2 (cpu.max, of this group or one above it) or v1
    (cpu.cfs_quota_us): https://docs.kernel.org/admin-guide/cgroup-v2.html. Part of a processor
    counts as a whole one.
    """
    offered = len(os.sched_getaffinity(0))
    quotas = [*_quotas_2(root), *_quotas_1(root)]
    return max(1, min([offered, *(math.ceil(quota) for quota in quotas)]))


def memory_limit(root: Path = Path("/")) -> int | None:
    """The memory limit in bytes: memory.max of cgroup v2, or memory.limit_in_bytes of v1."""
    files = [group / "memory.max" for group in _groups_2(root)]
    files.append(root / _CGROUP / "memory/memory.limit_in_bytes")
    found = [int(text) for file in files if (text := _read(file).strip()).isdigit()]
    return min((limit for limit in found if limit < _UNLIMITED), default=None)


def _groups_2(root: Path) -> list[Path]:
    """The group named in /proc/self/cgroup and all above it."""
    lines = _read(root / "proc/self/cgroup").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    top = root / _CGROUP
    return [top, *(top / Path(*Path(own).parts[:n]) for n in range(1, len(Path(own).parts) + 1))]


def _quotas_2(root: Path) -> list[float]:
    return [
        quota for group in _groups_2(root) for quota in _quota(_read(group / "cpu.max").split())
    ]


def _quotas_1(root: Path) -> list[float]:
    return [
        quota
        for group in _CGROUP_1
        for quota in _quota(
            _read(root / group / "cpu.cfs_quota_us").split()
            + _read(root / group / "cpu.cfs_period_us").split()
        )
    ]


def _quota(words: list[str]) -> list[float]:
    """Microseconds of CPU time, and the period in which they may be used; "max" is no limit."""
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return []
    return [int(words[0]) / int(words[1])]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
