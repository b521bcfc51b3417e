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

SCHEMA_VERSION = 4
"""Part of every content key: a change of any table makes new shards."""

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

_PROVENANCE = [
    ("group_id", pa.string()),  # SHA-256 of the original photo's bytes: one photo, one split
    ("dataset", pa.string()),
    ("split", pa.string()),  # train, val, test
    ("licence", pa.string()),
]

_ANNOTATION = [
    ("phrase", pa.string()),  # refers to the region within its image: "blue bird on top of the tree"
    ("label", pa.string()),  # its class name: "bird"
    ("mask", MASK),  # the region itself, undilated
    ("bbox", pa.list_(pa.float64())),  # x, y, width, height in pixels
    ("keypoints", pa.list_(KEYPOINT)),
]

_CLASSES = [
    ("class_names", pa.list_(pa.string())),  # of its dataset, in the order of their values; null: it is none of classes
    ("present_classes", pa.list_(pa.string())),  # of these, what the photo shows
]

_REGION = [
    ("region_id", pa.string()),  # dataset/source_id/annotation_id
    ("source_id", pa.string()),
    *_PROVENANCE,
    ("source_image", IMAGE),
    *_ANNOTATION,
    ("attributes", pa.list_(pa.string())),
    ("relations", pa.list_(RELATION)),
    ("num_instances", pa.int32()),  # objects that the phrase refers to
    ("area", pa.int64()),  # mask pixels
    ("image_labels", pa.list_(pa.string())),  # names of all objects of the image, in file order: "pink hat"
    ("captions", pa.list_(pa.string())),
]

REGIONS = pa.schema([*_REGION, *_CLASSES, *OUTCOME])

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
        *_PROVENANCE,
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
    *_PROVENANCE,
    ("source_image", IMAGE),
    ("target_image", IMAGE),
    ("edit_mask", MASK),  # outside it source and target are equal, pixel for pixel
    *_ANNOTATION,
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
        *_CLASSES,
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
        *_ANNOTATION,
        *_CLASSES,
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

METRICS = pa.schema(
    [
        ("benchmark", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),  # 95 % bootstrap interval of the value, over source images
        ("high", pa.float64()),
        ("num_samples", pa.int64()),
        ("vision_task", pa.string()),
        ("unit", pa.string()),
        ("backend", pa.string()),  # the helper model behind the metric; null for a pure one
        ("paper_value", pa.float64()),  # as printed: percent for shares, 100 x cosine for CLIP-Sim; null: none
        ("paper_bound", pa.float64()),  # the number in parentheses beside it
        ("paper_place", pa.string()),  # "Table 3, page 8"
        ("checkpoint_sha256", pa.string()),  # null: a control
        ("mix_sha256", pa.string()),  # of the dataset: all rows that were asked for
        ("seed", pa.int64()),
        ("code_version", pa.string()),
        ("config", pa.string()),  # canonical JSON of the evaluation's options
    ]
)

VARIANTS = pa.schema(
    [
        ("item_id", pa.string()),  # pair_id of the row whose source and instruction the item is
        ("variant", pa.int32()),  # place in the grid of guidance settings, from 0
        *_PROVENANCE,
        ("edit_type", pa.string()),
        ("region_id", pa.string()),
        ("source_image", IMAGE),  # the row's own
        ("instruction", pa.string()),
        ("source_caption", pa.string()),
        ("target_caption", pa.string()),
        ("target_image", IMAGE),  # what the checkpoint made of it, a square of the sampled size
        ("text_guidance", pa.float64()),  # scale of the instruction
        ("image_guidance", pa.float64()),  # scale of the source image
        ("guidance", pa.string()),  # the rule that combines them: ip2p, official
        ("num_steps", pa.int32()),  # sampling steps
        ("sampler", pa.string()),
        ("seed", pa.int64()),  # of the noise
        ("backends", pa.list_(pa.string())),  # "generator=checkpoint@" and the digest of its files
        *OUTCOME,
    ]
)
"""Items of an alignment set (paper 3.3: 20 guidance settings each). A variant that could not be made has a reason."""

PICKS = pa.schema(
    [
        ("set", pa.string()),  # name of the alignment set
        ("item_id", pa.string()),
        ("person", pa.string()),  # the name that the chooser gave
        ("judge", pa.string()),  # null: a person; else the program that chose, "simulated@1+..."
        ("variants", pa.list_(pa.int32())),  # chosen ones, sorted; empty: none is good
        ("shown", pa.string()),  # digest of the pictures that were shown, in the order of their numbers
    ]
)
"""What was chosen, frozen when pairs were made of it. Where choices are kept as they come: `catalog.choices`."""

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
