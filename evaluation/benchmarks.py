"""Benchmarks: the splits of a mix, those of the paper's Tables 2 to 5 with the values that they print, and MagicBrush.

A mix split is measured as training draws it, square crops and all. A paper benchmark is a mix of its own, made of
one dataset (`infra/profiles/benchmarks.toml`), and asked by its `Protocol`. Values are as printed (rows "Ours"):
AP, cIoU and mIoU in percent, CLIP-Sim as 100 times the cosine, AP of Table 5 on the aesthetic predictor's scale,
PSNR in dB. Beside a mix split they only orient: they are of other data.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from catalog.errors import ConfigError
from catalog.schema import SPLITS, VISION_TASKS
from evaluation.metric_names import METRICS_OF, TURN_METRICS, UNITS
from evaluation.paper_values import EDITING, ENHANCEMENT, KEYPOINTS, REFERRING, SEMANTIC

Protocol = Literal["crops", "people", "referring", "semantic", "tiles", "edits", "turns", "sessions"]
"""How a benchmark's rows are asked and what is measured.

crops      as training draws them: the splits of a mix
people     the square around each ground-truth box (Table 2)
referring  the whole picture, one prompt per expression (Table 3)
semantic   the whole picture, one prompt per class present, the answers merged into one label map (Table 4)
tiles      the picture at its own resolution, in squares of the evaluated size put together again (Table 5, PSNR)
edits      the whole picture, its aspect ratio not kept (Table 5, editing)
turns      the same, measured as MagicBrush does: single-turn
sessions   turn after turn on the model's own pictures, the last one measured: MagicBrush's multi-turn
"""


@dataclass(frozen=True, kw_only=True)
class PaperBenchmark:
    """One benchmark of the paper's tables."""

    key: str
    """Its name on the command line, in rows and in the ``dataset`` column."""
    name: str
    """As the paper calls it."""
    vision_task: str
    protocol: Protocol
    split: str
    """Where its reader puts the rows."""
    table: int | None = None
    page: int | None = None
    """Of the paper (arXiv 2309.03895)."""
    no_target_pixels: int = 0
    """A mask of fewer pixels, on a picture of 480 x 480, counts as empty: only where nothing may be meant."""
    paper: tuple[tuple[str | None, str, str, float, float | None], ...] = ()
    """(edit type, metric, unit, value, bound by the autoencoder) that the paper prints."""
    metrics: tuple[str, ...] = ()
    """What is listed of a benchmark of which the paper prints nothing."""

    @property
    def place(self) -> str | None:
        """Where the paper prints it: "Table 3, page 8"."""
        return None if self.table is None else f"Table {self.table}, page {self.page}"

    def printed(self, edit_type: str | None, metric: str) -> tuple[float, float | None] | None:
        """The paper's value and bound for a metric, as printed; None where it prints none."""
        for known_type, known, _, value, bound in self.paper:
            if (known_type, known) == (edit_type, metric):
                return value, bound
        return None


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One row of the table of benchmarks. A row without ``paper_value`` is a split of a mix."""

    name: str
    """As in the metric rows."""
    title: str
    """As the paper calls it."""
    vision_task: str
    metric: str
    """The name in the metric rows."""
    split: str
    protocol: Protocol
    unit: str
    edit_type: str | None = None
    """Where a table has columns by edit: the catalog's name for it."""
    table: int | None = None
    page: int | None = None
    paper_value: float | None = None
    paper_bound: float | None = None
    """PSNR of the truth sent through the autoencoder: the paper's number in parentheses."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


_NO_TARGET_PIXELS = 50
"""Of gRefCOCO, the one benchmark with expressions that mean nothing. The paper states no rule."""

_MAGICBRUSH: tuple[tuple[str, str, Protocol], ...] = (
    ("magicbrush_test", "MagicBrush test, single-turn", "turns"),
    ("magicbrush_sessions_test", "MagicBrush test, multi-turn", "sessions"),
)
"""Of 535 sessions with 1,053 turns; its paper's protocol, asked of our models too."""


