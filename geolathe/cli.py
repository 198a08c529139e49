"""The command `geolathe`: submit, watch, jobs, show, cancel, retry, types, get."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from geolathe import display
from geolathe.client import DEFAULT_COLLECTION, Client
from geolathe.errors import Error, Refused, Unreachable, describe
from geolathe.job import Job
from geolathe.upload import find_sidecars

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 4, "completed_with_errors": 5}
REFUSED, UNREACHABLE, INTERRUPTED, PIPE_CLOSED, OTHER = 3, 6, 130, 141, 1
EPILOG = """GEOLATHE_URL is the API's URL, such as https://name.azurewebsites.net/api, and
GEOLATHE_KEY a function key. Exit codes: 0 completed, 1 failed, 2 invalid usage, 3 rejected by
the API, 4 cancelled, 5 completed with errors, 6 API unreachable, 130 interrupted, 141 output
pipe closed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    options = build_parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(options)
        print(end="", flush=True)
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except OSError as error:
        _discard_output()
        return _report(options, Error(f"cannot write the output: {error.strerror}"), OTHER)
    return code


def _run(options: argparse.Namespace) -> int:
    """The exit code of the command; errors are printed."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with Client(options.url, options.key) as client:
            run: Callable[..., int] = options.run
            return run(client, options, display.open_console(stderr=options.json))
    except Refused as error:
        return _report(options, error, REFUSED)
    except Unreachable as error:
        return _report(options, error, UNREACHABLE)
    except Error as error:
        return _report(options, error, OTHER)
    except KeyboardInterrupt:
        return _report(options, Error(options.on_interrupt), INTERRUPTED)


def submit(client: Client, options: argparse.Namespace, console: Console) -> int:
    """Upload the file, if one is given, submit the job and follow it."""
    words = list(options.words)
    file = Path(words.pop(0)) if words and _is_file(words[0]) else None
    parameters = parse_parameters(words)
    if file is not None:
        for sidecar in find_sidecars(file) if file.is_file() else ():
            display.upload(client, sidecar, None, console)
        parameters = display.upload(client, file, None, console) | parameters
    job = client.submit(options.type, parameters, priority=options.priority)
    display.print_line(console, f"job {job.id}" + ("" if job.is_new else " (already known)"))
    if options.no_wait:
        return _print_job(job, options, console, code=0)
    return _follow(job, options, console)


def watch(client: Client, options: argparse.Namespace, console: Console) -> int:
    return _follow(_find(client, options.job), options, console)


def jobs(client: Client, options: argparse.Namespace, console: Console) -> int:
    found = list(itertools.islice(client.jobs(options.status, options.type), options.limit))
    if options.json:
        _print_json([job.data for job in found])
    else:
        console.print(display.render_jobs(found))
    return 0


def show(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = _find(client, options.job)
    if options.json:
        _print_json(job.data)
    else:
        console.print(display.render_job(job), soft_wrap=True)
    return 0


def cancel(client: Client, options: argparse.Namespace, console: Console) -> int:
    return _print_job(_find(client, options.job).cancel(), options, console, code=0)


def retry(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = _find(client, options.job).retry()
    if options.no_wait:
        return _print_job(job, options, console, code=0)
    return _follow(job, options, console)


def types(client: Client, options: argparse.Namespace, console: Console) -> int:
    found = client.types()
    if options.json:
        _print_json(found)
    else:
        console.print(display.render_types(found))
    return 0


def get(client: Client, options: argparse.Namespace, console: Console) -> int:
    item, tier, collection = options.item, options.tier, options.collection
    file = display.download(client, item, tier, collection, options.output, console)
    if options.json:
        _print_json({"file": str(file), "size": file.stat().st_size})
    else:
        display.print_line(console, f"{file} ({file.stat().st_size:,} bytes, checksum verified)")
    return 0


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` pairs. A value that is valid JSON is decoded, any other is a string."""
    parameters: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise Error(f"expected key=value, got {word!r} (example: output_tier=visualization)")
        if key in parameters:
            raise Error(f"parameter {key} is given twice")
        parameters[key] = _parse_value(value)
    return parameters


