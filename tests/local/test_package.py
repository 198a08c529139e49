"""The package of the function app: the files that .funcignore leaves in, and what they import."""

import subprocess
from pathlib import Path

from local.emulators.azurite import connection_string
from local.stack.environment import ROOT
from tests.local.test_images import copy_files, install

# What triggers and settings need to be imported; nothing is connected to.
SETTINGS = {
    "DATABASE_URL": "postgresql://app:x@127.0.0.1:1/geolathe",
    "SERVICEBUS_CONNECTION": "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=x;SharedAccessKey=eA==",
    "STORAGE_CONNECTION": connection_string(1),
    "TITILER_URL": "http://127.0.0.1:1",
    "STAC_URL": "http://127.0.0.1:1",
}
LIST_FUNCTIONS = """
import function_app
print(*(function.get_function_name() for function in function_app.app.get_functions()))
"""


def deployed() -> list[str]:
    """The tracked files that .funcignore, which has the syntax of .gitignore, leaves in."""
    tracked = git("ls-files")
    return sorted(tracked - git("ls-files", "--cached", "--ignored", "--exclude-from=.funcignore"))


def git(*arguments: str) -> set[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def test_package_has_the_product_and_nothing_else():
    assert {path.split("/")[0] for path in deployed()} == {
        ".funcignore", "LICENSE", "config", "core", "function_app.py", "host.json",
        "infrastructure", "jobs", "requirements.txt", "services", "sql", "triggers",
    }  # fmt: skip


def test_functions_are_found_with_the_files_of_the_package_alone(tmp_path: Path):
    package = tmp_path / "package"
    copy_files(deployed(), package)
    python = install(package / "requirements.txt", tmp_path / "venv")
    found = subprocess.run(
        [python, "-c", LIST_FUNCTIONS],
        cwd=package,
        env=SETTINGS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert {"process_job", "process_task", "process_quick_tasks", "sweep", "submit_job"} <= set(
        found.stdout.split()
    )
