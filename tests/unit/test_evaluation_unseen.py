"""Unseen tasks (Figure 11): boxes, classes and faces by hand, by pycocotools, and with a perfect oracle."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from catalog import command_line
from catalog.digests import bytes_digest
from catalog.errors import ConfigError, PredictionError
from catalog.images import encode_png
from catalog.instruction_templates import read_templates
from catalog.masks import encode_mask
from catalog.render_styles import RenderStyle
from catalog.roots import Roots
from catalog.schema import MIX
from evaluation.box_precision import FoundBox, TrueBox, box_precision
from evaluation.cases import HeldOutRow
from evaluation.commands import main
from evaluation.decoders import ColorDecoder
from evaluation.unseen_boxes import Detection, marked_parts
from evaluation.unseen_classes import Classification, ClassificationMeasure
from evaluation.unseen_faces import FaceAlignment, eye_distance, landmark_errors
from evaluation.unseen_options import UnseenOptions
from evaluation.unseen_tasks import PROMPTS, unseen_cases

# -- boxes ------------------------------------------------------------------------------------------------------------

TRUTH = TrueBox("a", "dog", (10.0, 10.0, 10.0, 10.0))


def found(box, score=0.5, image="a", label="dog"):
    return FoundBox(image, label, box, score)


@pytest.mark.parametrize(
    ("boxes", "ap", "ap50", "ap75"),
    [
        ([found(TRUTH.box)], 1.0, 1.0, 1.0),
        ([], 0.0, 0.0, 0.0),
        ([found((10.0, 10.0, 10.0, 6.2))], 0.3, 1.0, 0.0),  # IoU 0.62 passes 0.50, 0.55 and 0.60 of ten thresholds
        ([found((10.0, 10.0, 10.0, 7.6))], 0.6, 1.0, 1.0),  # 0.76 passes six
        ([found(TRUTH.box, image="b")], 0.0, 0.0, 0.0),
        ([found(TRUTH.box, label="cat")], 0.0, 0.0, 0.0),
        ([found((50.0, 50.0, 9.0, 9.0), 0.9), found(TRUTH.box, 0.4)], 0.5, 0.5, 0.5),  # a false one first: 1 of 2
        ([found((50.0, 50.0, 9.0, 9.0), 0.3), found(TRUTH.box, 0.4)], 1.0, 1.0, 1.0),
    ],
)
def test_box_precision_by_hand(boxes, ap, ap50, ap75):
    result = box_precision(boxes, [TRUTH])
    assert (result.ap, result.ap50, result.ap75) == (pytest.approx(ap), pytest.approx(ap50), pytest.approx(ap75))


def scene(seed: int) -> tuple[list[FoundBox], list[TrueBox]]:
    rng = np.random.default_rng(seed)
    truths, boxes = [], []
    for image in "abcdef":
        for _ in range(rng.integers(1, 4)):
            label = str(rng.choice(["cat", "dog"]))
            box = tuple(float(value) for value in (*rng.uniform(0, 60, 2), *rng.uniform(8, 30, 2)))
            truths.append(TrueBox(image, label, box))
            if rng.random() < 0.8:
                moved = tuple(value + float(rng.normal(0, 1.5)) for value in box)
                boxes.append(FoundBox(image, label, moved, float(rng.random())))
    return boxes, truths


def coco_precision(boxes: list[FoundBox], truths: list[TrueBox]) -> np.ndarray:
    """pycocotools as its documentation uses it: result files, its own area ranges."""
    images, labels = sorted({one.image for one in truths}), sorted({one.label for one in truths})
    dataset = {
        "info": {},
        "images": [{"id": number} for number in range(1, len(images) + 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(labels, 1)],
        "annotations": [
            {
                "id": number,
                "iscrowd": 0,
                "area": one.box[2] * one.box[3],
                "bbox": list(one.box),
                "image_id": 1 + images.index(one.image),
                "category_id": 1 + labels.index(one.label),
            }
            for number, one in enumerate(truths, 1)
        ],
    }
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    results = [
        {
            "image_id": 1 + images.index(one.image),
            "category_id": 1 + labels.index(one.label),
            "bbox": list(one.box),
            "score": one.score,
        }
        for one in boxes
    ]
    evaluator = COCOeval(coco, coco.loadRes(results), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator.stats[:3]


@pytest.mark.parametrize("seed", range(2))
def test_box_precision_is_that_of_pycocotools(seed):
    boxes, truths = scene(seed)
    result = box_precision(boxes, truths)
    assert (result.ap, result.ap50, result.ap75) == pytest.approx(tuple(coco_precision(boxes, truths)))
    assert result == box_precision(boxes[::-1], truths[::-1])  # the order of rows does not matter
    assert result.ap_interval[0] <= result.ap <= result.ap_interval[1]


def test_interval_of_every_image_once_is_the_value(monkeypatch):
    """The resampled statistic at weights of 1 is the plain one: both come from the same matches."""
    boxes, truths = scene(1)
    ones = [np.ones((1, 6))]
    monkeypatch.setattr("evaluation.box_precision.resamples", lambda count: ones)
    result = box_precision(boxes, truths)
    assert result.ap_interval == pytest.approx((result.ap, result.ap))
    assert result.ap75_interval == pytest.approx((result.ap75, result.ap75))


def test_interval_resamples_photos_not_questions():
    """Twice the questions about the same photos say nothing more: the interval stays as it was."""
    boxes, truths = scene(1)
    once = box_precision(boxes, truths)
    twice = [[replace(one, image=f"{one.image}{part}") for one in given for part in "xy"] for given in (boxes, truths)]
    photos = {f"{image}{part}": image for image in "abcdef" for part in "xy"}
    again = box_precision(*twice, photos=photos)
    assert again.ap == pytest.approx(once.ap) and again.ap50_interval == pytest.approx(once.ap50_interval)
    assert box_precision(*twice).ap50_interval != pytest.approx(once.ap50_interval)


def test_boxes_that_are_none_are_refused():
    with pytest.raises(PredictionError, match="finite"):
        box_precision([found((0.0, 0.0, float("nan"), 1.0))], [TRUTH])
    with pytest.raises(PredictionError, match="area"):
        box_precision([], [TrueBox("a", "dog", (0.0, 0.0, 0.0, 1.0))])
    with pytest.raises(PredictionError, match="score"):
        box_precision([found(TRUTH.box, float("inf"))], [TRUTH])
    assert box_precision([found(TRUTH.box)], []) is None


def test_parts_of_a_marked_region():
    marked = np.zeros((20, 20), bool)
    marked[2:8, 2:8] = marked[12:18, 12:18] = marked[0, 19] = True
    assert [np.count_nonzero(part) for part in marked_parts(marked, 0.0, is_one=True)] == [73]
    assert sorted(np.count_nonzero(part) for part in marked_parts(marked, 0.0, is_one=False)) == [1, 36, 36]
    assert [np.count_nonzero(part) for part in marked_parts(marked, 0.05, is_one=True)] == [72]
    assert marked_parts(np.zeros((4, 4), bool), 0.0, is_one=True) == []


# -- classes ----------------------------------------------------------------------------------------------------------


def answer(measure: ClassificationMeasure, photo: str, truth: str, shares: dict[str, float]) -> None:
    measure._marked[photo], measure._truths[photo] = shares, truth


def test_accuracy_by_hand():
    measure = ClassificationMeasure(None, least_marked=0.01)
    answer(measure, "right", "cat", {"cat": 0.3, "dog": 0.1})  # cat: yes, right; dog: yes, wrong
    answer(measure, "wrong", "cat", {"cat": 0.0, "dog": 0.2})  # both wrong
    answer(measure, "silent", "cat", {"cat": 0.0, "dog": 0.0, "cow": 0.0, "hen": 0.0})  # no, no, no, no
    answer(measure, "undecided", "cat", {"cat": 0.2, "dog": 0.2})
    found = {metric.name: (metric.value, metric.num_samples) for metric in measure.metrics()}
    assert found["accuracy"] == (0.25, 4)
    assert found["verification_accuracy"] == (pytest.approx((1 + 0 + 3 + 1) / 10), 10)
    assert found["chance"] == (pytest.approx((0.5 + 0.5 + 0.25 + 0.5) / 4), 4)


def region(photo: str, label: str, pixels: int, **more) -> HeldOutRow:
    mask = np.zeros((8, 8), bool)
    mask.flat[:pixels] = True
    row = dict.fromkeys(MIX.names) | {"pair_id": f"{photo}-{label}", "label": label, "mask": encode_mask(mask)}
    return HeldOutRow(0, row | {"source_image": {"sha256": photo}} | more)


CLASSES = ["cat", "cow", "dog", "hen", "sky", "tree"]


def test_classification_asks_for_the_largest_object_and_what_is_not_there():
    known = {"class_names": CLASSES, "present_classes": ["cat", "dog", "sky"]}  # the sky has no region of its own
    rows = [region("1", "cat", 9, **known), region("1", "dog", 4, **known)]
    questions = [one.row for one in Classification(UnseenOptions()).questions(rows)]
    assert {row["label"] for row in questions} == {"cat", "cow", "hen", "tree"}
    assert {row["truth"] for row in questions} == {"cat"} and len({row["pair_id"] for row in questions}) == 4
    assert len(Classification(UnseenOptions(num_classes=2)).questions(rows)) == 2
    everything = region("5", "cat", 9, class_names=["cat"], present_classes=["cat"])
    assert Classification(UnseenOptions()).questions([everything]) == []  # nothing to tell it from


def test_photos_that_do_not_say_what_they_show_are_left_out_and_counted():
    """Of regions alone nobody knows whether the photo shows a dog, too."""
    rows = [region("1", "cat", 9), region("2", "dog", 4, class_names=CLASSES, present_classes=["dog"])]
    task = Classification(UnseenOptions())
    assert {one.row["question"] for one in task.questions(rows)} == {"2"} and task.photos_left_out == 1
    assert task.questions(rows[:1]) == [] and task.photos_left_out == 1


# -- faces ------------------------------------------------------------------------------------------------------------


def joint(name: str, x: float, y: float, visibility: int = 2) -> dict:
    return {"name": name, "x": x, "y": y, "visibility": visibility}


FACE = [joint("left eye", 40, 30), joint("right eye", 10, 30), joint("nose", 25, 45), joint("left ear", 0, 0, 0)]


def test_nme_by_hand():
    """Eyes 30 pixels apart; errors of 0, 3 and, not found, a whole distance."""
    distance = eye_distance(FACE, ("left eye", "right eye"))
    assert distance == 30.0
    errors = landmark_errors({"left eye": (40.0, 30.0), "right eye": (10.0, 33.0), "nose": None}, FACE, distance)
    assert errors == [0.0, pytest.approx(0.1), 1.0]  # the ear is not labelled
    assert np.mean(errors) == pytest.approx(1.1 / 3)


def test_faces_without_two_eyes_are_not_asked_about():
    rows = [dict.fromkeys(MIX.names) | {"keypoints": joints} for joints in (FACE, FACE[1:], None)]
    rows.append({**rows[0], "keypoints": [joint("left eye", 5, 5), joint("right eye", 5, 5)]})
    rows.append({**rows[0], "keypoints": [joint("left knee", 5, 5), *FACE], "bbox": [0.0, 0.0, 90.0, 90.0]})
    questions = FaceAlignment(UnseenOptions()).questions([HeldOutRow(n, row) for n, row in enumerate(rows)])
    assert [one.index for one in questions] == [0, 4]
    assert questions[1].row["bbox"] is None and "left knee" not in {
        one["name"] for one in questions[1].row["keypoints"]
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes"),
        ({"min_part": 1.0}, "min_part"),
        ({"least_marked": 0.0}, "least_marked"),
        ({"eyes": ("left eye", "left eye")}, "two landmarks"),
        ({"eyes": ("left eye", "chin")}, "among the landmarks"),
    ],
)
def test_options_out_of_range_are_one_sentence(options, message):
    with pytest.raises(ConfigError, match=message):
        UnseenOptions(**options)


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*/*.txt")), ids=lambda path: path.parent.name)
def test_prompts_are_template_files(path):
    assert len(read_templates(path.stem, path.parent)) >= 2


# -- the whole way ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mix(tmp_path_factory) -> Path:
    """Three photos with two objects each, one phrase that means two objects apart, and two faces."""
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "data").mkdir()
    rng, store, rows = np.random.default_rng(0), bytearray(), []

    def photo() -> dict:
        data = encode_png(rng.integers(60, 120, (120, 160, 3), np.uint8))
        place = {"root": "made", "path": "images.bin", "offset": len(store), "length": len(data)}
        store.extend(data)
        return {**place, "sha256": bytes_digest(data), "width": 160, "height": 120}

    def add(image: dict, vision_task: str, **columns) -> None:
        facts = {"split": "val", "pair_id": f"pair-{len(rows)}", "group_id": image["sha256"], "dataset": "made"}
        rows.append(dict.fromkeys(MIX.names) | facts | {"source_image": image, "vision_task": vision_task} | columns)

    def mask(top: int, left: int, height: int, width: int) -> dict:
        found = np.zeros((120, 160), bool)
        found[top : top + height, left : left + width] = True
        return encode_mask(found)

    labels = ("cat", "dog", "cow", "hen", "pig", "cup")
    for number in range(3):
        image, shown = photo(), labels[2 * number : 2 * number + 2]
        known = {"class_names": list(labels), "present_classes": list(shown)}
        left, right = mask(10, 9 + number, 60, 45), mask(33, 97, 21, 30 + number)
        add(image, "segmentation", label=shown[0], phrase="left one", mask=left, **known)
        add(image, "segmentation", label=shown[1], phrase="right one", mask=right, **known)
    image = photo()
    for left in (5, 90):
        add(image, "segmentation", label="cat", phrase="both cats", mask=mask(20, left, 50, 40))
    for shift in (0, 7):
        joints = [joint("left eye", 95, 40 + shift), joint("right eye", 50, 42), joint("nose", 70, 70)]
        add(photo(), "keypoint_detection", label="person", keypoints=[*joints, joint("left knee", 20, 110)])
    (folder / "data" / "images.bin").write_bytes(store)
    (folder / "roots.json").write_text(json.dumps({"made": "data"}))
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), folder / "mix.parquet")
    return folder / "mix.parquet"


def run(mix: Path, tmp_path: Path, *more: object) -> dict[tuple[str, str], float]:
    arguments = ["unseen", "--mix", mix, "--output", tmp_path / "out", "--size", 128, *more]
    assert command_line.run(main, [str(one) for one in arguments]) == 0
    rows = pq.read_table(tmp_path / "out" / "metrics.parquet").to_pylist()
    return {(row["benchmark"], row["metric"]): row["value"] for row in rows}


def test_a_perfect_oracle_gets_everything(mix, tmp_path):
    values = run(mix, tmp_path, "--control", "oracle")
    assert [values["detection/val", name] for name in ("ap", "ap50", "ap75")] == [1.0, 1.0, 1.0]
    assert values["classification/val", "accuracy"] == values["classification/val", "verification_accuracy"] == 1.0
    assert values["classification/val", "chance"] == pytest.approx(1 / 5, abs=0.02)
    assert values["classification/val", "photos_left_out"] == 1
    assert values["face_alignment/val", "nme"] < 0.02
    assert values["face_alignment/val", "found_share"] == 1.0 and values["face_alignment/val", "failure_rate"] == 0.0
    assert "detection/val | ap | 100.00" in (tmp_path / "out" / "metrics.md").read_text()
    assert (tmp_path / "out" / "face_alignment.png").is_file()


def test_a_no_op_gets_nothing_and_a_limit_counts_photos(mix, tmp_path):
    values = run(mix, tmp_path, "--control", "no-op", "--limit", 1)
    assert values["detection/val", "ap"] == values["classification/val", "accuracy"] == 0.0
    assert values["classification/val/oracle", "accuracy"] == 1.0
    assert values["face_alignment/val", "nme"] == 1.0 == values["face_alignment/val", "failure_rate"]


def test_a_shuffled_oracle_is_far_below(mix, tmp_path):
    values = run(mix, tmp_path, "--control", "shuffled-oracle", "--task", "classification")
    assert values["classification/val", "accuracy"] < 0.5


def test_an_answer_about_another_object_of_the_photo_is_wrong(mix):
    """The man on the left, asked for and answered by the one on the right, and the other way round."""
    rows = [HeldOutRow(n, row) for n, row in enumerate(pq.read_table(mix).to_pylist()) if row["mask"]][:2]
    asked = [HeldOutRow(one.index, {**one.row, "label": "man"}) for one in rows]
    task, roots, render = Detection(UnseenOptions()), Roots.read(mix.parent / "roots.json"), RenderStyle().at_size(128)
    cases = [case for one in task.questions(asked) for case in unseen_cases(task, one, roots, 0, render)]
    pictures = [case.sample.target for case in cases]
    for answers, ap in ((pictures, 1.0), (pictures[::-1], 0.0)):
        measure = task.make_measure(ColorDecoder(render.alpha, render.radius))
        measure.observe(cases, answers)
        found = {metric.name: metric for metric in measure.metrics()}
        assert len(cases) == 2 and found["ap"].value == ap and found["ap"].interval is None  # of one photo


def test_a_shuffled_oracle_finds_no_box(mix, tmp_path):
    values = run(mix, tmp_path, "--control", "shuffled-oracle", "--task", "detection")
    assert values["detection/val", "ap50"] < 0.2


def test_nothing_to_ask_is_one_sentence(mix, tmp_path, capsys):
    faces = pq.read_table(mix)
    other = mix.parent / "faces.parquet"
    kept = [row for row in faces.to_pylist() if row["vision_task"] == "keypoint_detection"]
    pq.write_table(pa.Table.from_pylist(kept, schema=MIX), other)
    arguments = ["unseen", "--mix", other, "--output", tmp_path, "--control", "oracle", "--task", "detection"]
    assert command_line.run(main, [str(one) for one in arguments]) == 2
    assert "no row of split 'val' that detection can be asked of" in capsys.readouterr().err
    assert run(other, tmp_path, "--control", "oracle")["face_alignment/val", "failure_rate"] == 0.0
    assert "left out" in (shown := capsys.readouterr().out) and "that classification can be asked of" in shown


def test_questions_of_a_phrase_join_what_it_means(mix):
    rows = [HeldOutRow(n, row) for n, row in enumerate(pq.read_table(mix).to_pylist()) if row["mask"]]
    questions = Detection(UnseenOptions()).questions(rows)
    assert sorted(len(one.row["masks"]) for one in questions) == [1] * 6 + [2]
