"""Every table of the catalog: its columns, types and units.

One row per what::

    requests   one per photo request and result, whatever became of it                (flow ``crawl-requests``)
    listings   one per source image, as the annotation says it, nothing checked      (step ``list``)
    regions    one per annotated region, checked against its image                    (step ``ingest``)
    patches    one per region: its crop as something to put elsewhere                 (step ``embed_patches``)
    gallery    one per usable patch of a build, in the order of the index beside it   (step ``gallery``)
    edits      one per region and edit: the image that a backend made                 (``remove_object``, ...)
    pairs      one per (source, instruction, target); the table that everything ends in
    references one per photo that quality is measured against                         (step ``references``)
    scores     one per pair: numbers on a pair before training
    verdicts   one per pair and policy: accepted, or rejected with the condition that failed
    mix        one per draw: the sampling plan, ``catalog/mix.parquet``
    latents    one per static pair: what the trainer's frozen networks say of it   (``python -m trainer.encode``)
    metrics    one per checkpoint, benchmark and metric
    variants   one per item of an alignment set and guidance setting: what a checkpoint made (`evaluation.variants`)
    picks      one per person and item: which variants were chosen            (`catalog.chosen_pairs`)

A row with ``reason`` null is usable. A row that is not keeps its identity and says why (`catalog.reasons`).
Bytes of images are never in Parquet: an ``image`` column says where they are.
"""

import pyarrow as pa

from catalog.columns import ANNOTATION, CLASSES, IMAGE, MASK, OUTCOME, PROVENANCE, RELATION
from catalog.model_tables import METRICS, PICKS, VARIANTS

SCHEMA_VERSION = 4
"""Part of every content key: a change of any table makes new shards."""

REQUESTS = pa.schema(
    [
        ("result_id", pa.string()),  # request_id and the result's number, from 1; 0 where there is no result
        ("request_id", pa.string()),  # the post's id, or a digest of page and photo
        ("page", pa.string()),  # URL of the page that the request is on
        ("licence", pa.string()),
        ("created_utc", pa.int64()),  # seconds since 1970
        ("request_text", pa.string()),  # as it was written
        ("instruction", pa.string()),  # the wish in it
        ("photo", pa.string()),  # URL, or path below the list's folder
        ("result", pa.string()),
        ("photo_image", IMAGE),  # the bytes that were fetched, where they lie
        ("result_image", IMAGE),
        ("source_image", IMAGE),  # photo and result in their common frame, equal in size
        ("target_image", IMAGE),
        ("transform", pa.list_(pa.float64())),  # a, b, c, d, e, f: result (x, y) is photo (ax + by + c, dx + ey + f)
        ("num_inliers", pa.int32()),  # features that agree on it; 0: found by comparing sizes and contents alone
        ("alike_share", pa.float64()),  # textured blocks of the common frame that still look the same, [0, 1]
        *OUTCOME,
    ]
)

LISTINGS = pa.schema(
    [
        ("dataset", pa.string()),
        ("kind", pa.string()),  # image: to edit or annotate; pair: ready-made
        ("source_id", pa.string()),  # the dataset's own image id; "~2" is appended to its second occurrence
        ("file", pa.string()),  # as the annotation names it, relative to the dataset's root
        ("record", pa.string()),  # canonical JSON of tasks.readers.records.SourceImage or SourcePair
        *OUTCOME,
    ]
)

_REGION = [
    ("region_id", pa.string()),  # dataset/source_id/annotation_id
    ("source_id", pa.string()),
    *PROVENANCE,
    ("source_image", IMAGE),
    *ANNOTATION,
    ("attributes", pa.list_(pa.string())),
    ("relations", pa.list_(RELATION)),
    ("num_instances", pa.int32()),  # objects that the phrase refers to
    ("area", pa.int64()),  # mask pixels
    ("image_labels", pa.list_(pa.string())),  # names of all objects of the image, in file order: "pink hat"
    ("captions", pa.list_(pa.string())),
]

REGIONS = pa.schema([*_REGION, *CLASSES, *OUTCOME])

_PATCH = [
    ("name", pa.string()),  # what it shows, in words that hold in any place: "pink hat"
    ("crop", pa.list_(pa.int32())),  # x, y, width, height in pixels: the region's box and a margin
    ("aspect", pa.float64()),  # width / height of the region's box
    ("crop_hash", pa.string()),  # 64-bit difference hash of the crop: equal ones look the same
]

PATCHES = pa.schema(
    [
        *_REGION,
        *_PATCH,
        ("embedding", pa.list_(pa.float32())),  # of the crop, unit length
        ("backends", pa.list_(pa.string())),
        *OUTCOME,
    ]
)
"""A region and what retrieval needs of it. Rejected regions stay, with their reason."""

GALLERY = pa.schema(
    [
        ("region_id", pa.string()),
        *PROVENANCE,
        ("source_image", IMAGE),
        ("phrase", pa.string()),
        ("label", pa.string()),
        ("bbox", pa.list_(pa.float64())),
        *_PATCH,
    ]
)
"""Row i is vector i of ``data/gallery/<key>.faiss``. The vectors are in that index, not here."""

DONOR = pa.struct(
    [
        *[GALLERY.field(name) for name in ("region_id", "group_id", "dataset", "licence", "source_image")],
        *[GALLERY.field(name) for name in ("phrase", "label", "name", "bbox", "crop")],
        ("similarity", pa.float32()),  # cosine of the embeddings of the two crops
        ("rank", pa.int32()),  # 0: the most similar of those that were eligible
        ("gallery", pa.string()),  # key of the gallery shard that it was found in
    ]
)
"""The region of another photo that a replacement took."""

