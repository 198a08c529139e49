"""The smoke script of a deployment, unchanged, against the running product."""

import os
import subprocess
import sys

from local.stack.environment import ROOT


def smoke(product, **changes: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "GEOLATHE_URL": product.environment.api,
        "GEOLATHE_KEY": product.environment.keys.function_key,
    }
    return subprocess.run(
        [sys.executable, "-m", "infra.hooks.smoke"],
        env={**os.environ, **settings, **changes},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_smoke_script_passes(product):
    done = smoke(product)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "process_raster: completed" in lines
    assert "preview_url: opens" in lines
    assert lines[-1].startswith(product.environment.titiler)


def test_smoke_script_reports_a_wrong_key(product):
    done = smoke(product, GEOLATHE_KEY="wrong")
    assert done.returncode == 1
    assert "smoke test failed" in done.stderr and "401" in done.stderr
