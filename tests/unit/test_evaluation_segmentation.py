"""Tables 3 and 4: GRES's definition read naively, label maps against torchmetrics, the merging and no-target rules."""

import numpy as np
import pytest
import torch
from evaluation_cases import RED, SIDE, make_case
from torchmetrics.classification import MulticlassJaccardIndex

from evaluation.decoders import ColorDecoder
from evaluation.metric_names import NO_TARGET_PIXELS
from evaluation.segmentation_measures import SegmentationMeasure, SemanticMeasure


class FixedDecoder:
    """Reads the first channel of a prediction as scores."""

    id = "fixed"

    def read_mask(self, sample, prediction):
        return prediction[..., 0].astype(np.float32) / 255


def blob(rng, share):
    """A rectangle of about that share of the picture."""
    mask = np.zeros((SIDE, SIDE), bool)
    if share:
        side = int(SIDE * np.sqrt(share))
        top, left = rng.integers(0, SIDE - side + 1, 2)
        mask[top : top + side, left : left + side] = True
    return mask


def case_of(pair_id, mask, image=None, label=None):
    photo = {"sha256": image or pair_id, "height": SIDE, "width": SIDE}
    return make_case(pair_id, {"label": label, "source_image": photo}, mask=mask, colors=(RED,))


def answer(mask):
    return np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255


def gres(pairs):
    """The definition of prior work, read sentence by sentence."""
    intersections = unions = 0
    ious, hits, empty, targeted = [], {0.7: 0, 0.8: 0, 0.9: 0}, [], []
    for marked, truth in pairs:
        if not truth.any():
            empty.append(not marked.any())
            ious.append(0.0 if marked.any() else 1.0)
            unions += marked.sum()
            continue
        targeted.append(marked.any())
        both, either = (marked & truth).sum(), (marked | truth).sum()
        ious.append(both / either)
        intersections, unions = intersections + both, unions + either
        for least in hits:
            hits[least] += both / either >= least
    precisions = {f"pr{round(100 * least)}": count / len(targeted) for least, count in hits.items()}
    means = {"giou": np.mean(ious), "n_acc": np.mean(empty), "t_acc": np.mean(targeted)}
    return {"ciou": intersections / unions, **means, **precisions}


def drawn_pairs(rng, count=60):
    for place in range(count):
        truth = blob(rng, [0, 0.1, 0.3][place % 3])
        marked = [truth, blob(rng, 0.2), np.zeros_like(truth), np.roll(truth, 1, axis=0)][place % 4]
        yield marked, truth


def test_every_metric_is_that_of_gres():
    pairs = list(drawn_pairs(np.random.default_rng(0)))
    measure = SegmentationMeasure(FixedDecoder(), sweep=True)
    for place, (marked, truth) in enumerate(pairs):
        measure.observe([case_of(f"pair {place}", truth)], [answer(marked)])
    metrics = {metric.name: metric for metric in measure.metrics()}
    expected = gres(pairs)
    for name, value in expected.items():
        assert metrics[name].value == pytest.approx(value, abs=1e-12), name
        low, high = metrics[name].interval
        assert low <= value <= high
        if f"{name}@0px" in metrics:
            assert metrics[f"{name}@0px"].value == metrics[name].value
    assert 0 < expected["n_acc"] < 1
    assert {f"n_acc@{rule}px" for rule in NO_TARGET_PIXELS} <= set(metrics)


@pytest.mark.parametrize("rule", [0, 50, 400])
def test_the_no_target_rule_empties_small_masks(rule):
    """At 64 pixels a side a mask of n pixels stands for n * 56.25 at 480."""
    rng = np.random.default_rng(1)
    pairs = []
    for _ in range(40):
        marked = np.zeros((SIDE, SIDE), bool)
        marked.flat[rng.choice(SIDE**2, rng.integers(0, 12), replace=False)] = True
        pairs.append((marked, blob(rng, rng.choice([0, 0.2]))))
    measure = SegmentationMeasure(FixedDecoder(), rule, sweep=True)
    for place, (marked, truth) in enumerate(pairs):
        measure.observe([case_of(f"pair {place}", truth)], [answer(marked)])
    metrics = {metric.name: metric.value for metric in measure.metrics()}
    limit = rule * (SIDE / 480) ** 2
    ruled = [(marked if marked.sum() >= limit else np.zeros_like(marked), truth) for marked, truth in pairs]
    for name, value in gres(ruled).items():
        assert metrics[name] == pytest.approx(value, abs=1e-12)
    for name in ("ciou", "n_acc"):
        assert metrics[f"{name}@{rule}px"] == pytest.approx(metrics[name], abs=1e-12)


def test_without_a_no_target_sample_nothing_is_swept():
    measure = SegmentationMeasure(FixedDecoder(), sweep=True)
    measure.observe([case_of("pair", blob(np.random.default_rng(0), 0.2))], [answer(np.ones((SIDE, SIDE), bool))])
    assert not any("@" in metric.name for metric in measure.metrics())


def test_merged_label_maps_are_torchmetrics_jaccard_index():
    """Four classes and void on five images; scores at random, so that classes overlap and gaps remain."""
    rng = np.random.default_rng(2)
    measure, predicted, true = SemanticMeasure(FixedDecoder()), [], []
    for image in range(5):
        truth = rng.integers(-1, 4, (SIDE, SIDE))
        present = [value for value in range(4) if (truth == value).any()]
        scores = rng.integers(0, 256, (len(present), SIDE, SIDE)).astype(np.uint8)
        for value, score in zip(present, scores, strict=True):
            case = case_of(f"{image}-{value}", truth == value, image=f"photo {image}", label=f"class {value}")
            measure.observe([case], [np.repeat(score[..., None], 3, axis=2)])
        best = scores.astype(np.float32) / 255
        merged = np.where(best.max(axis=0) > 0.5, np.array(present)[best.argmax(axis=0)], 4)
        predicted.append(merged)
        true.append(truth)
    index = MulticlassJaccardIndex(num_classes=5, ignore_index=-1, average=None)
    expected = index(torch.tensor(np.array(predicted)), torch.tensor(np.array(true)))[:4].mean()
    (miou, _) = measure.metrics()
    assert miou.value == pytest.approx(float(expected), abs=1e-6)
    assert miou.interval[0] < miou.value < miou.interval[1]


def test_equal_scores_go_to_the_first_class_and_unmarked_pixels_to_none():
    left, right = np.zeros((2, SIDE, SIDE), bool)
    left[:, : SIDE // 2], right[:, SIDE // 2 :] = True, True
    everything = answer(np.ones((SIDE, SIDE), bool))
    measure = SemanticMeasure(FixedDecoder())
    cases = [case_of("a", left, "photo", "cat"), case_of("b", right, "photo", "dog")]
    measure.observe(cases, [everything, everything])  # the cat takes all: IoU 1/2 and 0
    miou, ciou = measure.metrics()
    assert (miou.value, ciou.value) == (0.25, 0.5)
    assert miou.num_samples == 2


def test_the_color_decoder_gives_the_share_of_the_way():
    case = case_of("pair", np.ones((SIDE, SIDE), bool))
    source = case.sample.source  # grey 100, half-way to red
    full = ColorDecoder(0.5).read_mask(case.sample, np.full_like(source, (178, 50, 50)))
    third = ColorDecoder(0.5).read_mask(case.sample, np.full_like(source, (126, 83, 83)))
    assert full.mean() == pytest.approx(1, abs=0.01)
    assert third.mean() == pytest.approx(1 / 3, abs=0.01)
    assert ColorDecoder(0.5).id != ColorDecoder(0.75).id
