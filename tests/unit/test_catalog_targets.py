"""Drawing and reading of targets: round trips on real photos, against naive loops, under noise and at the borders."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from catalog.drawing_colors import COLORS
from catalog.images import decode_image, resize_image
from catalog.targets import (
    MIN_DISC_SHIFT,
    MIN_MASK_SHIFT,
    decode_keypoints,
    decode_mask_target,
    disc_radius,
    render_keypoints,
    render_mask,
)

PHOTOS = [
    resize_image(photo, 256, 256)
    for photo in (
        skimage.data.astronaut(),
        skimage.data.chelsea(),
        skimage.data.coffee(),
        decode_image((Path(skimage.data.__file__).parent / "rocket.jpg").read_bytes()),
        load_sample_image("china.jpg"),
        load_sample_image("flower.jpg"),
    )
]
RGB = list(COLORS.values())


def random_mask(rng: np.random.Generator, size: int = 256) -> np.ndarray:
    """One to three ellipses and boxes."""
    rows, columns = np.ogrid[:size, :size]
    mask = np.zeros((size, size), bool)
    for _ in range(rng.integers(1, 4)):
        x, y = rng.uniform(0, size, 2)
        width, height = rng.uniform(10, 100, 2)
        if rng.random() < 0.5:
            mask |= ((columns - x) / width) ** 2 + ((rows - y) / height) ** 2 < 1
        else:
            mask |= (abs(columns - x) < width) & (abs(rows - y) < height)
    return mask


def naive_keypoints(image: np.ndarray, points: np.ndarray, colors: list, radius: float) -> np.ndarray:
    target = image.copy()
    for (x, y), color in zip(points, colors, strict=True):
        for row in range(image.shape[0]):
            for column in range(image.shape[1]):
                if (column - x) ** 2 + (row - y) ** 2 <= radius**2 + 1:
                    target[row, column] = color
    return target


# Masks.


def test_mask_is_blended_by_the_formula_and_nothing_else_changes() -> None:
    rng = np.random.default_rng(0)
    image, mask = PHOTOS[0], random_mask(rng)
    before = image.copy()
    target = render_mask(image, mask, (255, 0, 128))
    assert (image == before).all() and target.dtype == np.uint8
    assert (target[~mask] == image[~mask]).all()
    expected = (image[mask] + np.array([255.0, 0.0, 128.0])) / 2
    assert np.abs(target[mask] - expected).max() <= 0.5
    assert (render_mask(image, mask, (9, 8, 7), alpha=1.0)[mask] == (9, 8, 7)).all()
    assert (render_mask(image, mask, (9, 8, 7), alpha=0.0) == image).all()


def test_masks_round_trip_on_photos_in_every_color() -> None:
    rng = np.random.default_rng(1)
    intersection = union = 0
    for photo in PHOTOS:
        for color in RGB:
            mask = random_mask(rng)
            decoded = decode_mask_target(photo, render_mask(photo, mask, color), color)
            assert decoded.dtype == np.bool_ and decoded.shape == mask.shape
            shift = 0.5 * np.linalg.norm(photo.astype(float) - color, axis=2)
            telling = shift >= MIN_MASK_SHIFT
            assert (decoded == mask)[telling].all(), color
            intersection += (decoded & mask).sum()
            union += (decoded | mask).sum()
    assert intersection / union >= 0.99


def test_masks_round_trip_through_noise_and_blur() -> None:
    rng = np.random.default_rng(2)
    intersection = union = 0
    for photo in PHOTOS:
        for color in [COLORS["red"], COLORS["green"], COLORS["blue"], COLORS["yellow"]]:
            mask = random_mask(rng)
            output = render_mask(photo, mask, color) + rng.normal(0, 6, photo.shape)
            output = np.clip(np.rint(output), 0, 255).astype(np.uint8)
            decoded = decode_mask_target(photo, output, color)
            intersection += (decoded & mask).sum()
            union += (decoded | mask).sum()
    assert intersection / union >= 0.98


def test_pixels_of_the_mask_s_color_follow_their_surroundings() -> None:
    source = np.full((60, 60, 3), 90, np.uint8)
    source[20:40, 20:40] = 255  # white on white tells nothing
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    white = (255, 255, 255)
    assert (decode_mask_target(source, render_mask(source, mask, white), white) == mask).all()
    assert not decode_mask_target(source, source, white).any()
    blank = np.full_like(source, 255)
    assert not decode_mask_target(blank, blank, white).any()


def test_other_changes_are_no_mask() -> None:
    photo = PHOTOS[1]
    brighter = np.clip(photo.astype(int) + 12, 0, 255).astype(np.uint8)
    assert decode_mask_target(photo, brighter, COLORS["red"]).mean() < 0.02
    assert not decode_mask_target(photo, photo, COLORS["blue"]).any()


# Keypoints.


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 50)), min_size=1, max_size=4),
    st.floats(1, 15),
)
def test_discs_are_the_pixels_of_the_formula(points: list[tuple[float, float]], radius: float) -> None:
    image = PHOTOS[2][:40, :50]
    colors = RGB[: len(points)]
    target = render_keypoints(image, np.array(points), colors, radius)
    assert (target == naive_keypoints(image, np.array(points), colors, radius)).all()


def test_no_points_change_nothing() -> None:
    assert (render_keypoints(PHOTOS[0], np.zeros((0, 2)), []) == PHOTOS[0]).all()
    points, confidences = decode_keypoints(PHOTOS[0], PHOTOS[0], [])
    assert points.shape == (0, 2) and confidences.shape == (0,)


def test_radius_scales_with_the_image() -> None:
    assert disc_radius(256) == 10 and disc_radius(512) == 20 and disc_radius(128, 8) == 4


@settings(max_examples=120, deadline=None)
@example(0, list(range(len(RGB))), [(1.0, 3.0), (1.5, 0.0)], 6.0)
@given(
    st.sampled_from(range(len(PHOTOS))),
    st.permutations(range(len(RGB))),
    st.lists(st.tuples(st.floats(0, 255), st.floats(0, 255)), min_size=1, max_size=5),
    st.floats(6, 14),
)
def test_keypoints_round_trip_within_a_pixel(
    photo: int, order: list[int], points: list[tuple[float, float]], radius: float
) -> None:
    """Also where discs overlap or the border cuts them, to 1.5 pixels, as long as a third of a full disc tells."""
    source = PHOTOS[photo]
    centers, colors = np.array(points), [RGB[place] for place in order[: len(points)]]
    output = render_keypoints(source, centers, colors, radius)
    found, confidences = decode_keypoints(source, output, colors, radius)
    assert ((confidences >= 0) & (confidences <= 1)).all()
    rows, columns = np.indices(source.shape[:2])
    for place, color in enumerate(colors):
        disc = (columns - centers[place, 0]) ** 2 + (rows - centers[place, 1]) ** 2 <= radius**2 + 1
        telling = np.linalg.norm(source.astype(float) - color, axis=2) >= MIN_DISC_SHIFT
        # A cut disc is placed by the arc that is left of it; like-coloured ground must not swallow that too.
        visible = disc & (output == color).all(axis=2)
        if visible.sum() >= np.pi * radius**2 / 3 and telling[disc].mean() > 0.95:
            limit = 1 if visible.sum() >= 0.9 * np.pi * radius**2 else 1.5  # half a disc has been seen 1.01 off
            assert np.hypot(*(found[place] - centers[place])) <= limit, (place, confidences)
            assert confidences[place] > 0.95


def test_keypoints_are_found_to_a_fraction_of_a_pixel_through_noise() -> None:
    rng = np.random.default_rng(3)
    errors = []
    for photo in PHOTOS:
        centers = rng.uniform(30, 226, (3, 2))
        colors = [COLORS["red"], COLORS["green"], COLORS["blue"]]
        output = render_keypoints(photo, centers, colors) + rng.normal(0, 10, photo.shape)
        found, _ = decode_keypoints(photo, np.clip(output, 0, 255).astype(np.uint8), colors)
        errors.extend(np.hypot(*(found - centers).T))
    assert np.mean(errors) < 0.5 and np.max(errors) <= 1


@pytest.mark.parametrize("center", [(0, 0), (255, 0), (0, 128), (128, 255), (250.5, 252.25)])
def test_discs_cut_by_the_border_are_found_at_their_center(center: tuple[float, float]) -> None:
    source = PHOTOS[5]
    output = render_keypoints(source, np.array([center]), [COLORS["cyan"]])
    found, confidences = decode_keypoints(source, output, [COLORS["cyan"]])
    assert np.hypot(*(found[0] - center)) <= 1 and confidences[0] > 0.95


def test_absent_and_hidden_discs_are_nan() -> None:
    source = PHOTOS[0]
    red, blue = COLORS["red"], COLORS["blue"]
    output = render_keypoints(source, np.array([[100, 100]]), [red])
    found, confidences = decode_keypoints(source, output, [red, blue])
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()
    assert confidences[0] > 0.95 > 0.5 > confidences[1]
    hidden = render_keypoints(source, np.array([[100, 100], [100, 100]]), [blue, red])
    found, _ = decode_keypoints(source, hidden, [blue, red])
    assert np.isnan(found[0]).all() and np.isfinite(found[1]).all()


def test_what_was_red_before_is_no_red_disc() -> None:
    source = np.full((128, 128, 3), 90, np.uint8)
    source[20:60, 20:60] = COLORS["red"]
    found, _ = decode_keypoints(source, source, [COLORS["red"]])
    assert np.isnan(found).all()
    output = render_keypoints(source, np.array([[95.0, 90.0]]), [COLORS["red"]])
    found, _ = decode_keypoints(source, output, [COLORS["red"]])
    assert np.hypot(*(found[0] - (95, 90))) < 0.5
