"""CLWD (Liu et al., WACV 2021): photos under coloured, translucent watermarks, 256 x 256.

Layout::

    CLWD/{train,test}/Watermarked_image/<number>.jpg
    CLWD/{train,test}/Watermark_free_image/<number>.jpg
    CLWD/{train,test}/Mask/<number>.png                       (where the two differ by more than 15 levels in sum)

Numbers are not padded and are listed as numbers. Both pictures are JPEGs of their own, so they differ a little outside
the mask, which therefore is an annotation and not the bounds of the edit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from catalog.errors import RowRejected
from catalog.source_files import read_source_file
from tasks.readers.enhancement import EnhancementReader
from tasks.readers.layouts import find_folder
from tasks.readers.mask_pictures import white_mask
from tasks.readers.paired_folders import FilePair, pair_files
from tasks.readers.reader_options import require_flag
from tasks.readers.records import SourceRegion

_SOURCE, _TARGET = "Watermarked_image", "Watermark_free_image"
_THRESHOLD = 26
"""Grey levels from which a mask's pixel counts: its edges are noisy (SLBR: above 0.1 of 255)."""


@dataclass
class ClwdReader(EnhancementReader):
    """CLWD watermark removal pairs.

    Options: ``split`` (train or test; default train), ``masks`` (true reads where the watermark is, a PNG per pair;
    default false), ``crop`` and ``stride`` (pixels; default none: whole pictures).
    """

    name: str = "clwd"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "clwd"
    holds: ClassVar[str] = "the folder with train/ and test/"
    licence: ClassVar[str] = "CLWD: none stated (photos: PASCAL VOC, Flickr terms)"
    edit_type: ClassVar[str] = "watermark_removal"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    defaults: ClassVar[Mapping[str, Any]] = {"masks": False}

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag(self.kind, "masks", self.options["masks"])

    def _pairs(self, root: Path) -> list[FilePair]:
        split = self.options["split"]
        source = find_folder(self.kind, root, "its watermarked pictures", [f"{split}/{_SOURCE}"])
        target = find_folder(self.kind, root, "its clean pictures", [f"{split}/{_TARGET}"])
        return pair_files(self.kind, root, source, target)

    def _region(self, root: Path, pair: FilePair) -> SourceRegion | None:
        if not self.options["masks"]:
            return None
        file = PurePosixPath(self.options["split"], "Mask", f"{pair.key}.png").as_posix()
        try:
            mask: Any = white_mask(read_source_file(root, file), _THRESHOLD)
        except RowRejected as rejected:
            mask = f"mask {file!r}: {rejected}"
        return SourceRegion(annotation_id=pair.key, label="watermark", mask=mask)
