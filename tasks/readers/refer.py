"""RefCOCO, RefCOCO+, G-Ref, RefClef and gRefCOCO: expressions that refer to objects, in one family of files.

Layouts::

    <root>/refcoco/{instances.json, refs(unc).p, refs(google).p}
    <root>/refcoco+/{instances.json, refs(unc).p}
    <root>/refcocog/{instances.json, refs(umd).p, refs(google).p}                 (G-Ref: U and G)
    <root>/refclef/{instances.json, refs(unc).p, refs(berkeley).p}
    <root>/grefcoco/{instances.json, grefs(unc).json}                             (older: grefs(unc).p)
    <root>/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg         (refer's own tree)
    <root>/images/train2014/...                                                   (InstructDiffusion, ReLA)
    <root>/images/saiapr_tc-12/12/images/12345.jpg                                (RefClef)

One `SourceImage` per image of the split, one region per sentence (annotation id "<ref>/<sentence>"), since that is
what is asked for and scored. The image's file name is that of instances.json: a reference's own carries a number
more. The pickles are read by `plain_pickle`, which runs nothing. Polygons of one object are joined, holes and all;
RefClef has run-length codes and ids that are texts.

A gRefCOCO expression may mean several objects (their union, ``num_instances``) or none: such a region has
``num_instances`` 0 and a mask without a pixel.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tasks.readers.coco_index import CocoIndex, RecordId, build_index, record_id
from tasks.readers.json_records import JsonRecords
from tasks.readers.layouts import find_file, find_images, require_folder
from tasks.readers.plain_pickle import load_plain
from tasks.readers.reader_options import complete_options, require_choice, require_text
from tasks.readers.records import FileReader, SourceImage
from tasks.readers.refer_region import Reference, reference_regions

_TRAIN2014 = ("images/mscoco/images/train2014", "images/train2014", "train2014", "images")
_UNC = ("train", "val", "testA", "testB")


@dataclass
class ReferReader(FileReader):
    """Base of the readers; each gives its folder, who divided it, and where its images lie."""

    kind: ClassVar[str]
    divisions: ClassVar[Mapping[str, tuple[str, ...]]]
    """Who divided the references (the name in the file) -> splits; the first is the default."""
    licence: ClassVar[str] = "expressions: none stated; images: COCO (Flickr terms)"
    folders: ClassVar[tuple[str, ...]] = _TRAIN2014
    stem: ClassVar[str] = "refs"
    suffixes: ClassVar[tuple[str, ...]] = (".p",)
    has_overlaps: ClassVar[bool] = False
    """Whether the option ``overlaps`` is there: the official code trains on RefCOCO, whose polygons it adds up."""

    def __post_init__(self) -> None:
        defaults = {"division": next(iter(self.divisions)), "split": "train", "images": None}
        if self.has_overlaps:
            defaults["overlaps"] = "corrected"
        self.options = complete_options(self.kind, self.options, defaults)
        if self.has_overlaps:
            require_choice(self.kind, "overlaps", self.options["overlaps"], ("corrected", "official"))
            self.polygon_rule = "coco" if self.options["overlaps"] == "corrected" else "coco_once"
        require_choice(self.kind, "division", self.options["division"], tuple(self.divisions))
        require_choice(self.kind, "split", self.options["split"], self.divisions[self.options["division"]])
        require_text(self.kind, "images", self.options["images"])

    def read(self) -> Iterator[SourceImage]:
        """Every image with a reference in the split, by id. Raises SourceError for a wrong folder or file."""
        root = require_folder(self.kind, self.root, f"the folder with {self.kind}/ and images/")
        stem = f"{self.kind}/{self.stem}({self.options['division']})"
        path = find_file(self.kind, root, "its references", [stem + suffix for suffix in self.suffixes])
        objects = find_file(self.kind, root, "its objects", [f"{self.kind}/instances.json"])
        groups, strays = self._references(path)
        records = JsonRecords(objects, f"{self.kind}'s objects")
        index = build_index(records)
        named = dict(index.images)
        given = self.options["images"]
        folders = self.folders if given is None else (given,)
        wanted = [image_id for image_id in named if image_id in groups]
        folder = find_images(self.kind, root, folders, self._probes(named, wanted))
        return self._stream(root, records, index, groups, strays, folder)

    def _references(self, path: Path) -> tuple[dict[RecordId, list[Reference]], list[Reference]]:
        """The split's references by image, in file order, and those that name no image."""
        what = f"{self.kind}'s references"
        entries = [entry for _, entry in JsonRecords(path, what).array()] if path.suffix == ".json" else None
        groups: dict[RecordId, list[Reference]] = {}
        strays = []
        for number, entry in enumerate(load_plain(path, what) if entries is None else entries):
            if not isinstance(entry, dict):
                strays.append(Reference(number, {}))
            elif in_split(entry.get("split"), self.options["split"]):
                image_id = record_id(entry.get("image_id"))
                reference = Reference(number, entry)
                if image_id is None:
                    strays.append(reference)
                else:
                    groups.setdefault(image_id, []).append(reference)
        return groups, strays

    def _probes(self, named: Mapping[RecordId, Mapping[str, Any]], wanted: list[RecordId]) -> list[str]:
        return [named[image_id]["file_name"] for image_id in wanted]

    def _file(self, root: Path, folder: PurePosixPath, image_id: RecordId, entry: Mapping[str, Any]) -> Any:
        name = entry["file_name"]
        return (folder / name).as_posix() if isinstance(name, str) and name else name

    def _stream(
        self,
        root: Path,
        records: JsonRecords,
        index: CocoIndex,
        groups: dict[RecordId, list[Reference]],
        strays: list[Reference],
        folder: PurePosixPath,
    ) -> Iterator[SourceImage]:
        nothing: dict[str, Any] = {"file_name": None, "width": None, "height": None}
        for image_id, entry in index.images:
            if image_id not in groups:
                continue
            annotations = [records.decode(span) for span in index.spans.get(image_id, [])]
            yield SourceImage(
                source_id=str(image_id),
                file=self._file(root, folder, image_id, entry),
                width=entry["width"],
                height=entry["height"],
                split=self.options["split"],
                licence=self.licence,
                regions=reference_regions(groups.pop(image_id), annotations, index.categories, entry),
            )
        left = [reference for references in groups.values() for reference in references] + strays
        for reference in left:
            yield SourceImage(
                source_id=f"unknown-{reference.number}",
                file=nothing["file_name"],
                split=self.options["split"],
                licence=self.licence,
                regions=reference_regions([reference], [], index.categories, nothing),
            )


