"""Paper, official code, corrected: every value of every switch changes what the README's table says of it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.absent_classes import absent_classes
from catalog.asked_joints import ask_any_joints
from catalog.digests import bytes_digest
from catalog.drawing_colors import COLORS, fixed_color
from catalog.errors import ConfigError
from catalog.images import encode_png, resize_image
from catalog.instruction_templates import read_templates
from catalog.masks import box_mask, encode_mask, rasterize_polygons
from catalog.person_squares import Square, augment_square, person_square
from catalog.render_styles import OFFICIAL, TEMPLATES, RenderOptions, RenderStyle
from catalog.roots import Roots
from catalog.samples import Sample, render_sample, sample_fields
from catalog.targets import decode_keypoints, decode_mask_target
from catalog.views import View

README = (Path(__file__).parents[2] / "README.md").read_text()
PHOTO = skimage.data.coffee()[:300, :480].copy()
HEIGHT, WIDTH = PHOTO.shape[:2]
REGION = box_mask([400, 60, 60, 120], HEIGHT, WIDTH)
COCO = (
    *("nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow"),
    *("right elbow", "left wrist", "right wrist", "left hip", "right hip", "left knee", "right knee"),
    *("left ankle", "right ankle"),
)
AIC = (
    *("right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "right hip"),
    *("right knee", "right ankle", "left hip", "left knee", "left ankle", "head top", "neck"),
)


def joints(names: tuple[str, ...], unlabelled: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Joints on a grid within the box; hips and below in its lower half."""
    rng, made = np.random.default_rng(5), []
    for name in names:
        low = 160.0 if name.endswith(("hip", "knee", "ankle", "pelvis")) else 50.0
        x, y = 190 + 100 * rng.random(), low + 90 * rng.random()
        absent = name in unlabelled
        made.append(
            {"name": name, "x": 0.0 if absent else x, "y": 0.0 if absent else y, "visibility": 0 if absent else 2}
        )
    return made


@pytest.fixture
def render(tmp_path: Path) -> Any:
    """Draws a row of one photo: ``render(row, index, **fields of the style)``."""

    def image(array: np.ndarray) -> dict[str, Any]:
        data = encode_png(array)
        digest = bytes_digest(data)
        (tmp_path / digest).write_bytes(data)
        size = {"width": array.shape[1], "height": array.shape[0]}
        return {"root": "photos", "path": digest, "offset": 0, "length": len(data), "sha256": digest, **size}

    photo = image(PHOTO)

    def _render(row: dict[str, Any], index: int = 0, joints: Any = None, **style: Any) -> Sample:
        given_images = {name: image(value) for name, value in row.items() if name.endswith("_image")}
        whole = {**dict.fromkeys(sample_fields()), "pair_id": "p", "source_image": photo, **row, **given_images}
        options = RenderOptions(**{"wording": "written", **style})
        return render_sample(whole, Roots({"photos": tmp_path}), seed=3, index=index, options=options, joints=joints)

    return _render


def segmentation(**values: Any) -> dict[str, Any]:
    return {"vision_task": "segmentation", "phrase": "cup", "label": "cup", "mask": encode_mask(REGION), **values}


def person(names: tuple[str, ...] = COCO, unlabelled: tuple[str, ...] = (), **values: Any) -> dict[str, Any]:
    row = {"vision_task": "keypoint_detection", "label": "person", "bbox": [180.0, 40.0, 120.0, 220.0]}
    return {**row, "keypoints": joints(names, unlabelled), **values}


def enhancement(edit_type: str = "deblurring", **values: Any) -> dict[str, Any]:
    row = {"vision_task": "image_enhancement", "edit_type": edit_type, "target_image": 255 - PHOTO}
    return {**row, **values}


# The table.


def switches() -> dict[str, tuple[str, ...]]:
    return {name: get_args(kind) for name, kind in get_type_hints(RenderStyle).items() if get_args(kind)}


def test_the_readme_lists_every_switch_with_its_values_and_default() -> None:
    table = README.partition("## Paper, official code, corrected")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `render\.(\w+)` \| (.+?) \|$", table, re.MULTILINE)
    listed = {name: cells.split(" | ") for name, cells in rows}
    assert listed.keys() == switches().keys() | {"flip_probability", "absent_probability", "wording"}
    for name, values in switches().items():
        default = getattr(RenderStyle(), name)
        assert set(re.findall(r"`(\w+)`", " ".join(listed[name]))) >= set(values), name
        assert f"**`{default}`**" in " ".join(listed[name]), name


