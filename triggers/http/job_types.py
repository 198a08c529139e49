"""What can be submitted: every job with its stages, its parameters' schema and an example."""

import azure.functions as func

from core.job import JobBase
from core.registry import Registry
from triggers.http.answers import READ, answering_errors, json_answer
from triggers.http.bodies import JobType, JobTypeList, StageName


def blueprint(registry: Registry) -> func.Blueprint:
    """The job type routes over a registry."""
    bp = func.Blueprint()

    @bp.route("job-types", methods=READ)
    @answering_errors
    def job_types(req: func.HttpRequest) -> func.HttpResponse:
        jobs = registry.jobs.values()
        return json_answer(JobTypeList(job_types=[_describe(job) for job in jobs]))

    return bp


def _describe(job: JobBase) -> JobType:
    return JobType(
        job_type=job.job_type,
        description=job.description,
        version=job.version,
        stages=[StageName(name=stage.name, task_type=stage.task_type) for stage in job.stages],
        parameters=job.parameters.model_json_schema(),
        example=job.example,
    )