_EDIT = [
    ("edit_type", pa.string()),  # object_removal, object_addition, object_replacement, ...
    ("region_id", pa.string()),
    *PROVENANCE,
    ("source_image", IMAGE),
    ("target_image", IMAGE),
    ("edit_mask", MASK),  # outside it source and target are equal, pixel for pixel
    *ANNOTATION,
    ("donor", DONOR),  # of object_replacement, else null
]

EDITS = pa.schema(
    [
        ("edit_id", pa.string()),
        *_EDIT,
        ("attributes", pa.list_(pa.string())),
        ("relations", pa.list_(RELATION)),
        ("num_instances", pa.int32()),
        ("image_labels", pa.list_(pa.string())),
        ("captions", pa.list_(pa.string())),
        ("backends", pa.list_(pa.string())),  # "role=name@revision"
        ("parameters", pa.string()),  # canonical JSON of the step's parameters
        *OUTCOME,
    ]
)

PAIRS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("vision_task", pa.string()),  # keypoint_detection, segmentation, image_enhancement, image_editing
        *_EDIT,
        ("instruction", pa.string()),  # null: worded at load time from the annotation
        ("source_caption", pa.string()),
        ("target_caption", pa.string()),
        ("reversed_pair_id", pa.string()),  # the pair with source and target swapped
        *CLASSES,
        ("backends", pa.list_(pa.string())),
        ("parameters", pa.string()),
        *OUTCOME,
    ]
)
"""``target_image`` is null where the target is drawn at load time (segmentation, keypoint detection)."""

SCORE_NAMES = (
    "source_aesthetic",  # higher is better; the scale is the backend's
    "target_aesthetic",
    "source_quality",  # KNN-GIQA, for ranking only
    "target_quality",
    "image_similarity",  # cosine of source and target, [-1, 1]
    "source_text_similarity",  # cosine of source and its caption
    "target_text_similarity",
    "direction_similarity",  # cosine of (target - source) in image and text space
    "changed_share",  # pixels that differ at all, share of the image, [0, 1]
)

SCORES = pa.schema(
    [
        ("pair_id", pa.string()),
        *[(name, pa.float64()) for name in SCORE_NAMES],
        ("backends", pa.list_(pa.string())),
        *OUTCOME,
    ]
)

REFERENCES = pa.schema(
    [
        ("group_id", pa.string()),  # the photo that the features are of
        ("embedding", pa.list_(pa.float32())),  # unit length
        ("backends", pa.list_(pa.string())),
    ]
)
"""What KNN-GIQA compares with (paper 3.2: features of good photos)."""

VERDICTS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("pair_key", pa.uint64()),  # text_keys.text_keys of pair_id: no other pair of the build has it
        ("group_key", pa.uint64()),  # of group_id; null where that is
        ("donor_key", pa.uint64()),  # of the donor's group_id
        ("dataset", pa.string()),
        ("vision_task", pa.string()),
        ("edit_type", pa.string()),
        ("split", pa.string()),
        ("usable", pa.bool_()),  # the pair has no reason of its own
        ("accepted", pa.bool_()),
        ("condition", pa.string()),  # the first condition that failed; or the pair's or score's own reason
        ("score", pa.string()),  # what the condition looks at
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
"""What a mix needs to know of every pair is copied here, so that it reads the rows of ``pairs`` that it draws alone."""

MIX = pa.schema(
    [
        ("position", pa.int64()),  # sample index in training order; null outside split "train"
        ("split", pa.string()),
        ("mix_source", pa.string()),  # the name in the mix file's [[source]]
        ("repeat", pa.int32()),  # 0 for a row's first draw, 1 for its second, ...
        ("pair_id", pa.string()),
        ("vision_task", pa.string()),
        ("edit_type", pa.string()),
        ("group_id", pa.string()),
        ("dataset", pa.string()),
        ("licence", pa.string()),
        ("region_id", pa.string()),
        ("source_image", IMAGE),
        ("instruction", pa.string()),
        ("target_image", IMAGE),
        ("edit_mask", MASK),
        *ANNOTATION,
        *CLASSES,
        ("source_caption", pa.string()),
        ("target_caption", pa.string()),
    ]
)

LATENTS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("row_key", pa.string()),  # digest of both images' digests and the instruction
        ("sha256", pa.string()),  # of the record: row i is record i of ``data/latents/<key>.float16``
        ("backends", pa.list_(pa.string())),  # "encoder@" and the digest of autoencoder and text encoder
        *OUTCOME,
    ]
)
"""Latents and text states of pairs that look the same each time they are drawn; the numbers lie beside the shard."""

TABLES: dict[str, pa.Schema] = {
    "requests": REQUESTS,
    "listings": LISTINGS,
    "regions": REGIONS,
    "patches": PATCHES,
    "gallery": GALLERY,
    "edits": EDITS,
    "pairs": PAIRS,
    "references": REFERENCES,
    "scores": SCORES,
    "verdicts": VERDICTS,
    "latents": LATENTS,
    "metrics": METRICS,
    "variants": VARIANTS,
    "picks": PICKS,
}

VISION_TASKS = ("keypoint_detection", "segmentation", "image_enhancement", "image_editing")
SPLITS = ("train", "val", "test")