def test_the_official_style_takes_every_official_value() -> None:
    for name, values in switches().items():
        if "official" in values:
            assert getattr(OFFICIAL, name) == "official", name


@pytest.mark.parametrize("name", switches())
def test_an_unknown_value_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} must be one of .*Got 'paperlike'"):
        RenderStyle(**{name: "paperlike"})


def test_an_unknown_wording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wording must be one of expanded, written, simple, or a folder"):
        RenderStyle(wording=str(tmp_path / "none"))
    assert RenderStyle(wording=str(tmp_path)).templates == tmp_path


def test_any_style_is_a_function_of_seed_and_index_alone(render: Any) -> None:
    rows = [segmentation(class_names=["cup", "sky"], present_classes=["cup"]), person(), enhancement("denoising")]
    official = {name: getattr(OFFICIAL, name) for name in get_type_hints(RenderStyle)}
    for row in rows:
        for style in ({}, official):
            for index in range(3):
                first, second = render(row, index, **style), render(row, index, **style)
                assert first.instruction == second.instruction
                assert (first.source == second.source).all() and (first.target == second.target).all()
            targets = {render(row, index, **style).target.tobytes() for index in range(4)}
            assert len(targets) > 1


# crop


def test_crop_by_task(render: Any) -> None:
    edit = enhancement("object_removal", vision_task="image_editing", instruction="remove the cup")
    for row, crop, size in [
        (edit, "official", (WIDTH, HEIGHT)),
        (edit, "paper", (WIDTH, HEIGHT)),
        (edit, "square", (HEIGHT, HEIGHT)),
        (segmentation(), "official", (HEIGHT, HEIGHT)),
        (segmentation(), "square", (HEIGHT, HEIGHT)),
        (segmentation(), "paper", (WIDTH, HEIGHT)),
        (enhancement(), "official", (HEIGHT, HEIGHT)),
        (enhancement(), "paper", (WIDTH, HEIGHT)),
        (enhancement("denoising"), "official", (256, 256)),
        (enhancement("denoising"), "paper", (WIDTH, HEIGHT)),
    ]:
        view = render(row, crop=crop).view
        assert (view.width, view.height) == size, (row["vision_task"], crop)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_noise_is_cropped_to_the_pixel_on_both_images(render: Any, flip: float) -> None:
    """No resampling: noise that is averaged away cannot be learned."""
    places = set()
    for index in range(20):
        sample = render(enhancement("denoising"), index, size=128, flip_probability=flip)
        x, y = sample.view.x, sample.view.y
        window = PHOTO[y : y + 128, x : x + 128]
        assert (sample.source == (window[:, ::-1] if flip else window)).all()
        assert (sample.target == 255 - sample.source).all()
        places.add((x, y))
    assert len(places) == 20
    assert min(y for _, y in places) < 60 and max(x for x, _ in places) > 200


@pytest.mark.parametrize("edit_type", ["deblurring", "watermark_removal"])
def test_other_damage_is_cropped_alike_on_both_images(render: Any, edit_type: str) -> None:
    for index in range(6):
        sample = render(enhancement(edit_type), index)
        x = sample.view.x
        expected = [resize_image(image[:, x : x + HEIGHT], 256, 256) for image in (PHOTO, 255 - PHOTO)]
        assert (sample.source == expected[0]).all() and (sample.target == expected[1]).all()


def test_a_small_noisy_image_gives_a_smaller_square(render: Any) -> None:
    small = PHOTO[:100, :140]
    sample = render(enhancement("denoising", source_image=small, target_image=255 - small))
    assert (sample.view.width, sample.view.height) == (100, 100) and sample.source.shape == (256, 256, 3)


# referent


def test_referent(render: Any) -> None:
    kept = [render(segmentation(), index).mask for index in range(40)]
    official = [render(segmentation(), index, referent="official") for index in range(40)]
    assert all(mask.sum() > 0.95 * REGION.sum() * (256 / HEIGHT) ** 2 for mask in kept)
    lost = [sample for sample in official if not sample.mask.any()]
    assert 5 < len(lost) < 40
    assert all("the cup" in sample.instruction and (sample.source == sample.target).all() for sample in lost)


# colors


