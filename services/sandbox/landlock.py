"""Restricts a process to its program's files, one folder and, if it needs none, no network.

This is the second layer: services/raster refuses files and texts that refer to others before GDAL
opens them. See landlock(7). Linux has Landlock from 5.13 on, unless it is disabled; it restricts
TCP from 6.7 on.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

_BIND_TCP, _CONNECT_TCP = 1, 2
_NETWORK_SINCE = 4

_PROGRAM = ("core", "services")
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo",
    "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/ssl", "/etc/pki",
    "/etc/ca-certificates", "/etc/localtime", "/sys/devices/system/cpu",
)  # fmt: skip
# The C library resolves names with these; GDAL cannot be given an address that is resolved before.
_NAME_RESOLUTION = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
PROJ_GRIDS = "PROJ_USER_WRITABLE_DIRECTORY"
"""PROJ looks for grids in the folder that this variable names. Here it cannot write there.

https://proj.org/en/stable/resource_files.html#where-are-proj-resource-files-looked-for
"""
_CONFIGURED = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", PROJ_GRIDS)

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """The version of the kernel's Landlock; 0 without it."""
    known: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(known, 0)


def health() -> dict[str, Any]:
    """For /api/health. Without Landlock the product works, with one layer less."""
    known = version()
    return {"active": known > 0, "landlock": known, "restricts_tcp": known >= _NETWORK_SINCE}


def confine(folder: Path | None, *, network: bool) -> None:
    """Restrict this thread and its children to reading the program and writing to `folder`.

    Without `network` they cannot connect to or listen on TCP ports. Does nothing without Landlock.
    Raises OSError when the kernel has it and refuses.
    """
    known = version()
    if not known:
        return
    every = (1 << _RIGHTS.get(known, _MOST_RIGHTS)) - 1
    closed = not network and known >= _NETWORK_SINCE
    handled = _Ruleset(every, _BIND_TCP | _CONNECT_TCP if closed else 0)
    size = ctypes.c_size_t(ctypes.sizeof(handled))
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(handled), size, 0))
    try:
        for path in _readable(network):
            _allow(ruleset, path, _READ)
        for device in _DEVICES:
            _allow(ruleset, Path(device), _OF_A_FILE)
        if folder:
            _allow(ruleset, folder, every)
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _readable(network: bool) -> Iterator[Path]:
    """The interpreter, its packages and the product's own, but not the folder of the product."""
    home = Path(__file__).resolve().parents[2]
    yield from (home / part for part in _PROGRAM)
    libraries = [Path(entry).resolve() for entry in (*sys.path, sys.prefix, sys.base_prefix)]
    yield from (entry for entry in libraries if entry not in (home, *home.parents))
    yield from map(Path, (*_SYSTEM, *(_NAME_RESOLUTION if network else ())))
    yield from (Path(os.environ[name]) for name in _CONFIGURED if name in os.environ)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # it cannot be opened anyway
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
