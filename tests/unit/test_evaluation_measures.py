"""What is measured per vision task: values worked out by hand, and helper models named beside their numbers."""

import math

import numpy as np
import pytest
from evaluation_cases import RED, SIDE, make_case

from catalog.errors import BackendError, MixError
from catalog.masks import encode_mask
from catalog.targets import disc_radius, render_keypoints, render_mask
from catalog.views import View, whole_view
from evaluation.decoders import ColorDecoder
from evaluation.editing_measure import reached_mask
from evaluation.helper_models import HelperModels
from evaluation.keypoint_reading import joint_groups, merge_joints, read_joints, read_truth
from evaluation.measures import make_measure
from evaluation.metric_names import METRICS_OF
from evaluation.predictions import OverEditPredictor
from tasks.backends.registry import load_backend


class FixedSimilarity:
    """CLIP-shaped: the mean level of the prediction over 255; captions that are None cannot be measured."""

    name, revision, device = "fixed", "7", "cpu"

    def similarity(self, sources, targets, source_captions, target_captions):
        levels = np.array([target.mean() / 255 for target in targets])
        known = np.array([caption is not None for caption in target_captions])
        return {
            "image_similarity": np.ones(len(targets)),
            "source_text_similarity": levels,
            "target_text_similarity": np.where(known, levels, np.nan),
            "direction_similarity": np.full(len(targets), np.nan),
        }


class LevelScorer:
    name, revision, device = "level", "1", "cpu"

    def score(self, images):
        return np.array([float(image.mean()) for image in images])


class FailingScorer(LevelScorer):
    def score(self, images):
        raise RuntimeError("out of order")


DECODER = ColorDecoder(alpha=0.5)
HELPERS = HelperModels(FixedSimilarity(), LevelScorer())


def measured(vision_task, cases, predictions, helpers=HELPERS, **given):
    measure = make_measure(vision_task, helpers, DECODER, **given)
    for case, prediction in zip(cases, predictions, strict=True):
        measure.observe([case], [prediction])
    return {metric.name: metric for metric in measure.metrics()}


@pytest.mark.parametrize("vision_task", METRICS_OF)
def test_metrics_have_the_listed_names_and_nothing_measured_is_none(vision_task):
    metrics = make_measure(vision_task, HELPERS, DECODER).metrics()
    assert tuple(metric.name for metric in metrics) == METRICS_OF[vision_task]
    assert {(metric.value, metric.num_samples) for metric in metrics} == {(None, 0)}


def segmentation_case(pair_id, rows, label):
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:rows] = True
    source = np.full((SIDE, SIDE, 3), 100, np.uint8)
    target = render_mask(source, mask, RED[1])
    return make_case(pair_id, {"label": label}, source=source, target=target, mask=mask, colors=(RED,))


def test_segmentation_by_hand():
    """Half of a bird found, a whole cat found, nothing where nothing is: rows of 64 pixels."""
    bird, cat, nothing = (segmentation_case(*facts) for facts in [("a", 20, "bird"), ("b", 8, "cat"), ("c", 0, None)])
    half = segmentation_case("d", 10, "bird").sample.target
    values = measured("segmentation", [bird, cat, nothing], [half, cat.sample.target, nothing.sample.source])
    assert values["ciou"].value == (10 + 8) / (20 + 8)
    assert values["giou"].value == pytest.approx((0.5 + 1 + 1) / 3)
    assert values["miou"].value == (0.5 + 1) / 2
    assert [values[name].num_samples for name in ("ciou", "giou", "miou")] == [3, 3, 2]


def keypoint_row(joints, mask=None, bbox=None):
    keypoints = [{"name": name, "x": x, "y": y, "visibility": v} for name, (x, y, v) in joints.items()]
    return {"source_image": {"sha256": "photo"}, "keypoints": keypoints, "mask": mask, "bbox": bbox, "pair_id": "p"}


