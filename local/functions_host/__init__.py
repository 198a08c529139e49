"""Azure Functions on one machine: what the C# host does for a Python v2 function_app.py."""
