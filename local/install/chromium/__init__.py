"""The browser of the tests: a headless Chromium that npm has, with the libraries it needs."""

from local.install.chromium.install import Chromium, find_chromium, install_chromium

__all__ = ["Chromium", "find_chromium", "install_chromium"]
