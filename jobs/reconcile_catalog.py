"""reconcile_catalog: compare storage, the registry of outputs and the STAC catalogue."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.job import JobBase, stage
from core.models import BlobRef, ContainerName, Json, Record
from core.ports import Ports
from services.list_folders import Folders, ListFolders, list_folders
from services.reconcile_folder import (
    MAX_EXAMPLES,
    Disagreement,
    Finding,
    Reconciled,
    ReconcileFolder,
    reconcile_folder,
)


def _folder(value: str) -> str:
    folder = value.strip("/")
    BlobRef(container="any", name=folder)
    return folder


class Parameters(BaseModel):
    """The parameters of reconcile_catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    apply: bool = Field(
        False, strict=True, description="repair what does not agree; by default it is reported only"
    )
    folder: Annotated[str, AfterValidator(_folder)] | None = Field(
        None, description="the only folder of the silver container to compare"
    )


class Submission(Parameters):
    """The parameters, with the time: each submission is a job of its own."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    container: ContainerName
    requested_at: datetime


class Result(Record):
    """The result of reconcile_catalog."""

    job_type: str
    applied: bool
    folders: int
    blobs: int
    outputs: int = Field(description="live rows of the registry")
    disagreements: dict[Disagreement, int]
    examples: list[Finding]


class ReconcileCatalog(JobBase):
    """Finds COGs and rows that do not belong together, folder by folder."""

    job_type = "reconcile_catalog"
    description = "Compare storage, the registry of outputs and the catalogue; repair on request"
    parameters = Parameters
    example: ClassVar[Json] = {"apply": False}

    def prepare(self, params: Parameters, ports: Ports) -> Submission:
        known = {
            "container": ports.deployment.silver_container,
            "requested_at": datetime.now(UTC),
        }
        return Submission.model_validate(params.model_dump() | known)

    @stage(list_folders)
    def folders(self, params: Submission) -> ListFolders:
        return ListFolders(container=params.container, folder=params.folder)

    @stage(reconcile_folder)
    def compare(self, params: Submission, folders: list[Folders]) -> list[ReconcileFolder]:
        return [
            ReconcileFolder(container=params.container, prefix=prefix, apply=params.apply)
            for listed in folders
            for prefix in listed.prefixes
        ]

    def finalize(self, params: Submission, compare: list[Reconciled]) -> Result:
        kinds: Counter[Disagreement] = Counter()
        for part in compare:
            kinds.update(part.disagreements)
        examples = [example for part in compare for example in part.examples]
        return Result(
            job_type=self.job_type,
            applied=params.apply,
            folders=len(compare),
            blobs=sum(part.blobs for part in compare),
            outputs=sum(part.outputs for part in compare),
            disagreements=dict(kinds),
            examples=examples[:MAX_EXAMPLES],
        )
