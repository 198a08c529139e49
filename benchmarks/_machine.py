"""What the machine has done, see proc(5), and what it must have."""

import os
import shutil
import subprocess
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name.
PARENT, UTIME, STIME, CUTIME, CSTIME = 1, 11, 12, 13, 14


def processor_ticks() -> tuple[int, int]:
    """Of all processors, idle and altogether; guests are counted as user time already."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split(maxsplit=9)[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def process_stat(pid: int) -> list[int]:
    """The numbers behind the name of a process; its state, a letter, is 0."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [0, *map(int, fields[1:])]


def install_program(program: str, package: str) -> None:
    """Get it from Debian or Ubuntu when it is missing. Raises CalledProcessError."""
    if shutil.which(program) is None:
        install = ["apt-get", "install", "-y", "--no-install-recommends", package]
        subprocess.run(install, check=True, capture_output=True)
