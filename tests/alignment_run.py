"""The alignment loop in the small, shared by tests: a mix of edits, a trained-like checkpoint, and what follows."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from catalog.digests import bytes_digest
from catalog.images import encode_png
from catalog.roots import record_root
from catalog.schema import MIX
from catalog.workspace import Workspace

SIDE = 64
NUM_TRAIN, NUM_VAL = 6, 3
COLORS = ("red", "green", "blue")


def make_edit_mix(workspace: Workspace) -> Path:
    """``catalog/mix.parquet``: edits of photos of their own, held-out ones among them; captions name a colour."""
    workspace.data.mkdir(parents=True, exist_ok=True)
    record_root(workspace, "store", workspace.data)
    rng, store, rows = np.random.default_rng(0), bytearray(), []
    for number in range(NUM_TRAIN + NUM_VAL):
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        source = cv2.resize(coarse, (SIDE + 16, SIDE), interpolation=cv2.INTER_CUBIC)
        is_train = number < NUM_TRAIN
        color = COLORS[number % 3]
        row = dict.fromkeys(MIX.names)
        row |= {
            "position": number if is_train else None,
            "split": "train" if is_train else "val",
            "mix_source": "all",
            "repeat": 0,
            "pair_id": f"edit-{number}",
            "vision_task": "image_editing",
            "edit_type": "object_removal",
            "dataset": "made",
            "licence": "CC0",
            "region_id": f"made/{number}/1",
            "source_image": _store(store, source),
            "target_image": _store(store, 255 - source),
            "instruction": f"make it {color}",
            "source_caption": "a gray wall",
            "target_caption": f"a {color} wall",
        }
        row["group_id"] = row["source_image"]["sha256"]
        rows.append(row)
    (workspace.data / "edits.bin").write_bytes(store)
    workspace.catalog.mkdir(exist_ok=True)
    path = workspace.catalog / "mix.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), path)
    return path


def make_checkpoint(folder: Path) -> Path:
    """A tiny pipeline whose image channels matter, as after training."""
    from trainer.models import load_models
    from trainer.pipeline_folder import write_pipeline
    from trainer.tiny import make_tiny_checkpoint

    make_tiny_checkpoint(folder / "tiny", seed=0)
    models = load_models(folder / "tiny")
    torch.manual_seed(0)
    with torch.no_grad():
        models.unet.conv_in.weight[:, 4:] = 0.05 * torch.randn(32, 4, 3, 3)
    write_pipeline(folder / "pipeline", models)
    return folder / "pipeline"


def _store(store: bytearray, image: np.ndarray) -> dict[str, object]:
    data = encode_png(np.ascontiguousarray(image))
    start = len(store)
    store += data
    height, width = image.shape[:2]
    place = {"root": "store", "path": "edits.bin", "offset": start, "length": len(data), "sha256": bytes_digest(data)}
    return {**place, "width": width, "height": height}