def test_colors(render: Any) -> None:
    seen: dict[tuple[str, str], set[tuple[int, int, int]]] = {}
    for rule in ("corrected", "official"):
        for index in range(60):
            for row in (segmentation(), person()):
                for name, rgb in render(row, index, colors=rule, size=64).colors:
                    seen.setdefault((rule, name), set()).add(rgb)
    assert seen["corrected", "green"] == {(0, 255, 0)}
    assert seen["official", "green"] == {(0, 255, 0), (0, 128, 0)}
    assert all(len(values) == 1 for (rule, _), values in seen.items() if rule == "corrected")


def test_fixed_colors_and_simple_indicators(render: Any) -> None:
    """Table 6: the instruction says nothing; each joint and class has one colour, and all joints are drawn."""
    style = {"colors": "fixed", "wording": "simple"}
    samples = [render(person(), index, **style) for index in range(4)]
    assert {sample.instruction for sample in samples} == {"keypoint detection"}
    assert {sample.joints for sample in samples} == {COCO}
    assert len({sample.colors for sample in samples}) == 1
    assert len({rgb for _, rgb in samples[0].colors}) == len(COCO)
    classes = ["sky", "cup", "table"]
    cups = [render(segmentation(class_names=classes, present_classes=["cup"]), index, **style) for index in range(30)]
    asked = {sample.colors[0] for sample in cups if sample.mask.any()}
    assert asked == {("cup", fixed_color("cup", classes))}
    assert {sample.instruction for sample in cups} == {"semantic segmentation"}
    with pytest.raises(ConfigError, match="needs colors=fixed"):
        render(person(), wording="simple")


def test_fixed_colors_are_pascal_voc_s_map() -> None:
    names = [f"class {number}" for number in range(847)]
    colors = [fixed_color(name, names) for name in names]
    assert len(set(colors)) == len(names)
    assert colors[:4] == [(128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)]  # aeroplane, bicycle, bird, boat
    assert fixed_color("cup", None) == fixed_color("cup", None) != fixed_color("sky", None)


# asked_joints


def test_unlabelled_joints_are_asked_by_the_official_code_alone(render: Any) -> None:
    row = person(unlabelled=("left knee", "right ankle", "left ear"))
    corrected = Counter(joint for index in range(80) for joint in render(row, index).joints)
    assert not {"left knee", "right ankle", "left ear"} & corrected.keys() and len(corrected) == 14
    samples = [render(row, index, asked_joints="official") for index in range(80)]
    asked = Counter(joint for sample in samples for joint in sample.joints)
    assert {"left knee", "right ankle", "left ear"} <= asked.keys()
    for sample in samples:
        for joint, (name, rgb), place in zip(sample.joints, sample.colors, sample.keypoints, strict=True):
            assert f"the {joint}" in sample.instruction and name in sample.instruction
            if joint in ("left knee", "right ankle", "left ear"):
                assert np.isnan(place).all()
                assert ((sample.target == rgb).all(axis=2) & (sample.source != rgb).any(axis=2)).sum() == 0


def test_the_official_code_asks_for_discs_that_touch_the_frame_and_may_ask_for_nothing(render: Any) -> None:
    rng = np.random.default_rng(0)
    shown = {
        "in": np.array([9.0, 9]),
        "edge": np.array([-6.0, 9]),
        "out": np.array([-30.0, 9]),
        "no": np.full(2, np.nan),
    }
    seen = [tuple(ask_any_joints(shown, 256, 10, rng, 1)) for _ in range(60)]
    assert set(seen) == {("in",), ("edge",), (), ("no",)}
    outside = person(("nose",), bbox=[180.0, 40.0, 20.0, 20.0])
    outside["keypoints"][0] |= {"x": 10.0, "y": 290.0}
    sample = render(outside, asked_joints="official", joint_sentences="official")
    assert sample.instruction == "" and sample.joints == () and (sample.source == sample.target).all()


def test_no_disc_covers_another_one_s_centre_but_in_the_official_code(render: Any) -> None:
    row = person()
    for place, joint in enumerate(row["keypoints"][:5]):
        joint |= {"x": 240.0 + place, "y": 60.0}  # a face seen from the side
    closest = {}
    for rule in ("corrected", "official"):
        samples = [render(row, index, asked_joints=rule) for index in range(60)]
        gaps = [
            np.linalg.norm(one - other)
            for sample in samples
            for place, one in enumerate(sample.keypoints)
            for other in sample.keypoints[:place]
        ]
        closest[rule] = min(gaps)
        assert {joint for sample in samples for joint in sample.joints} >= set(COCO[:5])
    assert closest["corrected"] > 10 > closest["official"]
    given = render(row, joints=["nose", "left eye"])  # an evaluation asks for what it must measure
    assert given.joints == ("nose", "left eye")


