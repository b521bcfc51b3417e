"""A small mix to train on, with its images and roots.json; loaded by path from the trainer's tests."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import bytes_digest
from catalog.schema import MIX

SIDE = 96


def make_mix(home: Path, num_rows: int = 12, seed: int = 0) -> Path:
    """Write ``home/catalog/mix.parquet``: training rows whose targets are their sources with other colours."""
    rng = np.random.default_rng(seed)
    store = bytearray()
    rows = []
    for position in range(num_rows):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        source = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        row: dict[str, Any] = dict.fromkeys(MIX.names)
        row |= {
            "position": position,
            "split": "train",
            "mix_source": "removal",
            "repeat": 0,
            "pair_id": f"pair-{position:03d}",
            "vision_task": "image_editing" if position % 3 else "image_enhancement",
            "edit_type": "object_removal" if position % 3 else "deblurring",
            "group_id": f"group-{position:03d}",
            "dataset": "made",
            "source_image": _store(store, source),
            "target_image": _store(store, 255 - source),
            "instruction": f"remove the {('red', 'blue', 'green')[position % 3]} bird, number {position}",
        }
        rows.append(row)
    val = {**rows[0], "position": None, "split": "val"}
    (home / "catalog").mkdir(parents=True, exist_ok=True)
    (home / "data").mkdir(exist_ok=True)
    (home / "data" / "images.bin").write_bytes(store)
    (home / "catalog" / "roots.json").write_text(json.dumps({"store": "../data"}))
    path = home / "catalog" / "mix.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, val], schema=MIX), path, row_group_size=5)
    return path


def damage(mix: Path, position: int) -> None:
    """Overwrite the bytes of one source image, so that its row cannot be rendered any more."""
    image = pq.read_table(mix).to_pylist()[position]["source_image"]
    file = mix.parent.parent / "data" / "images.bin"
    data = bytearray(file.read_bytes())
    data[image["offset"] : image["offset"] + image["length"]] = bytes(image["length"])
    file.write_bytes(data)


def _store(store: bytearray, image: np.ndarray) -> dict[str, Any]:
    data = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    start = len(store)
    store += data
    return {
        "root": "store",
        "path": "images.bin",
        "offset": start,
        "length": len(data),
        "sha256": bytes_digest(data),
        "width": SIDE,
        "height": SIDE,
    }
