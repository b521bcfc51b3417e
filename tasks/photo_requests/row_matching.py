"""Rows of a chunk, matched: photo and result read, brought into one frame and, where that changed them, stored."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from catalog.digests import bytes_digest
from catalog.errors import RowRejected
from catalog.images import decode_image, encode_png
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.schema import REQUESTS
from catalog.store import ShardWriter
from catalog.workspace import Workspace
from tasks.instruction_check import check_instruction
from tasks.photo_requests.alignment import Picture
from tasks.photo_requests.crawl_settings import MatchParameters
from tasks.photo_requests.matching import Match, RequestPhotos

Row = dict[str, Any]
_WITHDRAWN = (Reason.OPTED_OUT, Reason.DELETED_POST)
"""Somebody took it back: that it was there stays, for the counts, what it said does not."""


def match_rows(
    workspace: Workspace, rows: Sequence[Row], parameters: MatchParameters
) -> Callable[[ShardWriter], Iterator[Row]]:
    """What writes the rows of one shard of ``requests``, in their order."""

    def produce(writer: ShardWriter) -> Iterator[Row]:
        roots = Roots.read(workspace.roots_path)
        for _, group in groupby(rows, key=lambda row: (row["request_id"], row["photos"])):
            yield from match_group(list(group), roots, parameters, writer)

    return produce


def match_group(rows: list[Row], roots: Roots, parameters: MatchParameters, writer: ShardWriter) -> Iterator[Row]:
    """The rows of one request and the same photos, which are decoded once; images that they need go to ``writer``."""
    photos: RequestPhotos | RowRejected | None = None
    for row in rows:
        columns = _columns(row)
        if row["reason"] is None:
            if photos is None:
                photos = _open(row, roots)
            try:
                if isinstance(photos, RowRejected):
                    raise photos
                columns |= _match(row, photos, roots, parameters, writer)
            except RowRejected as rejected:
                columns |= {"reason": str(rejected.reason), "detail": rejected.detail}
        yield columns


def _columns(row: Row) -> Row:
    known = {name: row[name] for name in row if name in REQUESTS.names}
    if row["reason"] in _WITHDRAWN:
        return known | dict.fromkeys(("request_text", "instruction", "result_image"))
    photo = row["photo_images"][0] if row["photo_images"] else None
    return {**known, "photo": row["photos"][0] if row["photos"] else None, "photo_image": photo}


def _open(row: Row, roots: Roots) -> RequestPhotos | RowRejected:
    try:
        return RequestPhotos([_decode(roots, image) for image in row["photo_images"]])
    except RowRejected as rejected:
        return rejected


def _match(row: Row, photos: RequestPhotos, roots: Roots, parameters: MatchParameters, writer: ShardWriter) -> Row:
    """The columns of a usable row."""
    check_instruction(row["instruction"])
    found = photos.match(_decode(roots, row["result_image"]), parameters)
    photo_image = row["photo_images"][found.photo]
    return {
        "photo": row["photos"][found.photo],
        "photo_image": photo_image,
        **_images(row, found, photo_image, writer),
        "transform": found.registration.matrix.ravel().tolist(),
        "num_inliers": found.registration.num_inliers,
        "alike_share": found.alike_share,
    }


def _images(row: Row, found: Match, photo_image: Row, writer: ShardWriter) -> Row:
    """Both pictures: as they were fetched where the frame is the whole of them, else cut out, losslessly."""
    frame = found.frame
    source = photo_image if frame.source_is_whole else _store(writer, row, "source", frame.source)
    target = row["result_image"] if frame.target_is_whole else _store(writer, row, "target", frame.target)
    return {"source_image": source, "target_image": target}


def _store(writer: ShardWriter, row: Row, side: str, pixels: Picture) -> Row:
    name = f"{bytes_digest(row['result_id'].encode('utf-8', 'backslashreplace'))[:32]}-{side}.png"
    return writer.add_image(name, encode_png(np.ascontiguousarray(pixels)), pixels.shape[1], pixels.shape[0])


def _decode(roots: Roots, image: Row) -> Picture:
    return decode_image(read_image_bytes(roots, image))
