"""Create the database roles of the deployed identities, migrate, and grant: a hook of azd.

Reads the outputs of main.bicep from the environment, where azd puts them. Runs as the
administrator of the server, and may be repeated.
"""

import os
from urllib.parse import quote

import psycopg

from infrastructure.database import connect
from infrastructure.migrate import migrate


def prepare(server_url: str, database: str, app: str, readers: list[str]) -> list[str]:
    """Bring a server to this release. Returns the names of the migrations that ran.

    `server_url` ends before the name of the database. `app` is the role of the function app,
    `readers` are those of the tile server and the STAC API.
    """
    with connect(f"{server_url}/postgres") as conn:
        for name in (app, *readers):
            create_principal(conn, name)
    return migrate(f"{server_url}/{database}", grant_to=[app], grant_read_to=readers)


def create_principal(conn: psycopg.Connection, name: str) -> None:
    """Create the role of a managed identity, neither administrator nor with multi-factor sign-in.

    The function exists in the database `postgres` of an Azure server only:
    https://learn.microsoft.com/azure/postgresql/security/security-manage-entra-users
    """
    if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
        conn.execute("SELECT * FROM pgaadauth_create_principal(%s, false, false)", (name,))


def main() -> None:
    administrator = quote(os.environ["DATABASE_ADMINISTRATOR"], safe="")
    applied = prepare(
        f"postgresql://{administrator}@{os.environ['DATABASE_HOST']}:5432",
        os.environ["DATABASE_NAME"],
        os.environ["API_ROLE"],
        [os.environ["TILES_ROLE"], os.environ["STAC_ROLE"]],
    )
    for name in applied:
        print(f"applied {name}")
    print("the database is up to date")


if __name__ == "__main__":
    main()
