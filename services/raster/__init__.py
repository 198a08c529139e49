"""The pixel work. Runs in a child process only: see services/sandbox/child.py."""
