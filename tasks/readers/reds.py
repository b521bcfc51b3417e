"""REDS (Nah et al., CVPR workshops 2019): 300 clips of 100 frames, blurred and sharp.

Layouts::

    REDS/{train,val}/{train,val}_blur/000/00000000.png  {train,val}_sharp/000/...       (the archives, unpacked)
    REDS/{train,val}_blur/...  REDS/{train,val}_sharp/...                               (without the folder above)
    REDS/{train,val}/{blur,sharp}/000/00000000.png, or flat                             (InstructDiffusion; val-300)
    REDS/{train,val}/{input,target}/...                                                 (NAFNet)

The blur comes in variants: ``blur``, ``blur_comp`` (video compression) and ``blur_jpeg`` (JPEG frames, joined to
their sharp PNGs by name). The ``_bicubic`` archives are four times smaller pictures for another task and are not read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tasks.readers.enhancement import EnhancementReader
from tasks.readers.layouts import find_folder
from tasks.readers.paired_folders import FilePair, pair_files
from tasks.readers.reader_options import require_choice

_VARIANTS = ("blur", "blur_comp", "blur_jpeg")


@dataclass
class RedsReader(EnhancementReader):
    """REDS deblurring pairs.

    Options: ``split`` (train or val; default train), ``variant`` (blur, blur_comp or blur_jpeg; default blur),
    ``crop`` and ``stride`` (pixels; default none: whole frames).
    """

    name: str = "reds"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "reds"
    holds: ClassVar[str] = "the folder with train/ and val/, or train_blur/ and train_sharp/"
    licence: ClassVar[str] = "REDS: CC BY 4.0"
    edit_type: ClassVar[str] = "deblurring"
    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    defaults: ClassVar[Mapping[str, Any]] = {"variant": "blur"}

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self.kind, "variant", self.options["variant"], _VARIANTS)

    def _pairs(self, root: Path) -> list[FilePair]:
        split, variant = self.options["split"], self.options["variant"]
        sources = [f"{split}/{split}_{variant}", f"{split}_{variant}", f"{split}/{variant}"]
        targets = [f"{split}/{split}_sharp", f"{split}_sharp", f"{split}/sharp"]
        if variant == "blur":
            sources.append(f"{split}/input")
            targets.append(f"{split}/target")
        source = find_folder(self.kind, root, f"its {variant} frames", sources)
        target = find_folder(self.kind, root, "its sharp frames", targets)
        return pair_files(self.kind, root, source, target)
