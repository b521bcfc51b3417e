"""Pictures for the pages: small copies made once and kept, masks as layers, targets that are drawn at load time.

Kept pictures lie below ``.dashboard/`` of the workspace, named by the digest of what they show; deleting the folder
loses nothing. Image bytes are checked as everywhere (`catalog.images`): what breaks a limit is a reason, no picture.
"""

import base64
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from catalog.digests import value_digest
from catalog.durable import write_file
from catalog.errors import RowRejected, ShardError, UserError
from catalog.images import EncodedImage
from catalog.masks import decode_mask
from catalog.render_styles import RenderOptions
from catalog.roots import Roots, read_image_bytes
from catalog.samples import render_sample, sample_fields
from catalog.source_files import read_source_file
from catalog.workspace import Workspace

THUMBNAIL = 256
"""Longer side of a thumbnail in pixels."""
LARGE = 1024
"""Longer side of the picture of one pair."""
_QUALITY = 85
_VERSION = 1
_MASK_COLOR = (255, 0, 128)
_MASK_FILL, _MASK_EDGE = 96, 255  # alpha


class Pictures:
    """The pictures of one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._folder = workspace.home / ".dashboard" / "pictures"

    def image(self, value: Mapping[str, Any], side: int) -> bytes:
        """A stored image at most ``side`` pixels long, as JPEG.

        Args:
            value: of `catalog.schema.IMAGE`.
            side: pixels of the longer side.

        Raises:
            RowRejected: the bytes are gone, changed or break a limit.
            ShardError: its root is not known here.
        """
        return self._kept(
            ["image", value["sha256"], side], lambda: _small(read_image_bytes(self._roots(), value), side)
        )

    def pair(self, row: Mapping[str, Any], side: int) -> tuple[bytes, bytes | None, str | None]:
        """Source, target and instruction of a pair, as training may see it.

        Args:
            row: the columns of `sample_fields`.
            side: pixels of the longer side.

        Returns:
            The target is None where there is none; an instruction that is worded at load time is that of sample 0.

        Raises:
            RowRejected: as `image`.
        """
        if row["source_image"] is None:
            raise ShardError(f"no picture was made: {row['reason'] or 'no reason given'}")
        source = self.image(row["source_image"], side)
        if row["target_image"] is not None:
            return source, self.image(row["target_image"], side), row["instruction"] or self._drawn(row, side)[2]
        if row["vision_task"] not in ("segmentation", "keypoint_detection"):
            return source, None, row["instruction"]
        return self._drawn(row, side)

    def mask(self, value: Mapping[str, Any], side: int) -> bytes:
        """A mask as a transparent PNG: filled in a colour that no photo has much of, with a firm edge."""
        return self._kept(["mask", value_digest(dict(value)), side], lambda: _mask_layer(decode_mask(value), side))

    def _drawn(self, row: Mapping[str, Any], side: int) -> tuple[bytes, bytes | None, str | None]:
        """A sample drawn at load time, in the square that training would show."""
        size = min(side, 512) // 8 * 8
        names = [name for name in sample_fields() if name in row]
        parts = ["drawn", value_digest({name: row[name] for name in names}), size]
        options = RenderOptions(size=size, flip_probability=0)
        sample = None

        def draw(which: str) -> bytes:
            nonlocal sample
            sample = sample or render_sample(row, self._roots(), seed=0, index=0, options=options)
            if which == "words":
                return sample.instruction.encode()
            return _jpeg(Image.fromarray(sample.source if which == "source" else sample.target))

        source, target, words = (
            self._kept([*parts, which], lambda which=which: draw(which)) for which in ("source", "target", "words")
        )
        return source, target, words.decode()

    def _roots(self) -> Roots:
        return Roots.read(self._workspace.roots_path)

    def _kept(self, key: list[Any], make: Any) -> bytes:
        path = self._folder / f"{value_digest([_VERSION, *key])[:32]}"
        with suppress(FileNotFoundError):
            return path.read_bytes()
        data: bytes = make()
        with suppress(OSError):  # a workspace that cannot be written is shown all the same, slower
            write_file(path, [data])
        return data


def fetch_picture(path: Path, root: Path) -> bytes:
    """A picture file below a folder, its bytes checked.

    Raises:
        RowRejected: it is no picture, or lies elsewhere.
    """
    data = read_source_file(root, path.relative_to(root).as_posix())
    EncodedImage(data)
    return data


def data_url(data: bytes) -> str:
    """The bytes as an address that needs no request."""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def why_not(error: UserError) -> str:
    """Why a picture is not there, in few words."""
    return str(error.reason) if isinstance(error, RowRejected) else str(error)


def _small(data: bytes, side: int) -> bytes:
    encoded = EncodedImage(data)
    longest = max(encoded.width, encoded.height)
    reduction = 1
    while encoded.is_reducible and reduction < 8 and longest // (2 * reduction) >= side:
        reduction *= 2
    picture = Image.fromarray(encoded.decode(reduction))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _jpeg(picture)


def _jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue()


def _mask_layer(mask: np.ndarray, side: int) -> bytes:
    height, width = mask.shape
    scale = min(1.0, side / max(height, width))
    small = Image.fromarray(mask.astype(np.uint8) * 255)
    small = small.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BOX)
    inside = np.asarray(small) >= 128
    edge = inside & ~_shrunk(inside, max(1, round(min(inside.shape) / 200)))
    layer = np.zeros((*inside.shape, 4), np.uint8)
    layer[inside] = (*_MASK_COLOR, _MASK_FILL)
    layer[edge] = (*_MASK_COLOR, _MASK_EDGE)
    stream = io.BytesIO()
    Image.fromarray(layer).save(stream, "PNG")
    return stream.getvalue()


def _shrunk(mask: np.ndarray, pixels: int) -> np.ndarray:

    kernel = np.ones((2 * pixels + 1, 2 * pixels + 1), np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), kernel), np.bool_)
