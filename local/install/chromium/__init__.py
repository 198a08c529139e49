"""The browser of the tests: a headless Chromium from npm, with its libraries."""

from local.install.chromium.install import Chromium, find_chromium, install_chromium

__all__ = ["Chromium", "find_chromium", "install_chromium"]
