"""The pairs of a crawl of photo requests: the usable rows of its table ``requests``, as ready-made pairs.

Layout: the folder of the workspace that the crawl worked in::

    <root>/catalog/manifests/<crawl>.json   <root>/catalog/tables/requests/...
    <root>/data/requests/<key>.tar          <root>/data/photo_requests/pictures/...

Pictures are referenced where they are, and never copied.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from catalog.errors import ShardError, SourceError
from catalog.manifests import read_manifest
from catalog.store import STORE_ROOT, read_rows
from catalog.workspace import Workspace
from tasks.photo_requests.records import TABLE
from tasks.readers.layouts import require_folder
from tasks.readers.locations import Location, locate_packed, stretch_name
from tasks.readers.reader_options import complete_options, require_text
from tasks.readers.records import FileReader, SourcePair

EDIT_TYPE = "photo_request"
_COLUMNS = ("result_id", "licence", "instruction", "photo_image", "source_image", "target_image", "reason")


@dataclass
class PhotoRequestsReader(FileReader):
    """One `SourcePair` per usable row, in the order of the crawl's list.

    Option: ``crawl``, the name of the crawl (default crawl-requests).
    """

    name: str = "photo_request"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "photo_requests"

    def __post_init__(self) -> None:
        self.options = complete_options(self.kind, self.options, {"crawl": "crawl-requests"})
        require_text(self.kind, "crawl", self.options["crawl"])

    def read(self) -> Iterator[SourcePair]:
        """Every usable row. Raises SourceError where there is no such crawl."""
        root = require_folder(self.kind, self.root, "the folder of the crawl's workspace, with catalog/ and data/")
        workspace = Workspace(root)
        try:
            manifest = read_manifest(workspace, str(self.options["crawl"]))
        except ShardError as error:
            raise SourceError(f"Reader {self.kind} needs a finished crawl: {error}") from error
        if TABLE not in manifest.tables:
            raise SourceError(f"Reader {self.kind} needs a crawl, and {manifest.name!r} is none: name one")
        return self._stream(manifest.paths(workspace, TABLE))

    def _stream(self, paths: list[Path]) -> Iterator[SourcePair]:
        for path in paths:
            for row in read_rows(path, _COLUMNS):
                if row["reason"] is None:
                    yield SourcePair(
                        source_id=row["result_id"],
                        file=_file(row["source_image"]),
                        target_file=_file(row["target_image"]),
                        group=_file(row["photo_image"]),
                        vision_task="image_editing",
                        edit_type=EDIT_TYPE,
                        instruction=row["instruction"],
                        licence=row["licence"],
                    )

    def locate(self, file: str) -> Location:
        """A stretch of a tar, or the whole of a picture as it was fetched."""
        return locate_packed(file)


def _file(image: Mapping[str, Any]) -> str:
    assert image["root"] == STORE_ROOT
    return stretch_name(f"data/{image['path']}", image["offset"], image["length"], image["sha256"])
