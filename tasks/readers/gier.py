"""GIER (Shi et al., ECCV 2020): requests for edits from two forums, with what a member made of each.

Layouts::

    GIER_editing_data/GIER.json               list of {input, output, expert_summary, amateur_summary, operator, ...}
    GIER_editing_data/images/<id>_<hash>.jpg
    GIER_editing_data/masks/<input stem>_mask.json      run-length codes of the input, which ``operator`` points into
    GIER_editing_data/{train,val,test}_sess_3.json      lists of the same form (T2ONet's splits; also in splits/)
    GIER_editing_data/GIER_new.json, warped/            InstructDiffusion's: {input, output, prompts}, aligned copies

Each pair was summed up by several people; the option ``wordings`` takes one of their sentences or all. Aligned copies
in ``warped/`` are taken first. Elsewhere input and output differ in size in a quarter of the pairs: the picture was
scaled or cropped along the way, or cropped or turned on request. Of the former both are brought into the frame that
they share, by registration as for photo requests (`tasks.photo_requests.matching`); of the latter they share none that
shows the edit, and ``size_mismatch`` refuses them. The official code squeezes each picture by itself, which the option
``sizes`` does as well. NaN is a value there.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from catalog.errors import RowRejected
from catalog.masks import decode_mask
from catalog.source_files import read_source_file
from tasks.readers.edit_pairs import WORDINGS, choose_wordings
from tasks.readers.gier_frames import CommonFrames, framed_names, have_two_sizes, locate_framed, squeezed_name
from tasks.readers.json_records import JsonRecords
from tasks.readers.layouts import find_file, is_inside, require_folder
from tasks.readers.locations import Location
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourcePair, SourceRegion
from tasks.readers.run_length import encode_run_length

_PARTS = ("train", "val", "test")
_FOLDERS = ("warped", "images")
_RESHAPING = {"crop", "rotate", "flip"}
"""Requests whose result has another frame than the photo."""


@dataclass
class GierReader(FileReader):
    """GIER: photo requests and their answers.

    Options: ``annotations`` (JSON file below the root; default: GIER.json, else GIER_new.json, or the list of the
    split), ``split`` (train, val or test: that list of T2ONet's; default: every pair, split by hash), ``wordings`` (one
    sentence per pair, drawn by hash, or all, a pair each; default one), ``sizes`` (of pictures of two sizes: corrected:
    both in the frame that they share; official: the whole result squeezed into the photo's size; default corrected).
    """

    name: str = "gier"
    revision: str = field(default="2", init=False)
    kind: ClassVar[str] = "gier"
    licence: ClassVar[str] = "GIER: research use (photos: their posters')"
    _frames: CommonFrames = field(default_factory=CommonFrames, init=False, repr=False)

    def __post_init__(self) -> None:
        self.options = complete_options(
            self.kind, self.options, {"annotations": None, "split": None, "wordings": "one", "sizes": "corrected"}
        )
        require_text(self.kind, "annotations", self.options["annotations"])
        require_choice(self.kind, "wordings", self.options["wordings"], WORDINGS)
        require_choice(self.kind, "sizes", self.options["sizes"], ("corrected", "official"))
        if self.options["split"] is not None:
            require_choice(self.kind, "split", self.options["split"], _PARTS)

    def read(self) -> Iterator[SourcePair]:
        """Every pair, in the file's order. Raises SourceError for a wrong folder or file."""
        root = require_folder(self.kind, self.root, "the folder with GIER.json and images/")
        part = self.options["split"]
        names = ["GIER.json", "GIER_new.json"]
        if part is not None:
            names = [f"{folder}{part}_sess_3.json" for folder in ("", "splits/")]
        if self.options["annotations"] is not None:
            names = [self.options["annotations"]]
        path = find_file(self.kind, root, "its list of requests", names)
        return self._stream(root, JsonRecords(path, "GIER's list of requests"))

    def _stream(self, root: Path, records: JsonRecords) -> Iterator[SourcePair]:
        for number, (_, value) in enumerate(records.array()):
            entry: Mapping[str, Any] = value if isinstance(value, dict) else {}
            file, target = (_locate(root, entry.get(name)) for name in ("input", "output"))
            photo = file
            if _are_there(root, file, target) and have_two_sizes(root, file, target):
                file, target = self._one_size(file, target, entry)
            output = entry.get("output")
            source_id = PurePosixPath(output).stem if isinstance(output, str) and output else f"unknown-{number}"
            for end, wording in choose_wordings(_sentences(entry), source_id, self.options["wordings"]):
                yield SourcePair(
                    source_id=source_id + end,
                    file=file,
                    target_file=target,
                    vision_task="image_editing",
                    edit_type="photo_request",
                    instruction=wording,
                    split=self.options["split"],
                    licence=self.licence,
                    region=_region(root, entry, source_id) if file == photo else None,
                    group=photo if file != photo else None,
                )

    def _one_size(self, photo: str, result: str, entry: Mapping[str, Any]) -> tuple[str, str]:
        if self.options["sizes"] == "official":
            return photo, squeezed_name(photo, result)
        operators = entry.get("operator")
        if isinstance(operators, dict) and _RESHAPING & set(operators):
            return photo, result
        return framed_names(photo, result)

    def locate(self, file: str) -> Location:
        """A file of its own, or what a picture of another size is made of."""
        return locate_framed(file)

    def fetch(self, file: str) -> bytes:
        """A picture of another size than its file's."""
        assert self.root is not None
        return self._frames.fetch(self.root, file)


def _locate(root: Path, name: Any) -> Any:
    """A picture's path: its aligned copy where there is one."""
    if not is_inside(name):
        return name
    return next((f"{folder}/{name}" for folder in _FOLDERS if (root / folder / name).is_file()), f"images/{name}")


def _are_there(root: Path, *files: Any) -> bool:
    return all(is_inside(file) and (root / file).is_file() for file in files)


def _sentences(entry: Mapping[str, Any]) -> Any:
    """What people summed the edit up as; a malformed value as it is. The poster's own words may be anything."""
    if "prompts" in entry:
        return entry["prompts"]
    lists = [entry.get(name) or [] for name in ("expert_summary", "amateur_summary")]
    wrong = [value for value in lists if not isinstance(value, list)]
    return wrong[0] if wrong else [sentence for value in lists for sentence in value]


def _region(root: Path, entry: Mapping[str, Any], source_id: str) -> SourceRegion | None:
    """The union of the masks that local operators point to; None where an operator is global or masks are not there."""
    operators = entry.get("operator")
    name = entry.get("input")
    if not isinstance(operators, dict) or not operators or not isinstance(name, str) or not is_inside(name):
        return None
    uses = list(operators.values())
    if not all(isinstance(use, dict) and use.get("local") is True and isinstance(use.get("ids"), list) for use in uses):
        return None
    file = f"masks/{PurePosixPath(name).stem}_mask.json"
    if not (root / file).is_file() or (root / "warped" / name).is_file():
        return None  # masks are of the picture as it was posted
    wanted = sorted({one for use in uses for one in use["ids"] if isinstance(one, int)})
    if not wanted:
        return None
    try:
        codes = json.loads(read_source_file(root, file))
        masks = [decode_mask(codes[one]) for one in wanted]
        union: Any = encode_run_length(np.any(masks, axis=0))
    except (RowRejected, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        union = f"masks {file!r}: {error}"
    return SourceRegion(annotation_id=source_id, mask=union)
