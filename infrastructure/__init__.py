"""Adapters for the services that the product uses, one per file."""
