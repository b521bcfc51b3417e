"""View Browse: pairs by what became of them, a page at a time, and everything about one of them."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from catalog.queries import load_sql
from infra.dashboard.components import gallery
from infra.dashboard.decided import Decided
from infra.dashboard.frame import answer, choose, number, short, sql_corner
from infra.dashboard.pair_cards import card
from infra.dashboard.pair_panel import show_pair
from infra.dashboard.questions import Question, Rows, View

ACCEPTED = "accepted"
_ANY, _REJECTED = "any", "rejected"
_PAGE = 20
_MAX_WORDS, _MAX_PASTED = 200, 10_000
"""Letters that are looked for, and that the field takes: what is longer it drops in silence."""
_ORDERS = {
    "chance": ("by chance, always the same", "v.pair_key"),
    "near": ("nearest to the threshold first", "abs(v.value - v.threshold), v.pair_key"),
    "low": ("lowest value first", "v.value, v.pair_key"),
    "high": ("highest value first", "v.value DESC, v.pair_key"),
}
_DIGITS = frozenset("0123456789abcdef")
"""Of a pair's id."""
_SEARCH = " OR ".join(f"contains(lower({name}), $words)" for name in ("instruction", "phrase", "label"))
_COLUMNS = ("dataset", "vision_task", "edit_type", "split")


@dataclass(frozen=True)
class Filter:
    """Which pairs are shown."""

    fate: str
    kinds: tuple[tuple[str, str], ...]
    """Column and value."""
    words: str

    def where(self, num_pairs: int) -> tuple[str, list[tuple[str, Any]]]:
        """SQL about `verdicts` and its values, of a build of so many pairs."""
        parts, values = ["true"], list[tuple[str, Any]]()
        if self.fate == ACCEPTED:
            parts.append("v.accepted")
        elif self.fate == _REJECTED:
            parts.append("v.score IS NOT NULL")
        elif self.fate != _ANY:
            parts.append("v.condition = $fate")
            values.append(("fate", self.fate))
        for column, value in self.kinds:
            parts.append(f"v.{column} = ${column}")
            values.append((column, value))
        if self.words:
            # A bit for each pair: where most have the words, a third of the time that a join of their places takes.
            bits = f"SELECT bitstring_agg(place, 0, $last) FROM pairs WHERE {_SEARCH}"
            found = f"get_bit(({bits}), v.file_row_number::INTEGER) = 1"
            parts.append(f"({found} OR contains(v.pair_id, $words))" if self._may_be_ids() else found)
            values += [("last", max(0, num_pairs - 1)), ("words", self.words.lower())]
        return "\n    AND ".join(parts), values

    def views(self, decided: Decided) -> tuple[View, ...]:
        """What `where` reads."""
        return (decided.verdicts(), *((decided.placed_pairs(),) if self.words else ()))

    def first(self, decided: Decided) -> Question:
        """How many pairs are shown, and the first page of `places` in the usual order: words are read once for both."""
        where, values = self.where(decided.num_pairs)
        sql = (
            f"SELECT\n    count(*) AS num_pairs,\n    arg_min(v.file_row_number, v.pair_key, {_PAGE}) AS places\n"
            f"FROM verdicts AS v\nWHERE {where}"
        )
        return Question(sql, self.views(decided), tuple(values))

    def places(self, decided: Decided, order: str, page: int) -> Question:
        """Where the verdicts of a page's pairs are, in an order of `_ORDERS`; pages count from 1."""
        where, values = self.where(decided.num_pairs)
        sql = (
            f"SELECT v.file_row_number\nFROM verdicts AS v\nWHERE {where}\nORDER BY {_ORDERS[order][1]}\n"
            f"LIMIT {_PAGE} OFFSET {(page - 1) * _PAGE}"
        )
        return Question(sql, self.views(decided), tuple(values))

    def _may_be_ids(self) -> bool:
        """Whether ids, which take longest to read, need to be looked at."""
        return set(self.words.lower()) <= _DIGITS


def open_fate(fate: str) -> None:
    """Go to this view, to the pairs of one line of the waterfall."""
    st.session_state["view"] = "browse"
    st.session_state["fate"] = fate
    st.session_state["page"] = 1


def show(decided: Decided) -> None:
    """The view."""
    chosen = st.query_params.get("pair")
    if chosen:
        show_pair(decided, chosen)
        return
    wanted = _choose_filter(decided)
    first = answer(wanted.first(decided))[0]
    total = first["num_pairs"]
    num_pages = max(1, -(-total // _PAGE))
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    with right:
        page = _choose_page(num_pages)
    noun = "pair" if total == 1 else "pairs"
    left.markdown(f"**{number(total)}** {noun}, page {page:,} of {num_pages:,}")
    if not total:
        st.caption("No pair is like that: loosen a filter.")
        sql_corner()
        return
    order = str(st.session_state.get("order", "chance"))
    # Places first: only then are the wide columns read, of the rows that are shown.
    places = first["places"]
    if (order, page) != ("chance", 1):
        places = [row["file_row_number"] for row in answer(wanted.places(decided, order, page))]
    verdicts = {row["file_row_number"]: row for row in answer(decided.verdicts_at(places))}
    pairs = {row["pair_id"]: row for row in answer(decided.pairs_at(places))}
    found = [verdicts[place] for place in places]
    gallery([card(pairs[row["pair_id"]], verdict_line(row)) for row in found], key="gallery", on_open=open_pair)
    sql_corner()


def open_pair(pair_id: str) -> None:
    """Go to one pair."""
    st.query_params["pair"] = pair_id


def verdict_line(verdict: dict[str, Any]) -> tuple[str, str]:
    """What became of a pair, in a line."""
    if verdict["condition"] is None:
        return "good", "accepted"
    if verdict["score"] is None:
        return "facts", f"not usable: {verdict['condition']}"
    return "bad", f"{verdict['condition']}: {short(verdict['value'])}, threshold {short(verdict['threshold'])}"


def _choose_filter(decided: Decided) -> Filter:
    kinds = answer(decided.kinds())
    fates = [row["condition"] for row in answer(Question(load_sql("verdict_counts"), (decided.verdicts(),)))]
    options = [_ANY, ACCEPTED, _REJECTED, *sorted(filter(None, fates))]
    columns = st.columns(3)
    with columns[0]:
        fate = choose("What became of them", options, "fate", names=lambda name: name.replace("_", " "))
    with columns[1]:
        words = st.text_input(
            "Words in instruction, phrase or id", key="words", bind="query-params", max_chars=_MAX_PASTED
        )
        words = words.strip()
        if len(words) > _MAX_WORDS:
            st.caption(f"Looked for are the first {_MAX_WORDS} letters, of {len(words):,}: shorten it.")
    with columns[2]:
        choose("Order", list(_ORDERS), "order", names=lambda name: _ORDERS[name][0])
    picked = []
    for column, place in zip(_COLUMNS, st.columns(len(_COLUMNS)), strict=True):
        with place:
            value = choose(column.replace("_", " ").capitalize(), [_ANY, *_values(kinds, column)], column)
        if value != _ANY:
            picked.append((column, value))
    return Filter(fate, tuple(picked), words[:_MAX_WORDS])


def _values(kinds: Rows, column: str) -> list[str]:
    return sorted({row[column] for row in kinds if row[column] is not None})


def _choose_page(num_pages: int) -> int:
    if int(st.session_state.get("page", 1)) > num_pages:
        st.session_state["page"] = 1
    page = st.number_input("Page", 1, num_pages, key="page", bind="query-params", step=1)
    return min(int(page), num_pages)
