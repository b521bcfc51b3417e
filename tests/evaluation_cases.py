"""Cases made by hand, shared by tests of what is measured."""

import numpy as np

from catalog.samples import Sample
from catalog.views import whole_view
from evaluation.cases import Case

SIDE = 64
RED = ("red", (255, 0, 0))


def make_case(pair_id="pair", row=None, **given):
    """A grey picture of `SIDE` pixels; ``row`` and ``given`` replace columns and fields of the sample."""
    picture = np.full((SIDE, SIDE, 3), 100, np.uint8)
    values = {"instruction": "x", "source": picture, "target": picture, "view": whole_view(SIDE, SIDE, SIDE)}
    photo = {"sha256": pair_id, "height": SIDE, "width": SIDE}
    columns = {"pair_id": pair_id, "source_image": photo, "label": None, "source_caption": None, "target_caption": None}
    return Case(columns | (row or {}), Sample(pair_id=pair_id, **(values | given)))
