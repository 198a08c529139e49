"""Installs what the stack and its tests need: Python packages, PostgreSQL and npm packages."""
