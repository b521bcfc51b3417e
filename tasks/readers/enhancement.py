"""What the datasets of damaged and clean pictures share: pairs by name, whole or as crops of the same place."""

import abc
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from catalog.errors import SourceError
from tasks.readers.layouts import require_folder
from tasks.readers.locations import Location
from tasks.readers.paired_folders import FilePair
from tasks.readers.picture_crops import CropMaker, crop_name, crop_places, locate_crop
from tasks.readers.reader_options import complete_options, require_choice, require_integer
from tasks.readers.records import FileReader, SourcePair, SourceRegion

MAX_CROP = 8192
"""Largest side of a crop, pixels."""


@dataclass
class EnhancementReader(FileReader, abc.ABC):
    """Base of the readers; each says where its pairs are.

    Options of all: ``crop`` (side in pixels of squares cut out of both pictures at the same places; default none:
    whole pictures, referenced where they are), ``stride`` (pixels between two squares; default: the side).
    """

    kind: ClassVar[str]
    holds: ClassVar[str]
    licence: ClassVar[str]
    edit_type: ClassVar[str]
    """``deblurring``, ``denoising`` or ``watermark_removal``: the wordings of its instructions."""
    splits: ClassVar[tuple[str, ...]]
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Options of the reader's own."""
    _crops: CropMaker = field(default_factory=CropMaker, init=False, repr=False)

    def __post_init__(self) -> None:
        common = {"split": self.splits[0], "crop": None, "stride": None}
        self.options = complete_options(self.kind, self.options, {**common, **self.defaults})
        require_choice(self.kind, "split", self.options["split"], self.splits)
        for name in ("crop", "stride"):
            if self.options[name] is not None:
                require_integer(self.kind, name, self.options[name], 32, MAX_CROP)
        if self.options["stride"] is not None and self.options["crop"] is None:
            raise SourceError(f"Option stride of reader {self.kind} needs the option crop, the side of the squares.")

    @abc.abstractmethod
    def _pairs(self, root: Path) -> Iterable[FilePair]:
        """Every pair of the split. Raises SourceError."""

    def read(self) -> Iterator[SourcePair]:
        """Every pair of the split, in order of its name. Raises SourceError for a wrong folder."""
        root = require_folder(self.kind, self.root, self.holds)
        return self._stream(root, self._pairs(root))

    def _stream(self, root: Path, pairs: Iterable[FilePair]) -> Iterator[SourcePair]:
        side = self.options["crop"]
        for pair in pairs:
            places = side and crop_places(root, pair.source, pair.target, side, self.options["stride"] or side)
            if not places:
                yield self._record(pair.key, pair.source, pair.target, self._region(root, pair), None)
                continue
            for x, y in places:
                files = [crop_name(file, x, y, side) for file in (pair.source, pair.target)]
                yield self._record(f"{pair.key}@{x},{y}", files[0], files[1], None, pair.source)

    def _record(
        self, source_id: str, source: str, target: str, region: SourceRegion | None, group: str | None
    ) -> SourcePair:
        return SourcePair(
            source_id=source_id,
            file=source,
            target_file=target,
            vision_task="image_enhancement",
            edit_type=self.edit_type,
            split=self.options["split"],
            licence=self.licence,
            region=region,
            group=group,
        )

    def _region(self, root: Path, pair: FilePair) -> SourceRegion | None:
        """Where the damage is, if the dataset says so."""
        return None

    def locate(self, file: str) -> Location:
        """A picture where it is; a crop in its picture."""
        return locate_crop(file)

    def fetch(self, file: str) -> bytes:
        """The crop behind a name, as PNG."""
        assert self.root is not None
        return self._crops.fetch(self.root, file)