def _paper() -> Iterator[PaperBenchmark]:
    for key, (name, value) in KEYPOINTS.items():
        yield PaperBenchmark(
            key=key,
            name=name,
            vision_task="keypoint_detection",
            protocol="people",
            split="val",
            table=2,
            page=6,
            paper=((None, "ap", "%", value, None),),
        )
    for key, (name, value) in REFERRING.items():
        yield PaperBenchmark(
            key=key,
            name=name,
            vision_task="segmentation",
            protocol="referring",
            no_target_pixels=_NO_TARGET_PIXELS if key.startswith("grefcoco") else 0,
            split=_split(key),
            table=3,
            page=8,
            paper=((None, "ciou", "%", value, None),),
        )
    for key, (name, value) in SEMANTIC.items():
        yield PaperBenchmark(
            key=key,
            name=name,
            vision_task="segmentation",
            protocol="semantic",
            split="val",
            table=4,
            page=8,
            paper=((None, "miou", "%", value, None),),
        )
    printed = [
        (edit_type, metric, unit, value, None)
        for edit_type, values in EDITING.items()
        for metric, unit, value in zip(("text_similarity", "aesthetic"), ("100 x cosine", "score"), values, strict=True)
    ]
    yield PaperBenchmark(
        key="edits_1000",
        name="1,000 edits",
        vision_task="image_editing",
        protocol="edits",
        split="test",
        table=5,
        page=9,
        paper=tuple(printed),
    )
    for key, (name, edit_type, value, bound) in ENHANCEMENT.items():
        yield PaperBenchmark(
            key=key,
            name=name,
            vision_task="image_enhancement",
            protocol="tiles",
            split=_split(key),
            table=5,
            page=9,
            paper=((edit_type, "psnr", "dB", value, bound),),
        )
    for key, name, protocol in _MAGICBRUSH:
        yield PaperBenchmark(
            key=key,
            name=name,
            vision_task="image_editing",
            protocol=protocol,
            split="test",
            metrics=TURN_METRICS,
        )


def _split(key: str) -> str:
    return "test" if "_test" in key else "val"


PAPER_BENCHMARKS = {benchmark.key: benchmark for benchmark in _paper()}
"""Tables 2 to 5, in the paper's order; then those of which it prints nothing."""

PAPER = tuple(
    Benchmark(
        name="/".join(part for part in (one.key, edit_type, one.split) if part),
        title=one.name,
        vision_task=one.vision_task,
        metric=metric,
        split=one.split,
        protocol=one.protocol,
        unit=unit,
        edit_type=edit_type,
        table=one.table,
        page=one.page,
        paper_value=value,
        paper_bound=bound,
    )
    for one in PAPER_BENCHMARKS.values()
    for edit_type, metric, unit, value, bound in one.paper
)
"""What the paper prints, one row per value."""

OTHERS = tuple(
    Benchmark(
        name=f"{one.key}/{one.split}",
        title=one.name,
        vision_task=one.vision_task,
        metric=metric,
        split=one.split,
        protocol=one.protocol,
        unit=UNITS[metric],
    )
    for one in PAPER_BENCHMARKS.values()
    for metric in one.metrics
)
"""Benchmarks of which the paper prints nothing, one row per metric."""

MIX_SPLITS = tuple(
    Benchmark(
        name=f"{vision_task}/{split}",
        title=f"held-out rows of the mix ({split})",
        vision_task=vision_task,
        metric=metric,
        split=split,
        protocol="crops",
        unit=UNITS[metric],
    )
    for vision_task in VISION_TASKS
    for split in SPLITS[1:]
    for metric in METRICS_OF[vision_task]
)
"""What `evaluation.run` computes on a mix; editing and enhancement once per edit type."""


def find_benchmark(key: str) -> PaperBenchmark:
    """The paper's benchmark of that key.

    Raises:
        ConfigError: there is none.
    """
    if key not in PAPER_BENCHMARKS:
        raise ConfigError(f"a benchmark is one of {', '.join(PAPER_BENCHMARKS)}. Got {key!r}")
    return PAPER_BENCHMARKS[key]


def benchmark_mix(catalog: Path, key: str) -> Path:
    """Where a benchmark's rows are, below the catalog's folder: a mix of its own."""
    return catalog / "benchmarks" / f"{key}.parquet"


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
