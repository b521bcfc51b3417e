"""From a row to (instruction, source, target): determinism, alignment of everything in a view, and every rejection."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog.digests import bytes_digest
from catalog.drawing_colors import COLORS, color_table
from catalog.errors import ConfigError, RowRejected
from catalog.images import encode_png, resize_image, resize_mask
from catalog.instruction_templates import read_templates
from catalog.masks import box_mask, encode_mask
from catalog.person_squares import person_square
from catalog.reasons import Reason
from catalog.render_styles import RenderOptions
from catalog.roots import Roots
from catalog.samples import Chance, Sample, render_sample, sample_fields, sample_generator
from catalog.schema import MIX
from catalog.targets import decode_keypoints, decode_mask_target, disc_radius, render_mask
from catalog.views import View, square_view, whole_view

PHOTO = skimage.data.coffee()[:300, :480].copy()
HEIGHT, WIDTH = PHOTO.shape[:2]
REGION = box_mask([40, 60, 90, 120], HEIGHT, WIDTH)
JOINTS = [
    {"name": "nose", "x": 240.0, "y": 60.0, "visibility": 2},
    {"name": "left shoulder", "x": 280.0, "y": 110.0, "visibility": 2},
    {"name": "right shoulder", "x": 200.0, "y": 112.0, "visibility": 1},
    {"name": "left knee", "x": 270.5, "y": 240.25, "visibility": 2},
    {"name": "right knee", "x": 0.0, "y": 0.0, "visibility": 0},
    {"name": "right ankle", "x": 20.0, "y": 290.0, "visibility": 2},
]
OPTIONS = RenderOptions(wording="written")


class Store:
    """A root full of images, and rows that point into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots = Roots({"photos": folder})

    def image(self, array: np.ndarray) -> dict[str, Any]:
        data = encode_png(array)
        digest = bytes_digest(data)
        (self.folder / digest).write_bytes(data)
        size = {"width": array.shape[1], "height": array.shape[0]}
        return {"root": "photos", "path": digest, "offset": 0, "length": len(data), "sha256": digest, **size}

    def row(self, **values: Any) -> dict[str, Any]:
        empty = dict.fromkeys(sample_fields())
        return {**empty, "pair_id": "p", "source_image": self.image(PHOTO), **values}

    def segmentation(self, **values: Any) -> dict[str, Any]:
        defaults = {"vision_task": "segmentation", "phrase": "cup", "mask": encode_mask(REGION)}
        return self.row(**{**defaults, **values})

    def keypoints(self, **values: Any) -> dict[str, Any]:
        box = [180.0, 40.0, 120.0, 220.0]
        defaults = {"vision_task": "keypoint_detection", "label": "person", "keypoints": JOINTS, "bbox": box}
        return self.row(**{**defaults, **values})

    def pair(self, **values: Any) -> dict[str, Any]:
        target = PHOTO.copy()
        target[REGION] = 255 - target[REGION]
        defaults = {"vision_task": "image_editing", "edit_type": "object_removal", "instruction": "remove the cup"}
        return self.row(**{**defaults, "target_image": self.image(target), "edit_mask": encode_mask(REGION), **values})

    def render(self, row: dict[str, Any], seed: int = 0, index: int = 0, **changes: Any) -> Sample:
        joints = changes.pop("joints", None)
        options = dataclasses.replace(OPTIONS, **changes)
        return render_sample(row, self.roots, seed=seed, index=index, options=options, joints=joints)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def digest_of(sample: Sample) -> str:
    parts = [sample.instruction.encode(), sample.source.tobytes(), sample.target.tobytes(), repr(sample.view).encode()]
    parts += [repr((sample.colors, sample.joints)).encode()]
    parts += [array.tobytes() for array in (sample.mask, sample.keypoints, sample.edit_mask) if array is not None]
    return bytes_digest(b"|".join(parts))


# Everything comes from (row, seed, index, options).


def test_the_same_arguments_give_the_same_sample_and_others_another(store: Store) -> None:
    for row in (store.segmentation(), store.keypoints()):
        digests = {digest_of(store.render(row, seed, index)) for seed in range(3) for index in range(4)}
        assert len(digests) == 12
        assert digest_of(store.render(row, 1, 2)) == digest_of(store.render(dict(row), 1, 2))


