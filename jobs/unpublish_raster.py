"""unpublish_raster: remove a STAC item and its COGs. The source raster stays."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from core.job import JobBase, stage
from core.models import Json
from core.ports import Ports
from services.stac.model import StacId
from services.unpublish_item import (
    CogVersion,
    Unpublished,
    UnpublishItem,
    cogs_of,
    unpublish_item,
)


class Parameters(BaseModel):
    """The parameters of unpublish_raster."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    item_id: StacId = Field(description="the STAC item")
    collection_id: StacId | None = Field(None, description="the STAC collection it is in")
    remove_empty_collection: bool = Field(
        False, strict=True, description="remove the collection as well if it is then empty"
    )


class Submission(Parameters):
    """The parameters, with the state of the item at the time of submission."""

    collection_id: StacId
    removals: int
    """How many items were removed from the collection before."""
    updated: str | None
    cogs: tuple[CogVersion, ...]


class Result(Unpublished):
    """The result of unpublish_raster."""

    job_type: str
    item_id: str
    collection_id: str


class UnpublishRaster(JobBase):
    """Removes an item, the COGs that only it references and, on request, the empty collection."""

    job_type = "unpublish_raster"
    description = "Remove a STAC item and its COGs; the source raster stays"
    parameters = Parameters
    example: ClassVar[Json] = {"item_id": "dctest-3f2a9c01", "remove_empty_collection": True}

    def prepare(self, params: Parameters, ports: Ports) -> Submission:
        """Include the item's last update: unpublishing a newer version of it is a different job."""
        collection_id = params.collection_id or ports.deployment.default_collection
        item = ports.catalog.get_item(collection_id, params.item_id)
        known = params.model_dump() | {
            "collection_id": collection_id,
            "removals": ports.catalog.removals(collection_id),
            "updated": item and item["properties"].get("updated", ""),
            "cogs": cogs_of(item, ports) if item else (),
        }
        return Submission.model_validate(known)

    @stage(unpublish_item)
    def unpublish(self, params: Submission) -> UnpublishItem:
        return UnpublishItem.model_validate(params.model_dump())

    def finalize(self, params: Submission, unpublish: list[Unpublished]) -> Result:
        [done] = unpublish
        return Result(
            job_type=self.job_type,
            item_id=params.item_id,
            collection_id=params.collection_id,
            **dict(done),
        )
