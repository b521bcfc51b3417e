"""Step ``references``: features of a fixed choice of good photos, which KNN-GIQA measures quality against.

The paper takes LAION-600M (section 3.2). Here it is a hash-chosen sample of the build's own training photos: of any
photos that the profile lists as a source of regions, or, without such a source, of the photos that ready-made pairs
start from. Pictures that a model generated are not taken: a generator's pictures measured against its own would all
look good.
"""

from collections.abc import Collection, Iterable, Iterator
from heapq import nsmallest
from itertools import islice
from typing import Any

import numpy as np

from catalog.digests import bytes_digest
from catalog.errors import RowRejected
from catalog.store import ShardWriter
from tasks.backends.calls import call_batch
from tasks.listing import open_source
from tasks.row_images import RowImages
from tasks.steps import Row, StepContext


def references(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield an embedding per chosen photo, in hash order: the same whatever order the regions come in."""
    parameters = context.profile.score
    images = RowImages(context.roots)
    generated = {source.dataset for source in context.profile.sources if not open_source(source).sources_are_photos}
    chosen = iter(_choose(_photos(context.rows, generated), parameters.num_references))
    while batch := list(islice(chosen, parameters.batch_size)):
        opened = [(group_id, pixels) for group_id, image in batch if (pixels := _read(images, image)) is not None]
        embeddings = call_batch("embedder", context.backends["embedder"], [pixels for _, pixels in opened])
        for (group_id, _), embedding in zip(opened, embeddings, strict=True):
            if not isinstance(embedding, RowRejected):
                yield {"group_id": group_id, "embedding": embedding.tolist(), "backends": list(context.backend_ids)}


def _photos(rows: Iterable[Row], generated: Collection[str]) -> Iterator[Row]:
    """Rows whose ``source_image`` is a photo; of pairs, those whose one good photo it is, turned round if need be."""
    for row in rows:
        if "vision_task" not in row:
            yield row  # a region
        elif row["dataset"] in generated or row["reason"] is not None:
            continue
        elif row["vision_task"] == "image_enhancement":
            yield row | {"source_image": row["target_image"]}
        elif row["source_image"]["sha256"] == row["group_id"]:  # else a turn that begins with an edited picture
            yield row


def _choose(rows: Iterable[Row], count: int) -> list[tuple[str, Any]]:
    """``count`` training photos by the hash of their group, and no more of them in memory at any time."""
    best: dict[str, tuple[str, Any]] = {}  # hash to group and image
    for row in rows:
        if row["reason"] is None and row["source_image"] is not None and row["split"] == "train":
            best[bytes_digest(f"references:{row['group_id']}".encode())] = (row["group_id"], row["source_image"])
            if len(best) >= 2 * count + 1000:
                best = dict(nsmallest(count, best.items()))
    return [photo for _, photo in nsmallest(count, best.items())]


def _read(images: RowImages, image: Any) -> np.ndarray | None:
    """A photo's pixels; None for one that has gone or changed since it was checked: others say how good photos are."""
    try:
        return images.read(image)
    except RowRejected:
        return None
