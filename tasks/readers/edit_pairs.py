"""Any dataset of ready-made edits: a source image, an instruction, the edited image.

Forms, found by their endings anywhere below the root::

    *.parquet     pictures in the cells, {bytes, path} or binary, or paths of files below the root
    *.tar         WebDataset: 0001.source.jpg, 0001.target.jpg, 0001.txt or 0001.instruction.txt, or 0001.json
    *.jsonl       an object per line, pictures named by paths below the root
    *.json        a list of objects, likewise

Columns are known by the names that published datasets use (`edit_columns`), or as the option ``columns`` says. The
split of a row is that of its file ("train-00000-of-00051.parquet", "dev/x.tar"), else drawn by hash. An image of a
tar is referenced inside it; an image of a Parquet cell has no bytes of its own there and is copied into the store.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from catalog.digests import bytes_digest
from catalog.errors import RowRejected
from catalog.reasons import Reason
from catalog.source_files import read_source_file
from catalog.splits import parse_split
from tasks.readers.edit_columns import check_columns_option, name_edit_type
from tasks.readers.edit_tables import EditRow, find_tables, read_table
from tasks.readers.layouts import require_folder
from tasks.readers.locations import Location, locate_packed, parse_cell
from tasks.readers.mask_pictures import edit_mask
from tasks.readers.parquet_tables import ParquetPictures
from tasks.readers.reader_options import complete_options, require_choice, require_flag, require_text
from tasks.readers.records import FileReader, SourcePair, SourceRegion

WORDINGS = ("one", "all")


@dataclass
class EditPairsReader(FileReader):
    """Ready-made edits of any origin.

    Options: ``files`` (pattern of the tables, such as "train-*.parquet"; default: all), ``columns`` (role -> column:
    source, target, instruction, mask, inverse_instruction, source_caption, target_caption, edit_type; default: by
    name), ``images`` (folder below the root that paths of images are relative to; default: the root), ``split``
    (train, val or test; default: by the file's name, else by hash), ``wordings`` (of several instructions for a pair
    "one", drawn by hash, or "all", a pair each; default one), ``masks`` (false leaves masks unread; default true).
    """

    name: str = "edit_pairs"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "edit_pairs"
    holds: ClassVar[str] = "the folder with Parquet files, WebDataset tars or JSON lists of edits"
    licence: ClassVar[str | None] = None
    sources_are_photos: ClassVar[bool] = False
    """Unknown of a set of any origin."""
    columns: ClassVar[Mapping[str, str]] = {}
    """Role -> column, where the dataset's own are known."""
    extra: ClassVar[tuple[str, ...]] = ()
    """Further columns that `_row_id` and `_group` look at."""
    _pictures: ParquetPictures = field(default_factory=ParquetPictures, init=False, repr=False)

    def __post_init__(self) -> None:
        defaults: dict[str, Any] = {
            "files": None,
            "columns": {},
            "images": None,
            "split": None,
            "wordings": "one",
            "masks": True,
        }
        self.options = complete_options(self.kind, self.options, defaults)
        check_columns_option(self.kind, self.options["columns"])
        require_text(self.kind, "files", self.options["files"])
        require_text(self.kind, "images", self.options["images"])
        require_choice(self.kind, "wordings", self.options["wordings"], WORDINGS)
        if self.options["split"] is not None:
            require_choice(self.kind, "split", self.options["split"], ("train", "val", "test"))
        require_flag(self.kind, "masks", self.options["masks"])

    def read(self) -> Iterator[SourcePair]:
        """Every pair, table by table. Raises SourceError for a wrong folder, file or column."""
        root = require_folder(self.kind, self.root, self.holds)
        return self._stream(root, find_tables(self.kind, root, self.options["files"]))

    def _stream(self, root: Path, tables: list[PurePosixPath]) -> Iterator[SourcePair]:
        for table in tables:
            split = self.options["split"] or split_of(table)
            for row in read_table(root, table, {**self.columns, **self.options["columns"]}, self.extra):
                yield from self._row_pairs(root, row, split)

    def _row_pairs(self, root: Path, row: EditRow, split: str | None) -> Iterator[SourcePair]:
        """The pairs of one row: one, or one per wording, and those in the other direction."""
        row_id = self._row_id(row)
        files = [self._file(row.values.get(role)) for role in ("source", "target")]
        captions = [row.values.get(role) for role in ("source_caption", "target_caption")]
        region = self._region(root, row, row_id)
        group = self._group(row, files[0])
        inverse = row.values.get("inverse_instruction")
        directions = [("", files, captions, row.values.get("instruction"))]
        if inverse is not None:
            directions.append((":inverse", files[::-1], captions[::-1], inverse))
        for suffix, (file, target), (before, after), instruction in directions:
            for end, wording in choose_wordings(instruction, row_id, self.options["wordings"]):
                yield SourcePair(
                    source_id=f"{row_id}{suffix}{end}",
                    file=file,
                    target_file=target,
                    vision_task="image_editing",
                    edit_type=name_edit_type(row.values.get("edit_type")),
                    instruction=wording,
                    split=split,
                    licence=self.licence,
                    source_caption=before if isinstance(before, str) and before.strip() else None,
                    target_caption=after if isinstance(after, str) and after.strip() else None,
                    region=region,
                    group=group if suffix or group != file else None,
                )

    def _row_id(self, row: EditRow) -> str:
        """The row's place: no published id of these datasets is certain to be unique."""
        key = row.rest.get("__key__")
        name = PurePosixPath(row.file).with_suffix("").as_posix()
        return f"{name}/{key}" if isinstance(key, str) else f"{name}/{row.number}"

    def _group(self, row: EditRow, source: Any) -> Any:
        """The original photo where it is not the row's own source."""
        return source

    def _file(self, value: Any) -> Any:
        """A picture's name; of a list of one, that one. An unexpected value as it is, to be refused."""
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if not isinstance(value, str) or locate_packed(value) != Location(value):
            return value
        folder = self.options["images"]
        return PurePosixPath(folder, value).as_posix() if folder else value

    def _region(self, root: Path, row: EditRow, row_id: str) -> SourceRegion | None:
        """Where the edit is allowed; a sentence in place of a mask that cannot be read."""
        file = self._file(row.values.get("mask"))
        if not isinstance(file, str) or not file or not self.options["masks"]:
            return None
        try:
            mask: Any = edit_mask(self._read(root, file))
        except RowRejected as rejected:
            if parse_cell(file) and rejected.reason == "missing_file":
                return None  # a cell without a value: this row has no mask
            mask = f"mask {file!r}: {rejected}"
        return SourceRegion(annotation_id=row_id, mask=mask)

    def _read(self, root: Path, file: str) -> bytes:
        location = self.locate(file)
        if not location.is_plain:
            return self.fetch(file)
        return read_source_file(root, location.path, location.offset, location.length)

    def locate(self, file: str) -> Location:
        """A file of its own, a member of a tar, or a cell."""
        return locate_packed(file)

    def fetch(self, file: str) -> bytes:
        """The picture of a cell."""
        cell = parse_cell(file)
        assert self.root is not None
        if cell is None:
            raise RowRejected(Reason.MISSING_FILE, f"no picture is called {file!r}")
        return self._pictures.fetch(self.root, *cell)


def choose_wordings(instruction: Any, row_id: str, wordings: str) -> list[tuple[str, Any]]:
    """(end of the pair's id, instruction) for each wording that is wanted; a malformed value as it is.

    Args:
        instruction: a text, or a list of texts that say the same.
        row_id: what the draw depends on.
        wordings: "one" or "all".
    """
    if not isinstance(instruction, list):
        return [("", instruction)]
    if not instruction:
        return [("", None)]
    if wordings == "all":
        return [(f":{number}", text) for number, text in enumerate(instruction)]
    return [("", instruction[int(bytes_digest(row_id.encode())[:12], 16) % len(instruction)])]


def split_of(table: PurePosixPath) -> str | None:
    """The split that a file's name or a folder above it names: "train-00000-of-00051.parquet", "dev/x.tar"."""
    for part in reversed(table.parts):
        try:
            return parse_split(part.partition(".")[0].partition("-")[0].partition("_")[0])
        except ValueError:
            continue
    return None
