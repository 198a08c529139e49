"""PgBouncer from apt. Only the tests use it."""

from __future__ import annotations

import shutil
from pathlib import Path

from local import process
from local.errors import LocalError
from local.install.postgres import apt_get, locked, root_prefix

BY_HAND = "install the package pgbouncer by hand"


def find_pgbouncer() -> Path | None:
    """The program; None if it is not installed. Debian keeps it outside of a user's PATH."""
    found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    return Path(found) if found else None


def install_pgbouncer(log: Path) -> Path:
    """Find or install PgBouncer. Raises LocalError without apt-get, or without the right to."""
    with locked(log.with_name("pgbouncer.lock")):
        found = find_pgbouncer()
        if found is not None:
            return found
        prefix = root_prefix()
        if shutil.which("apt-get") is None or prefix is None:
            raise LocalError(
                "PgBouncer is missing, and apt-get cannot be run as root", hint=BY_HAND
            )
        install = [*apt_get(prefix, log), "install", "-y", "--no-install-recommends", "pgbouncer"]
        process.run(install, log, cwd=Path("/"), hint=BY_HAND)
        found = find_pgbouncer()
    if found is None:
        raise LocalError("apt installed pgbouncer, but the program was not found", log=log)
    return found
