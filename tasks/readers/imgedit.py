"""ImgEdit (Ye et al., 2025): 1.2 million edits, tables of paths in Parquet and the pictures in tars.

Layout::

    <root>/**/*.parquet     input_images, output_images: lists of paths, prompt       (one turn)
                            data: list of {input_images, output_images, prompt}       (several turns)
    <root>/**/*.tar         results_remove_laion_part5/<key>/original.png, .../result.png

A path is found in a tar by its name, or as a file below the root where the tars are unpacked. Memory holds the places
of all members, about 250 bytes each. All turns of one row belong to its first picture.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from tasks.readers.edit_pairs import EditPairsReader, split_of
from tasks.readers.edit_tables import EditRow
from tasks.readers.locations import stretch_name
from tasks.readers.parquet_tables import ParquetTexts
from tasks.readers.records import SourcePair
from tasks.readers.tar_files import tar_members

_TURNS = "data"


@dataclass
class ImgEditReader(EditPairsReader):
    """ImgEdit: single and several turns, pictures in tars.

    Options: as `EditPairsReader`.
    """

    name: str = "imgedit"
    revision: str = field(default="1", init=False)
    kind: ClassVar[str] = "imgedit"
    holds: ClassVar[str] = "the folder with ImgEdit's Parquet files and tars"
    licence: ClassVar[str | None] = "ImgEdit: Apache-2.0"
    sources_are_photos: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, str]] = {
        "source": "input_images",
        "target": "output_images",
        "instruction": "prompt",
    }
    _members: dict[str, tuple[str, int, int]] = field(default_factory=dict, init=False, repr=False)

    def _stream(self, root: Path, tables: list[PurePosixPath]) -> Iterator[SourcePair]:
        for path in sorted(root.rglob("*.tar")):
            tar = path.relative_to(root).as_posix()
            for name, offset, length in tar_members(path, "ImgEdit's archive"):
                self._members[name] = (tar, offset, length)
        for table in tables:
            if _TURNS in ParquetTexts(root / table, "ImgEdit's table").columns:
                yield from self._turns(root, table)
            else:
                yield from super()._stream(root, [table])

    def _turns(self, root: Path, table: PurePosixPath) -> Iterator[SourcePair]:
        texts, split = ParquetTexts(root / table, "ImgEdit's table"), self.options["split"] or split_of(table)
        for number, row in enumerate(texts.rows([_TURNS])):
            turns = row[_TURNS] if isinstance(row[_TURNS], list) else [None]
            first = None
            for turn, value in enumerate(turns):
                fields = value if isinstance(value, dict) else {}
                values = {role: fields.get(column) for role, column in self.columns.items()}
                first = first or self._file(values["source"])
                edit = EditRow(number=number, file=str(table), values=values, rest={"turn": turn, "first": first})
                yield from self._row_pairs(root, edit, split)

    def _row_id(self, row: EditRow) -> str:
        turn = row.rest.get("turn")
        return super()._row_id(row) + (f"/{turn}" if turn is not None else "")

    def _group(self, row: EditRow, source: Any) -> Any:
        return row.rest.get("first", source)

    def _file(self, value: Any) -> Any:
        """A picture's place in its tar, by its path."""
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if isinstance(value, str) and value in self._members:
            return stretch_name(*self._members[value], value)
        return super()._file(value)
