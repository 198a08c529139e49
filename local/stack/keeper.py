"""Ends the services of a test run when the run itself ends, however it ends.

A test process that is killed cannot clean up after itself. The keeper waits for it on a pidfd,
then stops what runs under its folder and deletes it: `python -m local.stack.keeper PID FOLDER`.
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
    """Stop every service under a folder and delete it. Clearing it twice does no harm.

    Nor does clearing at the same time what another keeper clears: os.walk passes over folders that
    are gone, where Path.glob raises.
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
