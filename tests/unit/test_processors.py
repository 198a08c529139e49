"""How many processors a container may use, from files as Linux writes them."""

import os

import pytest

from services.sandbox import processors


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"sys/fs/cgroup/cpu.max": "5000 100000\n"}, 1),
        ({"sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        ({"sys/fs/cgroup/cpu.max": "invalid"}, 8),
        ({"sys/fs/cgroup/cpu.max": "100000 0"}, 8),
        (
            {
                "proc/self/cgroup": "0::/kubepods/pod1/box\n",
                "sys/fs/cgroup/kubepods/pod1/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/kubepods/pod1/box/cpu.max": "max 100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_quota_of_the_container(tmp_path, files, expected):
    write(tmp_path, files)
    assert processors.count_processors(tmp_path) == expected


def test_affinity_limits_too(tmp_path, monkeypatch):
    write(tmp_path, {"sys/fs/cgroup/cpu.max": "400000 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    assert processors.count_processors(tmp_path) == 3


GIB = 2**30


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 8),
        ({"sys/fs/cgroup/memory.max": f"{4 * GIB}\n"}, 3),
        ({"sys/fs/cgroup/memory.max": f"{4 * GIB}", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"sys/fs/cgroup/memory.max": f"{GIB // 2}"}, 1),
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/memory.max": f"{5 * GIB}\n",
                "sys/fs/cgroup/pod/box/memory.max": "max\n",
            },
            4,
        ),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 * GIB}\n"}, 2),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8),
    ],
)
def test_processes_that_fit_into_the_memory_of_the_container(tmp_path, files, expected):
    write(tmp_path, files)
    assert processors.count_processes(GIB, tmp_path) == expected
