"""Addresses that nobody serves and methods that an address does not take, answered in words."""

import re
from collections.abc import Iterable
from functools import cache

import azure.functions as func

from core.errors import MethodNotAllowed, RouteNotFound
from core.job import JobBase
from triggers.http.openapi import describe_api
from triggers.http.problems import problem


def blueprint(jobs: Iterable[JobBase]) -> func.Blueprint:
    """The route that takes what no other takes.

    Azure looks for a route in the order of the functions' names, whatever the routes say:
    https://github.com/Azure/azure-functions-host/issues/9876. So this name must come last.
    """
    bp = func.Blueprint()
    routes = cache(lambda: list(_routes(jobs)))

    @bp.route("{*path}")
    def unknown_route(req: func.HttpRequest) -> func.HttpResponse:
        path = "/" + req.route_params.get("path", "").strip("/")
        taken = {
            method for route, methods in routes() if route.fullmatch(path) for method in methods
        }
        if not taken:
            return problem(RouteNotFound(f"no route matches {path[:200]!r}: see /api/docs"))
        allowed = ", ".join(sorted(taken))
        answer = problem(MethodNotAllowed(f"{path[:200]!r} allows {allowed}, not {req.method}"))
        answer.headers["Allow"] = allowed
        return answer

    return bp


def _routes(jobs: Iterable[JobBase]) -> Iterable[tuple[re.Pattern[str], set[str]]]:
    """Every described path with its methods; whatever can be got has a head."""
    for path, operations in describe_api(jobs)["paths"].items():
        methods = {name.upper() for name in operations}
        head = {"HEAD"} if "GET" in methods else set()
        yield re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), re.I), methods | head