# joint_names, joint_sentences, disc_centers


def test_joint_names(render: Any) -> None:
    row = person(AIC)
    plain = " ".join(render(row, index).instruction for index in range(40))
    official = " ".join(render(row, index, joint_names="official").instruction for index in range(40))
    assert "_" not in plain and "the top of the head" in plain
    assert "the head_top" in official and "left_shoulder" in official and "left shoulder" not in official
    crowd = tuple("head" if name == "head top" else name for name in AIC)
    crowdpose = " ".join(render(person(crowd), index, joint_names="official").instruction for index in range(40))
    assert "the top_head" in crowdpose
    coco = " ".join(render(person(), index, joint_names="official").instruction for index in range(20))
    assert "_" not in coco


def test_joint_sentences(render: Any) -> None:
    asked = ["nose", "left wrist", "right hip"]
    numbers: dict[str, Counter[int]] = {}
    for rule in ("corrected", "paper", "official"):
        for index in range(30):
            sample = render(person(), index, joints=asked, joint_sentences=rule)
            assert all(f"the {joint}" in sample.instruction for joint in asked)
            assert all(name in sample.instruction for name, _ in sample.colors)
            marks, people = len(re.findall(r"[.?]", sample.instruction)), sample.instruction.count("the person")
            assert (marks, people) == {"corrected": (1, 1), "paper": (1, 3), "official": (3, 3)}[rule], (
                sample.instruction
            )
            numbers.setdefault(rule, Counter())[sample.instruction.count(" and ")] += 1
    assert all(count >= 1 for count in numbers["paper"])


def test_disc_centers(render: Any) -> None:
    official = render(person(), joints=["nose"], disc_centers="official")
    corrected = render(person(), joints=["nose"])
    assert (official.keypoints == np.floor(corrected.keypoints + 0.5)).all()
    assert (corrected.keypoints != np.rint(corrected.keypoints)).any()
    assert (official.target != corrected.target).any()
    disc = (official.target == official.colors[0][1]).all(axis=2) & (official.target != official.source).any(axis=2)
    rows, columns = np.nonzero(disc)
    assert np.allclose([columns.mean(), rows.mean()], official.keypoints[0], atol=0.2)  # symmetric about a pixel


# absent classes


CLASSES = ["person", "car", "bus", "tree", "sky", "sea", "road", "hat"]


def named(name: str, instruction: str) -> bool:
    return re.search(rf"\b{name}\b", instruction) is not None


def test_absent_classes_leave_the_picture_as_it_is(render: Any) -> None:
    row = segmentation(phrase="car", label="car", class_names=CLASSES, present_classes=["car", "bus", "sky"])
    samples = [render(row, index, size=32) for index in range(300)]
    vain = [sample for sample in samples if not sample.mask.any()]
    assert 40 <= len(vain) <= 82  # 60 expected of 0.2; 3.2 standard deviations
    for sample in vain:
        assert (sample.source == sample.target).all()
        assert not re.search(r"\b(car|bus|sky)\b", sample.instruction)
    asked = {found for sample in vain for found in CLASSES if named(found, sample.instruction)}
    assert asked == {"person", "tree", "sea", "road", "hat"}
    assert all(named("car", sample.instruction) for sample in samples if sample.mask.any())


def test_paper_never_asks_in_vain_and_the_chance_can_be_set(render: Any) -> None:
    row = segmentation(class_names=CLASSES, present_classes=["car"])
    assert all(render(row, index, size=32, absent_classes="paper").mask.any() for index in range(40))
    assert not any(render(row, index, size=32, absent_probability=1.0).mask.any() for index in range(20))
    assert all(render(segmentation(), index, size=32, absent_probability=1.0).mask.any() for index in range(20))


