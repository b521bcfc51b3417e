"""SA-1B (Kirillov et al., 2023): eleven million photos with masks of everything in them, and no word about any.

Layout, as released, and after unpacking::

    sa_000000.tar ... sa_000999.tar                     each with sa_<id>.jpg and sa_<id>.json, perhaps in a folder
    sa_000000/sa_1.jpg   sa_000000/sa_1.json            or all files in one folder

A record holds the photo's size and its masks as compressed run-length codes; masks nest (a car, its wheel, the
rim). Regions have neither label nor phrase: the ingest step refuses them as ``empty_phrase`` unless words come from
a captioner.

One `SourceImage` per record, folder by folder and archive by archive, by number within. Memory holds one record and
the numbers of one folder's files (eight bytes each), or the places of one archive's members. A record that cannot
be read gives a region that says so in place of its mask, and is refused by the ingest step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath

from catalog.errors import RowRejected, SourceError
from catalog.source_files import read_source_file
from tasks.readers.locations import Location, locate_stretch
from tasks.readers.reader_options import complete_options, require_flag
from tasks.readers.records import FileReader, SourceImage
from tasks.readers.sa1b_archive import read_archive
from tasks.readers.sa1b_folders import MAX_DEPTH, walk_files
from tasks.readers.sa1b_record import MAX_RECORD_BYTES, record_image


@dataclass
class Sa1bReader(FileReader):
    """A folder of SA-1B.

    Options: ``packed`` (read the tars themselves instead of unpacked folders; default false).
    """

    name: str = "sa1b"
    revision: str = field(default="2", init=False)

    def __post_init__(self) -> None:
        self.options = complete_options("sa1b", self.options, {"packed": False})
        require_flag("sa1b", "packed", self.options["packed"])

    def read(self) -> Iterator[SourceImage]:
        """Every record. Raises SourceError for a wrong folder, or an archive that is cut short."""
        if self.root is None or not self.root.is_dir():
            raise SourceError(f"Reader sa1b needs an existing folder as its root; got {self.root or 'none'}.")
        wanted, other = (".tar", ".json") if self.options["packed"] else (".json", ".tar")
        files = walk_files(self.root, wanted)
        first = next(files, None)
        if first is None:
            raise SourceError(_missing(self.root, wanted, next(walk_files(self.root, other), None)))
        return self._stream(self.root, chain([first], files))

    def _stream(self, folder: Path, files: Iterator[Path]) -> Iterator[SourceImage]:
        for path in files:
            name = PurePosixPath(path.relative_to(folder).as_posix())
            if self.options["packed"]:
                yield from read_archive(folder, name)
            else:
                yield record_image(name, _read(folder, name))

    def locate(self, file: str) -> Location:
        """Where a photo is: in its own file, or in an archive."""
        return locate_stretch(file) if self.options["packed"] else Location(file)


def _read(folder: Path, name: PurePosixPath) -> bytes | str:
    """The bytes of a record, or why there are none."""
    try:
        data = read_source_file(folder, name.as_posix())
    except RowRejected as rejected:
        return rejected.detail
    return data if len(data) <= MAX_RECORD_BYTES else f"a record of {len(data)} bytes; at most {MAX_RECORD_BYTES}"


def _missing(folder: Path, wanted: str, other: Path | None) -> str:
    what = "sa_<number>.tar" if wanted == ".tar" else "sa_<id>.json beside sa_<id>.jpg"
    if other is None:
        advice = "give the folder that holds them"
    elif wanted == ".tar":
        advice = f"found {other.name}: leave out the option packed"
    else:
        advice = f"found {other.name}: unpack it, or set the option packed = true"
    return f"Reader sa1b needs {what} at most {MAX_DEPTH} folders below its root; {folder} has none; {advice}."
