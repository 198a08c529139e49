"""Converts received Service Bus messages as the extension does for a worker.

The metadata are those of the extension's binding contract (ServiceBusTriggerBindingStrategy, 5.x).
It does not include TimeToLive and DeadLetterReason; the broker puts the reason of a dead letter
into its application properties.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from local.emulators.functions.invoke import Datum

Metadata = dict[str, Datum]


def one(message: ServiceBusReceivedMessage, *, binary: bool) -> tuple[Datum, Metadata]:
    """Convert the input of a function for single messages."""
    body = _body(message, binary)
    properties = Datum(json.dumps(_properties(message), default=str), "json")
    metadata = {
        name: Datum(value, "int" if isinstance(value, int) else "string")
        for name, value in _facts(message).items()
        if value is not None
    }
    metadata |= {"ApplicationProperties": properties, "UserProperties": properties}
    return Datum(body, "bytes" if binary else "string"), metadata


def many(messages: Sequence[ServiceBusReceivedMessage], *, binary: bool) -> tuple[Datum, Metadata]:
    """Convert the input of a function for batches: bodies and metadata in parallel arrays.

    As in Azure, empty texts are left out while their metadata stay: the host includes them only
    for workers with the capability IncludeEmptyEntriesInMessagePayload, which the Python worker
    does not declare. The SDK fails on the arrays of different lengths, and the whole batch is
    abandoned. Binary bodies are never left out (RpcMessageConversionExtensions of the host).
    """
    bodies = [_body(message, binary) for message in messages]
    facts = [_facts(message) for message in messages]
    metadata = {f"{name}Array": _collection([fact[name] for fact in facts]) for name in facts[0]}
    properties = [_properties(message) for message in messages]
    metadata["ApplicationPropertiesArray"] = _collection(properties)
    metadata["UserPropertiesArray"] = Datum(json.dumps(properties, default=str), "json")
    if binary:
        return Datum(SimpleNamespace(bytes=bodies), "collection_bytes"), metadata
    return Datum(SimpleNamespace(string=list(filter(None, bodies))), "collection_string"), metadata


def _collection(values: list[Any]) -> Datum:
    """An array that the SDK can index; it would parse a JSON array again for each element."""
    return Datum(SimpleNamespace(string=values), "collection_string")


def _body(message: ServiceBusReceivedMessage, binary: bool) -> bytes | str:
    if message.body_type == AmqpMessageBodyType.DATA:
        raw = b"".join(message.body)
        return raw if binary else raw.decode(errors="replace")
    return str(message).encode() if binary else str(message)


def _facts(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    return {
        "MessageId": message.message_id,
        "SequenceNumber": message.sequence_number,
        # .NET includes the present delivery; the AMQP header counts only earlier ones.
        "DeliveryCount": (message.delivery_count or 0) + 1,
        "EnqueuedTimeUtc": _time(message.enqueued_time_utc),
        "ExpiresAtUtc": _time(message.expires_at_utc),
        "LockToken": str(message.lock_token),
        "CorrelationId": message.correlation_id,
        "ContentType": message.content_type,
        "Subject": message.subject,
        "Label": message.subject,
        "To": message.to,
        "ReplyTo": message.reply_to,
        "ReplyToSessionId": message.reply_to_session_id,
        "SessionId": message.session_id,
        "PartitionKey": message.partition_key,
        "DeadLetterSource": message.dead_letter_source,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _properties(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    properties = message.application_properties or {}
    return {str(_text(key)): _text(value) for key, value in properties.items()}


def _text(value: object) -> object:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
