"""Scratch folders: free space is checked, and folders of killed workers are removed."""

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import ScratchFull, TaskFailed
from infrastructure.scratch import LocalScratch


def test_a_folder_is_removed_with_its_task(tmp_path):
    scratch = LocalScratch(tmp_path)
    with pytest.raises(KeyError), scratch.folder("task", 10) as folder:
        (folder / "work.tif").write_bytes(b"x")
        raise KeyError("the task failed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("needed", "raised", "text"),
    [
        (300 * 2**20, ScratchFull, "has 200 MB free, the work needs 300 MB"),
        (
            900 * 2**20,
            TaskFailed,
            "the work needs 900 MB of scratch space, and the disk of .* has 800 MB in total",
        ),
    ],
)
def test_a_full_disk_is_temporary_and_a_small_one_is_not(
    tmp_path, monkeypatch, needed, raised, text
):
    """With the disk of Flex Consumption."""
    usage = (800 * 2**20, 600 * 2**20, 200 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(*usage))
    with pytest.raises(raised, match=text), LocalScratch(tmp_path).folder("t", needed):
        raise AssertionError("never reached")
    assert list(tmp_path.iterdir()) == []


def test_folders_of_killed_workers_are_removed(tmp_path):
    code = """
import sys, time
from pathlib import Path
from infrastructure.scratch import LocalScratch
with LocalScratch(Path(sys.argv[1])).folder("dead", 1) as folder:
    (folder / "half.tif").write_bytes(b"x")
    print("working", flush=True)
    time.sleep(60)
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert worker.stdout is not None
    assert worker.stdout.readline().strip() == b"working"
    scratch = LocalScratch(tmp_path)
    with scratch.folder("living", 1):
        assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        with scratch.folder("next", 1):
            names = sorted(path.name.split("-")[0] for path in tmp_path.iterdir() if path.is_dir())
            assert names == ["living", "next"]
    assert list(tmp_path.iterdir()) == []


def test_concurrent_workers_keep_each_others_folders(tmp_path):
    scratch = LocalScratch(tmp_path)

    def work(number):
        with scratch.folder(f"t{number}", 1) as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(200))) == [str(n) for n in range(200)]
    assert list(tmp_path.iterdir()) == []
