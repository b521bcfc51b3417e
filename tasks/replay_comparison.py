"""What came out otherwise when a step of a pair was made again: values by name, images by their bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from catalog.errors import RowRejected
from catalog.images import decode_image
from catalog.lineage import Row
from catalog.roots import Roots, read_image_bytes
from catalog.schema import TABLES
from catalog.store import STORE_ROOT

_IMAGES = ("source_image", "target_image")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that is not as it was recorded."""

    what: str
    """A column, ``backend ROLE``, ``parameter NAME``, ``shard`` or ``step``."""
    recorded: Any
    now: Any
    note: str = ""
    """More about it, in words."""


@dataclass(kw_only=True)
class StepReplay:
    """One step made again."""

    step: str
    table: str
    row: str
    """The region, or the pair."""
    num_images: int = 0
    """Images made again and compared byte for byte."""
    differences: list[Difference] = field(default_factory=list)


def compare_rows(done: StepReplay, recorded: Row, made: Row | None, roots: Roots, scratch: Roots) -> None:
    """Note in ``done`` every value and image of a row that came out otherwise.

    Args:
        done: of the step that made the row.
        recorded: as its shard has it.
        made: as it came out now; None: it did not.
        roots: where recorded images are.
        scratch: where made ones are.
    """
    if made is None:
        done.differences.append(Difference(what="row", recorded="there", now="not made"))
        return
    if recorded.get("reason") != made.get("reason"):  # the empty columns that follow from it say nothing more
        change = {"recorded": recorded["reason"], "now": made["reason"]}
        done.differences.append(Difference(what="reason", **change, note=made["detail"] or recorded["detail"]))
        return
    for name in TABLES[done.table].names:
        before, after = recorded[name], made[name]
        if name in _IMAGES and before is not None and after is not None:
            done.differences += _compare_images(done, name, before, after, roots, scratch)
        elif not _same(before, after):
            done.differences.append(Difference(what=name, recorded=before, now=after))


def _compare_images(
    done: StepReplay, name: str, before: Row, after: Row, roots: Roots, scratch: Roots
) -> list[Difference]:
    """A made image by its bytes; one that lies in its source by its place, too."""
    try:
        stored = read_image_bytes(roots, before)
    except RowRejected as rejected:
        return [Difference(what=name, recorded=before["sha256"], now=None, note=str(rejected))]
    is_made = after["root"] == STORE_ROOT and after["path"].endswith("/replay.tar")
    if not is_made:
        return [] if before == after else [Difference(what=name, recorded=before, now=after)]
    made = read_image_bytes(scratch, after)
    done.num_images += 1
    if made == stored:
        return []
    return [Difference(what=name, recorded=before["sha256"], now=after["sha256"], note=_describe_change(stored, made))]


def mapping_differences(what: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Entries of two mappings that are not the same; ``what`` precedes their names."""
    names = [name for name in sorted(recorded.keys() | now.keys()) if name != "batch_size"]
    return [
        Difference(what=f"{what} {name}", recorded=recorded.get(name), now=now.get(name))
        for name in names
        if not _same(recorded.get(name), now.get(name))
    ]


def _same(first: Any, second: Any) -> bool:
    """Equal, with NaN equal to itself."""
    return bool(first == second or (first != first and second != second))


def _describe_change(stored: bytes, made: bytes) -> str:
    before, after = decode_image(stored), decode_image(made)
    if before.shape != after.shape:
        return f"{before.shape[1]}x{before.shape[0]} pixels became {after.shape[1]}x{after.shape[0]}"
    if np.array_equal(before, after):
        return "the same pixels, encoded otherwise"
    change = np.abs(before.astype(np.int16) - after)
    pixels = int(change.any(axis=2).sum())
    return f"{pixels} of {before.shape[0] * before.shape[1]} pixels differ, by {change.max()} grey levels at most"
