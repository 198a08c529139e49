"""The doors: HTTP, Service Bus queues, dead-letter queues and timers."""
