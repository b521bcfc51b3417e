"""Membranes against a direct solver; fills and pastes by what they must restore and must leave alone."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from tasks.backends.inpainting import ExemplarInpainter, OpenCVInpainter
from tasks.backends.membranes import stretch_membrane
from tasks.backends.replacing import GradientPasteReplacer


def _laplace(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Solve the five-point Laplace equation directly; a pixel at the border has itself as its missing neighbour."""
    height, width = known.shape
    index = np.arange(height * width).reshape(height, width)
    system = lil_matrix((height * width, height * width))
    for y in range(height):
        for x in range(width):
            system[index[y, x], index[y, x]] += 1
            if not known[y, x]:
                for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                    other = index[np.clip(y + down, 0, height - 1), np.clip(x + right, 0, width - 1)]
                    system[index[y, x], other] -= 0.25
    right_side = np.where(known[..., None], values, 0).reshape(height * width, -1).astype(np.float64)
    columns = [spsolve(system.tocsr(), column) for column in right_side.T]
    return np.stack(columns, axis=-1).reshape(values.shape)


def _hole(shape: tuple[int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.indices(shape)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def test_membrane_is_close_to_the_exact_solution() -> None:
    y, x = np.indices((48, 61))
    values = np.stack([y * 2 + x, 100 + 50 * np.sin(x / 9) * np.cos(y / 7)], axis=-1).astype(np.float32)
    known = ~_hole((48, 61), (22, 30), 15)
    known[:, -4:] = False  # an open border
    got = stretch_membrane(values, known)
    np.testing.assert_array_equal(got[known], values[known])
    error = np.abs(got - _laplace(values, known))
    assert error.max() < 6 and error.mean() < 0.6  # of values that span 150


def test_membrane_through_a_constant_is_constant() -> None:
    known = np.zeros((37, 20), bool)
    known[3, 4] = True
    got = stretch_membrane(np.full((37, 20, 3), 7, np.float32), known)
    np.testing.assert_allclose(got, 7, atol=1e-5)


@pytest.mark.parametrize("backend", [OpenCVInpainter(), OpenCVInpainter("navier-stokes"), ExemplarInpainter()])
def test_a_hole_in_one_colour_vanishes(backend: OpenCVInpainter | ExemplarInpainter) -> None:
    image = np.full((80, 100, 3), (10, 200, 90), np.uint8)
    holed = image.copy()
    mask = _hole((80, 100), (40, 50), 18)
    holed[mask] = 255
    tolerance = 3 if isinstance(backend, OpenCVInpainter) else 0  # OpenCV rounds on its way inwards
    np.testing.assert_allclose(backend.inpaint([holed], [mask])[0].astype(int), image, atol=tolerance)


def test_exemplars_continue_a_pattern_that_diffusion_smears() -> None:
    y, x = np.indices((128, 128))
    image = np.repeat(np.where((x // 8 + y // 8) % 2, 220, 30)[..., None], 3, 2).astype(np.uint8)
    mask = _hole((128, 128), (64, 60), 22)
    holed = np.where(mask[..., None], 128, image).astype(np.uint8)
    errors = [
        np.abs(backend.inpaint([holed], [mask])[0].astype(int) - image)[mask].mean()
        for backend in (ExemplarInpainter(), OpenCVInpainter())
    ]
    assert errors[0] < 30 < 50 < errors[1]


def test_exemplars_keep_a_photos_grain() -> None:
    """Detail inside the fill is as strong as around it; Telea's fill is smooth."""
    from skimage.data import gravel

    image = np.repeat(gravel()[:256, :256, None], 3, 2)
    mask = _hole((256, 256), (128, 128), 40)
    ring = _hole((256, 256), (128, 128), 80) & ~_hole((256, 256), (128, 128), 44)
    inside = _hole((256, 256), (128, 128), 36)

    def grain(picture: np.ndarray, where: np.ndarray) -> float:
        return float(cv2.Laplacian(picture[..., 0].astype(np.float32), cv2.CV_32F)[where].std())

    exemplar, diffused = (backend.inpaint([image], [mask])[0] for backend in (ExemplarInpainter(), OpenCVInpainter()))
    assert grain(exemplar, inside) > 0.4 * grain(image, ring)
    assert grain(diffused, inside) < 0.2 * grain(image, ring)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_any_hole_is_filled_and_nothing_else_touched(height: int, width: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), np.uint8)
    mask = random.random((height, width)) < share
    mask[random.integers(height), random.integers(width)] = False
    for backend in (ExemplarInpainter(), OpenCVInpainter()):
        filled = backend.inpaint([image], [mask])[0]
        assert filled.shape == image.shape and filled.dtype == np.uint8
        np.testing.assert_array_equal(filled[~mask], image[~mask])


def test_the_hidden_content_has_no_say() -> None:
    """What is under the mask must not show in the fill."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (70, 90, 3), np.uint8)
    mask = _hole((70, 90), (30, 40), 15)
    other = np.where(mask[..., None], 255 - image, image).astype(np.uint8)
    fills = [ExemplarInpainter().inpaint([picture], [mask])[0] for picture in (image, other)]
    np.testing.assert_array_equal(*fills)


@pytest.mark.parametrize("backend", [OpenCVInpainter(), ExemplarInpainter()])
def test_nothing_to_go_by_is_an_error(backend: OpenCVInpainter | ExemplarInpainter) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="nothing is left to fill it from"):
        backend.inpaint([image], [np.ones((16, 16), bool)])
    with pytest.raises(ValueError, match="one size"):
        backend.inpaint([image], [np.zeros((16, 15), bool)])


def test_paste_of_the_region_itself_changes_nothing() -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (60, 70, 3), np.uint8)
    mask = _hole((60, 70), (30, 30), 12)
    pasted = GradientPasteReplacer().replace([image], [mask], [image[17:44, 17:44]])[0]
    np.testing.assert_array_equal(pasted, image)


def test_paste_takes_the_surroundings_colour_and_the_exemplars_detail() -> None:
    image = np.full((90, 90, 3), 180, np.uint8)
    mask = _hole((90, 90), (45, 45), 25)
    x = np.indices((53, 53))[1]
    exemplar = np.repeat((60 + 40 * ((x // 6) % 2))[..., None], 3, 2).astype(np.uint8)
    pasted = GradientPasteReplacer(own_colours=0).replace([image], [mask], [exemplar])[0]
    inside = _hole((90, 90), (45, 45), 18)
    assert abs(pasted[inside].mean() - 180) < 12
    assert abs(pasted[inside].std() - 20) < 5


def test_paste_into_the_whole_image_or_at_its_corner() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    exemplar = np.full((5, 5, 3), 77, np.uint8)
    whole = GradientPasteReplacer().replace([image], [np.ones((20, 30), bool)], [exemplar])[0]
    assert (whole == 77).all()
    corner = np.zeros((20, 30), bool)
    corner[0, 0] = True
    assert (GradientPasteReplacer().replace([image], [corner], [exemplar])[0] == 0).all()
