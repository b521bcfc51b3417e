"""A small mix of every kind of row, through the real store and mixer: what the tests of exports export."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from catalog.images import encode_png
from catalog.manifests import Manifest, write_manifest
from catalog.masks import encode_mask
from catalog.mix_plans import MixPlan
from catalog.mixes import build_mix
from catalog.policies import Policy
from catalog.roots import record_root
from catalog.schema import PAIRS
from catalog.store import ShardWriter, shard_key, write_shard
from catalog.workspace import Workspace

HEIGHT, WIDTH = 72, 96
POLICY = Policy(name="everything", version=1, description="all | of it", conditions=())
OPEN, CLOSED = "CC BY 4.0", "Flickr terms"


def make_mix(home: Path, num_photos: int = 12, weight: float = 1.5) -> Path:
    """Build and mix; returns the mix file. Photo i has group, split and size of its own."""
    workspace = Workspace(home)
    rng = np.random.default_rng(0)

    def produce(writer: ShardWriter) -> list[dict[str, Any]]:
        return [row for number in range(num_photos) for row in _rows_of_photo(writer, rng, number, num_photos)]

    shard = write_shard(
        workspace, "pairs", shard_key("made", {}, [], []), produce, {"backends": ["inpainter=opencv@1"]}
    )
    write_manifest(workspace, Manifest(name="made", parameters={}, tables={"pairs": [shard]}))
    record_root(workspace, "store", workspace.data)
    plan = MixPlan.parse({"name": "small", "seed": 1, "source": [{"name": "all", "weight": weight}]}, "small.toml")
    build_mix(workspace, ["made"], POLICY, plan, workspace.catalog / "mix.parquet")
    return workspace.catalog / "mix.parquet"


def _rows_of_photo(writer: ShardWriter, rng: np.random.Generator, number: int, count: int) -> list[dict[str, Any]]:
    source = cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    target = source.copy()
    top, left = rng.integers(0, HEIGHT // 2), rng.integers(0, WIDTH // 2)
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[top : top + 30, left : left + 36] = True
    target[region] = rng.integers(0, 256, 3)
    photo = _jpeg(source) if number % 2 else encode_png(source)
    split = {count - 1: "val", count - 2: "test"}.get(number, "train")
    common: dict[str, Any] = dict.fromkeys(PAIRS.names)
    common |= {"group_id": f"{number:064x}", "dataset": "made", "split": split, "licence": OPEN, "backends": []}
    common |= {"source_image": writer.add_image(f"{number}/photo.bin", photo, WIDTH, HEIGHT), "parameters": "{}"}
    stored = writer.add_image(f"{number}/target.png", encode_png(target), WIDTH, HEIGHT)
    edited = {**common, "target_image": stored, "vision_task": "image_editing", "edit_type": "object_removal"}
    edited |= {"instruction": f'remove the "thing" | {number} é', "edit_mask": encode_mask(region)}
    edited |= {"source_caption": "a room", "target_caption": "an empty room", "region_id": f"made/{number}/0"}
    annotated = {"phrase": "the thing", "label": "thing", "mask": encode_mask(region)}
    annotated |= {"bbox": [float(left), float(top), 36.0, 30.0]}
    donor = {"region_id": "made/0/0", "licence": CLOSED if number == 3 else OPEN, "crop": [0, 0, 8, 8]}
    joints = [
        {"name": "nose", "x": left + 10.0, "y": top + 6.0, "visibility": 2},
        {"name": "left shoulder", "x": left + 20.0, "y": top + 25.0, "visibility": 1},
        {"name": "right shoulder", "x": 0.0, "y": 0.0, "visibility": 0},
    ]
    kinds: list[dict[str, Any]] = [
        {**edited, **annotated},
        {**edited, "edit_type": "object_replacement", "instruction": "make it a cat", "donor": donor},
        {**common, **annotated, "vision_task": "segmentation"},
        {
            **common,
            "vision_task": "keypoint_detection",
            "label": "person",
            "bbox": annotated["bbox"],
            "keypoints": joints,
        },
        {**common, "target_image": stored, "vision_task": "image_enhancement", "edit_type": "deblurring"},
    ]
    return [{**row, "pair_id": f"{number:028x}{kind:04x}"} for kind, row in enumerate(kinds)]


def _jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()
