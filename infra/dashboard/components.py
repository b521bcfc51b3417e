"""What the pages are made of beside Streamlit's own controls: bars, a draggable threshold, cards, a table, key figures.

Texts reach the browser as data and become text there (``textContent``), whatever they hold: no caption is ever read as
HTML or Markdown. The scripts are in ``widgets/``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from infra.dashboard.pictures import data_url

_FOLDER = Path(__file__).parent / "widgets"
_HTML = {
    "bars": '<div class="bars"></div>',
    "threshold": (
        '<div class="threshold"><div class="histogram"></div><div class="axis"><span class="end"></span>'
        '<span class="said"></span><span class="end"></span></div></div>'
    ),
    "gallery": '<div class="gallery"></div>',
    "compare": (
        '<div class="compare"><div class="stage"></div><div class="captions"><span class="caption"></span>'
        '<span class="caption"></span></div><div class="switches"></div></div>'
    ),
    "choices": (
        '<div class="choices"><div class="source"><img alt="source"><div class="name">source</div><div class="actions">'
        '<button type="button" class="save"></button><button type="button" class="none">None is good</button>'
        '<span class="said" role="status"></span></div></div><div class="grid"></div></div>'
    ),
    "table": (
        '<div class="scroll"><table></table></div><div class="hint" aria-hidden="true" hidden>'
        "↔ scroll sideways for all columns</div>"
    ),
    "facts": '<div class="facts"></div>',
    "leave": "<div></div>",
}
_SHARED = {"gallery": "arrow_keys.js", "choices": "arrow_keys.js"}
"""Scripts that stand before a component's own: Streamlit takes one text, which can import no file."""


@cache
def _component(name: str) -> Callable[..., Any]:
    css, js = (_read(f"{name}.{kind}") for kind in ("css", "js"))
    if name in _SHARED:
        js = f"{_read(_SHARED[name])}\n{js}"
    return st.components.v2.component(f"ieiw_{name}", html=_HTML[name], css=css, js=js)  # type: ignore[no-any-return]


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def bars(
    items: Sequence[Mapping[str, Any]], total: float, key: str, on_pick: Callable[[str], None] | None = None
) -> None:
    """Bars on a common scale.

    Args:
        items: ``name``, ``parts`` (of ``value``, ``kind`` kept, condition, reason or paper, ``title``), ``text``, and
            where they are there ``note``, ``pick`` (makes the bar a button) and ``chosen``.
        total: the value that fills the width.
        key: unique on the page.
        on_pick: called with the ``pick`` of a bar before the page is drawn anew.
    """
    _mount("bars", key, {"items": list(items), "total": total}, "pick", on_pick)


def threshold(
    label: str,
    bins: Sequence[Mapping[str, float]],
    span: tuple[float, float],
    value: float | None,
    recorded: float | None,
    relation: str,
    key: str,
    on_move: Callable[[float], None],
) -> None:
    """A histogram with a line to drag.

    Args:
        label: what the line is, for those who do not see it.
        bins: ``low``, ``high`` and ``count`` of each.
        span: ends of the axis.
        value: where the line is; None: there is none.
        recorded: where the decision on record has it.
        relation: "at least" or "at most": what passes.
        key: unique on the page.
        on_move: called with the place where the line was let go, before the page is drawn anew.
    """
    data = {"label": label, "bins": list(bins), "range": list(span), "value": value}
    _mount("threshold", key, {**data, "recorded": recorded, "relation": relation}, "value", on_move)


def gallery(items: Sequence[Mapping[str, Any]], key: str, on_open: Callable[[str], None]) -> None:
    """Cards of pairs.

    Args:
        items: ``id``, ``label``, ``pictures`` (of ``name`` and JPEG or PNG ``data``, None: shows the name), ``lines``
            (pairs of kind words, facts, good or bad, and text).
        key: unique on the page.
        on_open: called with the id of a card.
    """
    cards = []
    for item in items:
        pictures = [
            {"name": one["name"], "source": None if one["data"] is None else data_url(one["data"])}
            for one in item["pictures"]
        ]
        cards.append({**item, "pictures": pictures})
    _mount("gallery", key, {"items": cards}, "open", on_open)


def compare(
    before: tuple[str, bytes],
    after: tuple[str, bytes] | None,
    aspect: float,
    layers: Sequence[tuple[str, bytes, bool]] = (),
    missing: str = "",
    *,
    key: str,
) -> None:
    """Two pictures with a divider to drag between them.

    Args:
        before: name and bytes.
        after: likewise; None: there is none, and ``missing`` says why.
        aspect: width over height.
        layers: name, transparent PNG, whether it is on at first.
        missing: stands where the second name would be.
        key: unique on the page.
    """
    data = {
        "before": {"name": before[0], "source": data_url(before[1])},
        "after": after and {"name": after[0], "source": data_url(after[1])},
        "aspect": aspect,
        "layers": [{"name": name, "source": data_url(layer), "on": on} for name, layer, on in layers],
        "missing": missing,
    }
    _component("compare")(key=key, data=data)


def choices(
    source: bytes,
    variants: Sequence[Mapping[str, Any]],
    aspect: float,
    most: int,
    chosen: Sequence[int],
    answered: bool,
    key: str,
    on_answer: Callable[[list[int]], None],
) -> None:
    """A picture and what was made of it, of which some may be picked.

    Args:
        source: the picture.
        variants: ``id`` and JPEG or PNG ``data`` of each, in the order that they are shown in.
        aspect: width over height, of all of them.
        most: that may be picked; another one takes the place of the first.
        chosen: ids that are picked at first.
        answered: whether there is an answer already.
        key: unique on the page.
        on_answer: called with the ids that were saved; none: none is good.
    """
    data = {
        "item": key,
        "source": data_url(source),
        "variants": [{"id": one["id"], "source": data_url(one["data"])} for one in variants],
        "aspect": aspect,
        "most": most,
        "chosen": list(chosen),
        "answered": answered,
    }
    _mount("choices", key, data, "answer", on_answer)


def table(
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[Any]],
    key: str,
    picks: Sequence[str] | None = None,
    chosen: str | None = None,
    on_pick: Callable[[str], None] | None = None,
) -> None:
    """A table.

    Args:
        columns: name and kind: text, sentence (a long one), code, number or interval.
        rows: texts; of an interval its ``scale`` and ``marks``, or None.
        key: unique on the page.
        picks: one per row: rows can be chosen.
        chosen: the pick of the row that is marked.
        on_pick: called with the pick of a row.
    """
    data = {
        "columns": [{"name": name, "kind": kind} for name, kind in columns],
        "rows": [list(row) for row in rows],
        "picks": None if picks is None else list(picks),
        "chosen": chosen,
    }
    _mount("table", key, data, "pick", on_pick)


def facts(items: Sequence[tuple[str, str, str]], key: str) -> None:
    """Key figures: name, value, note."""
    tiles = [{"name": name, "value": value, "note": note} for name, value, note in items]
    _component("facts")(key=key, data={"items": tiles})


def leave_on_enter(label: str, key: str) -> None:
    """Let Enter end the typing in a field, so that the next keys answer.

    Args:
        label: of the field.
        key: unique on the page.
    """
    _component("leave")(key=key, data={"label": label})


def _mount(name: str, key: str, data: Mapping[str, Any], event: str, told: Callable[[Any], None] | None) -> None:
    """Show a component; ``told`` gets the value of its event, before the script runs again."""

    def heard() -> None:
        value = st.session_state[key][event]
        if told is not None and value is not None:
            told(value)

    _component(name)(key=key, data=data, **{f"on_{event}_change": heard})
