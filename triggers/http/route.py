"""Routes, declared once: Azure's HTTP triggers, OpenAPI and the 405 responses derive from them."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, Literal, TypeVar

import azure.functions as func
from pydantic import BaseModel

from core.errors import GeolatheError
from core.models import Json
from core.telemetry import operation
from triggers.http.correlation import HEADER, correlate, get_correlation_id, read_traceparent
from triggers.http.parameters import Parameter, refuse_unknown
from triggers.http.problems import build_problem

HttpMethod = Literal["GET", "POST", "DELETE"]
Endpoint = Callable[[func.HttpRequest], func.HttpResponse | Awaitable[func.HttpResponse]]
Declared = TypeVar("Declared", bound=Callable[..., Any])


@dataclass(frozen=True)
class Reply:
    """A response that is not a problem. Several models are alternatives; none means no body."""

    description: str
    models: tuple[type[BaseModel], ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestBody:
    """The JSON that a request carries. Without a model it is the parameters of a job type."""

    model: type[BaseModel] | None
    example: Json | None = None


@dataclass(frozen=True)
class Route:
    """One path and method, with everything that a client can send and receive.

    A route that may answer 422 refuses query parameters that it does not declare. A route without
    replies is served but left out of OpenAPI. One with a `{job_type}` in its path is described
    once for every job type.
    """

    name: str
    method: HttpMethod | None
    path: str
    summary: str
    replies: dict[int, Reply]
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: RequestBody | None = None
    anonymous: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """A GET route also answers HEAD. Empty for a route that accepts every method."""
        if self.method is None:
            return ()
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    def matches(self, path: str) -> bool:
        """Whether a path below /api is one of this route's. Letter case does not count."""
        pattern = re.sub(r"/\\{\\\*\w+\\}", "(/.*)?", re.escape(self.path))
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", pattern)
        return re.fullmatch(pattern, path.strip("/"), re.I) is not None

    def check_query(self, req: func.HttpRequest) -> None:
        """Raises InvalidRequest for a query parameter that the route does not declare."""
        if 422 in self.problems:
            refuse_unknown(req, [each.name for each in self.parameters if each.where == "query"])


class Routes:
    """Routes that share what they use. Subclasses are given it and declare methods with `route`."""

    tag: ClassVar[str] = ""
    problem_types: ClassVar[dict[type[GeolatheError], str]] = {}
    """Types of problems that a standard defines, instead of our own."""

    def refuse(self, error: GeolatheError) -> func.HttpResponse:
        """The problem response for an error."""
        return build_problem(error, self.problem_types.get(type(error)))

    @classmethod
    def declared(cls) -> list[Route]:
        """The routes in the order of their declaration."""
        return [each.route for each in vars(cls).values() if hasattr(each, "route")]


def route(
    method: HttpMethod | None,
    path: str,
    summary: str = "",
    replies: dict[int, Reply] | None = None,
    *,
    problems: tuple[int, ...] = (),
    parameters: tuple[Parameter, ...] = (),
    body: RequestBody | None = None,
    anonymous: bool = False,
) -> Callable[[Declared], Declared]:
    """Declare a method as the route of a path below /api. The Azure function has its name."""

    def declare(function: Declared) -> Declared:
        function.__dict__["route"] = Route(
            name=function.__name__,
            method=method,
            path=path,
            summary=summary,
            replies=replies or {},
            problems=problems,
            parameters=parameters,
            body=body,
            anonymous=anonymous,
        )
        return function

    return declare


def register(groups: Iterable[Routes]) -> func.Blueprint:
    """An HTTP trigger for every route."""
    bp = func.Blueprint()
    for group in groups:
        for each in group.declared():
            level = func.AuthLevel.ANONYMOUS if each.anonymous else func.AuthLevel.FUNCTION
            bp.route(each.path, methods=each.methods or None, auth_level=level)(
                _complete(group, each)
            )
    return bp


def _complete(group: Routes, declared: Route) -> Endpoint:
    """The endpoint with what all routes share: checks, problems and the correlation id."""
    endpoint: Any = getattr(group, declared.name)

    @wraps(endpoint)
    def respond(req: func.HttpRequest) -> func.HttpResponse:
        with correlate(req), _traced(declared, req):
            try:
                declared.check_query(req)
                return _add_correlation_id(endpoint(req))
            except GeolatheError as error:
                return _add_correlation_id(group.refuse(error))

    @wraps(endpoint)
    async def respond_async(req: func.HttpRequest) -> func.HttpResponse:
        with correlate(req), _traced(declared, req):
            try:
                declared.check_query(req)
                return _add_correlation_id(await endpoint(req))
            except GeolatheError as error:
                return _add_correlation_id(group.refuse(error))

    return respond_async if inspect.iscoroutinefunction(endpoint) else respond


def _traced(declared: Route, req: func.HttpRequest) -> AbstractContextManager[None]:
    """The request as a span, in the trace of the caller if there is one."""
    name = f"{req.method} /api/{declared.path}"
    parent = read_traceparent(req)
    return operation(name, "server", parent, correlation_id=get_correlation_id())


def _add_correlation_id(response: func.HttpResponse) -> func.HttpResponse:
    response.headers[HEADER] = get_correlation_id()
    return response
