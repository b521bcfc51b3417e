"""AI Challenger human keypoints 2017 (AIC): 14 joints, in the original form or mmpose's conversion to COCO's.

Layouts::

    ai_challenger_keypoint_train_20170902/keypoint_train_images_20170902/<40 hex digits>.jpg
    ai_challenger_keypoint_train_20170902/keypoint_train_annotations_20170909.json            (original)
    ai_challenger_keypoint_validation_20170911/keypoint_validation_...                        (the same for val)
    annotations/aic_{train,val}.json                                                          (COCO's form)

The original is a list of images; its people are joined by name ("human1"), in no certain order; boxes are
[x1, y1, x2, y2]. Its visibility says 1 visible, 2 hidden, 3 not labelled: COCO's 2, 1 and 0. Both forms give the
same images and regions here; the original is taken where both are there.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tasks.readers.json_records import JsonRecords, Span
from tasks.readers.layouts import find_images
from tasks.readers.poses import PoseReader
from tasks.readers.records import SourceImage, SourceRegion

VISIBILITY = {1: 2, 2: 1, 3: 0}
"""AIC's code -> COCO's."""

_DATES = {"train": ("train", "20170902", "20170909"), "val": ("validation", "20170911", "20170911")}


def _folder(split: str) -> str:
    word, date, _ = _DATES[split]
    return f"ai_challenger_keypoint_{word}_{date}"


def _files(split: str) -> tuple[str, ...]:
    word, _, date = _DATES[split]
    name = f"keypoint_{word}_annotations_{date}.json"
    return (f"{_folder(split)}/{name}", name, f"annotations/aic_{split}.json")


@dataclass
class AicReader(PoseReader):
    """AI Challenger keypoints: 14 joints, original or COCO form.

    Options: ``split`` (train or val; default train), ``annotations`` (JSON file below the root, of either form;
    default: the official one of the split), ``images`` (folder below the root; default: the official one).
    """

    name: str = "aic"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "aic"
    holds: ClassVar[str] = "the folder with ai_challenger_keypoint_train_20170902/ or annotations/aic_train.json"
    joints: ClassVar[tuple[str, ...]] = (
        *("right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist"),
        *("right hip", "right knee", "right ankle", "left hip", "left knee", "left ankle", "head top", "neck"),
    )
    licence: ClassVar[str] = "AI Challenger agreement: research use"
    files: ClassVar[Mapping[str, tuple[str, ...]]] = {split: _files(split) for split in _DATES}

    def read(self) -> Iterator[SourceImage]:
        """Every image of the annotation file. Raises SourceError for a wrong folder, file or layout."""
        root = self._root()
        path = self._annotations(root)
        if not _is_list(path):
            return self._read_coco_form(root, path)
        records = JsonRecords(path, "AI Challenger's annotation file")
        spans = [(span, _image_name(entry)) for span, entry in records.array()]
        given = self._image_folder(root)
        folders = self._folders() if given is None else (given,)
        folder = find_images(self.kind, root, folders, [f"{name}.jpg" for _, name in spans if name is not None])
        return self._stream(records, spans, folder)

    def _folders(self) -> tuple[str, ...]:
        images = f"keypoint_{_DATES[self.options['split']][0]}_images_{_DATES[self.options['split']][1]}"
        return (f"{_folder(self.options['split'])}/{images}", images, "images", ".")

    def _image_folder(self, root: Path) -> str | None:
        given = super()._image_folder(root)
        official = self._folders()[0]
        return official if given is None and (root / official).is_dir() else given

    def _image(self, image: SourceImage) -> SourceImage:
        """Named by its file, as in the original form."""
        stem = PurePosixPath(image.file).stem if isinstance(image.file, str) else image.source_id
        return replace(super()._image(image), source_id=stem)

    def _stream(
        self, records: JsonRecords, spans: list[tuple[Span, str | None]], folder: PurePosixPath
    ) -> Iterator[SourceImage]:
        no_file: Any = None
        for number, (span, name) in enumerate(spans):
            entry = records.decode(span)
            yield SourceImage(
                source_id=f"unknown-{number}" if name is None else name,
                file=no_file if name is None else (folder / f"{name}.jpg").as_posix(),
                split=self.options["split"],
                licence=self.licence,
                regions=self._people(entry) if isinstance(entry, dict) else (),
            )

    def _people(self, entry: Mapping[str, Any]) -> tuple[SourceRegion, ...]:
        joints, boxes = entry.get("keypoint_annotations"), entry.get("human_annotations")
        joints = joints if isinstance(joints, dict) else {}
        boxes = boxes if isinstance(boxes, dict) else {}
        return tuple(
            SourceRegion(
                annotation_id=name,
                label="person",
                box=_size_box(boxes.get(name)),
                keypoints=self._named(_recode(joints.get(name))),
            )
            for name in sorted({*joints, *boxes}, key=lambda name: (len(name), name))
        )


def _is_list(path: Path) -> bool:
    """Whether a JSON file is a list, by its first character."""
    with path.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _image_name(entry: Any) -> str | None:
    name = entry.get("image_id") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and name else None


def _recode(values: Any) -> Any:
    """The flat joints with COCO's visibility; an unknown code stays, to be refused."""
    if not isinstance(values, list):
        return values
    return [
        VISIBILITY.get(value, value) if place % 3 == 2 and isinstance(value, int) else value
        for place, value in enumerate(values)
    ]


def _size_box(box: Any) -> Any:
    """[x1, y1, x2, y2] -> [x, y, width, height]; an unexpected value as it is."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(value, int | float) for value in box):
        return box
    left, top, right, bottom = box
    return [left, top, right - left, bottom - top]