def keypoint_cases(row, view, groups):
    """One case per group, with its target drawn."""
    colors = (RED, ("blue", (0, 0, 255)), ("cyan", (0, 255, 255)))
    places = {joint["name"]: (joint["x"], joint["y"]) for joint in row["keypoints"]}
    for group in groups:
        shown = view.show_points(np.array([places[name] for name in group]))
        source = np.full((view.size, view.size, 3), 100, np.uint8)
        asked = colors[: len(group)]
        target = render_keypoints(source, shown, [rgb for _, rgb in asked], disc_radius(view.size))
        given = {"source": source, "target": target, "view": view, "joints": group, "colors": asked}
        yield make_case("p", row, keypoints=shown, **given)


JOINTS = {"nose": (130, 90, 2), "left wrist": (160, 140, 1), "right wrist": (110, 150, 2), "left hip": (0, 0, 0)}


def test_keypoints_go_back_to_source_pixels_through_several_samples():
    """A person in a corner of a large photo, shown twice as large: found to a quarter of a source pixel."""
    row = keypoint_row(JOINTS, bbox=[100.0, 80.0, 80.0, 80.0])
    groups = joint_groups(row, most=2)
    assert groups == [("nose", "right wrist"), ("left wrist",)]  # neighbours apart, the unlabelled left out
    cases = list(keypoint_cases(row, View(80, 60, 128, 128, 256), groups))
    person = merge_joints([read_joints(case.sample, case.sample.target, DECODER) for case in cases])
    assert person.score == 1.0
    for name, (x, y, visibility) in JOINTS.items():
        assert not visibility or math.dist(person.points[name], (x, y)) < 0.25
    values = measured("keypoint_detection", cases, [case.sample.target for case in cases])
    assert values["ap"].value == pytest.approx(1.0)
    assert values["ap"].num_samples == 1  # one person, two samples
    nothing = measured("keypoint_detection", cases, [case.sample.source for case in cases])
    assert nothing["ap"].value == 0.0


def test_the_size_of_a_person_is_the_masks_else_the_boxs():
    mask = np.zeros((20, 20), bool)
    mask[:5, :6] = True
    assert read_truth(keypoint_row(JOINTS, mask=encode_mask(mask), bbox=[0, 0, 10, 10])).area == 30
    assert read_truth(keypoint_row(JOINTS, bbox=[0, 0, 10, 12])).area == 120
    assert set(read_truth(keypoint_row(JOINTS, bbox=[0, 0, 10, 12])).keypoints) == set(JOINTS) - {"left hip"}
    with pytest.raises(MixError, match="a mask or a box"):
        read_truth(keypoint_row(JOINTS))


def test_enhancement_by_hand():
    """Ten levels off in every value, and one exact answer: mean of 28.13 dB and the cap."""
    case = make_case()
    values = measured("image_enhancement", [case, case], [case.sample.target + np.uint8(10), case.sample.target])
    assert values["psnr"].value == pytest.approx((20 * math.log10(255 / 10) + 100) / 2)
    assert values["capped_share"].value == 0.5
    assert 0.9 < values["ssim"].value < 1


