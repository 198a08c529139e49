"""A small Service Bus for one machine: queues over AMQP 1.0, spoken to by the real SDK."""
