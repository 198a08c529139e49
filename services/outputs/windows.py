"""Makes one COG in windows: stages each of them, then assembles them and stores the output.

A window leaves a small blob for the assembly, with the index of its blocks and its smallest
overview: staged blocks cannot be read back.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

from core.errors import BlobNotFound, TaskFailed, Unavailable
from core.handler import TaskContext
from core.models import BlobRef
from core.outputs import find_blob, is_stored
from core.ports import Block, Ports
from services.outputs.cog import (
    ACCESS_TIERS,
    CONTENT_TYPE,
    SECONDS,
    CogOrder,
    describe_output,
    output_target,
)
from services.raster.model import Cog, CogFacts
from services.raster.windows.model import (
    AssembleCog,
    AssembledCog,
    Encoded,
    EncodeWindow,
    JoinWindows,
    Part,
    SmallestLevel,
    VerifyCog,
    WindowIndex,
)
from services.raster.windows.plan import Window, WindowPlan
from services.sandbox import child
from services.sandbox.exchange import open_exchange, read_at, write_at
from services.storage.fetch import SIGNATURE_LIFETIME, Fetched, Wanted, open_source
from services.storage.naming import name_window, name_windows
from services.storage.ownership import (
    StagedOutput,
    StoredOutput,
    commit_output,
    delete_unless_held,
    record_output,
    withdraw_upload,
)

CONNECTIONS = 4
"""Requests to storage at once."""


class _Kept(NamedTuple):
    """What a window has left for the assembly."""

    window: Window
    description: bytes
    """A WindowIndex as JSON."""
    smallest: bytes
    """Empty where the window has no data, or nothing above it."""


def window_plan(order: CogOrder) -> WindowPlan:
    return order.facts.windows[order.tier]


def stage_window(order: CogOrder, ctx: TaskContext, window: Window) -> WindowIndex:
    """Encode a window of tier 0 and stage its blocks. Running it again stages the same blocks."""
    with open_exchange() as exchange:
        with _open_source(order, ctx) as source:
            encoded = child.run(
                load_encode,
                EncodeWindow(**_request(order, ctx, source), row=window.row, column=window.column),
                Encoded,
                lambda fraction, message: ctx.report(0.9 * fraction, message),
                exchange=exchange,
                **_limits(source),
            )
        _stage(order, ctx, encoded, exchange)
    return encoded.index


def assemble_output(order: CogOrder, ctx: TaskContext) -> Cog:
    """Make the COG of its staged windows and store it at the target.

    Windows whose blocks storage has dropped are staged again. Raises TaskFailed OUTPUT_SUPERSEDED
    when another job wrote the target meanwhile, and COG_INVALID, which leaves no COG.
    """
    cog = _find_recorded(order, ctx) or _store_cog(order, ctx)
    ctx.blobs.delete_folder(order.target.container, _folder(order, ctx))
    return cog


def _find_recorded(order: CogOrder, ctx: TaskContext) -> Cog | None:
    """The COG that an earlier attempt of this task has recorded, if it is still there."""
    for output in ctx.ports.outputs.of_tasks(ctx.task_id):
        is_mine = (output.task_id, output.blob) == (ctx.task_id, order.target)
        if is_mine and output.cog and is_stored(output, find_blob(ctx.blobs, output.blob)):
            return Cog.model_validate(output.cog)
    return None


def _store_cog(order: CogOrder, ctx: TaskContext) -> Cog:
    started = time.monotonic()
    staged = StagedOutput(lambda: _stage_cog(order, ctx), CONTENT_TYPE, ACCESS_TIERS[order.tier])
    stored = commit_output(ctx, output_target(order), staged)
    try:
        facts = _verify(order, ctx, stored)
    except TaskFailed:
        withdraw_upload(ctx.ports, stored)
        raise
    stored = stored.with_checksum(facts.checksum)
    cog = describe_output(order, facts, stored, time.monotonic() - started)
    record_output(ctx, stored, cog.model_dump(mode="json"))
    return cog


def discard_windows(ports: Ports, job: str, targets: Iterable[BlobRef]) -> None:
    """Remove what the windows of a job have left. `job` is the part that its task ids share.

    Staged blocks of a blob with content remain: storage drops them at its next commit, or after a
    week.
    """
    for target in targets:
        ports.blobs.delete_folder(target.container, name_windows(job, target.name))
        ports.blobs.discard_blocks(target)


def load_encode() -> child.Function[EncodeWindow, Encoded]:
    """Like the following, a function that the sandbox runs. Only the child imports GDAL."""
    from services.raster.windows.work import encode

    return encode


def load_join() -> child.Function[JoinWindows, Encoded]:
    from services.raster.windows.work import join

    return join


def load_assemble() -> child.Function[AssembleCog, AssembledCog]:
    from services.raster.windows.work import assemble_cog

    return assemble_cog


def load_verify() -> child.Function[VerifyCog, CogFacts]:
    from services.raster.windows.work import verify

    return verify


@contextmanager
def _open_source(order: CogOrder, ctx: TaskContext) -> Iterator[Fetched]:
    """The source, always by range requests."""
    facts = order.facts
    wanted = Wanted(facts.source, facts.source_etag, facts.sidecars, work_bytes=0, download_below=0)
    with open_source(ctx, wanted) as source:
        yield source


def _request(order: CogOrder, ctx: TaskContext, source: Fetched) -> dict[str, Any]:
    """The fields of a WindowRequest."""
    return {
        "facts": order.facts,
        "tier": order.tier,
        "target_crs": order.target_crs,
        "jpeg_quality": order.jpeg_quality,
        "in_memory": order.in_memory,
        "path": source.path,
        "folder": str(source.work),
        "job": ctx.job,
    }


def _limits(source: Fetched) -> dict[str, Any]:
    """What the sandbox allows."""
    return {
        "folder": source.folder,
        "memory_bytes": child.MEMORY_BYTES,
        "seconds": SECONDS,
        "network": True,
    }


def _stage(order: CogOrder, ctx: TaskContext, encoded: Encoded, exchange: BinaryIO) -> None:
    """Stage the blocks of a window, then keep its index.

    If the attempt has lost its task by then, the assembly may be over: nothing is kept. Should the
    index have been that of the attempt that holds the task, the assembly makes the window again.
    """
    ctx.confirm()
    blocks = encoded.index.blocks
    starts = accumulate((block.size for block in blocks), initial=encoded.content.start)

    def stage(block: Block, start: int) -> None:
        content = read_at(exchange, start, block.size)
        ctx.blobs.stage_block(order.target, block.block_id, content)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(stage, (Block(each.block_id, each.size) for each in blocks), starts))
    part = encoded.smallest
    ctx.confirm()
    kept = _kept_blob(order, ctx, encoded.index.window)
    content = encoded.index.model_dump_json().encode() + b"\n"
    if part:
        content += read_at(exchange, part.start, part.size)
    ctx.blobs.write(kept, content)
    delete_unless_held(ctx, kept)


def _stage_cog(order: CogOrder, ctx: TaskContext) -> list[Block]:
    """Stage what is missing of the COG, and its header. Returns all blocks in order."""
    plan = window_plan(order)
    staged = {block.block_id for block in ctx.blobs.staged_blocks(order.target)}
    indexes: list[bytes] = []
    joined = [window for tier in range(1, plan.tiers) for window in plan.windows(tier)]
    for number, window in enumerate(joined):
        progress = 0.6 * number / len(joined)
        kept = [
            _ensure(order, ctx, each, staged)
            for each in _read_all(order, ctx, plan.windows_below(window))
        ]
        indexes += [each.description for each in kept]
        top = _join(order, ctx, window, kept, progress)
    indexes.append(top.model_dump_json().encode())
    return _assemble(order, ctx, indexes)


def _read_all(order: CogOrder, ctx: TaskContext, windows: list[Window]) -> Iterator[_Kept | Window]:
    """What each window has left; the window itself where there is nothing."""

    def read(window: Window) -> _Kept | Window:
        try:
            content = ctx.blobs.read(_kept_blob(order, ctx, window))
        except BlobNotFound:
            return window
        description, _, smallest = content.partition(b"\n")
        return _Kept(window, description, smallest)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        yield from threads.map(read, windows)


def _ensure(order: CogOrder, ctx: TaskContext, found: _Kept | Window, staged: set[str]) -> _Kept:
    """Stage a window of tier 0 again if its blocks are gone. Those above were staged just now."""
    if isinstance(found, _Kept):
        blocks = WindowIndex.model_validate_json(found.description).blocks
        if found.window.tier or all(block.block_id in staged for block in blocks):
            return found
    window = found.window if isinstance(found, _Kept) else found
    stage_window(order, ctx, window)
    [again] = _read_all(order, ctx, [window])
    if isinstance(again, Window):
        raise Unavailable(f"{order.target}: what a window has left for the assembly was deleted")
    return again


def _join(
    order: CogOrder, ctx: TaskContext, window: Window, below: list[_Kept], progress: float
) -> WindowIndex:
    """Make a window above tier 0 from the smallest levels below it, and stage it."""
    with open_exchange() as exchange:
        smallest, at = [], 0
        for each in below:
            if each.smallest:
                part = Part(start=at, size=len(each.smallest))
                smallest.append(SmallestLevel(**each.window._asdict(), content=part))
                at = write_at(exchange, at, each.smallest)
        with _open_source(order, ctx) as source:
            encoded = child.run(
                load_join,
                JoinWindows(
                    **_request(order, ctx, source),
                    window_tier=window.tier,
                    row=window.row,
                    column=window.column,
                    smallest=tuple(smallest),
                    check_coverage=not window_plan(order).has_next_tier(window),
                ),
                Encoded,
                lambda fraction, message: ctx.report(progress, message),
                exchange=exchange,
                **_limits(source),
            )
        _stage(order, ctx, encoded, exchange)
    return encoded.index


def _assemble(order: CogOrder, ctx: TaskContext, indexes: list[bytes]) -> list[Block]:
    ctx.report(0.6, "assembling")
    with open_exchange() as exchange:
        ends = list(accumulate((len(each) for each in indexes), initial=0))
        write_at(exchange, 0, b"".join(indexes))
        with _open_source(order, ctx) as source:
            assembled = child.run(
                load_assemble,
                AssembleCog(
                    **_request(order, ctx, source),
                    indexes=tuple(
                        Part(start=start, size=len(each))
                        for start, each in zip(ends, indexes, strict=False)
                    ),
                ),
                AssembledCog,
                lambda fraction, message: ctx.report(0.6, "assembling"),
                exchange=exchange,
                **_limits(source),
            )
        blocks = [Block(*each) for each in assembled.blocks]
        header = read_at(exchange, assembled.header.start, assembled.header.size)
    ctx.blobs.stage_block(order.target, blocks[0].block_id, header)
    return blocks


def _verify(order: CogOrder, ctx: TaskContext, stored: StoredOutput) -> CogFacts:
    """Validate the stored COG, by range requests, and compute its checksum."""
    with _open_source(order, ctx) as source:
        request = VerifyCog(
            **_request(order, ctx, source),
            cog_path=f"/vsicurl/{ctx.blobs.signed_url(order.target, SIGNATURE_LIFETIME)}",
            size_bytes=stored.properties.size,
        )
        return child.run(
            load_verify,
            request,
            CogFacts,
            lambda fraction, message: ctx.report(0.7 + 0.3 * fraction, message),
            **_limits(source),
        )


def _folder(order: CogOrder, ctx: TaskContext) -> str:
    return name_windows(ctx.job, order.target.name)


def _kept_blob(order: CogOrder, ctx: TaskContext, window: Window) -> BlobRef:
    name = name_window(_folder(order, ctx), *window)
    return BlobRef(container=order.target.container, name=name)
