"""The command line of the project: everything `./dev` can do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from local import process
from local.checks import run_checks, run_tests
from local.demo import run_demo
from local.docs import SITE, build_site, serve_site
from local.errors import LocalError, last_lines
from local.stack.environment import ROOT, Environment
from local.stack.stack import Stack
from local.steps import Report, StepFailed, tell
from local.submission import Refused, submit_file, why_it_failed

Command = Callable[[argparse.Namespace, Console], int]
EPILOG = """\
Ports are free ones, kept in .local/ports.json. To choose them set GEOLATHE_API_PORT,
GEOLATHE_TITILER_PORT, GEOLATHE_STAC_PORT, GEOLATHE_POSTGRES_PORT, GEOLATHE_BLOB_PORT or
GEOLATHE_SERVICEBUS_PORT. Settings of the product (docs) are taken from the environment, too."""
TAIL = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    parser = build_parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser.parse_known_args(given)
    if rest and not options.takes_rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    options.rest = rest
    # What is told goes to stderr, what is asked for to stdout.
    console = Console(stderr=True)
    try:
        return int(options.command(options, console))
    except StepFailed as failure:
        return _explain(failure.reason, console, f"{failure}")
    except LocalError as error:
        return _explain(error, console, f"{error}")
    except KeyboardInterrupt:
        console.print("interrupted; what was started goes on (./dev status, ./dev down)")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """Every command with its help."""
    parser = argparse.ArgumentParser(
        prog="./dev",
        description="The whole of Geolathe on this machine: no Docker, no account.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, command: Command, about: str, takes_rest: bool = False
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about)
        sub.set_defaults(command=command, takes_rest=takes_rest)
        return sub

    add("up", up, "start what does not run, after installing what is missing")
    add("demo", demo, "start everything and turn the sample raster into a map")
    submit_parser = add("submit", submit, "upload a raster, run process_raster on it, follow it")
    submit_parser.add_argument("file", help="the raster; its sidecars beside it go with it")
    submit_parser.add_argument("parameters", nargs="*", metavar="key=value", help="job parameters")
    submit_parser.add_argument("--json", action="store_true", help="print the final status")
    status_parser = add("status", status, "show what runs and where")
    status_parser.add_argument("--json", action="store_true", help="addresses, keys and pids")
    logs_parser = add("logs", logs, "show the end of one log, or of all")
    logs_parser.add_argument("name", nargs="?", help="host, titiler, broker, stac, postgres, ...")
    logs_parser.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    add("down", down, "stop everything; data stays in .local")
    add("test", test, "run the tests; arguments go to pytest", takes_rest=True)
    add("check", check, "lint, format, types and import contracts")
    docs_parser = add("docs", docs, "build the documentation in strict mode and serve it")
    docs_parser.add_argument("--build", action="store_true", help="build only")
    docs_parser.add_argument("--port", type=int, default=8000, help="port to serve at (8000)")
    bench_parser = add("bench", bench, "measure: benchmarks/NAME.py", takes_rest=True)
    bench_parser.add_argument("name", nargs="?", help="which; without it, their names")
    add("faults", faults, "run the fault suite", takes_rest=True)
    add("corpus", corpus, "run real rasters through the stack", takes_rest=True)
    return parser


def up(_: argparse.Namespace, console: Console) -> int:
    """Start what does not run."""
    environment = Stack().up(Report(console))
    for name, address in (
        ("API", environment.api),
        ("tiles", environment.titiler),
        ("STAC", environment.stac),
    ):
        tell(console, name, address)
    return 0


def demo(_: argparse.Namespace, console: Console) -> int:
    """Start everything and make a map of the sample."""
    environment = Stack().up(Report(console))
    print(run_demo(environment, console))
    return 0


def submit(options: argparse.Namespace, console: Console) -> int:
    """Upload a raster and follow its job."""
    environment = _running(Stack())
    file = Path(os.environ.get("GEOLATHE_CWD", "."), options.file)
    try:
        final = submit_file(environment, file, options.parameters, console)
    except Refused as refusal:
        console.print(str(refusal), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    if options.json:
        print(json.dumps(final, indent=2))
    if reason := why_it_failed(final):
        console.print(reason, style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    if not options.json:
        print(final["result_data"]["share_url"])
    return 0


def status(options: argparse.Namespace, console: Console) -> int:
    """Show what runs. The exit code is 0 when everything does."""
    stack = Stack()
    parts = stack.status()
    pids = {part.name: part.identity.pid for part in parts if part.identity is not None}
    if options.json:
        print(json.dumps({**stack.environment().describe(), "pids": pids}, indent=2))
        return 0 if len(pids) == len(parts) else 1
    table = Table("part", "state", "pid", "address", "memory", box=None, pad_edge=False)
    for part in parts:
        pid = pids.get(part.name)
        state = "runs" if pid else ("dead" if part.is_missing else "stopped")
        memory = f"{process.memory_of(pid) >> 20} MB" if pid else ""
        table.add_row(part.name, state, str(pid or ""), part.address, memory)
    Console().print(table)
    if len(pids) < len(parts):
        console.print("./dev up starts what does not run")
    return 0 if len(pids) == len(parts) else 1


def logs(options: argparse.Namespace, console: Console) -> int:
    """Show logs."""
    stack = Stack()
    names = [options.name] if options.name else [part.name for part in stack.status()]
    files = {name: stack.log(name) for name in names}
    if options.follow:
        _follow([file for file in files.values() if file.exists()])
    for name, file in files.items():
        console.print(f"{name}: {file}", style="bold", soft_wrap=True, highlight=False)
        print("\n".join(last_lines(file, TAIL)))
    return 0


def down(_: argparse.Namespace, console: Console) -> int:
    """Stop everything."""
    Stack().down(Report(console))
    return 0


def test(options: argparse.Namespace, console: Console) -> int:
    """Get what the tests need, then run them."""
    Stack().install(Report(console))
    return run_tests(options.rest)


def check(_: argparse.Namespace, console: Console) -> int:
    """Run the linters."""
    return run_checks(console)


def docs(options: argparse.Namespace, console: Console) -> int:
    """Build the documentation; serve it unless only the build is asked for."""
    with Report(console).step("docs") as did:
        build_site()
        did.append(str(SITE))
    if not options.build:
        console.print(f"serving http://127.0.0.1:{options.port} (stop with Ctrl+C)")
        serve_site(options.port)
    return 0


def bench(options: argparse.Namespace, console: Console) -> int:
    """Run one benchmark."""
    folder = ROOT / "benchmarks"
    names = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    if options.name in names:
        return _run_script(folder / f"{options.name}.py", options.rest)
    asked = f"no benchmark {options.name!r}; " if options.name else ""
    console.print(f"{asked}there are: {', '.join(names) or 'none yet'}")
    return 1 if options.name else 0


def faults(options: argparse.Namespace, console: Console) -> int:
    """Run the fault suite."""
    return _run_module("tests.faults", ROOT / "tests" / "faults" / "__main__.py", options, console)


def corpus(options: argparse.Namespace, console: Console) -> int:
    """Run real rasters through the stack."""
    return _run_module("local.corpus", ROOT / "local" / "corpus.py", options, console)


def _run_module(module: str, file: Path, options: argparse.Namespace, console: Console) -> int:
    if not file.exists():
        console.print(f"{file.relative_to(ROOT)} is not there yet")
        return 1
    return _become(sys.executable, "-m", module, *options.rest)


def _run_script(file: Path, arguments: Sequence[str]) -> int:
    return _become(sys.executable, str(file), *arguments)


def _follow(files: Sequence[Path]) -> NoReturn:
    _become("tail", "-n", str(TAIL), "-F", *map(str, files))


def _become(program: str, *arguments: str) -> NoReturn:
    """Go on as another program, which then gets the signals and gives the exit code."""
    sys.stdout.flush()
    os.environ["PYTHONPATH"] = str(ROOT)
    os.execvp(program, [program, *arguments])


def _running(stack: Stack) -> Environment:
    """Where the stack is. Raises LocalError, naming what is missing, when it is not up."""
    environment = stack.environment()
    dead = [part.name for part in stack.status() if part.identity is None]
    if dead:
        raise LocalError(f"{', '.join(dead)}: not running", hint="run ./dev up")
    return environment


def _explain(error: LocalError, console: Console, message: str) -> int:
    """The end of the log first, then what failed and what to do: the eye rests on the last line."""
    if error.log is not None:
        for line in last_lines(error.log):
            console.print(f"    {line}", style="dim", markup=False, highlight=False, soft_wrap=True)
        console.print(f"    (from {error.log})", style="dim", highlight=False, soft_wrap=True)
    console.print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print(error.hint, markup=False, highlight=False, soft_wrap=True)
    return 1


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of `./dev logs | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
