"""The commands of `./dev`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from local import process
from local.checks import run_checks, run_tests, selects_tests
from local.demo import run_demo
from local.docs import SITE, build_site, serve_site
from local.emulators.otlp.store import SpanStore
from local.errors import LocalError, last_lines
from local.lock import DEPLOYED, LOCAL, update_locks
from local.stack.environment import ROOT, Environment
from local.stack.stack import Stack
from local.steps import Report, StepFailed, print_step
from local.trace import show_traces

Command = Callable[[argparse.Namespace, Console], int]
EPILOG = """\
Each service listens on a free port, which is kept in .local/ports.json. To choose a port, set
GEOLATHE_API_PORT, GEOLATHE_TITILER_PORT, GEOLATHE_STAC_PORT, GEOLATHE_POSTGRES_PORT,
GEOLATHE_BLOB_PORT, GEOLATHE_SERVICEBUS_PORT or GEOLATHE_OTLP_PORT. GEOLATHE_STACK names another
folder than .local. Settings of the product can be set in the environment, too."""
TAIL = 40  # lines of a log that `./dev logs` shows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    parser = build_parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options, rest = parser.parse_known_args(given)
    if rest and not options.takes_rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    options.rest = rest
    # Progress goes to stderr, the result of a command to stdout.
    console = Console(stderr=True)
    try:
        return int(options.command(options, console))
    except StepFailed as failure:
        return _print_error(failure.reason, console, f"{failure}")
    except LocalError as error:
        return _print_error(error, console, f"{error}")
    except KeyboardInterrupt:
        console.print("interrupted; started services keep running (./dev status, ./dev down)")
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="./dev",
        description="Run, test and measure Geolathe on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(
        name: str, command: Command, about: str, takes_rest: bool = False
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=about, description=about, add_help=not takes_rest)
        sub.set_defaults(command=command, takes_rest=takes_rest)
        return sub

    add("up", up, "start the local stack, after installing what is missing")
    add("demo", demo, "start the local stack and turn the sample raster into a map")
    add("submit", submit, "run `geolathe submit FILE key=value ...` on the local stack", True)
    status_parser = add("status", status, "show which services run and where")
    status_parser.add_argument("--json", action="store_true", help="print URLs, keys and pids")
    add("env", env, "print shell exports: API, KEY, TITILER, STAC, GEOLATHE_URL, GEOLATHE_KEY")
    logs_parser = add("logs", logs, "show the end of one log, or of all")
    logs_parser.add_argument("name", nargs="?", help="host, titiler, broker, stac, postgres, ...")
    logs_parser.add_argument("-f", "--follow", action="store_true", help="print new lines, too")
    trace_parser = add("trace", trace, "print the tree of spans of a job, from request to map")
    trace_parser.add_argument("job_id", metavar="JOB", help="the id of a job, or its beginning")
    add("down", down, "stop the local stack; its data stays in .local")
    add("test", test, "run the tests; arguments go to pytest", takes_rest=True)
    add("check", check, "run ruff, mypy and the import contracts")
    add("lock", lock, "pin the versions of all packages; arguments go to uv pip compile", True)
    docs_parser = add("docs", docs, "build the documentation in strict mode and serve it")
    docs_parser.add_argument("--build", action="store_true", help="build only")
    docs_parser.add_argument("--port", type=int, default=8000, help="port to serve at (8000)")
    bench_parser = add("bench", bench, "run benchmarks/NAME.py", takes_rest=True)
    bench_parser.add_argument("name", nargs="?", help="the benchmark; without it, list them")
    add("faults", faults, "run the fault suite", takes_rest=True)
    add("corpus", corpus, "process every raster of a folder and compare the outcomes", True)
    return parser


def up(_: argparse.Namespace, console: Console) -> int:
    """Start every service that does not run."""
    environment = Stack().up(Report(console))
    for name, url in (
        ("API", environment.api),
        ("tiles", environment.titiler),
        ("STAC", environment.stac),
    ):
        print_step(console, name, url)
    return 0


def demo(_: argparse.Namespace, console: Console) -> int:
    """Start the stack and process the sample raster."""
    environment = Stack().up(Report(console))
    print(run_demo(environment, console))
    return 0


def submit(options: argparse.Namespace, _: Console) -> int:
    """Run the client in the caller's folder, with the URL and the key of the stack."""
    environment = _require_running(Stack())
    os.environ.update(_client_variables(environment))
    os.chdir(os.environ.get("GEOLATHE_CWD", "."))
    return _exec(sys.executable, "-m", "geolathe", "submit", *options.rest)


