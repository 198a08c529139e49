"""The HTTP API as a whole: its groups of routes, and what derives from all of them."""

from collections.abc import Sequence

import azure.functions as func

from core.job import JobBase
from core.models import Json
from triggers.http.health import Health
from triggers.http.history import History
from triggers.http.items import Items
from triggers.http.job_types import JobTypes
from triggers.http.jobs import Jobs
from triggers.http.not_found import NotFound
from triggers.http.openapi import OpenApi, describe_api
from triggers.http.pages import Pages
from triggers.http.route import Routes, register
from triggers.http.uploads import Uploads
from triggers.ogc.processes import Processes

GROUPS: tuple[type[Routes], ...] = (
    Jobs,
    History,
    JobTypes,
    Uploads,
    Items,
    Health,
    Processes,
    Pages,
)


def blueprint(groups: Sequence[Routes], jobs: Sequence[JobBase]) -> func.Blueprint:
    """The HTTP functions of these groups, their OpenAPI document, and 404 and 405 for the rest."""
    document = OpenApi([type(group) for group in groups], jobs)
    served = [*groups, document]
    routes = [each for group in served for each in group.declared()]
    return register([*served, NotFound(routes)])


def describe(jobs: Sequence[JobBase]) -> Json:
    """The OpenAPI document of the whole API."""
    return describe_api(GROUPS, jobs)
