"""Croissant 1.0 metadata (JSON-LD, MLCommons) of an export's Parquet files: its columns, and each file's digest."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from catalog.exports.folder import ShardNote

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the specification prescribes (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

_FORMAT = "application/x-parquet"


def describe(
    name: str, description: str, licences: Sequence[str], schema: pa.Schema, notes: Sequence[ShardNote]
) -> dict[str, Any]:
    """The metadata as JSON values: a file set and a record set per split, a field per column."""
    splits = [split for split in ("train", "val", "test") if any(note.split == split and note.path for note in notes)]
    files = [_file(note) for note in notes if note.path is not None]
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{split}-files",
            "name": f"{split}-files",
            "encodingFormat": _FORMAT,
            "includes": f"data/{split}-*.parquet",
        }
        for split in splits
    ]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "license": list(licences),
        "distribution": [*files, *sets],
        "recordSet": [_record_set(split, schema) for split in splits],
    }


def _file(note: ShardNote) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": note.path,
        "name": note.path,
        "contentUrl": note.path,
        "contentSize": f"{note.length} B",
        "encodingFormat": _FORMAT,
        "sha256": note.sha256,
    }


def _record_set(split: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [_field(f"{split}/{one.name}", one.name, one.type, f"{split}-files") for one in schema]
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields}


def _field(place: str, column: str, kind: pa.DataType, files: str, inner: str | None = None) -> dict[str, Any]:
    """A column as a field; a list of structures as one with sub-fields."""
    field: dict[str, Any] = {"@type": "cr:Field", "@id": place, "name": place}
    if pa.types.is_list(kind):
        field["repeated"] = True
        kind = kind.value_type
    source: dict[str, Any] = {"fileSet": {"@id": files}, "extract": {"column": column}}
    if pa.types.is_struct(kind) and [part.name for part in kind] == ["bytes", "path"]:  # a picture
        return field | {"dataType": "sc:ImageObject", "source": source | {"transform": {"jsonPath": "bytes"}}}
    if pa.types.is_struct(kind):
        return field | {"subField": [_field(f"{place}/{p.name}", column, p.type, files, p.name) for p in kind]}
    if inner is not None:
        source["transform"] = {"jsonPath": inner}
    return field | {"dataType": _data_type(kind), "source": source}


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
