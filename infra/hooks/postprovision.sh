#!/bin/sh
# Prepares the database after `azd provision`, signed in as whoever runs azd.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd -P)
venv=$root/.azure/hooks
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --requirement "$root/requirements.txt"
cd "$root"
exec "$venv/bin/python" -m infra.hooks.database
