"""Azure Functions on one machine: what the C# host does for a Python v2 function_app.py.

It serves HTTP, Service Bus queue and timer triggers through the SDK's own converters, or through
Microsoft's worker runtime (LOCAL_HOST_INVOKER=runtime, Python 3.13), and refuses at start what it
does not serve: other triggers and bindings, topics, sessions. Not as in Azure: retry policies are
ignored, a timer's missed run is not made up for, nothing scales, and a worker that runs too long
takes the whole host with it.
"""
