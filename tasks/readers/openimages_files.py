"""Where OpenImages' files are: the tables by the names that each release gave them, the folders of photos and masks."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import SourceError

TABLE_FOLDERS = (".", "annotations", "csv", "labels", "metadata")
"""Below the root; the last two are FiftyOne's."""

PHOTO_FOLDERS = ("images/{split}", "{split}", "{split}/data", "data", "images", ".")
MASK_FOLDERS = (
    "masks/{split}",
    "{split}-masks",
    "masks",
    "masks/{split}/{split}-masks-{digit}",
    "{split}-masks/{split}-masks-{digit}",
    "masks/{split}-masks-{digit}",
    "{split}-masks-{digit}",
    "labels/masks/{DIGIT}",
)
"""``{digit}`` is the first hexadecimal digit of the photo's id: the archives are split by it, and so is FiftyOne's
folder (in capitals)."""

_TABLES = {
    "masks": ("{split}-annotations-object-segmentation.csv", "segmentations.csv"),
    "boxes": ("oidv6-{split}-annotations-bbox.csv", "{split}-annotations-bbox.csv", "detections.csv"),
    "classes": (
        "oidv7-class-descriptions-boxable.csv",
        "oidv6-class-descriptions-boxable.csv",
        "class-descriptions-boxable.csv",
        "oidv7-class-descriptions.csv",
        "oidv6-class-descriptions.csv",
        "class-descriptions.csv",
        "classes.csv",
    ),
    "hierarchy": ("bbox_labels_600_hierarchy.json", "hierarchy.json"),
    "photos": (
        "{split}-images-boxable-with-rotation.csv",
        "{split}-images-with-rotation.csv",
        "oidv6-{split}-images-with-labels-with-rotation.csv",
        "{split}-images-with-labels-with-rotation.csv",
        "image_ids_and_rotation.csv",
        "image_ids.csv",
    ),
}
_HEX = "0123456789abcdef"


@dataclass(frozen=True)
class Files:
    """The files of one split."""

    masks: Path | None
    """None where regions are boxes."""
    boxes: Path
    classes: Path
    hierarchy: Path
    photos: Path


def find_files(root: Path | None, split: str, with_masks: bool) -> Files:
    """The tables of a split. Raises SourceError that names every one missing and where it was looked for."""
    if root is None or not root.is_dir():
        raise SourceError(f"Reader openimages needs an existing folder as its root; got {root or 'none'}.")
    found: dict[str, Path] = {}
    missing = []
    for what, templates in _TABLES.items():
        names = [template.format(split=split) for template in templates]
        paths = [root / folder / name for name in names for folder in TABLE_FOLDERS]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            found[what] = path
        elif what != "masks" or with_masks:
            missing.append(f"{what} ({' or '.join(names)})")
    if missing:
        raise SourceError(
            f"An OpenImages folder holds its tables of masks, boxes, classes, hierarchy and photos; {root} lacks "
            f"{'; '.join(missing)}; looked in {', '.join(TABLE_FOLDERS)}."
        )
    masks = found.get("masks") if with_masks else None
    return Files(masks, found["boxes"], found["classes"], found["hierarchy"], found["photos"])


def find_folder(root: Path, option: str, given: str | None, templates: Sequence[str], split: str, suffix: str) -> str:
    """The folder of photos or masks, as a template in ``{digit}`` and ``{DIGIT}``, relative to the root.

    Args:
        root: the dataset's folder.
        option: the option that names the folder.
        given: its value; the folder must exist.
        templates: where to look otherwise; the first that holds a file.
        split: of the dataset.
        suffix: of the files.

    Raises:
        SourceError: no folder holds such a file.
    """
    if given is not None:
        if not (root / given).is_dir():
            raise SourceError(f"Option {option} of reader openimages must be a folder below {root}; got {given!r}.")
        return given.replace("{", "{{").replace("}", "}}")
    for template in templates:
        folder = template.replace("{split}", split)
        if any(_holds(root / place, suffix) for place in sorted({in_folder(folder, digit) for digit in _HEX})):
            return folder
    looked = ", ".join(template.replace("{split}", split) for template in templates)
    raise SourceError(
        f"The {option} of OpenImages ({suffix} files) must be in a folder below {root}; looked in {looked}; unpack "
        f"them, or set the option {option}."
    )


def in_folder(template: str, name: str) -> str:
    """The folder that a file of this name is in."""
    return template.format(digit=name[:1].lower(), DIGIT=name[:1].upper())


def _holds(folder: Path, suffix: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(suffix) for entry in entries)
    except OSError:
        return False
