"""Triggers: the HTTP API, OGC API - Processes, Service Bus queues and timers."""
