"""How the work is done: one file per handler."""
