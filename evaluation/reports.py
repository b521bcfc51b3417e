"""Metric rows as a table for people: Markdown and a picture, with the paper's values beside ours.

Values stand as the paper prints them: shares in percent, CLIP-Sim as 100 times the cosine, PSNR with the autoencoder's
bound in parentheses. Sweeps (``giou@50px``) are left to ``metrics.parquet``.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from catalog.durable import write_file
from catalog.images import encode_png
from evaluation.metric_names import to_paper_scale

CONTROL_NAMES = ("no-op", "over-edit", "oracle", "autoencoder")
"""Last part of a control's benchmark name."""

_COLUMNS = (
    "benchmark",
    "metric",
    "value",
    "95 % interval",
    "no-op",
    "over-edit",
    "oracle",
    "paper",
    "where",
    "samples",
)
_LEFT = ("benchmark", "metric", "where")
_FONT, _PAD, _LINE, _MARGIN = 16, 14, 28, 20  # pixels
_INK, _QUIET, _RULE, _STRIPE = (20, 20, 20), (110, 110, 110), (60, 60, 60), (244, 246, 248)

Row = Mapping[str, Any]


def write_report(output: Path, rows: Sequence[Row]) -> None:
    """``metrics.md`` and ``metrics.png`` beside the rows of an evaluation."""
    lines = table_lines(rows)
    write_file(output / "metrics.md", [markdown(lines, caption(rows)).encode()])
    write_file(output / "metrics.png", [picture(lines, caption(rows))])


def is_control(benchmark: str) -> bool:
    """Whether rows of that benchmark are a control's."""
    return benchmark.rpartition("/")[2] in CONTROL_NAMES


def table_lines(rows: Sequence[Row]) -> list[dict[str, str]]:
    """One line per benchmark and metric, its controls' values in it."""
    values = {(row["benchmark"], row["metric"]): row["value"] for row in rows}
    lines = []
    for row in rows:
        if is_control(row["benchmark"]) or "@" in row["metric"]:
            continue
        metric = row["metric"]
        controls = {name: values.get((f"{row['benchmark']}/{name}", metric)) for name in CONTROL_NAMES}
        bound = controls["autoencoder"] if metric == "psnr" else None
        interval = "" if row["low"] is None else f"{_shown(metric, row['low'])} to {_shown(metric, row['high'])}"
        printed = "" if row["paper_value"] is None else f"{row['paper_value']:.2f}{_in_brackets(row['paper_bound'])}"
        lines.append(
            {
                "benchmark": row["benchmark"],
                "metric": metric,
                "value": _shown(metric, row["value"]) + _in_brackets(bound),
                "95 % interval": interval,
                "no-op": _shown(metric, controls["no-op"]),
                "over-edit": _shown(metric, controls["over-edit"]),
                "oracle": _shown(metric, controls["oracle"]),
                "paper": printed,
                "where": row["paper_place"] or "",
                "samples": str(row["num_samples"]),
            }
        )
    return lines


def caption(rows: Sequence[Row]) -> str:
    """Whose numbers these are: digests of checkpoint and data, seed and code."""

    def listed(column: str, length: int | None) -> str:
        names = sorted({str(row[column])[:length] for row in rows if row[column] is not None})
        return ", ".join(names) or "none"

    return (
        f"checkpoint {listed('checkpoint_sha256', 12)}; data {listed('mix_sha256', 12)}; "
        f"seed {listed('seed', None)}; code {listed('code_version', None)}. "
        "Shares in percent, cosines times 100; intervals: bootstrap over source images." + edit_warnings(rows)
    )


def edit_warnings(rows: Sequence[Row]) -> str:
    """What must be said of edits that nobody has looked at, or that the checkpoint may have seen."""
    configs = [json.loads(row["config"]) for row in rows if row.get("config")]
    by_rule = any(config.get("confirmed_by") == "rule" for config in configs)
    unknown = any(config.get("training_known") is False for config in configs)
    said = " EDITS SORTED BY RULE ALONE: nobody has confirmed them." if by_rule else ""
    return said + (" TRAINING DATA NOT KNOWN: the checkpoint may have seen these edits." if unknown else "")


def markdown(lines: Sequence[Mapping[str, str]], text: str) -> str:
    """The table in Markdown, the caption under it."""
    marks = ["---" if column in _LEFT else "---:" for column in _COLUMNS]
    body = [[line[column].replace("|", "\\|") for column in _COLUMNS] for line in lines]
    table = [" | ".join(cells) for cells in (_COLUMNS, marks, *body)]
    return "\n".join(f"| {cells} |" for cells in table) + f"\n\n{text}\n"


def picture(lines: Sequence[Mapping[str, str]], text: str) -> bytes:
    """The table as PNG."""
    font, small = ImageFont.load_default(_FONT), ImageFont.load_default(_FONT - 3)
    texts = [_COLUMNS, *([line[column] for column in _COLUMNS] for line in lines)]
    widths = [int(max(font.getlength(line[place]) for line in texts)) + 2 * _PAD for place in range(len(_COLUMNS))]
    width = max(sum(widths), int(small.getlength(text))) + 2 * _MARGIN
    canvas = PillowImage.new("RGB", (width, _MARGIN * 2 + _LINE * (len(texts) + 2)), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    top = _MARGIN
    for number, line in enumerate(texts):
        if number and number % 2 == 0:
            draw.rectangle((_MARGIN, top, _MARGIN + sum(widths), top + _LINE - 1), fill=_STRIPE)
        left = _MARGIN
        for column, cell, room in zip(_COLUMNS, line, widths, strict=True):
            x = left + _PAD if column in _LEFT else left + room - _PAD - font.getlength(cell)
            draw.text((x, top + 5), cell, fill=_INK if number else _QUIET, font=font)
            left += room
        top += _LINE
        if not number:
            draw.line((_MARGIN, top - 1, _MARGIN + sum(widths), top - 1), fill=_RULE)
    draw.text((_MARGIN, top + 8), text, fill=_QUIET, font=small)
    return encode_png(np.asarray(canvas, np.uint8))


def _shown(metric: str, value: float | None) -> str:
    return "-" if value is None else f"{to_paper_scale(metric, value):.2f}"


def _in_brackets(bound: float | None) -> str:
    return "" if bound is None else f" ({bound:.2f})"