def test_another_process_draws_the_same(store: Store) -> None:
    row = store.keypoints()
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom catalog.samples import *\nfrom catalog.roots import Roots\n"
        "from catalog.render_styles import RenderOptions\noptions = RenderOptions(wording='written')\n"
        "row = json.loads(sys.argv[1])\n"
        "sample = render_sample(row, Roots({'photos': Path(sys.argv[2])}), seed=5, index=7, options=options)\n"
        "from catalog.digests import bytes_digest\n"
        "sys.stdout.write(sample.instruction + bytes_digest(sample.target.tobytes()))\n"
    )
    command = [sys.executable, "-c", code, json.dumps(row), str(store.folder)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}).stdout
    sample = store.render(row, 5, 7)
    assert output == sample.instruction + bytes_digest(sample.target.tobytes())


def test_the_generator_is_numpy_s_documented_one() -> None:
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence([3, 11])))
    assert (sample_generator(3, 11).random(5) == expected.random(5)).all()
    assert len({sample_generator(seed, index).random() for seed in range(20) for index in range(20)}) == 400


def test_what_is_skipped_is_as_good_as_drawn() -> None:
    chance, generator = Chance(3, 11), sample_generator(3, 11)
    chance.skip(1)
    chance.skip(2)
    expected = generator.random(8)
    assert chance.generator.random() == expected[3]
    chance.skip(1)
    assert chance.generator.random() == expected[5] and chance.generator.random() == expected[6]


def test_fields_are_columns_of_the_mix_and_all_that_is_read(store: Store) -> None:
    assert set(sample_fields()) <= set(MIX.names)

    class Watched(dict):
        def __getitem__(self, name: str) -> Any:
            read.add(name)
            return super().__getitem__(name)

    read: set[str] = set()
    known = {"class_names": ["cup", "sky"], "present_classes": ["cup"]}
    for row in (store.segmentation(**known), store.keypoints(), store.pair(), store.pair(instruction=None)):
        try:
            render_sample(Watched(row), store.roots, seed=0, index=0, options=OPTIONS)
        except RowRejected:
            continue
    assert read == set(sample_fields())


# Segmentation.


