"""The local stack: where everything is, and what starts and stops in which order."""