def test_the_official_list_asks_in_vain_for_what_is_there(render: Any) -> None:
    row = segmentation(phrase="car", label="car", class_names=CLASSES, present_classes=["car", "bus", "sky"])
    samples = [render(row, i, size=32, absent_classes="official", absent_probability=1.0) for i in range(80)]
    asked = {found for sample in samples for found in CLASSES if named(found, sample.instruction)}
    assert asked == {"person", "bus", "tree", "sea", "road", "hat"}  # the bus, which follows the car, is passed over


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 11)))
def test_the_official_list_is_what_removing_while_iterating_leaves(present: set[int]) -> None:
    left = list(range(12))
    for item in left:
        if item in present:
            left.remove(item)
    names = [str(number) for number in range(12)]
    shown = [str(number) for number in sorted(present)]
    assert absent_classes(names, shown, official=True) == [str(number) for number in left]
    assert absent_classes(names, shown) == [name for name in names if name not in shown]


# overlaps (an option of the RefCOCO readers)


def test_overlaps_become_holes_in_the_official_code_alone() -> None:
    squares = [[[10, 10], [60, 10], [60, 60], [10, 60]], [[40, 40], [90, 40], [90, 90], [40, 90]]]
    union = rasterize_polygons(squares, 100, 100, "coco")
    once = rasterize_polygons(squares, 100, 100, "coco_once")
    overlap = box_mask([40, 40, 20, 20], 100, 100)
    assert union[50, 50] and not once[50, 50]
    assert (union & ~once == overlap).all() and not (once & ~union).any()
    assert (
        rasterize_polygons(squares[:1], 100, 100, "coco_once") == rasterize_polygons(squares[:1], 100, 100, "coco")
    ).all()


# sided_words, flip_probability


def test_sided_words(render: Any) -> None:
    row = segmentation(phrase="left cup")
    assert not any(render(row, index, flip_probability=1.0).view.flipped for index in range(5))
    mirrored = render(row, flip_probability=1.0, sided_words="official")
    assert mirrored.view.flipped and "left cup" in mirrored.instruction
    flips = [render(segmentation(), index, size=32, flip_probability=0.5).view.flipped for index in range(100)]
    assert 30 < sum(flips) < 70


# augmentation


def squares_of(rule: str, names: tuple[str, ...], count: int = 4000) -> list[Square]:
    people, rng = joints(names), np.random.default_rng(1)
    plain = person_square([180.0, 40.0, 120.0, 220.0], HEIGHT, WIDTH, 1.25)
    return [augment_square(plain, people, rule, rng) for _ in range(count)]  # type: ignore[arg-type]


def half_shares(squares: list[Square], names: tuple[str, ...]) -> tuple[float, float]:
    """Shares of squares centred on the upper and on the lower joints."""
    centers = {}
    for lower in (False, True):
        half = [j for j in joints(names) if j["name"].endswith(("hip", "knee", "ankle")) == lower]
        centers[lower] = np.mean([[j["x"] + 0.5, j["y"] + 0.5] for j in half], axis=0)
    at = [[np.allclose((one.x, one.y), centers[lower]) for one in squares] for lower in (False, True)]
    return float(np.mean(at[0])), float(np.mean(at[1]))


def test_augmentation_of_the_paper_is_none(render: Any) -> None:
    assert len(set(squares_of("paper", COCO, 50))) == 1
    assert {render(person(), index).view for index in range(10)} == {render(person()).view}


@pytest.mark.parametrize("rule", ["official", "corrected"])
def test_augmentation_turns_and_resizes(rule: str) -> None:
    squares = squares_of(rule, AIC[:6])  # too few joints for a half
    sides, angles = np.array([one.side for one in squares]) / 275, np.array([one.angle for one in squares])
    assert sides.min() == pytest.approx(0.65) and sides.max() == pytest.approx(1.35)
    assert (np.isclose(sides, 0.65) | np.isclose(sides, 1.35)).mean() == pytest.approx(
        0.317, abs=0.03
    )  # beyond 1 sigma
    assert (angles == 0).mean() == pytest.approx(0.4, abs=0.03)
    assert angles.min() == -90 and angles.max() == 90
    assert angles[angles != 0].std() == pytest.approx(43.7, abs=2)


