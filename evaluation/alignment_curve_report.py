"""The alignment curve for people: JSON, Markdown and a picture, the paper's two values beside ours."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catalog.digests import bytes_digest
from catalog.durable import write_file
from catalog.images import decode_image, encode_png
from evaluation.intervals import Interval
from evaluation.line_charts import Line, draw_chart
from evaluation.plain_tables import markdown_table

PAPER_CURVE = ((0.0, 29.6), (10.0, 29.9))
"""(epoch, 100 x CLIP-Sim) that section 4.8 prints: the start, and the peak "after approximately 10 epochs"."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One checkpoint. Cosines, not times 100."""

    epoch: float
    step: int
    checkpoint_sha256: str
    num_samples: int
    """With a caption that the helper model can compare."""
    text_similarity: float | None
    """CLIP-Sim: edited image and target caption."""
    interval: Interval | None
    change: float | None
    """Since epoch 0, of the same samples."""
    change_interval: Interval | None
    source_similarity: float | None
    """Of edited image and source: a model that does less and less can raise CLIP-Sim, too."""


def write_curve(
    output: Path, run: str, similarity: str, options: Mapping[str, Any], points: Sequence[CurvePoint]
) -> Path | None:
    """``curve.json``, ``curve.md`` and ``curve.png``, the paper's two values beside ours.

    Returns:
        Where another curve that was there is kept; None where there was none, or the same.
    """
    value: dict[str, Any] = {"run": run, "similarity": similarity, "options": dict(options)}
    value |= {"points": [asdict(point) for point in points], "paper": PAPER_CURVE}
    content = json.dumps(value, indent=2).encode() + b"\n"
    kept = _keep_earlier(output, content)
    write_file(output / "curve.json", [content])
    write_file(output / "curve.md", [_describe(run, similarity, options, points).encode()])
    write_file(output / "curve.png", [_draw(run, similarity, points)])
    return kept


def _keep_earlier(output: Path, content: bytes) -> Path | None:
    """Put a curve that is about to be replaced by another below ``earlier``; what shows it."""
    path = output / "curve.json"
    before = path.read_bytes() if path.is_file() else content
    if before == content:
        return None
    kept = output / "earlier" / bytes_digest(before)[:12]
    for suffix in (".json", ".md", ".png"):
        if (file := path.with_suffix(suffix)).is_file():
            write_file(kept.with_suffix(suffix), [file.read_bytes()])
    return kept.with_suffix(".md")


def _describe(run: str, similarity: str, options: Mapping[str, Any], points: Sequence[CurvePoint]) -> str:
    """The curve as a table, with what it was measured with."""
    rows = [("epoch", "step", "CLIP-Sim", "95 %", "change", "95 %", "likeness to source", "samples", "paper")]
    printed = dict(PAPER_CURVE)
    for point in points:
        rows.append(
            (
                f"{point.epoch:.2f}",
                str(point.step),
                _shown(point.text_similarity),
                _span(point.interval),
                _shown(point.change, "+.2f"),
                _span(point.change_interval, "+.2f"),
                _shown(point.source_similarity),
                str(point.num_samples),
                f"{printed[point.epoch]:.1f}" if point.epoch in printed else "",
            )
        )
    note = (
        f"100 times the cosine by {similarity}; intervals: bootstrap over source images, of the change paired. Paper "
        "(section 4.8, Figure 10; CLIP, other data): 29.6 at the start, about 29.9 after about 10 epochs."
    )
    measured = ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    return f"# Alignment curve of {run}\n\n{markdown_table(rows)}\n{note}\n\nMeasured with: {measured}.\n"


def _draw(run: str, similarity: str, points: Sequence[CurvePoint]) -> bytes:
    """Two charts, one above the other: CLIP-Sim, and its change since epoch 0 with paired intervals."""
    found = [point for point in points if point.text_similarity is not None and point.change is not None]
    start = PAPER_CURVE[0][1]
    values = [100 * (point.text_similarity or 0.0) for point in found]
    changes = [100 * (point.change or 0.0) for point in found]
    charts = []
    for title, ours, intervals, base in (
        ("CLIP-Sim by epoch of human alignment", values, [point.interval for point in found], 0.0),
        ("Change since epoch 0", changes, [point.change_interval for point in found], start),
    ):
        printed = [(epoch, value - base) for epoch, value in PAPER_CURVE]
        lines = [Line(name="paper, its own data and CLIP", points=printed, is_dashed=True)]
        if found:
            spots = [(point.epoch, value) for point, value in zip(found, ours, strict=True)]
            lines.insert(0, Line(name=run, points=spots, intervals=[_times_100(one) for one in intervals]))
        charts.append(decode_image(draw_chart(title, "epoch", "100 x cosine", lines, f"by {similarity}")))
    return encode_png(np.concatenate(charts))


def _shown(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else f"{100 * value:{form}}"


def _span(interval: Interval | None, form: str = ".2f") -> str:
    return "" if interval is None else f"{_shown(interval[0], form)} to {_shown(interval[1], form)}"


def _times_100(interval: Interval | None) -> Interval | None:
    return None if interval is None else (100 * interval[0], 100 * interval[1])