def test_editing_by_hand():
    edit_mask = np.zeros((SIDE, SIDE), bool)
    edit_mask[: SIDE // 2] = True
    captioned = make_case("a", {"target_caption": "a sky"}, edit_mask=edit_mask)
    bare = make_case("b")
    prediction = captioned.sample.source.copy()
    prediction[:, : SIDE // 4] += 8  # a quarter of the pixels, half of them outside
    values = measured("image_editing", [captioned, bare], [prediction, bare.sample.source])
    assert values["text_similarity"].value == pytest.approx(102 / 255)
    assert values["text_similarity"].num_samples == 1
    assert values["source_similarity"].value == 1.0
    assert values["aesthetic"].value == pytest.approx((102 + 100) / 2)
    assert values["outside_difference"][1:3] == (2.0, 1)
    assert values["outside_changed_share"].value == 0.25
    assert values["psnr"].num_samples == 2


def test_numbers_of_helper_models_carry_their_names():
    """A score of an embedded backend cannot be taken for CLIP's."""
    values = measured("image_editing", [make_case()], [make_case().sample.source])
    backends = {name: metric.backend for name, metric in values.items()}
    similarities = {"text_similarity", "direction_similarity", "source_similarity", "target_similarity"}
    assert {backends.pop(name) for name in similarities} == {"pair_similarity=fixed@7"}
    assert backends.pop("aesthetic") == "aesthetic_scorer=level@1"
    assert set(backends.values()) == {None}


def test_a_helper_model_without_an_answer_is_an_error():
    helpers = HelperModels(FixedSimilarity(), FailingScorer())
    with pytest.raises(BackendError, match=r"no aesthetic_scorer for the prediction of pair pair: .*out of order"):
        measured("image_editing", [make_case()], [make_case().sample.source], helpers)


@pytest.mark.parametrize("size", [48, 64, 100, 128])
def test_outside_the_reach_of_the_mask_resizing_changes_nothing(size):
    """Photos that are equal outside a region stay so outside its reach; at their own size nothing is added."""
    rng = np.random.default_rng(size)
    source = rng.integers(0, 256, (80, 64, 3), dtype=np.uint8)
    mask = np.zeros((80, 64), bool)
    mask[30:41, 20:37] = True
    target = source.copy()
    target[mask] = 255 - target[mask]
    view = whole_view(80, 64, size)
    reached = reached_mask(view.show_mask(mask), view)
    differs = (view.show_image(source) != view.show_image(target)).any(axis=2)
    assert not (differs & ~reached).any()
    assert differs.sum() > 0.4 * reached.sum()
    same = View(0, 0, 64, 64, 64)
    assert np.array_equal(reached_mask(mask[:64], same), mask[:64])


def test_distances_stand_beside_target_and_source():
    """The prediction is the target: at 0 from it, and as far from the source as the source is from it."""
    target = np.full((SIDE, SIDE, 3), 160, np.uint8)
    target[:, ::2] = 40
    case = make_case(target=target)
    found = {"feature_similarity": "histogram", "perceptual_distance": "laplacian-pyramid"}
    helpers = HelperModels(
        FixedSimilarity(), LevelScorer(), **{role: load_backend(role, name) for role, name in found.items()}
    )
    values = measured("image_editing", [case], [target], helpers)
    assert values["perceptual_distance"].value == 0 < values["source_perceptual_distance"].value
    assert values["feature_similarity"].value == pytest.approx(1)
    assert values["source_feature_similarity"].value < 0.9
    assert values["perceptual_distance"].backend.startswith("perceptual_distance=laplacian-pyramid@")


def test_an_over_edit_pleases_a_text_and_keeps_nothing_in_place():
    """A red thing is there, as was asked for; but it moved, and so did all that should have stayed."""
    rng = np.random.default_rng(0)
    source = rng.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8)
    target, edit_mask = source.copy(), np.zeros((SIDE, SIDE), bool)
    edit_mask[8:24, 8:24] = True
    target[edit_mask] = RED[1]
    case = make_case(row={"target_caption": "a red box"}, source=source, target=target, edit_mask=edit_mask)
    helpers = HelperModels(load_backend("pair_similarity", "histogram"), LevelScorer())
    over = measured("image_editing", [case], OverEditPredictor().predict([case.sample], [0]), helpers)
    exact = measured("image_editing", [case], [target], helpers)
    for name in ("text_similarity", "aesthetic"):
        assert over[name].value == pytest.approx(exact[name].value, abs=1e-3)
    assert over["outside_changed_share"].value > 0.9 and exact["outside_changed_share"].value == 0
    assert over["l1"].value > 0.05 and exact["l1"].value == 0
