"""What can be submitted: every job with its stages, its parameters' schema and an example."""

import azure.functions as func

from core.machine import CoreMachine
from triggers.answers import answering_errors, json_answer


def blueprint(machine: CoreMachine) -> func.Blueprint:
    """The job type routes over a machine."""
    bp = func.Blueprint()

    @bp.route("job-types", methods=["GET"])
    @answering_errors
    def job_types(req: func.HttpRequest) -> func.HttpResponse:
        types = [
            {
                "job_type": job.job_type,
                "description": job.description,
                "version": job.version,
                "stages": [{"name": s.name, "task_type": s.task_type} for s in job.stages],
                "parameters": job.parameters.model_json_schema(),
                "example": job.example,
            }
            for job in machine.registry.jobs.values()
        ]
        return json_answer({"job_types": types})

    return bp
