"""An emulator of the Azure Functions host for a Python v2 function_app.py.

It runs HTTP, Service Bus queue and timer triggers with the converters of the azure-functions SDK,
or with Microsoft's worker runtime (LOCAL_HOST_INVOKER=runtime, Python 3.13). Other triggers and
bindings, topics and sessions are rejected at start-up. Differences from Azure: retry policies are
ignored, a timer run that was missed is not made up for, nothing scales, and a function that runs
longer than functionTimeout ends the whole host.
"""
