"""MagicBrush (Zhang et al., NeurIPS 2023): edits by hand with DALL-E 2, up to three turns on one photo.

Layouts::

    MagicBrush/data/{train,dev}-*.parquet                   img_id, turn_index, source_img, mask_img, instruction, ...
    MagicBrush/{train,dev,test}/edit_turns.json             [{"input", "mask", "output", "instruction"}, ...]
    MagicBrush/{train,dev,test}/local_descriptions.json     {img_id: {name: caption}}; also global_descriptions.json
    MagicBrush/{train,dev,test}/images/<img_id>/<name>.png  (the test archive is a zip with a password: unpack it)
    MagicBrush/magic_train.json                             [{"input", "edited", "instruction"}] (InstructDiffusion)

Names of pictures are taken from edit_turns.json and never built: their spelling differs between releases. A turn edits
what the turn before it made, so all turns of a session belong to its first photo and share its split. A mask is white
in the tables and transparent in the files; DALL-E repaints a little outside it, so it is an annotation and seldom
bounds the edit. The test split must not be trained on, nor passed on.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from catalog.errors import SourceError
from tasks.readers.edit_pairs import EditPairsReader
from tasks.readers.edit_tables import EditRow, read_table
from tasks.readers.layouts import require_folder
from tasks.readers.reader_options import complete_options, require_choice
from tasks.readers.records import SourcePair

_FOLDERS = {"train": ("train",), "val": ("dev", "val"), "test": ("test",)}
_REPACKED = "magic_train.json"
_CAPTIONS = {
    kind: tuple(f"{kind}_{name}.json" for name in ("descriptions", "description", "captions"))
    for kind in ("local", "global")
}
"""Option -> names that releases give the file."""
_MAX_CAPTIONS = 256 << 20  # bytes


@dataclass
class MagicBrushReader(EditPairsReader):
    """MagicBrush, as Parquet or files.

    Options: ``split`` (train, val: the dev set, or test; default train), ``masks`` (false leaves masks unread; default
    true), ``captions`` (of the form with files: local, about what is edited, or global, about the whole picture;
    default local, which MagicBrush's CLIP-T takes).
    """

    name: str = "magicbrush"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "magicbrush"
    holds: ClassVar[str] = "the folder with data/*.parquet, or {train,dev,test}/edit_turns.json"
    licence: ClassVar[str | None] = "MagicBrush: CC BY 4.0 (the test set: not to be redistributed or trained on)"
    sources_are_photos: ClassVar[bool] = True
    extra: ClassVar[tuple[str, ...]] = ("img_id", "turn_index")
    _origins: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)
    """A session's image id, or the name of a made picture -> the first photo."""

    def __post_init__(self) -> None:
        own = complete_options(self.kind, self.options, {"split": "train", "masks": True, "captions": "local"})
        captions = own.pop("captions")
        self.options = own
        super().__post_init__()
        self.options["captions"] = captions
        require_choice(self.kind, "split", self.options["split"], tuple(_FOLDERS))
        require_choice(self.kind, "captions", self.options["captions"], tuple(_CAPTIONS))

    def read(self) -> Iterator[SourcePair]:
        """Every turn of the split. Raises SourceError for a wrong folder or file."""
        root, split = require_folder(self.kind, self.root, self.holds), self.options["split"]
        self._origins.clear()
        names = [path for word in _FOLDERS[split] for path in root.rglob(f"{word}-*.parquet")]
        if names:
            return self._stream(root, [PurePosixPath(path.relative_to(root).as_posix()) for path in sorted(names)])
        folders = [PurePosixPath(word) for word in (*_FOLDERS[split], ".")]
        for folder in folders:
            if (root / folder / "edit_turns.json").is_file():
                return self._turns(root, folder / "edit_turns.json", folder / "images")
        if split == "train" and (root / _REPACKED).is_file():
            return self._turns(root, PurePosixPath(_REPACKED), PurePosixPath("."))
        wanted = ", ".join(
            [f"data/{_FOLDERS[split][0]}-*.parquet", *(f"{folder}/edit_turns.json" for folder in folders)]
        )
        raise SourceError(f"Reader magicbrush needs {self.holds}; looked for {wanted} below {root}; found none.")

    def _turns(self, root: Path, table: PurePosixPath, images: PurePosixPath) -> Iterator[SourcePair]:
        """The form with files: pictures lie in a folder per session, or all in one."""
        captions = _read_captions(root / table.parent, _CAPTIONS[self.options["captions"]])
        for row in read_table(root, table, {}, ()):
            values = dict(row.values)
            values["source_caption"], values["target_caption"] = (
                captions.get(name) if isinstance(name := values.get(role), str) else None
                for role in ("source", "target")
            )
            for role in ("source", "target", "mask"):
                values[role] = _locate(root, images, values.get(role))
            origin = self._origins.get(values["source"], values["source"])
            if isinstance(values["target"], str):
                self._origins[values["target"]] = origin
            edit = EditRow(number=row.number, file=row.file, values=values, rest={"origin": origin})
            yield from self._row_pairs(root, edit, self.options["split"])

    def _row_id(self, row: EditRow) -> str:
        image, turn = row.rest.get("img_id"), row.rest.get("turn_index")
        if image is not None:
            return f"{image}-{turn}"
        target = row.values.get("target")
        return PurePosixPath(target).stem if isinstance(target, str) else super()._row_id(row)

    def _group(self, row: EditRow, source: Any) -> Any:
        if "origin" in row.rest:
            return row.rest["origin"]
        image = row.rest.get("img_id")
        if row.rest.get("turn_index") == 1:
            self._origins[image] = source
        return self._origins.get(image, source)

    def _row_pairs(self, root: Path, row: EditRow, split: str | None) -> Iterator[SourcePair]:
        return super()._row_pairs(root, row, self.options["split"])


def _read_captions(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Captions by the names of pictures; none where there is no such file.

    Raises:
        SourceError: a file of another form.
    """
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        return {}
    try:
        if path.stat().st_size > _MAX_CAPTIONS:
            raise ValueError(f"more than {_MAX_CAPTIONS} bytes")
        sessions = json.loads(path.read_bytes())
        named = {name: text for captions in sessions.values() for name, text in captions.items()}
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise SourceError(f"{path} must be a JSON object of captions by picture and session: {error}.") from error
    return {name: text for name, text in named.items() if isinstance(text, str)}


def _locate(root: Path, images: PurePosixPath, name: Any) -> Any:
    """A picture's path: in the folder of its session, whose id its name begins with, or beside all others."""
    if not isinstance(name, str) or not name:
        return name
    places = [images / name.partition("-")[0] / name, images / name]
    return next((str(place) for place in places if (root / place).is_file()), str(places[0]))
