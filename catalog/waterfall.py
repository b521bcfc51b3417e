"""The survival waterfall as a picture: how many pairs each reason and condition removes, down to the accepted ones."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from catalog.decisions import Decision, Stage
from catalog.durable import write_file
from catalog.images import encode_png

_WIDTH, _LINE, _BAR, _TOP = 1000, 30, 18, 56  # pixels
_LEFT, _RIGHT = 270, 200  # pixels for names and for numbers
_INK, _PALE = (30, 30, 30), (110, 110, 110)
_KEPT, _REMOVED = (66, 120, 176), {"reason": (190, 190, 190), "condition": (214, 112, 92)}


def write_waterfall(decision: Decision, path: Path) -> Path:
    """Draw the waterfall into a PNG file, one line per stage; returns ``path``.

    In each line, blue is what remains and the part in red (a condition) or grey (an unusable pair) what the line
    removes: removals and the last line's blue add up to all pairs.
    """
    stages = decision.waterfall
    assert sum(stage.removed for stage in stages) + decision.num_accepted == decision.num_pairs
    picture = Image.new("RGB", (_WIDTH, _TOP + _LINE * (len(stages) + 1) + 12), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(14)
    policy = decision.policy
    draw.text((12, 16), f"{policy.name} v{policy.version} on {decision.build}", _INK, ImageFont.load_default(18))
    for line, stage in enumerate(stages):
        _draw_stage(draw, _TOP + line * _LINE, stage, decision, font)
    share = decision.num_accepted / max(1, decision.num_pairs)
    summary = f"{decision.num_accepted:,} of {decision.num_pairs:,} accepted, {share:.1%}"
    draw.text((_LEFT, _TOP + len(stages) * _LINE), summary, _INK, font)
    write_file(path, [encode_png(np.asarray(picture))])
    return path


def _draw_stage(
    draw: ImageDraw.ImageDraw,
    top: int,
    stage: Stage,
    decision: Decision,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    scale = (_WIDTH - _LEFT - _RIGHT) / max(1, decision.num_pairs)
    end = _LEFT + round(stage.remaining * scale)
    before = _LEFT + round((stage.remaining + stage.removed) * scale)
    if stage.remaining:
        draw.rectangle((_LEFT, top, max(end, _LEFT + 1), top + _BAR), _KEPT)
    if stage.removed:
        draw.rectangle((end, top, max(before, end + 1), top + _BAR), _REMOVED[stage.kind])
    draw.text((12, top), _shortened(stage.name, font), _INK, font)
    numbers = f"{stage.remaining:,}" + (f"  (-{stage.removed:,})" if stage.kind != "pairs" else "")
    draw.text((_WIDTH - _RIGHT + 12, top), numbers, _INK if stage.removed else _PALE, font)


def _shortened(name: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    while font.getlength(name) > _LEFT - 24:
        name = name[:-2] + "…"
    return name
