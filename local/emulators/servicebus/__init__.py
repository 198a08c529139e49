"""An emulator of Azure Service Bus queues over AMQP 1.0, used through the Azure SDK.

Topics, message sessions, transactions, forwarding and TLS are not supported, nor is the HTTP
administration API, whose client in the SDK requires https.
"""