def in_split(own: Any, asked: str) -> bool:
    """Whether a reference is of a split: "testAB" counts for testA and testB, as in the refer toolkit."""
    if not isinstance(own, str):
        return False
    if asked in ("testA", "testB", "testC"):
        return own.startswith("test") and asked[-1] in own[len("test") :]
    return own.startswith("test") if asked == "test" else own == asked


@dataclass
class RefCocoReader(ReferReader):
    """RefCOCO: expressions for objects of COCO, from a game.

    Options: ``division`` (unc or google; default unc), ``split`` (unc: train, val, testA: people, testB: the rest;
    google: train, val, test; default train), ``images`` (folder below the root; default: the known ones),
    ``overlaps`` (corrected: an object's polygons are joined; official: where two overlap there is a hole).
    """

    name: str = "refcoco"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "refcoco"
    has_overlaps: ClassVar[bool] = True
    divisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"unc": _UNC, "google": ("train", "val", "test")}


@dataclass
class RefCocoPlusReader(ReferReader):
    """RefCOCO+: expressions for objects of COCO without words of place.

    Options: ``division`` (unc), ``split`` (train, val, testA: people, testB: the rest; default train), ``images``
    (folder below the root; default: the known ones).
    """

    name: str = "refcoco+"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "refcoco+"
    divisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"unc": _UNC}


@dataclass
class RefCocoGReader(ReferReader):
    """G-Ref (RefCOCOg): longer expressions for objects of COCO.

    Options: ``division`` (umd: "U", the default; google: "G", whose train and val share images), ``split`` (umd:
    train, val, test; google: train, val; default train), ``images`` (folder below the root; default: the known
    ones).
    """

    name: str = "refcocog"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "refcocog"
    divisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"umd": ("train", "val", "test"), "google": ("train", "val")}


@dataclass
class GRefCocoReader(ReferReader):
    """gRefCOCO: expressions for one object, several or none.

    Options: ``division`` (unc), ``split`` (train, val, testA or testB; default train), ``images`` (folder below the
    root; default: the known ones).
    """

    name: str = "grefcoco"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "grefcoco"
    divisions: ClassVar[Mapping[str, tuple[str, ...]]] = {"unc": _UNC}
    licence: ClassVar[str] = "gRefCOCO: CC BY-NC-SA 4.0; images: COCO (Flickr terms)"
    stem: ClassVar[str] = "grefs"
    suffixes: ClassVar[tuple[str, ...]] = (".json", ".p")


@dataclass
class RefClefReader(ReferReader):
    """RefClef (ReferItGame): expressions for regions of the SAIAPR TC-12 photos.

    Options: ``division`` (unc or berkeley; default unc), ``split`` (unc: train, val, testA, testB, testC; berkeley:
    train, val, test; default train), ``images`` (folder below the root; default: the known ones).
    """

    name: str = "refclef"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "refclef"
    divisions: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "unc": (*_UNC, "testC"),
        "berkeley": ("train", "val", "test"),
    }
    licence: ClassVar[str] = "SAIAPR TC-12: free for research"
    folders: ClassVar[tuple[str, ...]] = (
        *("images/saiapr_tc-12", "images/saiaprtc12", "saiapr_tc-12", "saiaprtc12", "images"),
    )

    def _probes(self, named: Mapping[RecordId, Mapping[str, Any]], wanted: list[RecordId]) -> list[str]:
        return [name for image_id in wanted for name in (named[image_id]["file_name"], _saiapr_path(image_id)) if name]

    def _file(self, root: Path, folder: PurePosixPath, image_id: RecordId, entry: Mapping[str, Any]) -> Any:
        """By the annotated name where it is there, else by the id: both are in use."""
        file = super()._file(root, folder, image_id, entry)
        by_id = _saiapr_path(image_id)
        if by_id is not None and (not isinstance(file, str) or not (root / file).is_file()):
            other = (folder / by_id).as_posix()
            return other if (root / other).is_file() else file
        return file


def _saiapr_path(image_id: RecordId) -> str | None:
    """12345 -> "12/images/12345.jpg"."""
    text = str(image_id)
    return f"{int(text) // 1000:02d}/images/{int(text)}.jpg" if text.isascii() and text.isdigit() else None
