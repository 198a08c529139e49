"""process_raster_collection: many rasters in; their items, and one map of all of them out."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from core.job import JobBase, stage
from core.models import BlobName, BlobRef, ContainerName, Json, Record
from core.ports import Ports
from core.results import Results
from jobs.raster_parameters import PublishingOptions, RasterOptions
from services.catalogue_members import BATCH, Catalogued, CatalogueMembers, catalogue_members
from services.check_members import Checked, CheckMembers, PlannedCollection, check_members
from services.create_member import CreatedMember, CreateMember, MemberOptions, create_member
from services.list_members import ListMembers, MemberPages, list_members
from services.make_overview import MakeOverview, StoredOverview, make_overview
from services.outputs.piece import delete_pieces, discard_overviews
from services.publish_collection import (
    PublishCollection,
    PublishedCollection,
    publish_collection,
)
from services.raster.kind import Group, Structure
from services.raster.model import RasterFacts
from services.remove_missing_members import (
    RemovedMembers,
    RemoveMissingMembers,
    remove_missing_members,
)
from services.select_members import Members, SelectMembers, select_members
from services.stac.model import StacId
from services.storage.members import PAGE, Skipped, SkipReason
from services.storage.ownership import discard_outputs
from services.validate_member import ValidateMember, validate_member

MAX_NAMES = 10_000
MAX_GROUPED_ID = 96
"""Characters of a collection_id to which the names of groups are added."""


ProviderName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class Provider(Record):
    """An organization of STAC's collections.

    https://github.com/radiantearth/stac-spec/blob/v1.1.0/commons/common-metadata.md#provider
    """

    model_config = ConfigDict(extra="forbid")

    name: ProviderName
    description: str | None = Field(None, max_length=2_000)
    roles: tuple[Literal["licensor", "producer", "processor", "host"], ...] = Field(
        ("producer",), min_length=1
    )
    url: str | None = Field(None, max_length=2_000, pattern=r"^https?://\S+$")

    def describe(self) -> Json:
        """As a collection holds it."""
        return self.model_dump(mode="json", exclude_none=True)


NamedProvider = Annotated[
    Annotated[ProviderName, Tag("name")] | Annotated[Provider, Tag("object")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "object"),
]


def _prefix(value: str) -> str:
    if value:
        BlobRef(container="any", name=value.rstrip("/"))
    return value


class Parameters(PublishingOptions, RasterOptions):
    """Which rasters, and what is wanted of all of them."""

    container_name: ContainerName = Field(description="the container the rasters lie in")
    blob_names: tuple[BlobName, ...] | None = Field(
        None, min_length=1, max_length=MAX_NAMES, description="the rasters' blobs; or give a prefix"
    )
    prefix: Annotated[str, AfterValidator(_prefix)] | None = Field(
        None,
        max_length=1024,
        description="what the names of the rasters' blobs begin with, such as 'surveys/2024/'",
    )
    pattern: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="what the rest of a name must match, such as '*.tif'; by default every "
        "blob with the ending of a raster is taken",
    )
    recursive: bool = Field(True, strict=True, description="also take blobs of deeper folders")
    collection_id: StacId = Field(description="the STAC collection of the items")
    title: str | None = Field(None, max_length=200, description="of the collection")
    description: str | None = Field(None, max_length=10_000, description="of the collection")
    license: str | None = Field(
        None, max_length=200, description="of the collection: an SPDX identifier, or 'other'"
    )
    keywords: tuple[str, ...] | None = Field(None, max_length=50, description="of the collection")
    providers: tuple[NamedProvider, ...] | None = Field(
        None,
        max_length=20,
        description="organizations of the data: names of those that made it, or objects with "
        "name, description, roles (licensor, producer, processor, host) and url",
    )
    mosaic: bool = Field(
        True, strict=True, description="one map of all rasters, which must be of one kind"
    )
    group_by: Literal["none", "auto"] = Field(
        "none",
        description="'auto' makes a collection with a map of each kind of rasters, by bands and "
        "data type; their ids begin with collection_id",
    )
    on_error: Literal["continue", "stop"] = Field(
        "continue", description="whether the others are published when a raster fails"
    )
    sync: bool = Field(
        False, strict=True, description="remove items whose blobs are gone; needs a prefix"
    )
    dry_run: bool = Field(
        False, strict=True, description="list, validate and check the rasters; write nothing"
    )

    @model_validator(mode="after")
    def _names_members(self) -> Self:
        if (self.blob_names is None) == (self.prefix is None):
            raise ValueError("give either blob_names or prefix")
        if self.blob_names is not None and (self.pattern is not None or self.sync):
            raise ValueError("pattern and sync need a prefix instead of blob_names")
        return self

    @model_validator(mode="after")
    def _names_groups(self) -> Self:
        if not self.is_grouped:
            return self
        if not self.mosaic:
            raise ValueError("group_by='auto' makes maps, so it needs mosaic=true")
        if len(self.collection_id) > MAX_GROUPED_ID:
            raise ValueError(
                f"with group_by='auto', collection_id may have {MAX_GROUPED_ID} characters:"
                " the names of the groups are added to it"
            )
        return self

    @property
    def is_grouped(self) -> bool:
        return self.group_by == "auto"


class Submission(Parameters):
    """The parameters, with the folder of the COGs."""

    # Jobs that another release submitted may have other fields.
    model_config = ConfigDict(extra="ignore", frozen=True)

    output_folder: str

    @property
    def looked_for(self) -> str:
        """The rasters, for messages."""
        if self.blob_names is not None:
            return f"{len(self.blob_names)} blobs of {self.container_name}"
        pattern = f" with the pattern {self.pattern!r}" if self.pattern else ""
        return f"{self.container_name}/{self.prefix}{pattern}"

    def describe(self, planned: PlannedCollection) -> Json:
        """What the request says about a collection."""
        kind = f", {planned.structure}" if planned.structure else ""
        given = {
            "title": self.title and self.title + kind,
            "description": self.description,
            "license": self.license,
            "keywords": self.keywords and list(self.keywords),
            "providers": self.providers
            and [
                (Provider(name=each) if isinstance(each, str) else each).describe()
                for each in self.providers
            ],
        }
        return {key: value for key, value in given.items() if value is not None}

    def member_options(self, collection_id: str) -> MemberOptions:
        """What is wanted of every member of a collection."""
        options = self.model_dump(include=set(MemberOptions.model_fields))
        return MemberOptions.model_validate(options | {"collection_id": collection_id})

    @property
    def filter(self) -> Json:
        """The parameters of MemberFilter, and the container."""
        return {
            "container": self.container_name,
            "prefix": self.prefix or "",
            "pattern": self.pattern,
            "recursive": self.recursive,
        }


def _continues(params: Submission) -> bool:
    return params.on_error == "continue"


class MemberCounts(Record):
    """The rasters by what became of them."""

    found: int
    invalid: int = Field(description="cannot become a COG")
    failed: int = Field(0, description="were valid, but do not fit or could not be made")
    published: int = Field(0, description="have an item in the collection")
    unchanged: int = Field(0, description="of these, the item was already there")
    reused: int = Field(0, description="of these, no COG had to be made")
    removed: int = Field(0, description="items whose blobs are gone, with sync")


class Estimate(Record):
    """How much there is to do."""

    source_bytes: int
    pixel_bytes: int = Field(description="size of all pixels without compression")


class CollectionResult(Record):
    """A collection that the job writes."""

    collection_id: str
    structure: Structure | None = Field(description="of its rasters, with group_by")
    found: int = Field(description="rasters for this collection")
    published: int = Field(description="have an item in it")
    items: int | None = Field(None, description="in the collection, also those of other jobs")
    has_overview: bool = False
    share_url: str | None = Field(None, description="a page with the map of the collection")
    titiler_urls: dict[str, str] = Field(default_factory=dict)


class Result(Record):
    """The result of process_raster_collection.

    The failed tasks of the job have the reasons of invalid and failed rasters:
    `GET /api/jobs/{job_id}/tasks?status=failed`.
    """

    job_type: str
    collection_id: str
    dry_run: bool
    members: MemberCounts
    skipped: dict[SkipReason, Skipped] = Field(description="blobs that are not members")
    groups: tuple[Group, ...] = Field(description="valid rasters by their bands and data type")
    estimate: Estimate
    collections: tuple[CollectionResult, ...] = Field(description="several only with group_by")
    items: int | None = Field(None, description="in all collections")
    has_overview: bool = Field(False, description="of all collections")
    share_url: str | None = Field(None, description="the map, if there is one collection")
    titiler_urls: dict[str, str] = Field(default_factory=dict)


class ProcessRasterCollection(JobBase):
    """Find the rasters, validate each, check them together, publish all, and show them as one."""

    job_type = "process_raster_collection"
    description = "Turn a folder of rasters into COGs, a STAC collection and one map of them"
    runs_again = True
    parameters = Parameters
    example: ClassVar[Json] = {
        "container_name": "bronze-rasters",
        "prefix": "surveys/2024/",
        "collection_id": "survey-2024",
        "title": "Survey of 2024",
    }

    def prepare(self, params: Parameters, ports: Ports) -> Submission:
        """Raises ContainerNotFound. The COGs go into a folder with the name of the collection."""
        prefix = params.prefix or ""
        ports.blobs.list_page(params.container_name, prefix, None, limit=1, recursive=True)
        folder = params.output_folder or params.collection_id
        return Submission.model_validate(params.model_dump() | {"output_folder": folder})

    @stage(list_members)
    def list_blobs(self, params: Submission) -> list[ListMembers]:
        """Cut the listing of the container into pages."""
        return [] if params.prefix is None else [ListMembers(**params.filter)]

    @stage(select_members)
    def select(self, params: Submission, list_blobs: list[MemberPages]) -> Iterator[SelectMembers]:
        """Sort out sidecars and other files, page by page."""
        names = tuple(dict.fromkeys(params.blob_names or ()))
        for first in range(0, len(names), PAGE):
            yield SelectMembers(**params.filter, names=names[first : first + PAGE])
        for found in list_blobs:
            for page in found.pages:
                yield SelectMembers(**params.filter, page=page)

    @stage(validate_member, best_effort=_continues)
    def validate(self, params: Submission, select: Results[Members]) -> Iterator[ValidateMember]:
        """Read the facts of each raster."""
        options = params.member_options(params.collection_id).model_dump()
        for page in select:
            for name in page.names:
                source = BlobRef(container=params.container_name, name=name)
                yield ValidateMember.model_validate(options | {"source": source})

    @stage(check_members)
    def check(self, params: Submission) -> CheckMembers:
        """Compare the rasters with each other, and plan the overview."""
        return CheckMembers(
            looked_for=params.looked_for,
            collection_id=params.collection_id,
            mosaic=params.mosaic,
            grouped=params.is_grouped,
        )

    @stage(create_member, best_effort=_continues)
    def create_cogs(
        self, params: Submission, validate: Results[RasterFacts], check: list[Checked]
    ) -> Iterator[CreateMember]:
        """Make what does not exist yet: COGs, items, and pieces of the overview."""
        for planned in _find_planned(params, check):
            options, mosaic = params.member_options(planned.collection_id), planned.mosaic
            for facts in filter(planned.takes, validate):
                yield CreateMember(
                    facts=facts,
                    options=options,
                    kind=mosaic and mosaic.kind,
                    grid=mosaic and mosaic.grid,
                )

    @stage(catalogue_members, best_effort=_continues)
    def catalogue(self, params: Submission, check: list[Checked]) -> Iterator[CatalogueMembers]:
        """Store the items, 200 in a transaction."""
        for planned in _find_planned(params, check):
            for first in range(planned.first, planned.stop, BATCH):
                yield CatalogueMembers(
                    collection_id=planned.collection_id,
                    fields=params.describe(planned),
                    first=first,
                    stop=min(first + BATCH, planned.stop),
                )

    @stage(remove_missing_members)
    def remove_missing(self, params: Submission) -> list[RemoveMissingMembers]:
        """With sync, remove the items whose blobs are gone."""
        if params.dry_run or not params.sync:
            return []
        return [
            RemoveMissingMembers(
                **params.filter,
                collection_id=params.collection_id,
                grouped=params.is_grouped,
                output_folder=params.output_folder,
            )
        ]

    @stage(make_overview, best_effort=True)
    def overview(self, params: Submission, check: list[Checked]) -> list[MakeOverview]:
        """Paste the pieces into one COG, which the map shows when zoomed out."""
        return [
            MakeOverview(
                collection_id=planned.collection_id,
                kind=planned.mosaic.kind,
                grid=planned.mosaic.grid,
                first=planned.first,
                stop=planned.stop,
            )
            for planned in _find_planned(params, check)
            if planned.mosaic
        ]

    @stage(publish_collection)
    def publish(
        self,
        params: Submission,
        check: list[Checked],
        catalogue: list[Catalogued],
        overview: list[StoredOverview],
    ) -> list[PublishCollection]:
        """Show the collection as one map."""
        [checked] = check
        collections, published = _find_planned(params, check), _count_published(catalogue)
        overviews = {each.collection_id: each for each in overview}
        is_complete = published.total() == checked.members and all(
            planned.mosaic is None or planned.collection_id in overviews for planned in collections
        )
        return [
            PublishCollection(
                collection=planned,
                fields=params.describe(planned),
                overview=overviews.get(planned.collection_id),
                failed=planned.rasters - published[planned.collection_id],
                keeps_pieces=not is_complete,
            )
            for planned in collections
            # Without any item, the task fails and says so.
            if published[planned.collection_id] or not published.total()
        ]

    def discard(self, params: Submission, ports: Ports, owner: str) -> None:
        """Remove COGs that no item shows, and the files of the overview."""
        discard_outputs(ports, owner)
        delete_pieces(ports, owner)
        discard_overviews(ports, params.collection_id, owner)

    def finalize(
        self,
        params: Submission,
        check: list[Checked],
        create_cogs: Results[CreatedMember],
        catalogue: list[Catalogued],
        remove_missing: list[RemovedMembers],
        publish: list[PublishedCollection],
    ) -> Result:
        [checked] = check
        published = sum(each.published for each in catalogue)
        fitting = sum(planned.fitting for planned in checked.collections)
        collections = _list_collections(checked, catalogue, publish)
        only = collections[0] if len(collections) == 1 else None
        return Result(
            job_type=self.job_type,
            collection_id=params.collection_id,
            dry_run=params.dry_run,
            members=MemberCounts(
                found=checked.members,
                invalid=checked.members - checked.valid,
                failed=checked.valid - (fitting if params.dry_run else published),
                published=published,
                unchanged=sum(each.unchanged for each in catalogue),
                reused=sum(not member.made for member in create_cogs),
                removed=sum(each.removed for each in remove_missing),
            ),
            skipped=checked.skipped,
            groups=checked.groups,
            estimate=Estimate(source_bytes=checked.source_bytes, pixel_bytes=checked.pixel_bytes),
            collections=collections,
            items=sum(each.items for each in publish) if publish else None,
            has_overview=all(each.has_overview for each in collections),
            share_url=only and only.share_url,
            titiler_urls=only.titiler_urls if only else {},
        )


def _find_planned(params: Submission, check: list[Checked]) -> tuple[PlannedCollection, ...]:
    """The collections that the job writes; none in a dry run."""
    [checked] = check
    return () if params.dry_run else checked.collections


def _count_published(catalogue: list[Catalogued]) -> Counter[str]:
    """The members that have an item now, by collection."""
    published: Counter[str] = Counter()
    for each in catalogue:
        published[each.collection_id] += each.published
    return published


def _list_collections(
    checked: Checked, catalogue: list[Catalogued], publish: list[PublishedCollection]
) -> tuple[CollectionResult, ...]:
    published = _count_published(catalogue)
    stored = {each.collection_id: each for each in publish}
    results = []
    for planned in checked.collections:
        name = planned.collection_id
        shown = stored.get(name)
        urls = shown.titiler_urls if shown else {}
        results.append(
            CollectionResult(
                collection_id=name,
                structure=planned.structure,
                found=planned.rasters,
                published=published[name],
                items=shown and shown.items,
                has_overview=shown is not None and shown.has_overview,
                share_url=urls.get("viewer_url"),
                titiler_urls=urls,
            )
        )
    return tuple(results)
