"""GQA-Inpaint (Yildirim et al., 2023): objects of GQA's photos removed by an inpainter, and the way back.

Layouts::

    gqa-inpaint/images/<image>.jpg                            GQA's photos (images.zip)
    gqa-inpaint/images_inpainted/<image>/<object>.jpg         the photo without the object
    gqa-inpaint/masks/<image>/<object>.jpg                    light where the object was (JPEG: cut at half)
    gqa-inpaint/{train,test}_scenes.json                      {image: {width, height, objects: {id: {...}}, ...}}
    gqa-inpaint/test_instructions.json                        {"i<image>-o<object>": instruction}
    gqa-inpaint/meta_info.json                                [{source_image_path, target_image_path, instruction}]

Each object that the scenes mark ``bidirected`` gives a removal and its reverse, an addition. Their words are made from
the scene graph (`gqa_words`), or are those of test_instructions.json; an object that no words single out has no
instruction and is refused. meta_info.json is InstructDiffusion's list, read with the option ``annotations``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from catalog.errors import RowRejected, SourceError
from catalog.source_files import read_source_file
from tasks.readers.gqa_words import addition_words, object_words, removal_words
from tasks.readers.json_records import JsonRecords
from tasks.readers.layouts import find_file, require_folder
from tasks.readers.mask_pictures import white_mask
from tasks.readers.reader_options import complete_options, require_choice, require_flag, require_text
from tasks.readers.records import FileReader, SourcePair, SourceRegion

EDITS = {"removal": "object_removal", "addition": "object_addition"}


@dataclass
class GqaInpaintReader(FileReader):
    """GQA-Inpaint: removals and additions.

    Options: ``split`` (train or test; default train), ``annotations`` (a list in the form of meta_info.json, below the
    root; default: the split's scenes), ``masks`` (false leaves masks unread; default true where there are any).
    """

    name: str = "gqa_inpaint"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "gqa_inpaint"
    licence: ClassVar[str] = "GQA-Inpaint: MIT; photos: Visual Genome, CC BY 4.0"

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"split": "train", "annotations": None, "masks": True})
        require_choice(self.kind, "split", self.options["split"], ("train", "test"))
        require_text(self.kind, "annotations", self.options["annotations"])
        require_flag(self.kind, "masks", self.options["masks"])

    def read(self) -> Iterator[SourcePair]:
        """Every pair, in the file's order. Raises SourceError for a wrong folder or file."""
        root = require_folder(self.kind, self.root, "the folder with images/, images_inpainted/ and train_scenes.json")
        given, split = self.options["annotations"], self.options["split"]
        if given is not None:
            path = find_file(self.kind, root, "its list of pairs", [given])
            return self._listed(JsonRecords(path, "GQA-Inpaint's list of pairs"))
        path = find_file(self.kind, root, "its scenes", [f"{split}_scenes.json"])
        words: Any = {}
        if split == "test" and (root / "test_instructions.json").is_file():
            words = JsonRecords(root / "test_instructions.json", "GQA-Inpaint's instructions").whole()
            if not isinstance(words, dict):
                raise SourceError(
                    f'{root / "test_instructions.json"} must be an object of texts by "i<image>-o<object>".'
                )
        return self._scenes(root, JsonRecords(path, "GQA-Inpaint's scenes"), words)

    def _scenes(self, root: Path, records: JsonRecords, words: Mapping[str, Any]) -> Iterator[SourcePair]:
        for image, _, scene in records.members(frozenset()):
            objects = scene.get("objects") if isinstance(scene, dict) else None
            for object_id, entry in objects.items() if isinstance(objects, dict) else ():
                if isinstance(entry, dict) and entry.get("bidirected") is True:
                    yield from self._object(root, image, object_id, scene, words.get(f"i{image}-o{object_id}"))

    def _object(self, root: Path, image: str, object_id: str, scene: Any, given: Any) -> Iterator[SourcePair]:
        """The removal of an object and its addition."""
        photo, without = f"images/{image}.jpg", f"images_inpainted/{image}/{object_id}.jpg"
        region = self._region(root, image, object_id, scene)
        words = object_words(scene, object_id)
        made = {"removal": removal_words(*words), "addition": addition_words(*words)} if words else {}
        if isinstance(given, str):
            made["addition" if given.lower().startswith("add ") else "removal"] = given
        for edit, edit_type in EDITS.items():
            file, target = (photo, without) if edit == "removal" else (without, photo)
            yield SourcePair(
                source_id=f"{image}/{object_id}/{edit}",
                file=file,
                target_file=target,
                vision_task="image_editing",
                edit_type=edit_type,
                instruction=made.get(edit),
                split=self.options["split"],
                licence=self.licence,
                region=region,
                group=photo,
            )

    def _region(self, root: Path, image: str, object_id: str, scene: Mapping[str, Any]) -> SourceRegion | None:
        if not self.options["masks"] or not (root / "masks").is_dir():
            return None
        file = f"masks/{image}/{object_id}.jpg"
        try:
            mask: Any = white_mask(read_source_file(root, file))
        except RowRejected as rejected:
            mask = f"mask {file!r}: {rejected}"
        name = scene["objects"][object_id].get("name")
        return SourceRegion(annotation_id=object_id, label=name, mask=mask)

    def _listed(self, records: JsonRecords) -> Iterator[SourcePair]:
        for number, (_, value) in enumerate(records.array()):
            entry = value if isinstance(value, dict) else {}
            file, target = (_below(entry.get(f"{role}_image_path")) for role in ("source", "target"))
            is_removal = isinstance(target, str) and target.startswith("images_inpainted/")
            photo = file if is_removal else target
            yield SourcePair(
                source_id=str(number),
                file=file,
                target_file=target,
                vision_task="image_editing",
                edit_type=EDITS["removal" if is_removal else "addition"],
                instruction=entry.get("instruction"),
                split=self.options["split"],
                licence=self.licence,
                group=photo if photo != file else None,
            )


def _below(path: Any) -> Any:
    """A path of meta_info.json below the dataset's folder: "../datasets/gqa-inpaint/images/1.jpg" -> "images/1.jpg"."""
    if not isinstance(path, str):
        return path
    parts = [part for part in PurePosixPath(path).parts if part not in ("..", "datasets", "gqa-inpaint")]
    return PurePosixPath(*parts).as_posix()
