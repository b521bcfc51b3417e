"""Shards of exported pairs: WebDataset tars, and Parquet with pictures inside as Hugging Face `datasets` keeps them.

The same pairs give the same bytes. Memory stays at one pair for tars and at about 16 MiB of pictures for Parquet.
"""

import json
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.exports.pairs import FACTS, PICTURES, ExportedPair, pair_key, picture_suffix
from catalog.store import tar_header

_BLOCK = 512  # tar's unit
_GROUP_PAIRS, _GROUP_BYTES = 100, 16 << 20  # of a Parquet row group: what a reader decompresses at once
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How `datasets` stores an Image."""

DATASETS_COLUMNS = pa.schema([*FACTS, *[(name, _PICTURE) for name in PICTURES]])


class Shard(Protocol):
    """A file of pairs while it is written."""

    length: int
    """Bytes so far, about."""

    def add(self, pair: ExportedPair) -> None:
        """Append a pair."""

    def close(self) -> None:
        """Finish the file."""


class TarShard:
    """Members ``KEY.source_image.jpg`` and so on, then ``KEY.json`` with the facts; plain ustar without times."""

    def __init__(self, path: Path, repeats: bool) -> None:
        self.length = 0
        self._file = path.open("wb")
        self._repeats = repeats

    def add(self, pair: ExportedPair) -> None:
        """Append a pair's members."""
        key = pair_key(pair.facts, self._repeats)
        for name, data in pair.pictures.items():
            self._member(f"{key}.{name}.{picture_suffix(data)}", data)
        facts = {**pair.facts, "drawn": json.loads(pair.facts["drawn"] or "null")}
        self._member(f"{key}.json", json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode())

    def close(self) -> None:
        """Two empty blocks end a tar."""
        self._file.write(bytes(2 * _BLOCK))
        self._file.close()

    def _member(self, name: str, data: bytes) -> None:
        block = tar_header(name, len(data)) + data + bytes(-len(data) % _BLOCK)
        self._file.write(block)
        self.length += len(block)


class ParquetShard:
    """Rows of a Parquet file whose columns `datasets` knows as features, pictures as Image."""

    def __init__(self, path: Path, repeats: bool, schema: pa.Schema) -> None:
        self.length = 0
        self._repeats = repeats
        self._schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features(schema)}})})
        options: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}
        self._writer = pq.ParquetWriter(path, self._schema, write_statistics=["pair_id", "position"], **options)
        self._rows: list[dict[str, Any]] = []
        self._pending = 0

    def add(self, pair: ExportedPair) -> None:
        """Append a pair."""
        key = pair_key(pair.facts, self._repeats)
        pictures = {
            name: {"bytes": data, "path": f"{key}.{name}.{picture_suffix(data)}"}
            for name, data in pair.pictures.items()
        }
        length = sum(map(len, pair.pictures.values())) + len(json.dumps(pair.facts))
        self._rows.append({**dict.fromkeys(self._schema.names), **pair.facts, **pictures})
        self.length += length
        self._pending += length
        if len(self._rows) >= _GROUP_PAIRS or self._pending >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is pending and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._pending = [], 0


def features(schema: pa.Schema) -> dict[str, Any]:
    """A schema as the `features` of the `datasets` library."""
    return {one.name: _feature(one.type) for one in schema}


def _feature(kind: pa.DataType) -> Any:
    if kind.equals(_PICTURE):
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {part.name: _feature(part.type) for part in kind}
    names = {"double": "float64", "float": "float32"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
