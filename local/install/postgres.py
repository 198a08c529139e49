"""PostgreSQL with PostGIS: already installed, from apt, or unpacked without root, in this order.

GEOLATHE_POSTGRES_BIN names a folder with `initdb` and `postgres` to use instead.
GEOLATHE_POSTGRES=unpacked changes nothing in the system even if apt could be used.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from local import process
from local.errors import LocalError

OLDEST = 14
EXTENSIONS = ("postgis", "btree_gist", "unaccent")  # the extensions of pgSTAC
# Part of every Debian; the files of the running system must be used.
LEFT_TO_THE_SYSTEM = re.compile(
    r"^(libc6|libc-bin|debconf|perl|systemd|udev|init-system|base-|dpkg|coreutils|bash|login|passwd"
    r"|util-linux|adduser|lsb-|ssl-cert|openssl|ucf|sensible-utils|postgresql-common"
    r"|postgresql-client-common)"
)
BY_HAND = (
    "install PostgreSQL (14 or later) with its PostGIS by hand, "
    "and name the folder of its programs in GEOLATHE_POSTGRES_BIN"
)


@dataclass(frozen=True)
class Postgres:
    """The server programs of one PostgreSQL that has PostGIS."""

    bin: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def program(self, name: str) -> Path:
        """The path of `initdb`, `postgres`, ..."""
        return self.bin / name

    def version(self) -> int:
        """The major version, which determines the format of the data."""
        output = subprocess.run(
            [self.program("postgres"), "--version"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **self.env},
        )
        return int(re.findall(r"\d+", output.stdout)[0])


def find_postgres() -> Postgres | None:
    """The newest installed PostgreSQL that has PostGIS; None if there is none."""
    if named := os.environ.get("GEOLATHE_POSTGRES_BIN"):
        return _from_folder(Path(named))
    if os.environ.get("GEOLATHE_POSTGRES") != "unpacked":
        for folder in _installed_folders():
            if _has_postgis(folder):
                return Postgres(folder)
    return _find_unpacked(_cache_folder())


def install_postgres(log: Path) -> Postgres:
    """Find or install PostgreSQL with PostGIS. Raises LocalError if that is not possible."""
    cache = _cache_folder()
    with locked(cache.with_name(f"{cache.name}.lock")):
        found = find_postgres()
        if found is not None:
            return found
        if shutil.which("apt-get") is None:
            raise LocalError("no PostgreSQL with PostGIS here, and no apt-get", hint=BY_HAND)
        if (
            os.environ.get("GEOLATHE_POSTGRES") != "unpacked"
            and (prefix := root_prefix()) is not None
        ):
            try:
                return _install_by_apt(prefix, log)
            except LocalError:
                log.open("a").write("apt-get failed: unpacking the packages instead\n")
        return _unpack(cache, log)


def _from_folder(folder: Path) -> Postgres:
    if not _has_postgis(folder):
        raise LocalError(
            f"GEOLATHE_POSTGRES_BIN={folder} has no initdb, or its PostgreSQL lacks PostGIS",
            hint="unset it, or name the bin folder of a PostgreSQL that has PostGIS",
        )
    return Postgres(folder)


def _installed_folders() -> Iterator[Path]:
    """Folders with server programs, newest version first: Debian, PGDG rpm, PATH."""
    known = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    yield from sorted(known, key=_major, reverse=True)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _major(folder: Path) -> int:
    digits = re.search(r"(\d+)$", folder.parent.name)
    return int(digits[1]) if digits else 0


def _has_postgis(folder: Path) -> bool:
    if not all((folder / name).exists() for name in ("initdb", "postgres", "pg_config")):
        return False
    output = subprocess.run(
        [folder / "pg_config", "--version", "--sharedir"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    if len(output) != 2 or int(re.findall(r"\d+", output[0])[0]) < OLDEST:
        return False
    extensions = Path(output[1]) / "extension"
    return all((extensions / f"{name}.control").exists() for name in EXTENSIONS)


def root_prefix() -> list[str] | None:
    """The prefix that runs a command as root: empty, sudo, or None if not possible."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if asked.returncode == 0 else None


def apt_get(prefix: Sequence[str], log: Path) -> list[str]:
    """The beginning of an apt-get command, after the package lists have been updated."""
    apt = [
        *prefix,
        "env",
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-qq",
        "-o",
        "DPkg::Lock::Timeout=180",
    ]
    try:
        process.run([*apt, "update"], log)
    except LocalError:
        log.open("a").write("apt-get update failed: going on with the lists that are there\n")
    return apt


def _install_by_apt(prefix: Sequence[str], log: Path) -> Postgres:
    apt = apt_get(prefix, log)
    version = _version_on_offer([])
    wanted = [f"postgresql-{version}", f"postgresql-{version}-postgis-3"]
    process.run([*apt, "install", "-y", "--no-install-recommends", *wanted], log, cwd=Path("/"))
    found = find_postgres()
    if found is None:
        raise LocalError(f"apt installed {' '.join(wanted)}, but PostGIS was not found", log=log)
    return found


