"""tests/schema.sql is the schema after all migrations.

Its diff shows what a migration changes. To regenerate it after adding one:

    UPDATE_SCHEMA=1 ./dev test tests/integration/test_schema.py
"""

import os
import re
import subprocess
from pathlib import Path

from local.install.postgres import find_postgres

SCHEMA = Path(__file__).parents[1] / "schema.sql"
HEADER = f"""\
-- The tables of schema app after all migrations, as pg_dump writes them. Functions are in
-- sql/functions. Generated: UPDATE_SCHEMA=1 ./dev test tests/integration/{Path(__file__).name}

"""


def test_the_schema_is_the_one_that_is_checked_in(owner_url):
    dumped = dump_tables(owner_url)
    if os.environ.get("UPDATE_SCHEMA"):
        SCHEMA.write_text(dumped)
    assert SCHEMA.read_text() == dumped


def dump_tables(database_url: str) -> str:
    """Tables, indexes, constraints and triggers; without what differs between pg_dump versions."""
    postgres = find_postgres()
    assert postgres is not None
    dump = subprocess.run(
        [postgres.program("pg_dump"), "--schema-only", "--no-owner", "--no-privileges",
         "--table=app.*", database_url],
        capture_output=True, text=True, check=True, env={**os.environ, **postgres.env},
    ).stdout  # fmt: skip
    lines = [line for line in dump.splitlines() if not re.match(r"--|SET |SELECT pg_cat|\\", line)]
    return HEADER + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"