def _parse_value(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


def _is_file(word: str) -> bool:
    """Whether a word names a file: one with "=" is a parameter unless such a file exists."""
    return "=" not in word or Path(word).is_file()


def _find(client: Client, prefix: str) -> Job:
    """The job with this id, or the one of the newest thousand whose id starts with the prefix."""
    if len(prefix) >= 64:
        return client.show(prefix)
    newest = itertools.islice(client.jobs(), 1000)
    found = [job for job in newest if job.id.startswith(prefix)]
    if not found:
        raise Error(f"none of the newest 1000 jobs has an id that starts with {prefix!r}")
    if len(found) > 1:
        raise Error(f"{len(found)} jobs have an id that starts with {prefix!r}; give more digits")
    return client.show(found[0].id)


def _follow(job: Job, options: argparse.Namespace, console: Console) -> int:
    """Show the job's progress until it has ended. Returns the exit code for its status."""
    options.on_interrupt = "interrupted; the job keeps running"
    return _print_job(display.follow(job, console), options, console)


def _print_job(
    job: Job, options: argparse.Namespace, console: Console, code: int | None = None
) -> int:
    """Print a job. Returns `code`, by default the exit code for the job's status."""
    if options.json:
        _print_json(job.data)
    else:
        console.print(display.render_outcome(job), soft_wrap=True)
    return EXIT_CODES.get(job.status, 0) if code is None else code


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _report(options: argparse.Namespace, error: Error, code: int) -> int:
    """Print an error on stderr and, with --json, also as JSON on stdout. Returns `code`."""
    display.print_line(display.open_console(stderr=True), f"geolathe: {error}")
    if options.json:
        _print_json({"error": describe(error)})
    return code


def _discard_output() -> None:
    """Redirect stdout to /dev/null, so that Python's flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser with every command."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON only, errors included")
    common.add_argument("--url", help="the API's URL (default: GEOLATHE_URL)")
    common.add_argument("--key", help="the function key (default: GEOLATHE_KEY)")
    parser = argparse.ArgumentParser(
        prog="geolathe", description="Turn rasters into maps.", epilog=EPILOG
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, parents=[common], help=text, description=text)
        command.set_defaults(run=run, on_interrupt="interrupted")
        return command

    command = add(submit, "upload a raster with its sidecars, submit a job, follow it")
    command.add_argument("words", nargs="*", metavar="[FILE] key=value", help="job parameters")
    command.add_argument("--type", default="process_raster", help="the job type")
    command.add_argument(
        "--priority", choices=("low", "normal", "high"), default="normal",
        help="share of the workers while other jobs run, too (default: normal)",
    )  # fmt: skip
    command.add_argument("--no-wait", action="store_true", help="do not follow the job")
    command = add(jobs, "list jobs, newest first")
    command.add_argument("--status", help="only this status, or several separated by commas")
    command.add_argument("--type", help="only this job type")
    command.add_argument("--limit", type=_count, default=20, help="at most this many (default: 20)")
    for run, text in (
        (watch, "follow a job until it has ended"),
        (show, "show a job with its parameters, stages and failed tasks"),
        (cancel, "cancel a job and remove what it has written"),
        (retry, "run the failed tasks of a job again and follow it"),
    ):
        command = add(run, text)
        command.add_argument("job", help="a job id, or the beginning of one")
        if run is retry:
            command.add_argument("--no-wait", action="store_true", help="do not follow the job")
    add(types, "list the job types and their parameters")
    command = add(get, "download a COG of a STAC item and verify its checksum")
    command.add_argument("item", help="the id of the item")
    command.add_argument("--tier", help="visualization, analysis or archive (default: as on maps)")
    command.add_argument(
        "--collection", default=DEFAULT_COLLECTION, help=f"default: {DEFAULT_COLLECTION}"
    )
    command.add_argument("--output", type=Path, help="a file or a directory (default: .)")
    return parser
