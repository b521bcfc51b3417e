"""Real photos that two installed packages carry, with regions drawn by hand: a small PhraseCut, nothing to fetch.

The photos stay where scikit-image and scikit-learn have them; ``sample_data/`` holds the annotations in PhraseCut's
format, and its README.md the origin and licence of every photo.
"""

import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from catalog.masks import PolygonRule
from tasks.readers.json_records import JsonRecords
from tasks.readers.phrasecut import phrase_region
from tasks.readers.reader_options import complete_options, require_integer
from tasks.readers.records import FileReader, SourceImage, SourceRegion

DATA = Path(__file__).parent / "sample_data"
PACKAGES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
"""Import name -> distribution of the packages with photos."""
_INSTALL = f"run: pip install {' '.join(PACKAGES.values())}"


def find_photos_root() -> Path:
    """The folder that holds both packages (site-packages). Finds them without importing them.

    Raises:
        SourceError: a package is not installed, or they lie in different folders.
    """
    folders = {name: _package_folder(name) for name in PACKAGES}
    missing = [PACKAGES[name] for name, folder in folders.items() if folder is None]
    if missing:
        raise SourceError(
            f"The sample photos are part of scikit-image and scikit-learn; "
            f"{' and '.join(missing)} not found; {_INSTALL}."
        )
    parents = {folder.parent for folder in folders.values() if folder is not None}
    if len(parents) > 1:
        raise SourceError(
            "scikit-image and scikit-learn must be installed in one folder, as photo paths are relative to it; "
            f"found {' and '.join(str(folder) for folder in folders.values())}; {_INSTALL} in one environment."
        )
    return parents.pop()


def _package_folder(name: str) -> Path | None:
    """Where a top-level package lies; None if it is not installed. Does not run it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


@dataclass
class SampleReader(FileReader):
    """The packaged photos: one `SourceImage` each, in order of their id.

    ``root`` is the folder that holds skimage/ and sklearn/, found where None. Option: ``limit`` (number of photos,
    default None: all; the first four include one of each split).
    """

    name: str = "sample"
    revision: str = field(default="1", init=False)
    polygon_rule: PolygonRule = field(default="phrasecut", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("sample", self.options, {"limit": None})
        if self.options["limit"] is not None:
            require_integer("sample", "limit", self.options["limit"], 1, 1_000_000)
        if self.root is None:
            self.root = find_photos_root()

    def read(self) -> Iterator[SourceImage]:
        """Every photo with its regions. Raises SourceError where a photo is missing."""
        assert self.root is not None
        photos = list(read_photos())[: self.options["limit"]]
        missing = [photo["file"] for photo in photos if not (self.root / photo["file"]).is_file()]
        if missing:
            raise SourceError(
                f"The sample photos {', '.join(missing)} must be in {self.root}; they are not; "
                f"leave the root empty or {_INSTALL}."
            )
        regions = read_regions()
        return (_source_image(photo, regions[photo["image_id"]]) for photo in photos)


def read_photos() -> list[dict[str, Any]]:
    """The entries of image_data_split.json, by ``image_id``."""
    entries = [entry for _, entry in JsonRecords(DATA / "image_data_split.json", "The sample's image list").array()]
    return sorted(entries, key=lambda entry: entry["image_id"])


def read_regions() -> dict[int, list[SourceRegion]]:
    """The regions of refer_sample.json by ``image_id``, in file order."""
    regions: dict[int, list[SourceRegion]] = defaultdict(list)
    for _, task in JsonRecords(DATA / "refer_sample.json", "The sample's task file").array():
        regions[task["image_id"]].append(phrase_region(task))
    return regions


def _source_image(photo: dict[str, Any], regions: list[SourceRegion]) -> SourceImage:
    return SourceImage(
        source_id=str(photo["image_id"]),
        file=photo["file"],
        width=photo["width"],
        height=photo["height"],
        split=photo["split"],
        licence=photo["licence"],
        regions=tuple(regions),
    )
