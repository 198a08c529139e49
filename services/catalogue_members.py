"""Store the items of members in the catalogue, many in one transaction."""

from functools import reduce

from core.collection_extent import merge_collections
from core.errors import GeolatheError, TaskFailed
from core.handler import TaskContext
from core.models import Json, PublishedItem, Record
from services.create_member import CreatedMember
from services.stac.model import OWNER, StacId

BATCH = 200
"""Items of a task. The lock on the collection is held for about a second."""
MAX_NAMED = 20


class CatalogueMembers(Record):
    """A range of the tasks of stage create_cogs: first <= index < stop."""

    collection_id: StacId
    fields: Json
    """Title, description and so on, for a collection that does not exist yet."""
    first: int
    stop: int


class Catalogued(Record):
    """How many items the catalogue has now of these members, by what changed."""

    collection_id: StacId
    created: int = 0
    updated: int = 0
    unchanged: int = 0

    @property
    def published(self) -> int:
        """Members that have an item now."""
        return self.created + self.updated + self.unchanged


def catalogue_members(params: CatalogueMembers, ctx: TaskContext) -> Catalogued:
    """Store the items and publish their COGs. Running it again changes nothing.

    Raises TaskFailed ITEMS_REFUSED, after all other items are stored, for items that cannot be.
    """
    members = list(ctx.results("create_cogs", CreatedMember).between(params.first, params.stop))
    if not members:
        return Catalogued(collection_id=params.collection_id)
    collection = reduce(merge_collections, (member.collection for member in members))
    items = [PublishedItem(item=member.item, outputs=member.outputs) for member in members]
    ctx.confirm()
    changes = ctx.catalog.put_items(items, collection | params.fields, OWNER)
    refused = [
        f"{member.source}: {change.message}"
        for member, change in zip(members, changes, strict=True)
        if isinstance(change, GeolatheError)
    ]
    if refused:
        more = len(refused) - MAX_NAMED
        raise TaskFailed(
            "ITEMS_REFUSED",
            f"{len(refused)} of {len(members)} items were not stored: "
            + "; ".join(refused[:MAX_NAMED])
            + (f"; and {more} more" if more > 0 else ""),
        )
    return Catalogued(
        collection_id=params.collection_id,
        created=changes.count("created"),
        updated=changes.count("updated"),
        unchanged=changes.count("unchanged"),
    )