def status(options: argparse.Namespace, console: Console) -> int:
    """Show the services. The exit code is 0 if all of them run."""
    stack = Stack()
    parts = stack.status()
    pids = {part.name: part.identity.pid for part in parts if part.identity is not None}
    if options.json:
        print(json.dumps({**stack.environment().describe(), "pids": pids}, indent=2))
        return 0 if len(pids) == len(parts) else 1
    table = Table("service", "state", "pid", "address", "memory", box=None, pad_edge=False)
    for part in parts:
        pid = pids.get(part.name)
        state = "running" if pid else ("died" if part.is_missing else "stopped")
        memory = f"{process.memory_of(pid) >> 20} MB" if pid else ""
        table.add_row(part.name, state, str(pid or ""), part.address, memory)
    Console().print(table)
    if len(pids) < len(parts):
        console.print("run ./dev up to start the services that do not run")
    return 0 if len(pids) == len(parts) else 1


def env(_: argparse.Namespace, __: Console) -> int:
    """Print exports for `eval "$(./dev env)"`."""
    environment = Stack().environment()
    variables = {
        "API": environment.api,
        "KEY": environment.keys.function_key,
        "TITILER": environment.titiler,
        "STAC": environment.stac,
        **_client_variables(environment),
    }
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def logs(options: argparse.Namespace, console: Console) -> int:
    """Show logs."""
    stack = Stack()
    names = [options.name] if options.name else [part.name for part in stack.status()]
    files = {name: stack.log(name) for name in names}
    if options.follow:
        _exec("tail", "-n", str(TAIL), "-F", *(str(file) for file in files.values()))
    for name, file in files.items():
        console.print(f"{name}: {file}", style="bold", soft_wrap=True, highlight=False)
        print("\n".join(last_lines(file, TAIL)))
    return 0


def trace(options: argparse.Namespace, _: Console) -> int:
    """Print the traces of a job."""
    stack = Stack()
    for tree in show_traces(SpanStore(stack.environment().spans), options.job_id):
        Console().print(tree)
    return 0


def down(_: argparse.Namespace, console: Console) -> int:
    """Stop every service."""
    Stack().down(Report(console))
    return 0


def test(options: argparse.Namespace, console: Console) -> int:
    """Run the tests.

    The whole suite needs PostgreSQL, Azurite and a browser, which are installed first. When tests
    are selected, their fixtures install what they need.
    """
    if not selects_tests(options.rest):
        Stack().install(Report(console))
    return run_tests(options.rest)


def check(_: argparse.Namespace, console: Console) -> int:
    """Run the linters."""
    return run_checks(console)


def lock(options: argparse.Namespace, console: Console) -> int:
    """Pin the versions of all packages."""
    with Report(console).step("lock") as done:
        update_locks(Stack().services.log("lock"), options.rest)
        done.append(f"{LOCAL}, {', '.join(DEPLOYED.values())}")
    return 0


def docs(options: argparse.Namespace, console: Console) -> int:
    """Build the documentation; serve it unless only the build is asked for."""
    with Report(console).step("docs") as done:
        build_site()
        done.append(str(SITE))
    if not options.build:
        console.print(f"serving http://127.0.0.1:{options.port} (stop with Ctrl+C)")
        serve_site(options.port)
    return 0


def bench(options: argparse.Namespace, console: Console) -> int:
    """Run one benchmark."""
    folder = ROOT / "benchmarks"
    names = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    if options.name in names:
        return _exec(sys.executable, str(folder / f"{options.name}.py"), *options.rest)
    problem = f"unknown benchmark {options.name!r}; " if options.name else ""
    console.print(f"{problem}benchmarks: {', '.join(names)}")
    return 1 if options.name else 0


def faults(options: argparse.Namespace, _: Console) -> int:
    """Run the fault suite."""
    return _exec(sys.executable, "-m", "tests.faults", *options.rest)


def corpus(options: argparse.Namespace, _: Console) -> int:
    """Process the rasters of a folder."""
    return _exec(sys.executable, "-m", "local.corpus", *options.rest)


def _exec(program: str, *arguments: str) -> NoReturn:
    """Replace this process, so that the program gets the signals and sets the exit code."""
    sys.stdout.flush()
    os.environ["PYTHONPATH"] = str(ROOT)
    os.execvp(program, [program, *arguments])


def _require_running(stack: Stack) -> Environment:
    """The environment of a running stack. Raises LocalError naming the services that are down."""
    environment = stack.environment()
    dead = [part.name for part in stack.status() if part.identity is None]
    if dead:
        raise LocalError(f"not running: {', '.join(dead)}", hint="run ./dev up")
    return environment


def _client_variables(environment: Environment) -> Mapping[str, str]:
    return {"GEOLATHE_URL": environment.api, "GEOLATHE_KEY": environment.keys.function_key}


def _print_error(error: LocalError, console: Console, message: str) -> int:
    """Print the end of the log first, so that the message and the hint are the last lines."""
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
    except BrokenPipeError:  # the reader of `./dev logs | head` has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
