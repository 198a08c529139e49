"""`./dev test` and `./dev check`: the project's own judges, on every core."""

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
JUDGES = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def run_tests(arguments: Sequence[str]) -> int:
    """Run pytest, on every core unless told otherwise. Returns its exit code."""
    told = any(argument.startswith("-n") for argument in arguments)
    spread = [] if told else ["-n", str(os.cpu_count() or 1)]
    command = [sys.executable, "-m", "pytest", *spread, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def run_checks(console: Console) -> int:
    """Run every judge, whatever the others said. Returns 0 when all are content."""
    report = Report(console)
    failed = []
    for name, *arguments in JUDGES:
        title = " ".join([name, *arguments])
        with report.step(name) as did:
            done = subprocess.run(
                [PROGRAMS / name, *arguments], cwd=ROOT, check=False, capture_output=True, text=True
            )
            did.append("content" if done.returncode == 0 else "NOT content")
        if done.returncode:
            failed.append(title)
            console.print(done.stdout + done.stderr, markup=False, highlight=False, soft_wrap=True)
    if failed:
        console.print(f"failed: {', '.join(failed)}", markup=False, highlight=False)
    return 1 if failed else 0