@pytest.mark.parametrize("changes", [{}, {"crop": "paper"}, {"size": 128}, {"alpha": 0.7}, {"flip_probability": 1.0}])
def test_segmentation_target_is_the_mask_over_the_source(store: Store, changes: dict[str, Any]) -> None:
    row = store.segmentation()
    for index in range(4):
        sample = store.render(row, index=index, **changes)
        size, alpha = changes.get("size", 256), changes.get("alpha", 0.5)
        assert sample.source.shape == sample.target.shape == (size, size, 3)
        assert sample.source.dtype == sample.target.dtype == np.uint8
        (name, rgb), mask = sample.colors[0], sample.mask
        assert COLORS[name] == rgb and name in sample.instruction and "the cup" in sample.instruction
        assert mask is not None and mask.any()
        assert (sample.target == render_mask(sample.source, mask, rgb, alpha)).all()
        decoded = decode_mask_target(sample.source, sample.target, rgb, alpha)
        assert (decoded & mask).sum() / (decoded | mask).sum() > 0.99
        shown = sample.view.show_image(np.where(REGION[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2))
        assert ((shown[..., 0] > 127) == mask).mean() > 0.98


def test_segmentation_uses_every_color_and_template(store: Store) -> None:
    row = store.segmentation()
    samples = [store.render(row, index=index, size=32) for index in range(150)]
    assert {sample.colors[0][0] for sample in samples} == set(COLORS)
    worded = {
        template.format(object="the cup", color=name) for template in read_templates("segmentation") for name in COLORS
    }
    assert {sample.instruction for sample in samples} <= worded
    official = {store.render(row, index=index, size=32, colors="official").colors[0] for index in range(100)}
    assert official == set(color_table("segmentation", "official").items())


def test_the_label_stands_in_for_a_missing_phrase(store: Store) -> None:
    assert "the mug" in store.render(store.segmentation(phrase=None, label="mug")).instruction


def test_a_class_is_called_by_its_bare_name(store: Store) -> None:
    classes = {"class_names": ["cup", "sky"], "present_classes": ["cup"], "phrase": "cup", "label": "cup"}
    for names in (classes["class_names"], []):  # []: a dataset of classes that lists them nowhere
        for index in range(30):
            sample = store.render(store.segmentation(**classes | {"class_names": names}), index=index)
            asked = "cup" if sample.mask.any() else "sky"
            assert f" {asked}" in sample.instruction and f"the {asked}" not in sample.instruction


def test_squares_keep_the_region_in_view_and_reach_every_place(store: Store) -> None:
    row = store.segmentation()
    offsets, official = set(), set()
    for index in range(60):
        sample = store.render(row, index=index, size=64)
        offsets.add(sample.view.x)
        assert sample.view.x <= 40 and sample.view.y == 0 and sample.view.width == sample.view.height == HEIGHT
        official.add(store.render(row, index=index, size=64, referent="official").view.x)
    assert min(offsets) < 5 and max(offsets) > 35
    assert min(official) < 20 and max(official) > 160


def test_the_official_crop_may_lose_the_region_and_says_nothing(store: Store) -> None:
    samples = [store.render(store.segmentation(), index=index, referent="official") for index in range(40)]
    lost = [sample for sample in samples if not sample.mask.any()]
    assert lost and all((sample.target == sample.source).all() for sample in lost)


def test_nothing_to_mark_leaves_the_picture(store: Store) -> None:
    sample = store.render(store.segmentation(mask=encode_mask(np.zeros((HEIGHT, WIDTH), bool))))
    assert not sample.mask.any() and (sample.target == sample.source).all()


# Keypoints.


def test_keypoints_are_asked_drawn_and_found(store: Store) -> None:
    row = store.keypoints()
    counts, asked = set(), set()
    for index in range(60):
        sample = store.render(row, index=index)
        names = [name for name, _ in sample.colors]
        counts.add(len(sample.joints))
        asked.update(sample.joints)
        assert len(set(names)) == len(names) == len(sample.joints) == len(sample.keypoints)
        for joint, name in zip(sample.joints, names, strict=True):
            assert f"the {joint}" in sample.instruction and name in sample.instruction
        assert "the person" in sample.instruction
        drawn = (sample.target != sample.source).any(axis=2)
        assert drawn.sum() <= len(names) * np.pi * 10.5**2
        found, _ = decode_keypoints(sample.source, sample.target, [rgb for _, rgb in sample.colors])
        errors = np.hypot(*(found - sample.keypoints).T)
        assert np.nanmax(errors) <= 1
        stored = {joint["name"]: (joint["x"], joint["y"]) for joint in JOINTS}
        expected = np.array([stored[joint] for joint in sample.joints])
        assert np.allclose(sample.view.source_points(sample.keypoints), expected)
    # Unlabelled (right knee) and out of view (right ankle) are never asked; hidden ones are.
    assert asked == {"nose", "left shoulder", "right shoulder", "left knee"}
    assert counts == {1, 2, 3, 4}


def test_most_keypoints_is_kept(store: Store) -> None:
    row = store.keypoints()
    assert {len(store.render(row, index=index, max_keypoints=1).joints) for index in range(10)} == {1}


def test_the_person_fills_a_padded_square(store: Store) -> None:
    nose = {**JOINTS[0], "x": 440.0, "y": 250.0}
    sample = store.render(store.keypoints(bbox=[400.0, 200.0, 80.0, 100.0], keypoints=[nose]))
    view = sample.view
    assert (view.x, view.y, view.width, view.height) == (378, 188, 125, 125)  # the image ends at 480, 300
    right, bottom = (int(end * 256 / 125) + 7 for end in (WIDTH - view.x, HEIGHT - view.y))  # the filter's reach
    assert not sample.source[bottom:].any() and not sample.source[:, right:].any()
    assert np.allclose(sample.keypoints, [[(440.5 - 378) * 256 / 125 - 0.5, (250.5 - 188) * 256 / 125 - 0.5]])


def test_a_box_is_made_from_the_joints_where_there_is_none(store: Store) -> None:
    joints = JOINTS[:4]
    sample = store.render(store.keypoints(bbox=None, keypoints=joints), joints=[joint["name"] for joint in joints])
    assert sample.joints == tuple(joint["name"] for joint in joints)
    assert sample.view.width == round(1.25 * (240.25 - 60 + 1))


def test_evaluation_asks_for_joints_by_name(store: Store) -> None:
    wanted = ["left knee", "right knee", "nose", "right ankle", "tail"]
    sample = store.render(store.keypoints(), joints=wanted)
    assert sample.joints == ("left knee", "nose")
    with pytest.raises(RowRejected, match=Reason.NO_KEYPOINTS):
        store.render(store.keypoints(), joints=["tail"])


def test_discs_scale_with_the_picture(store: Store) -> None:
    row = store.keypoints()
    for size in (128, 256, 384):
        sample = store.render(row, size=size, joints=["nose"])
        area = (sample.target == sample.colors[0][1]).all(axis=2).sum()
        assert area == pytest.approx(np.pi * (disc_radius(size) ** 2 + 1), rel=0.1)


# Ready-made pairs.


def test_a_pair_is_resized_alike_and_keeps_its_words(store: Store) -> None:
    row = store.pair()
    sample = store.render(row)
    assert sample.instruction == "remove the cup" and sample.colors == () and sample.keypoints is None
    assert (sample.source == resize_image(PHOTO, 256, 256)).all()
    assert (sample.edit_mask == resize_mask(REGION, 256, 256)).all()
    changed = (sample.source != sample.target).any(axis=2)
    assert (changed & sample.edit_mask).sum() / sample.edit_mask.sum() > 0.99
    square = store.render(row, crop="square")
    assert square.view.width == square.view.height == HEIGHT and square.edit_mask.any()
    assert (square.source == square.view.show_image(PHOTO)).all()


@pytest.mark.parametrize("edit_type", ["deblurring", "denoising", "watermark_removal"])
def test_enhancement_is_cropped_and_worded(store: Store, edit_type: str) -> None:
    row = store.pair(vision_task="image_enhancement", edit_type=edit_type, instruction=None, edit_mask=None)
    samples = [store.render(row, index=index, size=64) for index in range(30)]
    assert {sample.instruction for sample in samples} <= set(read_templates(edit_type))
    assert len({sample.view.x for sample in samples}) > 15
    side = 64 if edit_type == "denoising" else HEIGHT
    assert all(sample.edit_mask is None and sample.view.width == side for sample in samples)


# Mirroring.


def test_mirroring_is_off_by_default(store: Store) -> None:
    assert not any(store.render(store.pair(), index=index, size=32).view.flipped for index in range(30))


def test_mirroring_turns_everything_and_nothing_else(store: Store) -> None:
    for row in (store.pair(), store.segmentation()):
        plain, mirrored = store.render(row, 1, 2), store.render(row, 1, 2, flip_probability=1.0)
        assert mirrored.instruction == plain.instruction and mirrored.view.flipped
        for name in ("source", "target", "mask", "edit_mask"):
            if (array := getattr(plain, name)) is not None:
                assert (getattr(mirrored, name) == array[:, ::-1]).all()


def test_mirrored_joints_change_sides(store: Store) -> None:
    sample = store.render(store.keypoints(), flip_probability=1.0, joints=["right shoulder", "nose"])
    assert sample.view.flipped
    expected = np.array([[280.0, 110.0], [240.0, 60.0]])  # the person's left shoulder looks like a right one
    assert np.allclose(sample.view.source_points(sample.keypoints), expected)
    drawn = sample.target[tuple(np.rint(sample.keypoints[0]).astype(int)[::-1])]
    assert tuple(drawn) == sample.colors[0][1]


def test_words_that_name_a_side_are_never_mirrored(store: Store) -> None:
    rows = [
        store.segmentation(phrase="left cup"),
        store.pair(instruction="remove the cup on the RIGHT"),
        store.keypoints(phrase="rightmost man"),
    ]
    for row in rows:
        assert not any(store.render(row, index=index, flip_probability=1.0).view.flipped for index in range(5))


# Rejections.


def test_each_rejection_has_its_reason(store: Store) -> None:
    small = store.image(PHOTO[:100])
    cases = [
        (store.pair(target_image=small), Reason.SIZE_MISMATCH),
        (store.pair(edit_mask=encode_mask(REGION[:50])), Reason.MASK_SIZE_MISMATCH),
        (store.pair(instruction=None), Reason.BAD_INSTRUCTION),
        (store.pair(target_image=None), Reason.BAD_INSTRUCTION),
        (store.pair(target_image=None, instruction=None), Reason.MALFORMED_RECORD),
        (store.segmentation(mask=None), Reason.NO_REGION),
        (store.segmentation(mask=encode_mask(REGION.T)), Reason.MASK_SIZE_MISMATCH),
        (store.segmentation(mask={"height": HEIGHT, "width": WIDTH, "counts": "??"}), Reason.BAD_MASK),
        (store.segmentation(phrase=" ", label="cup"), Reason.EMPTY_PHRASE),
        (store.segmentation(phrase=None), Reason.EMPTY_PHRASE),
        (store.segmentation(instruction="mark the cup"), Reason.BAD_INSTRUCTION),
        (store.keypoints(keypoints=None), Reason.NO_KEYPOINTS),
        (store.keypoints(keypoints=[JOINTS[4]]), Reason.NO_KEYPOINTS),
        (store.keypoints(keypoints=[JOINTS[5]]), Reason.NO_KEYPOINTS),
        (store.keypoints(bbox=[600.0, 0.0, 50.0, 50.0]), Reason.OUT_OF_RANGE),
    ]
    for row, reason in cases:
        with pytest.raises(RowRejected) as caught:
            store.render(row)
        assert caught.value.reason == reason, (caught.value, reason)


def test_a_region_that_vanishes_is_rejected(store: Store) -> None:
    dot = np.zeros((HEIGHT, WIDTH), bool)
    dot[0, 0] = True
    with pytest.raises(RowRejected, match=Reason.EMPTY_MASK):
        store.render(store.segmentation(mask=encode_mask(dot)), size=32)


def test_changed_bytes_are_rejected(store: Store) -> None:
    row = store.pair()
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, "PNG", compress_level=0)
    (store.folder / row["source_image"]["path"]).write_bytes(stream.getvalue())
    with pytest.raises(RowRejected, match=Reason.CHANGED_FILE):
        store.render(row)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 16},
        {"crop": "centre"},
        {"alpha": 0.0},
        {"alpha": 1.5},
        {"radius": 0.0},
        {"person_scale": 0.5},
        {"flip_probability": 2.0},
        {"max_keypoints": 0},
        {"max_keypoints": 11},
        {"colors": "paper"},
    ],
)
def test_options_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"Got"):
        RenderOptions(**changes)


