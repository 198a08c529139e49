"""The HTTP API: jobs, uploads, health, its OpenAPI description and the dashboard's files."""
