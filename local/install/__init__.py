"""Puts on the machine what the stack and its tests need: Python packages, PostgreSQL, npm trees."""