# Views.


views = st.builds(
    View,
    st.integers(-40, 60),
    st.integers(-40, 60),
    st.integers(1, 120),
    st.integers(1, 120),
    st.sampled_from([32, 50]),
    st.booleans(),
)
turned_views = st.builds(
    lambda x, y, side, size, flipped, angle: View(x, y, side, side, size, flipped, angle),
    *(st.integers(-40, 60), st.integers(-40, 60), st.integers(1, 120), st.sampled_from([32, 50])),
    *(st.booleans(), st.floats(-90, 90)),
)


@settings(max_examples=100, deadline=None)
@given(views | turned_views, st.lists(st.tuples(st.floats(-50, 150), st.floats(-50, 150)), max_size=5))
def test_points_go_there_and_back(view: View, points: list[tuple[float, float]]) -> None:
    array = np.array(points).reshape(-1, 2)
    assert np.allclose(view.source_points(view.show_points(array)), array)


@settings(max_examples=60, deadline=None)
@given(views)
def test_a_view_is_its_window_padded_with_black(view: View) -> None:
    image = PHOTO[:70, :90]
    padded = np.pad(image, ((200, 200), (200, 200), (0, 0)))
    window = padded[200 + view.y :, 200 + view.x :][: view.height, : view.width]
    expected = np.asarray(Image.fromarray(window).resize((view.size, view.size), Image.Resampling.LANCZOS))
    assert (view.show_image(image) == (expected[:, ::-1] if view.flipped else expected)).all()
    assert (view.show_mask(image[..., 0] > 99).shape) == (view.size, view.size)


