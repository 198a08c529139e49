"""A small Service Bus for one machine: queues over AMQP 1.0, spoken to by the real SDK.

Queues only: no topics, message sessions, transactions, forwarding or TLS. The HTTP administration
API is missing too, for the SDK's client insists on https; a queue's depth is read by peeking.
"""
