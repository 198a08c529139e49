"""A receiver of OpenTelemetry's protocol over HTTP. It keeps spans for a day.

https://opentelemetry.io/docs/specs/otlp/
"""
