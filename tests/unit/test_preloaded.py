"""The fork server has the modules of all functions that children run."""

import re
import subprocess
import sys
from pathlib import Path

from services.sandbox.child import _PRELOADED

SERVICES = Path(__file__).parents[2] / "services"


def test_every_module_with_a_function_for_children_is_preloaded():
    """A child that imports such a module spends more time on it than on small rasters."""
    loading = {
        ".".join(("services", *path.relative_to(SERVICES).with_suffix("").parts))
        for path in SERVICES.rglob("*.py")
        if re.search(r"^def load_\w+\(\) -> child\.Function", path.read_text(), re.MULTILINE)
    }
    assert len(loading) > 5
    code = f"import sys, {', '.join(_PRELOADED)}; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert loading <= set(imported.split())
