"""What a reader yields: a source image with its regions, or a ready-made pair, as the dataset says it.

Nothing is checked here; `tasks.ingest` checks each field against the image and gives a reason where it fails.
So values may be wrong, of the wrong type or absent, and they travel as JSON to keep them as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from catalog.masks import PolygonRule
from tasks.readers.locations import Location


@dataclass(frozen=True, kw_only=True)
class SourceRegion:
    """One annotated region of an image. Give at most one of ``polygons``, ``mask`` and ``box``."""

    annotation_id: str
    phrase: str | None = None
    """Refers to the region within its image; empty or None where the dataset has only a label."""
    label: str | None = None
    attributes: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()
    """(predicate, object): ("on top of", "tree")."""
    polygons: Any = None
    """List of polygons, each a list of [x, y] in pixels. Their union is the region."""
    mask: Any = None
    """COCO run-length code {"size": [height, width], "counts": str or list}."""
    box: Any = None
    """[x, y, width, height] in pixels: bounds of the region, and the region itself where nothing finer is given."""
    keypoints: Any = None
    """List of [name, x, y, visibility], COCO visibility, 0-indexed pixels."""
    num_instances: int = 1
    is_crowd: bool = False


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One source image and its regions."""

    source_id: str
    file: str
    """Path relative to the dataset's root, or a name that the reader's ``fetch`` knows."""
    width: int | None = None
    """Pixels, as the annotation says; None where it does not."""
    height: int | None = None
    split: str | None = None
    """The dataset's own split; None lets the group's hash decide."""
    licence: str | None = None
    captions: tuple[str, ...] = ()
    regions: tuple[SourceRegion, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SourcePair:
    """One ready-made pair: source file, target file, instruction."""

    source_id: str
    file: str
    target_file: str
    vision_task: str
    edit_type: str
    instruction: str | None = None
    """None: worded at load time from the templates of ``edit_type``."""
    split: str | None = None
    licence: str | None = None
    source_caption: str | None = None
    target_caption: str | None = None
    region: SourceRegion | None = None
    """Where the edit happens, if the dataset says so: becomes ``edit_mask`` and the annotation columns."""
    group: str | None = None
    """File of the original photo where it is neither source nor target; None: the source file's own bytes."""


Record = SourceImage | SourcePair


class Reader(Protocol):
    """A source dataset.

    ``name`` is the ``dataset`` column; ``revision`` changes whenever the reader would yield something else
    for the same files; ``root`` is the folder that paths are relative to, None where ``fetch`` makes every image.
    """

    name: str
    revision: str
    root: Path | None
    options: dict[str, Any]
    """JSON values that the records depend on (split, seed, count): part of the content key."""
    polygon_rule: PolygonRule
    """How polygons become pixels: ``phrasecut`` or ``coco`` (see `catalog.masks.rasterize_polygons`)."""
    counts_stored_pixels: ClassVar[bool]
    """Whether the regions of images count pixels as stored, whatever EXIF says of how to turn the photo."""
    sources_are_photos: ClassVar[bool]
    """Of pairs: whether the pictures that they start from (of enhancement: end in) are photographs, which quality may
    be measured against; False where they are generated, or nobody knows."""

    def read(self) -> Iterator[Record]:
        """Stream the records in a stable order, decoding no pixel. Raises SourceError for a wrong folder."""
        ...

    def locate(self, file: str) -> Location:
        """Where the image ``file`` is below ``root``, and whether its bytes can be read from there as they are."""
        ...

    def fetch(self, file: str) -> bytes:
        """The encoded image behind ``file`` where its `Location` is not plain (rendered, compressed, a table's cell).

        Raises:
            RowRejected: with the reason why there is none.
        """
        ...


@dataclass
class FileReader:
    """Base of readers whose images are files under ``root``: they are referenced there, never copied."""

    root: Path | None
    options: dict[str, Any] = field(default_factory=dict)
    polygon_rule: PolygonRule = "coco"
    counts_stored_pixels: ClassVar[bool] = True
    sources_are_photos: ClassVar[bool] = True

    def locate(self, file: str) -> Location:
        """A file of its own, as it is."""
        return Location(file)

    def fetch(self, file: str) -> bytes:
        """Not used: the ingest step reads files below ``root`` itself, with its limits."""
        raise AssertionError(f"{file}: files under a root are read by the ingest step")
