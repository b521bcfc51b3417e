"""GoPro (GOPRO_Large; Nah et al., CVPR 2017): motion blur and sharp frames of one high-speed camera.

Layouts::

    GOPRO_Large/{train,test}/GOPR0372_07_00/{blur,blur_gamma,sharp}/000047.png       (official)
    GoPro/{train,test}/{input,target}/GOPR0384_11_00-000001.png                      (Restormer, InstructDiffusion)
    GoPro/{train,test}/{blur,sharp}/...                                              (mmagic)
    GoPro/{train,test}/{input_crops,target_crops}/...                                (Restormer's crops)

``blur_gamma`` averages frames under a camera's response curve, which nearly all work uses; ``blur`` averages linear
light. Only the official form has both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tasks.readers.enhancement import EnhancementReader
from tasks.readers.layouts import find_folder
from tasks.readers.paired_folders import FilePair, pair_files
from tasks.readers.reader_options import require_choice

_FLAT = (("input", "target"), ("blur", "sharp"), ("input_crops", "target_crops"))
_BLURS = {"gamma": "blur_gamma", "linear": "blur"}


@dataclass
class GoProReader(EnhancementReader):
    """GoPro deblurring pairs.

    Options: ``split`` (train or test; default train), ``blur`` (gamma or linear, of the official form; default
    gamma), ``crop`` and ``stride`` (pixels; default none: whole frames).
    """

    name: str = "gopro"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "gopro"
    holds: ClassVar[str] = "the folder with train/ and test/"
    licence: ClassVar[str] = "GOPRO_Large: CC BY 4.0"
    edit_type: ClassVar[str] = "deblurring"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    defaults: ClassVar[Mapping[str, Any]] = {"blur": "gamma"}

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self.kind, "blur", self.options["blur"], tuple(_BLURS))

    def _pairs(self, root: Path) -> list[FilePair]:
        split = self.options["split"]
        part = find_folder(self.kind, root, f"its {split} frames", [split, f"GOPRO_Large/{split}"])
        for source, target in _FLAT:
            if (root / part / source).is_dir() and (root / part / target).is_dir():
                return pair_files(self.kind, root, part / source, part / target)
        return self._clips(root, part)

    def _clips(self, root: Path, part: PurePosixPath) -> list[FilePair]:
        blur = _BLURS[self.options["blur"]]
        clips = sorted(path.name for path in (root / part).iterdir() if (path / "sharp").is_dir())
        if not clips:
            wanted = [f"{part}/{source}" for source, _ in _FLAT] + [f"{part}/<clip>/{blur}"]
            find_folder(self.kind, root, "its frames", wanted)
        return [
            FilePair(f"{clip}/{pair.key}", pair.source, pair.target)
            for clip in clips
            for pair in pair_files(self.kind, root, part / clip / blur, part / clip / "sharp")
        ]
