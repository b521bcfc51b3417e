"""Step ``gallery``: an index over the patches of a whole build (paper section 3.2, "gallery database").

The patches are streamed: memory holds the narrow rows, one batch of vectors and the index itself. Row i of the table
is vector i of the index, which lies beside it as ``data/gallery/<key>.faiss``.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.digests import bytes_digest
from catalog.schema import GALLERY
from catalog.store import ShardWriter, read_batches, read_metadata, read_shard
from catalog.workspace import Workspace
from tasks.steps import StepContext

INDEX_SUFFIX = ".faiss"
_HASH_DIGITS = 15  # hexadecimal: a whole number below 2**60, exact in int64


def build_gallery(context: StepContext, writer: ShardWriter) -> pa.Table:
    """Return the usable patches in the order of their shards, with their index beside them.

    Where there are more than ``max_patches``, about so many are taken, by the hash of their region: adding a shard
    to a build exchanges few of them.
    """
    chosen = _Chosen(context.inputs, context.profile.gallery_index.max_patches)
    rows = pa.Table.from_batches(chosen.batches(GALLERY.names), GALLERY)
    if len(rows):
        index = context.backends["index"].empty()
        index.expect(len(rows), chosen.sample(rows, index.num_training(len(rows))))
        for vectors in chosen.vectors():
            index.add(vectors)
        index.write(writer.add_file(INDEX_SUFFIX))
    return rows


class Gallery:
    """A gallery that can be searched. Threads may share it."""

    def __init__(self, key: str, rows: pa.Table, index: Any) -> None:
        self.key = key
        self._rows = rows
        self._index = index

    def nearest(self, embeddings: NDArray[np.float32], k: int) -> list[list[dict[str, Any]]]:
        """Per embedding (N, D) its ``k`` nearest patches, most similar first: gallery rows with ``similarity``."""
        if not len(self._rows):
            return [[] for _ in embeddings]
        similarities, ids = self._index.search(embeddings, k)
        found = []
        for scores, numbers in zip(similarities, ids, strict=True):
            known = numbers >= 0  # an approximate index may find fewer
            rows = self._rows.take(pa.array(numbers[known])).to_pylist()
            found.append([row | {"similarity": float(score)} for row, score in zip(rows, scores[known], strict=True)])
        return found


def open_gallery(workspace: Workspace, path: Path, index: Any) -> Gallery:
    """The gallery behind a shard of the table ``gallery``, its index mapped into memory and shared.

    Args:
        workspace: where the index file is.
        path: the Parquet file.
        index: the backend that the index was built with.

    Raises:
        ShardError: the table or the index is torn.
    """
    return _open(path, workspace.tar_path("gallery", path.stem).with_suffix(INDEX_SUFFIX), index)


@lru_cache(maxsize=1)
def _open(path: Path, file: Path, index: Any) -> Gallery:
    rows = read_shard(path).combine_chunks()
    return Gallery(path.stem, rows, index.read(file) if len(rows) else index.empty())


class _Chosen:
    """The usable patches of some shards that a gallery takes; may be walked again and again."""

    def __init__(self, paths: Sequence[Path], max_patches: int) -> None:
        self._paths = paths
        num_usable = sum(int(read_metadata(path)["num_usable"]) for path in paths)
        all_hashes = 16**_HASH_DIGITS
        self._threshold = all_hashes if num_usable <= max_patches else all_hashes * max_patches // num_usable

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The named columns."""
        for path in self._paths:
            for batch in read_batches(path, [*columns, *({"region_id"} - {*columns}), "reason"]):
                usable = batch.filter(pc.is_null(batch.column("reason")))
                if self._threshold < 16**_HASH_DIGITS:
                    usable = usable.filter(pa.array(_hashes(usable.column("region_id")) < self._threshold))
                yield usable.select(list(columns))

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """Embeddings, (N, D) at a time, without a Python object per number."""
        for batch in self.batches(["embedding"]):
            if batch.num_rows:
                numbers = batch.column("embedding").flatten().to_numpy(zero_copy_only=True)
                yield numbers.reshape(batch.num_rows, -1)

    def sample(self, rows: pa.Table, count: int) -> NDArray[np.float32]:
        """Embeddings of ``count`` of the rows chosen by the hash of their region, in gallery order: (count, D).

        At least the shape says the dimension where nothing is to be learnt.
        """
        if count == 0:
            return next(self.vectors())[:0]
        hashes = np.concatenate([_hashes(chunk) for chunk in rows.column("region_id").chunks])
        taken = np.zeros(len(rows), bool)
        taken[np.argsort(hashes, kind="stable")[:count]] = True
        parts, start = [], 0
        for vectors in self.vectors():
            parts.append(vectors[taken[start : start + len(vectors)]])
            start += len(vectors)
        return np.concatenate(parts)


def _hashes(names: pa.Array) -> NDArray[np.int64]:
    """A number below 16**15 from each region's name alone."""
    digests = (bytes_digest(f"gallery:{name}".encode()) for name in names.to_pylist())
    return np.fromiter((int(digest[:_HASH_DIGITS], 16) for digest in digests), np.int64, len(names))