@pytest.mark.parametrize("flipped", [False, True])
def test_points_follow_the_pixels(flipped: bool) -> None:
    for x, y in [(10, 20), (79, 0), (45, 69)]:
        dot = np.zeros((70, 80), bool)
        dot[y, x] = True
        view = View(0, 0, 80, 70, 560, flipped)
        rows, columns = np.nonzero(view.show_mask(dot))
        assert np.allclose(view.show_points(np.array([[x, y]])), [[columns.mean(), rows.mean()]])
        assert view.contains(view.show_points(np.array([[x, y]]))).all()


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)
)
def test_squares_lie_inside_and_hold_as_much_of_the_region_as_fits(
    height: int, width: int, seed: int, first: float, second: float, across: float
) -> None:
    mask = np.zeros((height, width), bool)
    columns = sorted((int(first * (width - 1)), int(second * (width - 1))))
    rows = sorted((int(first * (height - 1)), int(across * (height - 1))))
    mask[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = True
    view = square_view(height, width, 32, np.random.default_rng(seed), mask)
    side = min(height, width)
    assert view.width == view.height == side
    assert 0 <= view.x <= width - side and 0 <= view.y <= height - side
    kept = mask[view.y : view.y + side, view.x : view.x + side].sum()
    every = [mask[y : y + side, x : x + side].sum() for y in range(height - side + 1) for x in range(width - side + 1)]
    assert kept == max(every)


@settings(max_examples=200, deadline=None)
@given(st.booleans(), st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 99), st.integers(1, 20))))
def test_a_region_in_pieces_is_never_left_out_of_view(tall: bool, seed: int, pieces: list[tuple[int, int]]) -> None:
    """Two ends of a photo and what lies between: at least half of what the best square shows."""
    mask = np.zeros((40, 100), bool)
    mask[5:9, 0:3] = mask[:, 98:] = True
    for start, length in pieces:
        mask[10:13, start : start + length] = True
    best = max(mask[:, place : place + 40].sum() for place in range(61))
    turned = mask.T if tall else mask
    view = square_view(*turned.shape, 32, np.random.default_rng(seed), turned)
    assert (view.width, view.height, view.y if not tall else view.x) == (40, 40, 0)
    assert 2 * turned[view.y : view.y + 40, view.x : view.x + 40].sum() >= best > 0


