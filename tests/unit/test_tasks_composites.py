"""Holes and composites: outside the hole nothing changes, inside it the fill shows, the rim falls steadily."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tasks.composites import composite, feathered_alpha


@st.composite
def pictures(draw):
    height, width = draw(st.integers(32, 80)), draw(st.integers(32, 80))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = np.zeros((height, width), bool)
    top, left = draw(st.integers(0, height - 8)), draw(st.integers(0, width - 8))
    mask[top : top + draw(st.integers(1, 20)), left : left + draw(st.integers(1, 20))] = True
    source, fill = (random.integers(0, 256, (height, width, 3), np.uint8) for _ in range(2))
    return mask, source, fill, draw(st.floats(0, 60)), draw(st.floats(0, 60))


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_only_the_hole_changes_and_the_region_is_the_fill(case):
    mask, source, fill, dilation, feather = case
    alpha = feathered_alpha(mask, dilation, feather)
    target = composite(source, fill, alpha)
    assert np.array_equal(target[alpha == 0], source[alpha == 0])
    assert np.array_equal(target[alpha == 1], fill[alpha == 1])
    assert (alpha[mask] == 1).all()
    low, high = np.minimum(source, fill), np.maximum(source, fill)
    assert ((low <= target) & (target <= high)).all()


@given(pictures())
def test_a_composite_is_the_plain_formula_over_the_whole_picture(case):
    mask, source, fill, dilation, feather = case
    for alpha in (feathered_alpha(mask, dilation, feather), np.zeros(mask.shape, np.float32)):
        weight = alpha[..., None]
        blend = np.rint(weight * fill + (1 - weight) * source).astype(np.uint8)
        before = source.copy()
        target = composite(source, fill, alpha)
        assert np.array_equal(target, np.where(weight > 0, blend, source))
        target[:] = 0
        assert np.array_equal(source, before)  # it is a picture of its own


@pytest.mark.parametrize(("dilation", "feather"), [(8, 4), (0, 0), (3, 10)])
def test_alpha_is_a_ramp_over_the_distance(dilation, feather):
    mask = np.zeros((512, 640), bool)
    mask[200:260, 300:420] = True
    distance = ndimage.distance_transform_edt(~mask)
    naive = np.clip(1 - (distance - dilation) / (feather + 1), 0, 1)
    assert np.abs(feathered_alpha(mask, dilation, feather) - naive).max() < 1e-2


def test_dilation_scales_with_the_picture():
    small, large = np.zeros((256, 256), bool), np.zeros((1024, 1024), bool)
    small[120:136, 120:136] = True
    large[480:544, 480:544] = True
    shares = [(feathered_alpha(mask, 16, 8) > 0).mean() for mask in (small, large)]
    assert shares[0] == pytest.approx(shares[1], rel=0.1)
