"""`./dev test` and `./dev check`: pytest on every core, and the linters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from local.stack.environment import ROOT
from local.steps import Report

PROGRAMS = Path(sys.executable).parent
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def selects_tests(arguments: Sequence[str]) -> bool:
    """True if pytest's arguments name a file, a folder or a test."""
    return any((ROOT / argument.partition("::")[0]).exists() for argument in arguments)


def run_tests(arguments: Sequence[str]) -> int:
    """Run pytest, on every core unless `-n` is given. Returns its exit code."""
    has_workers = any(argument.startswith("-n") for argument in arguments)
    workers = [] if has_workers else ["-n", str(os.cpu_count() or 1)]
    command = [sys.executable, "-m", "pytest", *workers, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def run_checks(console: Console) -> int:
    """Run every check, also after one has failed. Returns 0 if all passed."""
    report = Report(console)
    failed = []
    for program, *arguments in CHECKS:
        name = " ".join([program, *arguments])
        with report.step(name.removesuffix(" .")) as done:
            completed = subprocess.run(
                [PROGRAMS / program, *arguments],
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
            )
            done.append("ok" if completed.returncode == 0 else "FAILED")
        if completed.returncode:
            failed.append(name)
            output = completed.stdout + completed.stderr
            console.print(output, markup=False, highlight=False, soft_wrap=True)
    if failed:
        console.print(f"failed: {', '.join(failed)}", markup=False, highlight=False)
    return 1 if failed else 0
