"""Job types: what can be submitted, with which parameters."""

import azure.functions as func

from core.job import JobBase, Stage
from core.registry import Registry
from triggers.http import bodies
from triggers.http.payloads import respond
from triggers.http.route import Reply, Routes, route
from triggers.http.schemas import describe_input


class JobTypes(Routes):
    """The job type route over a registry."""

    tag = "jobs"

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    @route(
        "GET",
        "job-types",
        "List the job types with their stages, parameters and results",
        {200: Reply("All job types", (bodies.JobTypeList,))},
        problems=(422, 503),
    )
    def list_job_types(self, req: func.HttpRequest) -> func.HttpResponse:
        described = [_describe(job) for job in self.registry.jobs.values()]
        return respond(bodies.JobTypeList(job_types=described))


def _describe(job: JobBase) -> bodies.JobType:
    return bodies.JobType(
        job_type=job.job_type,
        description=job.description,
        version=job.version,
        stages=[_describe_stage(stage) for stage in job.stages],
        parameters=describe_input(job.parameters),
        result=job.result_model().model_json_schema(mode="serialization"),
        example=job.example,
    )


def _describe_stage(stage: Stage) -> bodies.StageType:
    return bodies.StageType(
        number=stage.number,
        name=stage.name,
        task_type=stage.task_type,
        description=stage.description,
        parallelism=stage.parallelism,
    )
