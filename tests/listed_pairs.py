"""Ready-made pairs of one source, listed and ingested as a build does it; and small pictures to make them of."""

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from catalog.images import decode_image
from catalog.roots import Roots, read_image_bytes
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.listing import list_source
from tasks.profiles import Profile, Source
from tasks.step_calls import Call
from tasks.steps import prepare


def ingest_source(home: Path, reader: str, root: Path, **options: Any) -> list[dict[str, Any]]:
    """The rows of table ``pairs`` that a source gives, in order; ``home`` becomes the workspace."""
    workspace = Workspace(home)
    source = Source(dataset=reader, reader=reader, root=str(root), options=options)
    profile = Profile(name="pairs", sources=(source,), images_per_shard=7)
    prepare(workspace)
    shards = [Call("ingest_pairs", workspace, profile, [shard]).run() for shard in list_source(workspace, profile, 0)]
    return [row for shard in shards for row in read_rows(shard.file(workspace))]


def show(home: Path, image: dict[str, Any]) -> np.ndarray:
    """The pixels of an image column: uint8 (H, W, 3), read where the row says, its digest checked."""
    return decode_image(read_image_bytes(Roots.read(Workspace(home).roots_path), image))


def reasons(rows: list[dict[str, Any]]) -> list[str | None]:
    """Why each row cannot be used, None where it can."""
    return [row["reason"] for row in rows]


HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(seed: int, width: int = 40, height: int = 36) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(value: int | np.ndarray, mode: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(value) if isinstance(value, int) else value).save(stream, mode)
    return stream.getvalue()


def cell(value: int | bytes | None) -> dict[str, Any]:
    return {"bytes": png(value) if isinstance(value, int) else value, "path": None}


def write_table(path: Path, columns: dict[str, list[Any]], images: tuple[str, ...], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: pa.array(values, HF_IMAGE if name in images else None) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path, **options)


def check_pixels(home: Path, rows: list[dict[str, Any]], sources: list[int], targets: list[int]) -> None:
    for row, source, target in zip(rows, sources, targets, strict=True):
        assert row["reason"] is None, row["detail"]
        assert np.array_equal(show(home, row["source_image"]), pixels(source))
        assert np.array_equal(show(home, row["target_image"]), pixels(target))


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
