"""Photos that their EXIF header turns, under annotations of stored pixels: joints and masks stay in place."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listed_pairs import show
from PIL import Image

from catalog.errors import RowRejected
from catalog.images import decode_image, read_orientation
from catalog.masks import decode_mask
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.listing import list_source
from tasks.parameters import IngestParameters
from tasks.profiles import Profile, Source
from tasks.step_calls import Call
from tasks.steps import prepare
from tasks.stored_pixels import as_stored

WIDTH, HEIGHT = 48, 40


def picture() -> np.ndarray:
    """Grey, with a white square in the top left corner, where joint and mask are."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[4:16, 8:24] = 255
    return pixels


def encode(orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, kind, exif=exif, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x", "icc_profile": b"icc"}])
def test_pixels_are_not_coded_anew(orientation: int, options: dict[str, Any]) -> None:
    data = encode(orientation, quality=90, **options)
    stored = as_stored(data)
    assert read_orientation(stored) == 1
    assert np.array_equal(decode_image(stored), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert (stored is data) == (orientation == 1)
    for segment in (b"icc", b"x")[: bool(options.get("comment"))]:
        assert segment in stored


def test_what_cannot_be_turned_back_is_refused() -> None:
    assert as_stored(encode(1, "PNG")) == encode(1, "PNG")
    with pytest.raises(RowRejected, match="a PNG that its metadata turns"):
        as_stored(encode(3, "PNG"))
    with pytest.raises(RowRejected):
        as_stored(encode(3)[:30])


@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_joints_and_masks_stay_on_their_pixels(tmp_path: Path, orientation: int) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.jpg").write_bytes(encode(orientation, quality=95))
    (root / "b.jpg").write_bytes(encode(1, quality=95))
    square = {"bbox": [8, 4, 16, 12], "segmentation": [[8, 4, 24, 4, 24, 16, 8, 16]], "category_id": 1, "iscrowd": 0}
    names = ["a.jpg", "b.jpg", "a.jpg"]  # one file may stand under two ids
    images = [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(names)]
    annotations = [{"id": n, "image_id": n, "keypoints": [10, 6, 2]} | square for n in range(3)]
    categories = [{"id": 1, "name": "person", "keypoints": ["nose"]}]
    (root / "a.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    source = Source(dataset="coco", reader="coco", root=str(root), options={"annotations": "a.json", "images": "."})
    profile = Profile(name="x", sources=(source,), ingest=IngestParameters(require_phrase=False))
    workspace = Workspace(tmp_path / "home")
    prepare(workspace)
    (listing,) = list_source(workspace, profile, 0)
    rows = list(read_rows(Call("ingest", workspace, profile, [listing]).run().file(workspace)))
    assert [row["reason"] for row in rows] == [None] * 3
    for row in rows:
        pixels, mask = show(tmp_path / "home", row["source_image"]), decode_mask(row["mask"])
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        assert pixels[mask].min() > 200 and pixels[~mask].mean() < 110
        joint = row["keypoints"][0]
        assert pixels[int(joint["y"]), int(joint["x"])].min() > 200
    turned, plain, again = rows
    assert plain["source_image"]["root"] == "coco"
    assert turned["source_image"]["root"] == ("coco" if orientation == 1 else "store")
    assert turned["group_id"] == again["group_id"]  # one photo, one split, whatever copies there are
