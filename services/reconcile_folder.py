"""Compare storage, the registry of outputs and the catalogue in one folder."""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

from core.handler import TaskContext
from core.models import BlobProperties, BlobRef, ContainerName, Output, Record
from core.outputs import OUTPUT, find_blob, is_stored, read_mark, remove_output

PAGE = 1_000
MAX_EXAMPLES = 20


class Disagreement(StrEnum):
    """What does not agree, and what `apply` does about it."""

    OUTPUT_MISSING = "output_missing"
    """The blob of a live output was deleted or changed: the output is marked as gone."""
    ITEM_MISSING = "item_missing"
    """The item of a live output was deleted: the output is superseded, to be removed."""
    BLOB_SUPERSEDED = "blob_superseded"
    """A blob holds an output that is removed or superseded: the blob is deleted."""
    BLOB_UNRECORDED = "blob_unrecorded"
    """A blob's upload was not recorded and no task will do so: it is recorded from its mark."""
    BLOB_UNKNOWN = "blob_unknown"
    """A blob of this product has no row in the registry: it is reported only."""


class Finding(Record):
    """One disagreement."""

    kind: Disagreement
    blob: str


class ReconcileFolder(Record):
    """A folder's prefix; an empty one means the blobs outside folders."""

    container: ContainerName
    prefix: str
    apply: bool = False


class Reconciled(Record):
    """What was compared and found in a folder."""

    blobs: int
    outputs: int
    disagreements: dict[Disagreement, int]
    examples: tuple[Finding, ...]


def reconcile_folder(params: ReconcileFolder, ctx: TaskContext) -> Reconciled:
    """Read both sides in the order of names, so memory does not grow with the folder.

    Each candidate is looked at again by its name before it counts: other jobs write meanwhile.
    """
    counts: Counter[str] = Counter()
    kinds: Counter[Disagreement] = Counter()
    examples: list[Finding] = []
    for blob, output in _pair(_list_blobs(params, ctx), _list_outputs(params, ctx)):
        counts["blobs"] += blob is not None
        counts["outputs"] += output is not None
        if counts.total() % PAGE == 0:
            ctx.report(0.0, f"{counts['blobs']} blobs compared")
        finding = _compare(params, ctx, blob, output)
        if finding is None:
            continue
        kinds[finding.kind] += 1
        if len(examples) < MAX_EXAMPLES:
            examples.append(finding)
    return Reconciled(
        blobs=counts["blobs"],
        outputs=counts["outputs"],
        disagreements=dict(kinds),
        examples=tuple(examples),
    )


def _list_blobs(params: ReconcileFolder, ctx: TaskContext) -> Iterator[BlobProperties]:
    if params.prefix:
        yield from ctx.blobs.list(params.container, params.prefix)
    else:
        yield from ctx.blobs.list_root(params.container)


def _list_outputs(params: ReconcileFolder, ctx: TaskContext) -> Iterator[Output]:
    after = ""
    while page := ctx.ports.outputs.live_after(params.container, params.prefix, after, PAGE):
        yield from page
        after = page[-1].name


def _pair(
    blobs: Iterator[BlobProperties], outputs: Iterator[Output]
) -> Iterator[tuple[BlobProperties | None, Output | None]]:
    """Both sides by name; None where one has nothing of that name."""
    blob, output = next(blobs, None), next(outputs, None)
    while blob is not None or output is not None:
        if output is None or (blob is not None and blob.ref.name < output.name):
            yield blob, None
            blob = next(blobs, None)
        elif blob is None or output.name < blob.ref.name:
            yield None, output
            output = next(outputs, None)
        else:
            yield blob, output
            blob, output = next(blobs, None), next(outputs, None)


def _compare(
    params: ReconcileFolder, ctx: TaskContext, blob: BlobProperties | None, output: Output | None
) -> Finding | None:
    if blob is not None and output is not None and is_stored(output, blob):
        kind = _check_item(params, ctx, output)
        return None if kind is None else Finding(kind=kind, blob=str(output.blob))
    if output is not None and (kind := _check_output(params, ctx, output)):
        return Finding(kind=kind, blob=str(output.blob))
    if blob is not None and (kind := _check_blob(params, ctx, blob.ref)):
        return Finding(kind=kind, blob=str(blob.ref))
    return None


def _check_item(params: ReconcileFolder, ctx: TaskContext, output: Output) -> Disagreement | None:
    item = output.item
    if item is None or ctx.catalog.get_item(item.collection_id, item.item_id) is not None:
        return None
    current = ctx.ports.outputs.get(output.output_id)
    if current is None or not current.is_live or current.item != item:
        return None
    if params.apply:
        ctx.ports.outputs.supersede(output.output_id, is_gone=False)
    return Disagreement.ITEM_MISSING


def _check_output(params: ReconcileFolder, ctx: TaskContext, output: Output) -> Disagreement | None:
    """Whether a live output's bytes are gone. A newer upload may not be recorded yet."""
    found = find_blob(ctx.blobs, output.blob)
    current = ctx.ports.outputs.get(output.output_id)
    if current is None or not current.is_live or is_stored(output, found):
        return None
    if found is not None and _is_pending(ctx, found):
        return None
    if params.apply:
        ctx.ports.outputs.supersede(output.output_id, is_gone=True)
    return Disagreement.OUTPUT_MISSING


def _check_blob(params: ReconcileFolder, ctx: TaskContext, ref: BlobRef) -> Disagreement | None:
    """Whether a blob that carries this product's mark holds no live output."""
    found = find_blob(ctx.blobs, ref)
    if found is None or OUTPUT not in found.metadata:
        return None
    live = ctx.ports.outputs.live_at(ref)
    if live is not None and is_stored(live, found):
        return None
    row = _marked_output(ctx, found)
    if row is None:
        return Disagreement.BLOB_UNKNOWN
    if row.written_at is not None or row.superseded_at is not None:
        if params.apply:
            remove_output(ctx.blobs, ctx.ports.outputs, row)
        return Disagreement.BLOB_SUPERSEDED
    if _is_pending(ctx, found):
        return None
    if params.apply:
        ctx.ports.outputs.record(row.output_id, None, read_mark(found), None)
    return Disagreement.BLOB_UNRECORDED


def _marked_output(ctx: TaskContext, found: BlobProperties) -> Output | None:
    """The row that the blob's mark names."""
    mark = found.metadata.get(OUTPUT, "")
    row = ctx.ports.outputs.get(int(mark)) if mark.isdecimal() else None
    return row if row is not None and row.blob == found.ref else None


def _is_pending(ctx: TaskContext, found: BlobProperties) -> bool:
    """Whether a task that still runs will record this upload."""
    row = _marked_output(ctx, found)
    if row is None or row.written_at is not None or row.superseded_at is not None:
        return False
    return not ctx.ports.outputs.is_abandoned(row.output_id)