def test_half_bodies() -> None:
    upper, lower = half_shares(squares_of("official", COCO), COCO)
    assert upper == pytest.approx(0.3 * 0.691, abs=0.025) and lower == pytest.approx(0.3 * 0.309, abs=0.02)
    upper, lower = half_shares(squares_of("corrected", COCO), COCO)
    assert upper == pytest.approx(0.15, abs=0.025) and lower == pytest.approx(0.15, abs=0.025)
    assert half_shares(squares_of("official", AIC), AIC) == (0.0, 0.0)  # of COCO alone
    assert sum(half_shares(squares_of("corrected", AIC), AIC)) == pytest.approx(0.3, abs=0.03)


def test_discs_lie_on_the_joints_of_turned_and_mirrored_people(render: Any) -> None:
    """A dot painted on the joint in the photo appears, in the turned picture, under the joint's disc."""
    row, sides, seen = person(), {"left": "right", "right": "left"}, 0
    stored = {joint["name"]: (joint["x"], joint["y"]) for joint in row["keypoints"]}
    for index in range(20):
        sample = render(row, index, augmentation="corrected", flip_probability=0.5)
        first, *rest = sample.joints[0].split()
        name = " ".join([sides.get(first, first), *rest]) if sample.view.flipped else sample.joints[0]
        assert np.allclose(sample.view.source_points(sample.keypoints[:1]), [stored[name]])
        x, y = np.rint(stored[name]).astype(int)
        dotted = PHOTO.copy()
        dotted[y - 3 : y + 4, x - 3 : x + 4] = (255, 0, 255)
        changed = np.abs(sample.view.show_image(dotted).astype(int) - sample.source).sum(axis=2)
        rows, columns = np.nonzero(changed > 100)
        center = sample.view.show_points(np.array([[x, y]]))[0]
        if center.min() > 20 and center.max() < 235:
            assert np.hypot(columns.mean() - center[0], rows.mean() - center[1]) < 1
            seen += 1
    assert seen > 8


# Render and decode are inverse, whatever the style.


@pytest.mark.parametrize(
    "style", [{}, {"augmentation": "official", "flip_probability": 0.5, "disc_centers": "official"}]
)
def test_keypoints_are_read_back_within_a_pixel(render: Any, style: dict[str, Any]) -> None:
    errors = []
    for index in range(25):
        sample = render(person(), index, **style)
        found, _ = decode_keypoints(sample.source, sample.target, [rgb for _, rgb in sample.colors])
        errors += np.hypot(*(found - sample.keypoints).T).tolist()
    assert np.isfinite(errors).mean() > 0.9 and np.nanmax(errors) <= 1


@pytest.mark.parametrize("style", [{}, {"crop": "paper"}, {"colors": "official", "referent": "official"}])
def test_masks_are_read_back(render: Any, style: dict[str, Any]) -> None:
    both = either = 0
    for index in range(25):
        sample = render(segmentation(), index, **style)
        read = decode_mask_target(sample.source, sample.target, sample.colors[0][1])
        both, either = both + (read & sample.mask).sum(), either + (read | sample.mask).sum()
    assert both / either >= 0.99


# Turned views.


@settings(max_examples=30, deadline=None)
@given(st.floats(-90, 90), st.booleans())
def test_a_turned_view_moves_pixels_points_and_masks_alike(angle: float, flipped: bool) -> None:
    view = View(100, 50, 160, 160, 128, flipped, angle)
    for x, y in [(180, 130), (150, 110), (205, 150)]:
        dot = np.zeros((HEIGHT, WIDTH), np.bool_)
        dot[y - 4 : y + 5, x - 4 : x + 5] = True
        expected = view.show_points(np.array([[x, y]]))[0]
        rows, columns = np.nonzero(view.show_mask(dot))
        assert np.hypot(columns.mean() - expected[0], rows.mean() - expected[1]) < 0.6
        image = np.where(dot[..., None], np.uint8(255), np.uint8(0)).repeat(3, axis=2)
        weights = view.show_image(image)[..., 0].astype(float)
        rows, columns = np.indices(weights.shape)
        center = (columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()
        assert np.hypot(center[0] - expected[0], center[1] - expected[1]) < 0.6


def test_wordings(render: Any) -> None:
    assert RenderStyle().templates == TEMPLATES / "expanded"
    for wording, folder in (("written", TEMPLATES), ("expanded", TEMPLATES / "expanded")):
        drawn = {render(enhancement(), index, size=32, wording=wording).instruction for index in range(60)}
        assert drawn <= set(read_templates("deblurring", folder)) and len(drawn) >= 9
    assert len(drawn) > 30
    assert set(COLORS) >= {"red", "green"}