def test_person_views_clip_the_box_first() -> None:
    assert person_square([-50, 10, 100, 20], 100, 200, 1.0).view(64) == View(0, -5, 50, 50, 64)
    assert person_square([10.2, 10.2, 0.1, 0.1], 100, 200, 1.25).view(64).width == 1
    assert whole_view(30, 40, 64) == View(0, 0, 40, 30, 64)


# -- reduced decoding -------------------------------------------------------------------------------------------

LARGE = skimage.data.coffee()[:, 44:556].repeat(2, axis=0).repeat(2, axis=1)[:800]  # 800 x 1024


def jpeg_of(store: Store, array: np.ndarray) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=92)
    data = stream.getvalue()
    (store.folder / bytes_digest(data)).write_bytes(data)
    place = {"root": "photos", "path": bytes_digest(data), "offset": 0, "length": len(data)}
    return {**place, "sha256": bytes_digest(data), "width": array.shape[1], "height": array.shape[0]}


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.mark.parametrize("crop", ["square", "paper"])
@pytest.mark.parametrize("flip_probability", [0.0, 1.0])
def test_reduced_samples_are_whole_ones_but_for_resampling(store: Store, crop: str, flip_probability: float) -> None:
    row = store.pair(source_image=jpeg_of(store, LARGE), target_image=jpeg_of(store, 255 - LARGE), edit_mask=None)
    style = {"crop": crop, "flip_probability": flip_probability, "size": 128}
    for index in range(3):
        whole = store.render(row, index=index, decoding="whole", **style)
        reduced = store.render(row, index=index, **style)
        assert (whole.view, whole.instruction) == (reduced.view, reduced.instruction)
        for one, other in ((whole.source, reduced.source), (whole.target, reduced.target)):
            assert one.shape == other.shape and not np.array_equal(one, other)
            assert psnr(one, other) > 35
            assert psnr(one[1:], other[:-1]) < psnr(one, other) > psnr(one[:, 1:], other[:, :-1])  # not shifted


def test_joints_and_masks_stay_where_they_are_when_reduced(store: Store) -> None:
    points = [joint | {"x": 2.5 * joint["x"], "y": 2.5 * joint["y"]} for joint in JOINTS]
    beyond = [-40.0, 500.0, 700.0, 310.0]  # the person's square reaches over two sides of the image
    for box in ([380.0, 60.0, 300.0, 600.0], beyond):
        row = store.keypoints(source_image=jpeg_of(store, LARGE), keypoints=points, bbox=box)
        whole, reduced = (store.render(row, size=64, decoding=decoding) for decoding in ("whole", "reduced"))
        assert whole.view.reduction() > 1 and whole.joints == reduced.joints
        assert np.array_equal(whole.keypoints, reduced.keypoints)
        assert psnr(whole.source, reduced.source) > 30
        assert np.array_equal(
            (whole.source == 0).all(axis=2).all(axis=0), (reduced.source == 0).all(axis=2).all(axis=0)
        )


def test_a_pair_is_reduced_only_if_both_images_can_be(store: Store) -> None:
    """Else one of them would be the softer one, and a model would learn that edits sharpen."""
    row = store.pair(source_image=jpeg_of(store, LARGE), target_image=store.image(LARGE), edit_mask=None)
    whole, default = (store.render(row, size=128, decoding=decoding) for decoding in ("whole", "reduced"))
    assert np.array_equal(whole.source, default.source) and np.array_equal(whole.target, default.target)


def test_small_views_are_never_made_from_fewer_pixels_than_they_show() -> None:
    for side, size, expected in ((255, 128, 1), (256, 128, 2), (511, 128, 2), (512, 128, 4), (9000, 128, 8)):
        assert View(0, 0, side, side + 5, size).reduction() == expected
