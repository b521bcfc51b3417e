"""Benchmarks: the splits of a mix, which run here, and those of the paper, whose printed values they stand beside.

The paper's values are of other data and another model: they orient, they are not compared. Values are as
printed (paper Tables 2 to 5, rows "Ours"): AP, cIoU and mIoU in percent, CLIP-Sim as 100 times the cosine,
AP of Table 5 on the aesthetic predictor's scale, PSNR in dB.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from catalog.schema import SPLITS, VISION_TASKS


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One row of the table of benchmarks. A row without ``paper_value`` is a split of a mix."""

    name: str
    vision_task: str
    metric: str
    """The name in the metric rows."""
    unit: str
    edit_type: str | None = None
    """Where a table has columns by edit: the catalog's name for it."""
    table: int | None = None
    paper_value: float | None = None
    paper_bound: float | None = None
    """PSNR of the truth sent through the autoencoder: the paper's number in parentheses."""
    runnable: bool = False
    """Whether this version can run it."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


UNITS = {
    "ap": "share",
    "ap50": "share",
    "ap75": "share",
    "ciou": "share",
    "giou": "share",
    "miou": "share",
    "psnr": "dB",
    "ssim": "share",
    "capped_share": "share",
    "text_similarity": "cosine",
    "source_similarity": "cosine",
    "aesthetic": "score",
    "outside_difference": "levels of 255",
    "outside_changed_share": "share",
    "rows_left_out": "rows",
}
"""Unit of each metric in the metric rows. A share is in [0, 1] where the paper prints percent."""

METRICS_OF = {
    "keypoint_detection": ("ap", "ap50", "ap75"),
    "segmentation": ("ciou", "giou", "miou"),
    "image_enhancement": ("psnr", "capped_share", "ssim"),
    "image_editing": (
        "text_similarity",
        "source_similarity",
        "aesthetic",
        "outside_difference",
        "outside_changed_share",
        "psnr",
        "capped_share",
    ),
}
"""Metrics by vision task, in the order of the rows."""

_KEYPOINTS = {"COCO val2017": 71.2, "HumanArt val": 51.4, "AP-10K": 15.9}

_REFERRING = {
    "gRefCOCO val": 67.36,
    "RefCOCO val": 61.74,
    "RefCOCO testA": 65.20,
    "RefCOCO testB": 60.17,
    "RefCOCO+ val": 46.57,
    "RefCOCO+ testA": 52.32,
    "RefCOCO+ testB": 39.04,
    "G-Ref val (UMD)": 51.17,
    "G-Ref test (UMD)": 52.02,
    "G-Ref val (Google)": 52.18,
    "RefClef val": 49.58,
    "RefClef testA": 54.73,
    "RefClef testB": 54.82,
    "RefClef testC": 40.34,
}

_SEMANTIC = {
    "ADE-847": 19.68,
    "PC-459": 28.29,
    "ADE-150": 33.62,
    "PC-59": 59.00,
    "VOC": 72.55,
    "COCO-Stuff": 53.17,
}

_EDITING = {  # edit type: CLIP-Sim, aesthetic score
    "object_replacement": ("replace", 30.19, 4.90),
    "object_removal": ("remove", 28.88, 4.65),
    "object_addition": ("add", 30.39, 4.87),
}

_ENHANCEMENT = {  # PSNR, and its bound by the autoencoder
    "GoPro deblur": ("deblurring", 23.58, 29.54),
    "SIDD denoise": ("denoising", 34.26, 36.56),
    "CLWD watermark removal": ("watermark_removal", 23.60, 24.80),
}


def _paper() -> Iterator[Benchmark]:
    for name, value in _KEYPOINTS.items():
        yield Benchmark(name=name, vision_task="keypoint_detection", metric="ap", unit="%", table=2, paper_value=value)
    for name, value in _REFERRING.items():
        yield Benchmark(name=name, vision_task="segmentation", metric="ciou", unit="%", table=3, paper_value=value)
    for name, value in _SEMANTIC.items():
        yield Benchmark(name=name, vision_task="segmentation", metric="miou", unit="%", table=4, paper_value=value)
    for edit_type, (word, similarity, aesthetic) in _EDITING.items():
        for metric, unit, value in (
            ("text_similarity", "100 x cosine", similarity),
            ("aesthetic", "score", aesthetic),
        ):
            yield Benchmark(
                name=f"1,000 edits, {word}",
                vision_task="image_editing",
                edit_type=edit_type,
                metric=metric,
                unit=unit,
                table=5,
                paper_value=value,
            )
    for name, (edit_type, value, bound) in _ENHANCEMENT.items():
        yield Benchmark(
            name=name,
            vision_task="image_enhancement",
            edit_type=edit_type,
            metric="psnr",
            unit="dB",
            table=5,
            paper_value=value,
            paper_bound=bound,
        )


PAPER = tuple(_paper())
"""Tables 2 to 5, rows "Ours"."""

MIX_SPLITS = tuple(
    Benchmark(name=f"{vision_task}/{split}", vision_task=vision_task, metric=metric, unit=UNITS[metric], runnable=True)
    for vision_task in VISION_TASKS
    for split in SPLITS[1:]
    for metric in METRICS_OF[vision_task]
)
"""What `evaluation.run` computes on a mix; editing and enhancement once per edit type."""


def paper_range(vision_task: str, edit_type: str | None, metric: str) -> str:
    """What the paper prints for this metric on its own data, for people to read: "Table 3: 39.04-67.36 %".

    Empty where it prints none.
    """
    rows = [
        row
        for row in PAPER
        if (row.vision_task, row.metric) == (vision_task, metric) and row.edit_type in (None, edit_type)
    ]
    values = [row.paper_value for row in rows if row.paper_value is not None]
    if not values:
        return ""
    span = f"{min(values):g}" if len(values) == 1 else f"{min(values):g}-{max(values):g}"
    return f"Table {rows[0].table}: {span} {rows[0].unit}"
