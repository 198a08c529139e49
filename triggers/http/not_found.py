"""Requests that match no route: 404, or 405 with the methods that the path supports."""

from collections.abc import Sequence

import azure.functions as func

from core.errors import MethodNotAllowed, RouteNotFound
from triggers.http.problems import build_problem
from triggers.http.route import Route, Routes, route


class NotFound(Routes):
    """The route that matches every path.

    Azure tries routes in the order of their functions' names, not by how specific they are
    (https://github.com/Azure/azure-functions-host/issues/9876), so its name must sort last.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes

    @route(None, "{*path}")
    def unknown_route(self, req: func.HttpRequest) -> func.HttpResponse:
        path = req.route_params.get("path", "").strip("/")
        matching = [each for each in self.routes if each.matches(path)]
        shown = f"/{path[:200]}"
        if not matching:
            raise RouteNotFound(f"no route matches {shown!r}; /api/docs lists all routes")
        allowed = ", ".join(sorted({method for each in matching for method in each.methods}))
        error = MethodNotAllowed(f"{shown!r} supports {allowed}, not {req.method}")
        response = build_problem(error)
        response.headers["Allow"] = allowed
        return response
