"""Rows of a mix without a picture: where each one lies in its dataset, and its digest, so that nothing is copied."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from catalog.columns import IMAGE
from catalog.digests import canonical_json
from catalog.exports.licences import licences_of
from catalog.exports.pairs import FACTS, ExportedPair

_IMAGES = ("source_image", "target_image")
_MASKS = ("edit_mask", "mask")
_NOT_HERE = ("source_sha256", "target_sha256", "drawn")

REFERENCES = pa.schema(
    [
        *[one for one in FACTS if one.name not in _NOT_HERE],
        *[(f"{name}_{part.name}", part.type) for name in _IMAGES for part in IMAGE],  # as in the table of pairs
        *[(name, pa.string()) for name in _MASKS],  # JSON of COCO's compressed run-length code: size, counts
    ]
)
"""Null instruction, or null target: the trainer words it, or draws it from mask, box and keypoints, at load time."""


def refer(row: Mapping[str, Any], donors: Mapping[str, str]) -> ExportedPair:
    """A row as facts alone, those of `REFERENCES`."""
    licences = licences_of(row, donors)
    values = {name: row[name] for name in REFERENCES.names if name in row}
    values["donor_licence"] = licences[1] if len(licences) > 1 else None
    for name in _IMAGES:
        values |= {f"{name}_{part}": value for part, value in (row[name] or {}).items()}
    for name in _MASKS:
        code = row[name]
        rle = None if code is None else {"size": [code["height"], code["width"]], "counts": code["counts"]}
        values[name] = None if rle is None else canonical_json(rle)
    return ExportedPair(facts={name: values.get(name) for name in REFERENCES.names}, pictures={})
