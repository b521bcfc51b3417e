"""A pair, or a row of a mix, as a card of a gallery."""

from collections.abc import Mapping
from typing import Any

from catalog.errors import UserError
from infra.dashboard.frame import pictures
from infra.dashboard.pictures import THUMBNAIL, why_not


def card(pair: Mapping[str, Any], line: tuple[str, str]) -> dict[str, Any]:
    """Pictures, instruction and kind of a pair, and a line (kind and text) about it."""
    words, shown = pair["instruction"], list[dict[str, Any]]()
    try:
        source, target, words = pictures().pair(pair, THUMBNAIL)
        second = "target" if target is not None else pair["reason"] or "no target"
        shown = [{"name": "source", "data": source}, {"name": second, "data": target}]
    except UserError as error:
        shown = [{"name": why_not(error), "data": None}]
    words = words or pair["phrase"] or pair["label"] or "no words"
    kind = " · ".join(filter(None, (pair["dataset"], pair["edit_type"] or pair["vision_task"], pair["split"])))
    lines = [("words", words), ("facts", kind), line]
    return {"id": pair["pair_id"], "label": f"open pair {words}", "pictures": shown, "lines": lines}
