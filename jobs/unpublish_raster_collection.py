"""unpublish_raster_collection: remove a collection with all that it shows. The sources stay."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from core.errors import FieldError, InvalidRequest
from core.job import JobBase, stage
from core.models import Json, Record
from core.ports import Ports
from core.results import Results
from services.list_items import ItemRanges, ListItems, list_items
from services.remove_collection import RemoveCollection, RemovedCollection, remove_collection
from services.stac.model import StacId
from services.unpublish_item import ItemOutcome
from services.unpublish_items import UnpublishedItems, UnpublishItems, unpublish_items


class Parameters(BaseModel):
    """The parameters of unpublish_raster_collection."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    collection_id: StacId = Field(description="the STAC collection to remove, with all its items")


class Result(Record):
    """The result of unpublish_raster_collection."""

    job_type: str
    collection_id: str
    items: dict[ItemOutcome, int]
    removed_cogs: int
    kept_cogs: int
    collection_removed: bool = Field(description="false if items were published meanwhile")


class UnpublishRasterCollection(JobBase):
    """Removes all items with their COGs, then the overview and the collection."""

    job_type = "unpublish_raster_collection"
    description = "Remove a STAC collection with its items, COGs and overview; the sources stay"
    runs_again = True
    parameters = Parameters
    example: ClassVar[Json] = {"collection_id": "survey-2024"}

    def prepare(self, params: Parameters, ports: Ports) -> Parameters:
        """Raises InvalidRequest if there is no such collection."""
        if ports.catalog.collection_key(params.collection_id) is None:
            message = f"there is no collection {params.collection_id!r}"
            raise InvalidRequest([FieldError("collection_id", params.collection_id, message)])
        return params

    @stage(list_items)
    def list_items(self, params: Parameters) -> ListItems:
        return ListItems(collection_id=params.collection_id)

    @stage(unpublish_items)
    def unpublish(
        self, params: Parameters, list_items: list[ItemRanges]
    ) -> Iterator[UnpublishItems]:
        [ranges] = list_items
        for first, stop in pairwise([*ranges.first_ids, None]):
            if first is not None:
                yield UnpublishItems(collection_id=params.collection_id, first=first, stop=stop)

    @stage(remove_collection)
    def remove(self, params: Parameters) -> RemoveCollection:
        return RemoveCollection(collection_id=params.collection_id)

    def finalize(
        self,
        params: Parameters,
        unpublish: Results[UnpublishedItems],
        remove: list[RemovedCollection],
    ) -> Result:
        [removed] = remove
        items: Counter[ItemOutcome] = Counter()
        removed_cogs, kept_cogs = 0, 0
        for part in unpublish:
            items.update(part.items)
            removed_cogs += part.removed_cogs
            kept_cogs += part.kept_cogs
        return Result(
            job_type=self.job_type,
            collection_id=params.collection_id,
            items=dict(items),
            removed_cogs=removed_cogs,
            kept_cogs=kept_cogs,
            collection_removed=removed.removed,
        )
