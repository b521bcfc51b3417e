"""What a source dataset holds, before anything is built: counts, splits, missing files, what would be refused.

Every record is listed as a build lists it, and every file that it names is looked for. Of some records whose files are
there, drawn by the digest of their id, the images are decoded and all checks of the ingest steps run: the reasons are a
build's own.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.digests import bytes_digest
from catalog.errors import SourceError
from catalog.reasons import Reason
from catalog.roots import Roots
from catalog.store import ShardWriter
from catalog.workspace import Workspace
from tasks.ingest import ingest
from tasks.ingest_pairs import ingest_pairs
from tasks.listing import list_rows, open_source
from tasks.parameters import IngestParameters
from tasks.profiles import Profile, Source
from tasks.readers.records import Reader, Record, SourceImage, SourcePair, SourceRegion
from tasks.steps import Row, StepContext

MAX_EXAMPLES = 5
_PART = 32  # records whose images are read before progress is told


@dataclass(kw_only=True)
class SourceCheck:
    """What was found."""

    counts: Counter[str] = field(default_factory=Counter)
    """Records by kind, regions, and regions or pairs with phrases, joints, masks, instructions."""
    splits: Counter[str] = field(default_factory=Counter)
    """Records by the dataset's own split; "by hash" where it has none."""
    edit_types: Counter[str] = field(default_factory=Counter)
    num_files: int = 0
    """Files that records name, each counted once."""
    num_missing: int = 0
    missing: list[str] = field(default_factory=list)
    """The first `MAX_EXAMPLES` of them."""
    oddities: Counter[str] = field(default_factory=Counter)
    """What the annotations alone show to be refused."""
    num_read: int = 0
    """Records whose images were decoded."""
    num_rows: int = 0
    """Regions and pairs of those."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why some of these rows would be refused."""
    examples: dict[str, str] = field(default_factory=dict)
    """Reason -> the first row with it, and its numbers."""

    @property
    def is_sound(self) -> bool:
        """Whether no file is missing, no id occurs twice, and some record that was read can be used."""
        return not (self.num_missing or self.oddities[Reason.DUPLICATE_ID] or self.is_all_refused)

    @property
    def is_all_refused(self) -> bool:
        """Whether records were read with their images and a build would refuse each."""
        return self.num_read > 0 and self.reasons.total() == self.num_rows

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values (`dataclasses.asdict` makes nonsense of a Counter)."""
        values = {name: dict(value) if isinstance(value, Counter) else value for name, value in vars(self).items()}
        return values | {"is_sound": self.is_sound}


class _NoStore(ShardWriter):
    """Takes what a step would copy into a tar, and keeps none of it."""

    def __init__(self) -> None:
        """No file is opened."""

    def add_image(self, name: str, data: bytes, width: int, height: int) -> dict[str, Any]:
        """Where the image would be, without a place."""
        place = {"root": "", "path": name, "offset": 0, "length": len(data)}
        return place | {"sha256": bytes_digest(data), "width": width, "height": height}


def check_source(source: Source, num_read: int | None, say: Callable[[str], None] = lambda text: None) -> SourceCheck:
    """Read all records of a source, and the images of some.

    Args:
        source: which reader, folder and options.
        num_read: records whose images are decoded; None: all.
        say: called now and then with how far the check is.

    Raises:
        SourceError: a wrong folder, file or option, or a folder without one record.
    """
    reader = open_source(source)
    found = SourceCheck()
    files = _Files(reader)
    drawn: list[tuple[str, int, Row]] = []
    pending: list[Row] = []
    for number, (record, row) in enumerate(list_rows(source.dataset, reader.read())):
        _count(found, record, row)
        is_whole = files.look_for(record)
        if is_whole and num_read is None:
            pending.append(row)
        elif is_whole and num_read:
            digest = bytes_digest(row["source_id"].encode())
            heapq.heappush(drawn, (_inverted(digest), -number, row))
            if len(drawn) > num_read:
                heapq.heappop(drawn)
        if len(pending) == _PART:
            _read(found, source, pending)
            pending.clear()
        say(f"{number + 1} records, {files.num_missing} files missing")
    found.num_files, found.num_missing, found.missing = files.num_files, files.num_missing, files.missing
    if not found.splits:
        raise SourceError(f"Reader {source.reader} found no record below {source.root}: is the split the right one?")
    rows = pending or [row for _, _, row in sorted(drawn, key=lambda item: -item[1])]
    for start in range(0, len(rows), _PART):
        _read(found, source, rows[start : start + _PART])
        say(f"{found.num_read} of {len(rows)} records read with their images")
    return found


def _inverted(digest: str) -> str:
    """A digest whose order is turned round, so that a heap gives up its largest first."""
    return "".join(f"{15 - int(digit, 16):x}" for digit in digest[:24])


class _Files:
    """Which of the files that records name are there; each is looked for once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._archives: dict[Path, int | None] = {}
        self._last: set[str] = set()
        self.num_files = self.num_missing = 0
        self.missing: list[str] = []

    def look_for(self, record: Record) -> bool:
        """Whether all files of a record are there; one that the record before named as well is not counted again."""
        names = [record.file, record.group, record.target_file] if isinstance(record, SourcePair) else [record.file]
        named = {name for name in names if isinstance(name, str) and name}
        if self._reader.root is None:
            return True
        absent = {name for name in named if not self._is_there(self._reader.root, name)}
        self.num_files += len(named - self._last)
        self.num_missing += len(absent - self._last)
        self.missing += sorted(absent - self._last)[: MAX_EXAMPLES - len(self.missing)]
        self._last = named
        return not absent

    def _is_there(self, root: Path, name: str) -> bool:
        location = self._reader.locate(name)
        path = root / location.path
        try:
            if location.path == name:
                return path.is_file()
            if path not in self._archives:
                self._archives[path] = path.stat().st_size if path.is_file() else None
        except (OSError, ValueError):
            return False
        size = self._archives[path]
        return size is not None and location.offset + (location.length or 0) <= size


