"""Stops the services of a test run when the run ends, even if it is killed.

The keeper waits for the test process on a pidfd, then stops the services in its folder and deletes
the folder: `python -m local.stack.keeper PID FOLDER`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

from local import process
from local.process import Identity
from local.stack.postgres import Cluster

ROOT = Path(__file__).parents[2]


def clear(folder: Path) -> None:
    """Stop every service in a folder and delete the folder.

    May be repeated, also by two keepers at once: os.walk skips folders that no longer exist, while
    Path.glob would raise.
    """
    for path, _, files in os.walk(folder):
        if "postgres.log" in files:
            Cluster(Path(path)).destroy()
    for left in process.find_by_log(folder):
        process.stop(left, ask=signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def keep(owner: int, folder: Path) -> Identity:
    """Start a keeper for the process `owner`."""
    command = [sys.executable, "-m", "local.stack.keeper", str(owner), str(folder)]
    return process.spawn(command, folder / "keeper.log", env=os.environ, cwd=ROOT)


def main() -> None:
    """Wait for the owner to end, then clear its folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("owner", type=int)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    owner = process.identify(arguments.owner)
    if owner is not None:
        process.wait_for_exit(owner, timeout=None)
    clear(arguments.folder)


if __name__ == "__main__":
    main()
