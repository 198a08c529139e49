"""Counters of the machine and its processes, see proc(5), and Debian packages that are needed."""

import os
import shutil
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name.
PARENT, UTIME, STIME, CUTIME, CSTIME = 1, 11, 12, 13, 14


def processor_ticks() -> tuple[int, int]:
    """Idle and total ticks of all processors. User time already includes guests."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def process_stat(pid: int) -> list[int]:
    """The fields after the name in /proc/PID/stat; the state, which is a letter, is 0."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


def install_program(program: str, package: str) -> None:
    """Install a Debian package if its program is missing. Raises CalledProcessError."""
    if shutil.which(program) is None:
        install = ["apt-get", "install", "-y", "--no-install-recommends", package]
        subprocess.run(install, check=True, capture_output=True)
