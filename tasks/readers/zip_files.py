"""Zips read in place: the place of what is stored as it is, the bytes of what is compressed."""

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from catalog.errors import RowRejected, SourceError
from catalog.image_headers import MAX_BYTES
from catalog.reasons import Reason
from tasks.readers.locations import member_name, stretch_name

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature; lengths of the name and of the extra field
_SIGNATURE = b"PK\3\4"
_ENCRYPTED = 1
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


class ZipMembers:
    """The members of one zip by name. Open until it is closed.

    Args:
        root: the dataset's folder.
        path: the zip, relative to it.
        what: what it is, for messages: "InstructPix2Pix's shard".

    Raises:
        SourceError: the file is no zip, is cut short or cannot be read.
    """

    def __init__(self, root: Path, path: str, what: str) -> None:
        self.path, self._file = path, root / path
        try:
            self._archive = zipfile.ZipFile(self._file)
        except _DAMAGE as error:
            raise SourceError(f"{what} must be a whole zip; {self._file} is not ({error}); fetch it again.") from error
        self.members: Mapping[str, zipfile.ZipInfo] = self._archive.NameToInfo

    def __enter__(self) -> "ZipMembers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._archive.close()

    def image_name(self, member: str) -> str:
        """The name of a member as an image of the dataset: its place, where the zip stores it as it is."""
        info = self.members.get(member)
        if info is None or info.compress_type != zipfile.ZIP_STORED or info.flag_bits & _ENCRYPTED:
            return member_name(self.path, member)
        return stretch_name(self.path, self._first_byte(info), info.file_size, member)

    def _first_byte(self, info: zipfile.ZipInfo) -> int:
        """The local header says where the data begins: its extra field may differ from the directory's."""
        try:
            with self._file.open("rb", buffering=0) as stream:
                header = os.pread(stream.fileno(), _LOCAL_HEADER.size, info.header_offset)
            signature, name, extra = _LOCAL_HEADER.unpack(header)
        except (OSError, OverflowError, struct.error) as error:
            raise SourceError(f"{self._file} is damaged at {info.filename!r} ({error}); fetch it again.") from error
        if signature != _SIGNATURE:
            raise SourceError(f"{self._file} has no member where {info.filename!r} should be; fetch it again.")
        return int(info.header_offset) + _LOCAL_HEADER.size + int(name) + int(extra)

    def read(self, member: str, limit: int = MAX_BYTES) -> bytes:
        """The bytes of a member, unpacked. Raises RowRejected with the reason why not."""
        info = self.members.get(member)
        if info is None:
            raise RowRejected(Reason.MISSING_FILE, f"no {member!r} in {self.path}")
        if info.file_size > limit:
            raise RowRejected(Reason.FILE_TOO_LARGE, f"{member!r} has {info.file_size} bytes; at most {limit}")
        if info.flag_bits & _ENCRYPTED:
            raise RowRejected(Reason.UNREADABLE_FILE, f"{member!r} of {self.path} is encrypted: unpack the zip")
        try:
            return self._archive.read(info)
        except _DAMAGE as error:
            raise RowRejected(Reason.UNREADABLE_FILE, f"{member!r} of {self.path}: {error}") from error
