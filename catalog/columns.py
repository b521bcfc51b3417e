"""Columns that several tables of the catalog share (`catalog.schema`)."""

import pyarrow as pa

IMAGE = pa.struct(
    [
        ("root", pa.string()),  # name in roots.json; "store" is our own data root
        ("path", pa.string()),  # relative to the root, forward slashes
        ("offset", pa.int64()),  # first byte of the encoded image in that file
        ("length", pa.int64()),  # bytes
        ("sha256", pa.string()),  # of those bytes
        ("width", pa.int32()),  # pixels, after EXIF orientation
        ("height", pa.int32()),
    ]
)
"""Where an encoded image is: one ``pread`` of ``length`` bytes at ``offset``."""

MASK = pa.struct([("height", pa.int32()), ("width", pa.int32()), ("counts", pa.string())])
"""A binary mask as COCO's compressed run-length code (column-major, LEB128-like text)."""

KEYPOINT = pa.struct(
    [
        ("name", pa.string()),  # plain words: "left shoulder"
        ("x", pa.float64()),  # pixels, 0-indexed from the top left
        ("y", pa.float64()),
        ("visibility", pa.int8()),  # COCO: 0 not labelled, 1 labelled but hidden, 2 visible
    ]
)

RELATION = pa.struct([("predicate", pa.string()), ("object", pa.string())])
"""PhraseCut's relation_descriptions: ("on top of", "tree")."""

OUTCOME = [
    ("reason", pa.string()),  # null: usable; else one of catalog.reasons.Reason
    ("detail", pa.string()),  # the numbers behind the reason
]

PROVENANCE = [
    ("group_id", pa.string()),  # SHA-256 of the original photo's bytes: one photo, one split
    ("dataset", pa.string()),
    ("split", pa.string()),  # train, val, test
    ("licence", pa.string()),
]

ANNOTATION = [
    ("phrase", pa.string()),  # refers to the region within its image: "blue bird on top of the tree"
    ("label", pa.string()),  # its class name: "bird"
    ("mask", MASK),  # the region itself, undilated
    ("bbox", pa.list_(pa.float64())),  # x, y, width, height in pixels
    ("keypoints", pa.list_(KEYPOINT)),
]

CLASSES = [
    ("class_names", pa.list_(pa.string())),  # of its dataset, in the order of their values; null: it is none of classes
    ("present_classes", pa.list_(pa.string())),  # of these, what the photo shows
]