def _count(found: SourceCheck, record: Record, row: Row) -> None:
    found.counts[f"{row['kind']}s"] += 1
    found.splits[record.split if isinstance(record.split, str) else "by hash"] += 1
    if row.get("reason") is not None:
        found.oddities[row["reason"]] += 1
    if not isinstance(record.file, str) or not record.file:
        found.oddities["no file is named"] += 1
    if isinstance(record, SourceImage):
        if not record.regions:
            found.oddities["image without a region"] += 1
        for region in record.regions:
            _count_region(found, region)
        return
    found.edit_types[str(record.edit_type)] += 1
    if record.instruction is not None:
        found.counts["instructions"] += 1
    elif record.vision_task == "image_editing":
        found.oddities["edit without an instruction"] += 1
    if record.region is not None:
        found.counts["masks"] += 1


def _count_region(found: SourceCheck, region: SourceRegion) -> None:
    found.counts["regions"] += 1
    found.counts["phrases"] += bool(region.phrase)
    found.counts["labels"] += bool(region.label)
    found.counts["masks"] += region.polygons is not None or region.mask is not None
    if region.keypoints is not None:
        found.counts["skeletons"] += 1
    if region.is_crowd:
        found.oddities["crowd region"] += 1
    if region.num_instances == 0:
        found.counts["phrases for nothing"] += 1


def _read(found: SourceCheck, source: Source, rows: list[Row]) -> None:
    """Run the ingest steps on listed rows and count their reasons."""
    found.num_read += len(rows)
    for row in _ingested(source, rows):
        found.num_rows += 1
        reason = row.get("reason")
        if reason is not None:
            found.reasons[reason] += 1
            name = row.get("region_id") or row.get("pair_id")
            found.examples.setdefault(reason, f"{name}: {row.get('detail')}")


def _ingested(source: Source, rows: Iterable[Row]) -> Iterator[Row]:
    # Words are a build's business: here a region without a phrase is no fault.
    whole = [{"reason": None, "detail": None} | row for row in rows]
    profile = Profile(name="check", sources=(source,), ingest=IngestParameters(require_phrase=False))
    for step in (ingest, ingest_pairs):
        context = StepContext(
            workspace=Workspace(Path()),
            profile=profile,
            source=source,
            inputs=(),
            rows=whole,
            roots=Roots({}),
            backends={},
            backend_ids=(),
            extra={},
        )
        yield from step(context, _NoStore())
