"""How many processors this process may use: os.cpu_count() ignores the quota of a container."""

import math
import os
from pathlib import Path

_CGROUP = Path("sys/fs/cgroup")
_CGROUP_1 = (_CGROUP / "cpu", _CGROUP / "cpu,cpuacct")


def count_processors(root: Path = Path("/")) -> int:
    """The smaller of the processors that the scheduler offers and the CPU quota, at least 1.

    The quota is that of cgroup v2 (cpu.max, of this group or one above it) or v1
    (cpu.cfs_quota_us): https://docs.kernel.org/admin-guide/cgroup-v2.html. Part of a processor
    counts as a whole one.
    """
    offered = len(os.sched_getaffinity(0))
    quotas = [*_quotas_2(root), *_quotas_1(root)]
    return max(1, min([offered, *(math.ceil(quota) for quota in quotas)]))


def _quotas_2(root: Path) -> list[float]:
    """Of the group named in /proc/self/cgroup and all above it."""
    lines = _read(root / "proc/self/cgroup").splitlines()
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    top = root / _CGROUP
    groups = [top, *(top / Path(*Path(own).parts[:n]) for n in range(1, len(Path(own).parts) + 1))]
    return [quota for group in groups for quota in _quota(_read(group / "cpu.max").split())]


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
