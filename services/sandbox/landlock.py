"""Fences a process in: afterwards it opens its program's files and one folder, nothing else.

HDF5, and so NetCDF, can keep a variable in other files that it names (external storage, external
links, virtual datasets), and its library opens whatever they are: the settings of the worker would
come out as pixels. See landlock(7); Linux has it from 5.13 on, unless it is switched off.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE
# How many rights the first versions know; what later ones added is left as it was.
_RIGHTS = {1: 13, 2: 14}
_MOST_RIGHTS = 15

_PROGRAM = ("core", "services", "config")
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/sys", "/proc/self", "/proc/sys", "/proc/cpuinfo",
    "/proc/meminfo", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf",
    "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services",
    "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_CERTIFICATES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE")

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """Of the kernel's Landlock; 0 where there is none."""
    known: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(known, 0)


def confine(folder: Path | None) -> None:
    """Leave this thread, and what it starts, its program to read and `folder` to write.

    Does nothing where the kernel cannot. Raises OSError where it could and refuses.
    """
    known = version()
    if not known:
        return
    every = (1 << _RIGHTS.get(known, _MOST_RIGHTS)) - 1
    handled = _Ruleset(every)
    size = ctypes.c_size_t(ctypes.sizeof(handled))
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(handled), size, 0))
    try:
        for path in _readable():
            _allow(ruleset, path, _READ)
        for device in _DEVICES:
            _allow(ruleset, Path(device), _OF_A_FILE)
        if folder:
            _allow(ruleset, folder, every)
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _readable() -> Iterator[Path]:
    """The interpreter, its packages and our own: not the folder that holds them, nor its files."""
    home = Path(__file__).resolve().parents[2]
    yield from (home / part for part in _PROGRAM)
    libraries = [Path(entry).resolve() for entry in (*sys.path, sys.prefix, sys.base_prefix)]
    yield from (entry for entry in libraries if entry not in (home, *home.parents))
    yield from map(Path, _SYSTEM)
    yield from (Path(os.environ[name]) for name in _CERTIFICATES if name in os.environ)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # closed to us as it is
    try:
        rights = rights if path.is_dir() else rights & _OF_A_FILE
        rule = _PathBeneath(rights, beneath)
        _checked(_libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(beneath)


def _checked(returned: int) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return returned
