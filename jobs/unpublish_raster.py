"""unpublish_raster: take a raster off the map again. Its source stays."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from core.job import JobBase, stage
from core.models import Json
from core.ports import Ports
from services.stac.model import StacId
from services.unpublish_item import CogVersion, Unpublished, UnpublishItem, cogs_of


class Parameters(BaseModel):
    """What unpublish_raster takes."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    item_id: StacId = Field(description="the STAC item")
    collection_id: StacId | None = Field(None, description="the STAC collection it is in")
    remove_empty_collection: bool = Field(
        False, strict=True, description="remove the collection, too, when nothing is left in it"
    )


class Submission(Parameters):
    """The parameters, completed with what stood there when the job was submitted."""

    collection_id: StacId
    removals: int
    """How many items were unpublished from the collection before."""
    updated: str | None
    cogs: tuple[CogVersion, ...]


class UnpublishRaster(JobBase):
    """Removes an item, the COGs that only it showed and, on request, the emptied collection."""

    job_type = "unpublish_raster"
    description = "Remove a STAC item and its COGs; the source raster stays"
    parameters = Parameters
    example: ClassVar[Json] = {"item_id": "dctest-3f2a9c01", "remove_empty_collection": True}

    def prepare(self, params: Parameters, ports: Ports) -> Submission:
        """An item that was published again since is another one, so that is another job."""
        collection_id = params.collection_id or ports.deployment.default_collection
        item = ports.catalog.get_item(collection_id, params.item_id)
        known = params.model_dump() | {
            "collection_id": collection_id,
            "removals": ports.catalog.removals(collection_id),
            "updated": item and item["properties"].get("updated", ""),
            "cogs": cogs_of(item, ports) if item else (),
        }
        return Submission.model_validate(known)

    @stage("unpublish_item")
    def unpublish(self, params: Submission) -> list[UnpublishItem]:
        return [UnpublishItem.model_validate(params.model_dump())]

    def finalize(self, params: Submission, unpublish: list[Unpublished]) -> Json:
        [done] = unpublish
        name = {"item_id": params.item_id, "collection_id": params.collection_id}
        return {"job_type": self.job_type, **name, **done.model_dump(mode="json")}
