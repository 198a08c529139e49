"""Scratch folders: room is checked, and what a killed worker left is removed."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import ScratchFull
from infrastructure.scratch import LocalScratch


def test_a_folder_is_gone_with_its_task_and_its_files(tmp_path):
    scratch = LocalScratch(tmp_path)
    with pytest.raises(KeyError), scratch.folder("task", 10) as folder:
        (folder / "work.tif").write_bytes(b"x")
        raise KeyError("the task failed")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_before_the_work(tmp_path):
    with pytest.raises(ScratchFull, match="MB free"), LocalScratch(tmp_path).folder("t", 2**60):
        raise AssertionError("never reached")


def test_what_a_killed_worker_left_is_removed_and_what_lives_stays(tmp_path):
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


def test_many_at_once_never_take_each_other_for_dead(tmp_path):
    scratch = LocalScratch(tmp_path)

    def work(number):
        with scratch.folder(f"t{number}", 1) as folder:
            (folder / "file").write_text(str(number))
            return (folder / "file").read_text()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(200))) == [str(n) for n in range(200)]
    assert list(tmp_path.iterdir()) == []
