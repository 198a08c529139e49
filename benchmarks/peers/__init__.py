"""Other engines with the same fan-out and fan-in, and pgbench: see benchmarks/engine.py.

`with_NAME.py` runs with the Python of an environment that has requirements.txt, as
`python -m peers.with_NAME DATABASE_URL TASKS WORKERS --jobs JOBS`, and prints one line of JSON.
"""
