"""Step ``references``: features of a fixed choice of good photos, which KNN-GIQA measures quality against.

The paper takes LAION-600M (section 3.2). Here it is a hash-chosen sample of the build's own training photos, or,
with real backends, of any photos that the profile lists as a source.
"""

from collections.abc import Iterator
from itertools import islice

from catalog.digests import bytes_digest
from catalog.errors import RowRejected
from catalog.store import ShardWriter
from tasks.backends.calls import call_batch
from tasks.row_images import RowImages
from tasks.steps import Row, StepContext


def references(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield an embedding per chosen photo, in hash order: the same whatever order the regions come in."""
    parameters = context.profile.score
    photos = {row["group_id"]: row["source_image"] for row in context.rows if row["split"] == "train" and _sound(row)}
    order = sorted(photos, key=lambda group_id: bytes_digest(f"references:{group_id}".encode()))
    chosen = iter(order[: parameters.num_references])
    images = RowImages(context.roots)
    while batch := list(islice(chosen, parameters.batch_size)):
        pixels = [images.read(photos[group_id]) for group_id in batch]
        embeddings = call_batch("embedder", context.backends["embedder"], pixels)
        for group_id, embedding in zip(batch, embeddings, strict=True):
            if not isinstance(embedding, RowRejected):
                yield {"group_id": group_id, "embedding": embedding.tolist(), "backends": list(context.backend_ids)}


def _sound(row: Row) -> bool:
    return row["reason"] is None and row["source_image"] is not None
