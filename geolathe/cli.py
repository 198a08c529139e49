"""The command `geolathe`: submit, watch, jobs, show, cancel, retry, types."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from geolathe import display
from geolathe.client import Client
from geolathe.errors import Error, Refused, Unreachable, as_json
from geolathe.job import Job
from geolathe.sending import find_sidecars

EXIT_CODES = {"completed": 0, "failed": 1, "cancelled": 4, "completed_with_errors": 5}
REFUSED, UNREACHABLE, INTERRUPTED, NO_READER, OTHER = 3, 6, 130, 141, 1
EPILOG = """GEOLATHE_URL names the API, such as https://name.azurewebsites.net/api; GEOLATHE_KEY
is its function key. Exit codes: 0 completed, 1 failed, 2 wrong usage, 3 refused by the API,
4 cancelled, 5 completed with errors, 6 the API does not answer, 130 interrupted, 141 nobody
reads the output."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(options)
        print(end="", flush=True)
    except BrokenPipeError:
        _let_go_of_output()
        return NO_READER
    except OSError as error:
        _let_go_of_output()
        return _sorry(options, Error(f"cannot write: {error.strerror}"), OTHER)
    return code


def _run(options: argparse.Namespace) -> int:
    """The command's exit code, with what went wrong told."""
    try:
        with Client(options.url, options.key) as client:
            run: Callable[..., int] = options.run
            return run(client, options, display.terminal(stderr=options.json))
    except Refused as error:
        return _sorry(options, error, REFUSED)
    except Unreachable as error:
        return _sorry(options, error, UNREACHABLE)
    except Error as error:
        return _sorry(options, error, OTHER)
    except KeyboardInterrupt:
        return _sorry(options, Error("interrupted; a job goes on without us"), INTERRUPTED)


def submit(client: Client, options: argparse.Namespace, console: Console) -> int:
    """Upload a raster when one is named, start the job, follow it."""
    words = list(options.words)
    file = Path(words.pop(0)) if words and _is_file(words[0]) else None
    parameters = parse_parameters(words)
    if file is not None:
        for sidecar in find_sidecars(file) if file.is_file() else ():
            display.upload(client, sidecar, None, console)
        parameters = display.upload(client, file, None, console) | parameters
    job = client.submit(options.type, parameters)
    display.say(console, f"job {job.id}" + ("" if job.is_new else " (known already)"))
    if options.no_wait:
        return _tell(job, options, console, code=0)
    return _tell(display.follow(job, console), options, console)


def watch(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = _find(client, options.job)
    return _tell(display.follow(job, console), options, console)


def jobs(client: Client, options: argparse.Namespace, console: Console) -> int:
    found = list(itertools.islice(client.jobs(options.status, options.type), options.limit))
    if options.json:
        _print_json([job.data for job in found])
    else:
        console.print(display.job_table(found))
    return 0


def show(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = _find(client, options.job)
    if options.json:
        _print_json(job.data)
    else:
        console.print(display.job_page(job), soft_wrap=True)
    return 0


def cancel(client: Client, options: argparse.Namespace, console: Console) -> int:
    return _tell(_find(client, options.job).cancel(), options, console, code=0)


def retry(client: Client, options: argparse.Namespace, console: Console) -> int:
    job = _find(client, options.job).retry()
    if options.no_wait:
        return _tell(job, options, console, code=0)
    return _tell(display.follow(job, console), options, console)


def types(client: Client, options: argparse.Namespace, console: Console) -> int:
    found = client.types()
    if options.json:
        _print_json(found)
    else:
        console.print(display.type_table(found))
    return 0


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs; a value that reads as JSON is that, any other is text."""
    parameters: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise Error(f"{word!r} is not key=value, such as output_tier=visualization")
        if key in parameters:
            raise Error(f"{key} is given twice")
        parameters[key] = _value(value)
    return parameters


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return text
    return value


def _is_file(word: str) -> bool:
    """A word with = in it is a parameter, unless there is a file of that name."""
    return "=" not in word or Path(word).is_file()


def _find(client: Client, name: str) -> Job:
    """The job of an id, or of the beginning of one among the newest thousand."""
    if len(name) >= 64:
        return client.show(name)
    newest = itertools.islice(client.jobs(), 1000)
    found = [job for job in newest if job.id.startswith(name)]
    if len(found) != 1:
        many = (
            f"{len(found)} of the newest jobs begin" if found else "no job among the newest begins"
        )
        raise Error(f"{many} with {name!r}: give more of the id")
    return client.show(found[0].id)


def _tell(job: Job, options: argparse.Namespace, console: Console, code: int | None = None) -> int:
    """Print how a job stands. Returns the exit code of its outcome."""
    if options.json:
        _print_json(job.data)
    else:
        console.print(display.outcome(job), soft_wrap=True)
    return EXIT_CODES.get(job.status, 0) if code is None else code


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _sorry(options: argparse.Namespace, error: Error, code: int) -> int:
    """Tell what went wrong: people on stderr, programs that asked for JSON on stdout, too."""
    display.say(display.terminal(stderr=True), f"geolathe: {error}")
    if options.json:
        _print_json({"error": as_json(error)})
    return code


def _let_go_of_output() -> None:
    """Nothing can be written there any more, also not when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", help="print JSON, and nothing else, also of an error"
    )
    common.add_argument("--url", help="the API (GEOLATHE_URL)")
    common.add_argument("--key", help="its function key (GEOLATHE_KEY)")
    parser = argparse.ArgumentParser(
        prog="geolathe", description="Rasters become maps.", epilog=EPILOG
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__, parents=[common], help=text, description=text)
        command.set_defaults(run=run)
        return command

    command = add(submit, "upload a raster with its sidecars, start a job, follow it")
    command.add_argument("words", nargs="*", metavar="[FILE] key=value", help="job parameters")
    command.add_argument("--type", default="process_raster", help="the job type")
    command.add_argument("--no-wait", action="store_true", help="do not follow the job")
    command = add(jobs, "list jobs, newest first")
    command.add_argument("--status", help="of one status or several, with commas")
    command.add_argument("--type", help="of one type")
    command.add_argument("--limit", type=_count, default=20, help="how many at most (20)")
    for run, text in (
        (watch, "follow a job to its end"),
        (show, "a job with its parameters, stages and failed tasks"),
        (cancel, "stop a job at once and remove what it made"),
        (retry, "run what failed again, and follow it"),
    ):
        command = add(run, text)
        command.add_argument("job", help="its id, or the beginning of it")
        if run is retry:
            command.add_argument("--no-wait", action="store_true", help="do not follow the job")
    add(types, "what can be submitted")
    return parser
