"""The world: one adapter per file, named after the thing."""
