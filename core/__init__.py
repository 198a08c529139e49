"""The rules: jobs, stages, tasks and how their state moves. Knows no vendor."""