def _version_on_offer(options: Sequence[str]) -> int:
    """The installed server version if its PostGIS is available, else the default version."""
    installed = [_major(folder) for folder in _installed_folders()]
    for version in [v for v in installed if v >= OLDEST]:
        if _apt_cache(options, "show", f"postgresql-{version}-postgis-3"):
            return version
    default = re.search(r"Depends: postgresql-(\d+)", _apt_cache(options, "depends", "postgresql"))
    if default is None:
        raise LocalError(
            "apt offers no PostgreSQL", hint=f"check /etc/apt/sources.list, or {BY_HAND}"
        )
    return int(default[1])


def _apt_cache(options: Sequence[str], *arguments: str) -> str:
    return subprocess.run(
        ["apt-cache", *options, *arguments], capture_output=True, text=True, check=False
    ).stdout


def _cache_folder() -> Path:
    """The folder of unpacked packages, which the account of the server can read."""
    release = platform.freedesktop_os_release()
    name = f"postgresql-{release.get('ID')}-{release.get('VERSION_ID')}-{platform.machine()}"
    if os.geteuid() == 0:
        return Path("/var/cache/geolathe") / name
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "geolathe" / name


def _find_unpacked(cache: Path) -> Postgres | None:
    programs = sorted((cache / "usr/lib/postgresql").glob("*/bin"), key=_major, reverse=True)
    if not programs:
        return None
    libraries = sorted({str(file.parent) for file in cache.glob("usr/lib/*-linux-*/**/lib*.so.*")})
    proj = str(cache / "usr/share/proj")
    return Postgres(
        programs[0],
        {"LD_LIBRARY_PATH": ":".join(libraries), "PROJ_DATA": proj, "PROJ_LIB": proj},
    )


def _unpack(cache: Path, log: Path) -> Postgres:
    """Download what apt would install, from its configured sources, and unpack it."""
    work = cache.with_name(f"{cache.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("lists/partial", "archives/partial", "root"):
        (work / folder).mkdir(parents=True)
    options = _private_apt_options(work)
    (work / "status").write_text(_status_without_postgres(), encoding="utf-8")
    process.run(
        ["apt-get", *options, "-qq", "update"], log, cwd=Path("/"), hint="is there a network?"
    )
    _download(work, options, log)
    for package in sorted((work / "archives").glob("*.deb")):
        if not LEFT_TO_THE_SYSTEM.match(package.name):
            process.run(["dpkg-deb", "-x", package, work / "root"], log)
    _finish_like_debian(work / "root")
    shutil.rmtree(cache, ignore_errors=True)
    (work / "root").rename(cache)
    shutil.rmtree(work)
    found = _find_unpacked(cache)
    if found is None:
        raise LocalError("the packages hold no PostgreSQL server", hint=BY_HAND, log=log)
    _check_libraries(found, cache, log)
    return found


def _download(work: Path, options: Sequence[str], log: Path) -> None:
    version = _version_on_offer(options)
    wanted = [f"postgresql-{version}", f"postgresql-{version}-postgis-3"]
    install = ["apt-get", *options, "-qq", "-y", "--download-only", "install", *wanted]
    try:
        process.run(install, log, cwd=Path("/"))
    except LocalError:
        # An installed package depends on PostgreSQL's: resolve as if nothing were installed.
        (work / "status").write_text("", encoding="utf-8")
        process.run(install, log, cwd=Path("/"), hint=BY_HAND)


def _private_apt_options(work: Path) -> list[str]:
    values = {
        "Dir::State": work,
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "APT::Sandbox::User": "",
        "APT::Install-Recommends": "false",
        "APT::Get::List-Cleanup": "false",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
    }
    return [part for key, value in values.items() for part in ("-o", f"{key}={value}")]


def _status_without_postgres() -> str:
    """dpkg's list of installed packages without PostgreSQL, which must be unpacked with PostGIS."""
    packages = Path("/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n")
    kept = [entry for entry in packages if not re.match(r"Package: \S*(postgresql|postgis)", entry)]
    return "\n\n".join(kept)


def _finish_like_debian(root: Path) -> None:
    """Do what the package scripts do: create the link to the default version of PostGIS."""
    for control in root.glob("usr/share/postgresql/*/extension/*-3.control"):
        target = control.with_name(control.name.replace("-3.control", ".control"))
        if not target.exists():
            shutil.copy(control, target)


def _check_libraries(found: Postgres, cache: Path, log: Path) -> None:
    """Raise LocalError that names missing libraries, before CREATE EXTENSION would fail."""
    modules = [found.program("postgres"), *cache.glob("usr/lib/postgresql/*/lib/postgis-3.so")]
    listing = subprocess.run(
        ["ldd", *modules],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **found.env},
    ).stdout
    missing = sorted({line.split()[0] for line in listing.splitlines() if "not found" in line})
    if missing:
        shutil.rmtree(cache)
        raise LocalError(f"unpacked PostGIS lacks {', '.join(missing)}", hint=BY_HAND, log=log)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of the installation."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
