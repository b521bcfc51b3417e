"""A small alignment set through the real shard store: items whose variants are plain colours. No checkpoint needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog.alignment_sets import AlignmentSet
from catalog.digests import bytes_digest
from catalog.images import encode_png
from catalog.manifests import Manifest, write_manifest
from catalog.model_tables import VARIANTS
from catalog.roots import record_root
from catalog.store import ShardWriter, shard_key, write_shard
from catalog.workspace import Workspace

SIDE = 32


def make_alignment_set(
    home: Path,
    num_items: int = 3,
    num_variants: int = 20,
    name: str = "small",
    version: int = 0,
    parameters: dict[str, Any] | None = None,
    **columns: Any,
) -> AlignmentSet:
    """Items "item-0", ... in shards of two; another ``version`` has other pictures. ``columns`` replace values."""
    workspace = Workspace(home)
    workspace.data.mkdir(parents=True, exist_ok=True)
    record_root(workspace, "store", workspace.data)
    shards = []
    for start in range(0, num_items, 2):
        items = range(start, min(start + 2, num_items))

        def produce(writer: ShardWriter, items: Sequence[int] = items) -> list[dict[str, Any]]:
            return [row for item in items for row in _rows(writer, item, num_variants, version, columns)]

        facts = {"items": list(items), "variants": num_variants, "version": version, "columns": repr(columns)}
        shards.append(write_shard(workspace, "variants", shard_key("by hand", facts, [], []), produce, {"inputs": []}))
    write_manifest(workspace, Manifest(name=name, parameters=parameters or {}, tables={"variants": shards}))
    return AlignmentSet.read(workspace, name)


def _rows(
    writer: ShardWriter, item: int, num_variants: int, version: int, columns: dict[str, Any]
) -> list[dict[str, Any]]:
    photo = encode_png(np.random.default_rng(item).integers(0, 256, (SIDE, 2 * SIDE, 3), np.uint8))
    source = writer.add_image(f"{item}-source.png", photo, 2 * SIDE, SIDE)
    rows = []
    for number in range(num_variants):
        color = (10 * number + version, 255 - 10 * number, 40 * item % 256)
        data = encode_png(np.full((SIDE, SIDE, 3), color, np.uint8))
        row: dict[str, Any] = dict.fromkeys(VARIANTS.names)
        row |= {
            "item_id": f"item-{item}",
            "variant": number,
            "group_id": bytes_digest(photo),
            "dataset": "made",
            "split": "train",
            "licence": "CC0",
            "edit_type": "object_removal",
            "region_id": f"made/{item}/1",
            "source_image": source,
            "instruction": f"remove <b>bird</b> number {item}",
            "target_caption": "a branch",
            "target_image": writer.add_image(f"{item}-{number}.png", data, SIDE, SIDE),
            "text_guidance": 3.0 + number // 4,
            "image_guidance": 1.0 + 0.25 * (number % 4),
            "guidance": "ip2p",
            "num_steps": 4,
            "sampler": "euler_ancestral",
            "seed": item,
            "backends": [f"generator=checkpoint@{version:016d}"],
        }
        rows.append(row | columns)
    return rows
