"""The pages and their addresses. Started by ``python -m infra.dashboard``."""

import streamlit as st
from PIL import Image, ImageDraw

from infra.dashboard import choose_page, confirm_page, data_page, evaluation_page, mix_page, runs_page, training_page
from infra.dashboard.frame import tell
from infra.dashboard.server import PAGE, PAGES

_STYLE = """<style>
.stMainBlockContainer { padding: 4.2rem 2.5rem 4rem; max-width: 90rem; margin: 0 auto; }
@media (max-width: 640px) {
  .stMainBlockContainer { padding: 4rem 1rem 3rem; }
  .stHorizontalBlock:has(> :nth-child(3)) > * { min-width: calc(50% - 1rem) !important; flex: 1 1 45% !important; }
}
h1 { padding: 0 !important; font-size: 2rem !important; }
h3 { font-size: 1.2rem !important; padding-top: 0.6rem !important; }
</style>"""


def _icon() -> Image.Image:
    """Before and after in a square: drawn here, as Streamlit fetches named icons from the web."""
    icon = Image.new("RGB", (64, 64), (66, 120, 176))
    ImageDraw.Draw(icon).rectangle((32, 0, 64, 64), (214, 112, 92))
    return icon


st.set_page_config(page_title="ieiw", page_icon=_icon(), layout="wide")
st.html(_STYLE)
_PAGES = {
    "data": st.Page(data_page.show, title="Data", url_path="data", icon=":material/photo_library:", default=True),
    "mix": st.Page(mix_page.show, title="Mix", url_path="mix", icon=":material/donut_small:"),
    "training": st.Page(training_page.show, title="Training", url_path="training", icon=":material/monitoring:"),
    "evaluation": st.Page(evaluation_page.show, title="Evaluation", url_path="evaluation", icon=":material/grading:"),
    "choose": st.Page(choose_page.show, title="Choose", url_path="choose", icon=":material/how_to_vote:"),
    "confirm": st.Page(confirm_page.show, title="Confirm", url_path="confirm", icon=":material/fact_check:"),
    "runs": st.Page(runs_page.show, title="Runs", url_path="runs", icon=":material/schedule:"),
}
assert tuple(_PAGES) == PAGES
chosen = st.navigation(list(_PAGES.values()), position="top")
wanted = st.query_params.to_dict()
name = wanted.pop(PAGE, None)
if name in _PAGES and chosen is not _PAGES[name]:
    st.switch_page(_PAGES[name], query_params=wanted)
st.query_params.pop(PAGE, None)
if name is not None and name not in _PAGES:
    first, *others = (page.title for page in _PAGES.values())  # the menu may be folded behind a button
    text = f"/{name[:80]}: this is {first}; the others are {', '.join(others)}."
    tell("There is no such page.", text, kind="warning")
chosen.run()
