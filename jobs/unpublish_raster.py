"""unpublish_raster: remove STAC items and their COGs. The source raster stays."""

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from core.job import JobBase, stage
from core.models import BlobRef, ItemName, Json, Record
from core.ports import Ports
from services.remove_unpublished import RemovedCogs, RemoveUnpublished, remove_unpublished
from services.stac.model import StacId
from services.unpublish_item import (
    CogVersion,
    ItemOutcome,
    Unpublished,
    UnpublishItem,
    describe_item,
    unpublish_item,
)


def _source(value: str) -> str:
    container, _, name = value.partition("/")
    return str(BlobRef(container=container, name=name))


def _is_absent(value: object) -> bool:
    return value is None


class Parameters(BaseModel):
    """The parameters of unpublish_raster: an item, or a source, which means all its items."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    item_id: StacId | None = Field(None, description="the STAC item; or give a source")
    collection_id: StacId | None = Field(
        None, description="the STAC collection it is in; with a source, all by default"
    )
    source: Annotated[str, AfterValidator(_source)] | None = Field(
        None,
        description="the raster that the items were made from, as container/name; or give an item",
    )
    remove_empty_collection: bool = Field(
        False, strict=True, description="remove the collection as well if it is then empty"
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.item_id is None) == (self.source is None):
            raise ValueError("give either item_id or source")
        return self


class Submission(Parameters):
    """The parameters, with the state of the items at the time of submission."""

    # Jobs that another release submitted may have other fields.
    model_config = ConfigDict(extra="ignore", frozen=True)

    items: tuple[UnpublishItem, ...]
    unpublished: tuple[CogVersion, ...] = ()
    """COGs of the source that belong to no item, because their jobs failed."""
    collection_keys: tuple[int | None, ...] = ()
    """Of the collections that may be removed: one that is created again is another one."""


class ItemResult(Unpublished):
    """What became of one item."""

    item_id: str
    collection_id: str


class Result(Record):
    """The result of unpublish_raster: one item's, or `items` with those of a source.

    With a source, `removed_cogs` are the COGs of failed jobs, which belong to no item.
    """

    job_type: str
    source: str | None = Field(None, exclude_if=_is_absent)
    items: list[ItemResult] | None = Field(None, exclude_if=_is_absent)
    item_id: str | None = Field(None, exclude_if=_is_absent)
    collection_id: str | None = Field(None, exclude_if=_is_absent)
    item: ItemOutcome | None = Field(None, exclude_if=_is_absent)
    removed_cogs: tuple[str, ...] | None = Field(None, exclude_if=_is_absent)
    kept_cogs: tuple[str, ...] | None = Field(None, exclude_if=_is_absent)
    collection_removed: bool | None = Field(None, exclude_if=_is_absent)


class UnpublishRaster(JobBase):
    """Removes items with the COGs that they reference and, on request, emptied collections."""

    job_type = "unpublish_raster"
    version = 3
    description = "Remove a STAC item, or all items of a source, with their COGs; the source stays"
    parameters = Parameters
    example: ClassVar[Json] = {"item_id": "dctest-3f2a9c01", "remove_empty_collection": True}

    def prepare(self, params: Parameters, ports: Ports) -> Submission:
        """Include the items' last updates: unpublishing a newer version is a different job."""
        items = tuple(
            describe_item(name, ports, params.remove_empty_collection)
            for name in _name_items(params, ports)
        )
        removable = {item.collection_id for item in items if item.remove_empty_collection}
        keys = tuple(ports.catalog.collection_key(each) for each in sorted(removable))
        collection_id = params.collection_id
        if params.item_id is not None:
            collection_id = collection_id or ports.deployment.default_collection
        known = params.model_dump() | {"collection_id": collection_id}
        found = {
            "items": items,
            "collection_keys": keys,
            "unpublished": _list_unpublished(params, ports),
        }
        return Submission.model_validate(known | found)

    @stage(unpublish_item)
    def unpublish(self, params: Submission) -> list[UnpublishItem]:
        return list(params.items)

    @stage(remove_unpublished)
    def remove(self, params: Submission) -> list[RemoveUnpublished]:
        return [RemoveUnpublished(cogs=params.unpublished)] if params.unpublished else []

    def finalize(
        self, params: Submission, unpublish: list[Unpublished], remove: list[RemovedCogs]
    ) -> Result:
        done = [
            ItemResult(item_id=item.item_id, collection_id=item.collection_id, **dict(result))
            for item, result in zip(params.items, unpublish, strict=True)
        ]
        if params.source is not None:
            removed = tuple(name for each in remove for name in each.removed_cogs)
            return Result(
                job_type=self.job_type, source=params.source, items=done, removed_cogs=removed
            )
        return Result(job_type=self.job_type, **dict(done[0]))


def _name_items(params: Parameters, ports: Ports) -> list[ItemName]:
    if params.item_id is not None:
        collection_id = params.collection_id or ports.deployment.default_collection
        return [ItemName(collection_id=collection_id, item_id=params.item_id)]
    outputs = ports.outputs.of_source(params.source or "")
    items = {output.item for output in outputs if output.item is not None}
    wanted = (each for each in items if params.collection_id in (None, each.collection_id))
    return sorted(wanted, key=lambda each: (each.collection_id, each.item_id))


def _list_unpublished(params: Parameters, ports: Ports) -> list[CogVersion]:
    """COGs of failed jobs. They are in no collection: one that is named does not concern them."""
    if params.source is None or params.collection_id is not None:
        return []
    found = ports.outputs.unpublished(params.source)
    return [CogVersion(blob=each.blob, etag=each.etag) for each in found if each.etag is not None]
