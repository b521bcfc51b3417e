"""SIDD (Abdelhamed et al., CVPR 2018): photos of five phones with real sensor noise, and clean ones.

Layouts::

    SIDD_Medium_Srgb/Data/0001_001_S6_00100_00060_3200_L/0001_{NOISY,GT}_SRGB_010.PNG     (official; also SIDD_Small)
    SIDD/{train,val}/{input,gt}/...                                                       (InstructDiffusion)
    SIDD/{train,val}/{noisy,gt}, {input,groundtruth}, {input_crops,gt_crops}, {input_crops,target_crops}/...
    SIDD/Validation{Noisy,Gt}BlocksSrgb.mat                          (val: 40 photos x 32 blocks of 256 x 256)

A pair's two files have one name but for the words NOISY and GT. Whole photos have up to 16 megapixels: the option
``crop`` cuts them once, which training needs (Restormer takes 512, every 384).
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from catalog.errors import RowRejected, SourceError
from catalog.images import encode_png
from catalog.reasons import Reason
from tasks.readers.enhancement import EnhancementReader
from tasks.readers.layouts import find_folder, is_inside
from tasks.readers.locations import Location
from tasks.readers.matlab_files import read_variable
from tasks.readers.paired_folders import FilePair, numeric_order, pair_files

_FOLDERS = (
    *(("input", "gt"), ("noisy", "gt"), ("input", "groundtruth"), ("input", "target")),
    *(("input_crops", "gt_crops"), ("input_crops", "target_crops")),
    *(("SIDD/input_crops", "SIDD/target_crops"), ("SIDD/input_crops", "SIDD/gt_crops")),
)
_RELEASES = ("Data", "SIDD_Medium_Srgb/Data", "SIDD_Small_sRGB_Only/Data", "SIDD_Small_Srgb/Data")
_ROLE = re.compile(r"_?(NOISY|GT)(?=_|$|-)", re.IGNORECASE)
_NOISY, _CLEAN = "ValidationNoisyBlocksSrgb", "ValidationGtBlocksSrgb"
_BLOCK = re.compile(r"(?P<file>.+\.mat)#block=(?P<photo>[0-9]{1,4}),(?P<block>[0-9]{1,4})", re.S)
_BLOCKS_SHAPE = (40, 32, 256, 256, 3)
_OTHER_BYTES = 1 << 20  # of a file beside its blocks


def pair_key(path: PurePosixPath) -> str:
    """The name that a noisy and a clean file share: "0001_NOISY_SRGB_010.PNG" -> "0001_SRGB_010"."""
    return (path.parent / _ROLE.sub("", path.stem)).as_posix()


@dataclass
class SiddReader(EnhancementReader):
    """SIDD denoising pairs.

    Options: ``split`` (train or val; default train), ``crop`` and ``stride`` (pixels; default none: whole photos).
    """

    name: str = "sidd"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "sidd"
    holds: ClassVar[str] = "the folder with Data/, train/ and val/, or the validation blocks (.mat)"
    licence: ClassVar[str] = "SIDD: MIT"
    edit_type: ClassVar[str] = "denoising"
    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    _blocks: dict[str, np.ndarray | RowRejected] = field(default_factory=dict, init=False, repr=False)

    def _pairs(self, root: Path) -> list[FilePair]:
        split = self.options["split"]
        for source, target in _FOLDERS:
            folders = PurePosixPath(split, source), PurePosixPath(split, target)
            if all((root / folder).is_dir() for folder in folders):
                return pair_files(self.kind, root, *folders, pair_key)
        if split == "val" and (root / f"{_NOISY}.mat").is_file():
            return [
                FilePair(f"{photo}/{block}", *(f"{name}.mat#block={photo},{block}" for name in (_NOISY, _CLEAN)))
                for photo in range(_BLOCKS_SHAPE[0])
                for block in range(_BLOCKS_SHAPE[1])
            ]
        wanted = [f"{split}/{source}" for source, _ in _FOLDERS]
        if split == "val":
            find_folder(self.kind, root, f"its photos, or {_NOISY}.mat", wanted)
        data = find_folder(self.kind, root, "its photos", [*_RELEASES, *wanted])
        return self._release(root, data)

    def _release(self, root: Path, data: PurePosixPath) -> list[FilePair]:
        """The official tree: both files of a pair in one folder per scene."""
        sources: dict[str, str] = {}
        targets: dict[str, str] = {}
        for path in sorted((root / data).glob("*/*")):
            role = _ROLE.search(path.stem) if path.suffix.lower() == ".png" else None
            if role:
                file = PurePosixPath(path.relative_to(root / data).as_posix())
                (sources if role[1].upper() == "NOISY" else targets)[pair_key(file)] = (data / file).as_posix()
        if not sources.keys() | targets.keys():
            raise SourceError(f"Reader sidd needs <scene>/*_NOISY_SRGB_*.PNG in {data} below {root}; there are none.")
        return [
            FilePair(key, sources.get(key) or _partner(targets[key]), targets.get(key) or _partner(sources[key]))
            for key in sorted(sources.keys() | targets.keys(), key=numeric_order)
        ]

    def locate(self, file: str) -> Location:
        """A photo where it is; a crop in its photo; a block in its .mat."""
        match = _BLOCK.fullmatch(file)
        return Location(match["file"], is_plain=False) if match else super().locate(file)

    def fetch(self, file: str) -> bytes:
        """The crop or block behind a name, as PNG."""
        match = _BLOCK.fullmatch(file)
        if match is None:
            return super().fetch(file)
        photo, block = int(match["photo"]), int(match["block"])
        return encode_png(np.ascontiguousarray(self._read_blocks(match["file"])[photo, block]))

    def _read_blocks(self, file: str) -> np.ndarray:
        """uint8 (40, 32, 256, 256, 3): 252 MB, read once; what cannot be read is not tried again."""
        if file not in self._blocks:
            try:
                self._blocks[file] = self._load_blocks(file)
            except RowRejected as rejected:
                self._blocks[file] = rejected
        blocks = self._blocks[file]
        if isinstance(blocks, RowRejected):
            raise RowRejected(blocks.reason, blocks.detail)
        return blocks

    def _load_blocks(self, file: str) -> np.ndarray:
        assert self.root is not None and is_inside(file)
        if not (self.root / file).is_file():
            raise RowRejected(Reason.MISSING_FILE, f"no file {file!r}")
        most = math.prod(_BLOCKS_SHAPE) + _OTHER_BYTES
        try:
            blocks: np.ndarray = read_variable(
                self.root / file, PurePosixPath(file).stem, "SIDD's validation blocks", most
            )
        except SourceError as error:
            raise RowRejected(Reason.UNREADABLE_FILE, str(error)) from error
        if blocks.shape != _BLOCKS_SHAPE or blocks.dtype != np.uint8:
            detail = f"{file!r} holds {blocks.dtype} {blocks.shape}, not uint8 {_BLOCKS_SHAPE}"
            raise RowRejected(Reason.UNSUPPORTED_FORMAT, detail)
        return blocks


def _partner(file: str) -> str:
    """The name that the other file of a pair should have."""
    path = PurePosixPath(file)
    swapped = re.sub("NOISY", "@", path.name).replace("GT", "NOISY").replace("@", "GT")
    return (path.parent / swapped).as_posix()
