"""Ready-made pairs of one source, listed and ingested as a build does it."""

from pathlib import Path
from typing import Any

import numpy as np

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
