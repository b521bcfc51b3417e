"""Stored predictions: seeds by pair, one tar per batch, nothing predicted twice, bad answers refused."""

import tarfile

import numpy as np
import pytest

from catalog.errors import PredictionError, ShardError
from catalog.samples import Sample
from catalog.views import whole_view
from evaluation.predictions import (
    NoOpPredictor,
    OraclePredictor,
    denoising_seed,
    predict,
    stored_predictions,
)


def make_sample(pair_id, level=10, **given):
    picture = np.full((32, 32, 3), level, np.uint8)
    values = {"instruction": "x", "source": picture, "target": picture + 1, "view": whole_view(32, 32, 32)}
    return Sample(pair_id=pair_id, **(values | given))


class NoisePredictor:
    """Noise from the seed alone, and a count of calls."""

    def __init__(self, revision=1):
        self.checkpoint_sha256 = "c" * 64
        self.options = {"revision": revision}
        self.num_calls = 0

    def predict(self, samples, seeds):
        self.num_calls += 1
        return [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in seeds]


class Answering:
    """Answers with what it is given."""

    checkpoint_sha256 = None

    def __init__(self, answers):
        self.options = {}
        self._answers = answers

    def predict(self, samples, seeds):
        return self._answers


SAMPLES = [make_sample(f"pair {place}", place) for place in range(3)]


def test_seeds_belong_to_pairs():
    seeds = [denoising_seed(0, sample.pair_id) for sample in SAMPLES]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert denoising_seed(1, "pair 0") != seeds[0] == denoising_seed(0, "pair 0")


def test_an_image_does_not_depend_on_its_batch():
    together = predict(NoisePredictor(), SAMPLES, seed=0)
    alone = [predict(NoisePredictor(), [sample], seed=0)[0] for sample in SAMPLES]
    assert all(map(np.array_equal, together, alone))


def test_controls():
    assert all(map(np.array_equal, predict(NoOpPredictor(), SAMPLES, 0), [s.source for s in SAMPLES]))
    assert all(map(np.array_equal, predict(OraclePredictor(), SAMPLES, 0), [s.target for s in SAMPLES]))


def test_a_batch_is_predicted_once_and_kept_losslessly(tmp_path):
    predictor = NoisePredictor()
    first = stored_predictions(predictor, SAMPLES, 0, tmp_path)
    second = stored_predictions(predictor, SAMPLES, 0, tmp_path)
    assert predictor.num_calls == 1
    assert all(map(np.array_equal, first, second))
    assert all(map(np.array_equal, first, predict(NoisePredictor(), SAMPLES, 0)))
    (path,) = tmp_path.iterdir()
    assert path.suffix == ".tar"
    with tarfile.open(path) as tar:
        assert [name[:4] for name in tar.getnames()] == ["000-", "001-", "002-"]


@pytest.mark.parametrize(
    ("predictor", "samples", "seed"),
    [
        (NoisePredictor(revision=2), SAMPLES, 0),
        (NoisePredictor(), SAMPLES, 1),
        (NoisePredictor(), SAMPLES[:2], 0),
        (NoisePredictor(), SAMPLES[::-1], 0),
        (NoisePredictor(), [*SAMPLES[:2], make_sample("pair 2", 2, instruction="y")], 0),
        (NoisePredictor(), [*SAMPLES[:2], make_sample("pair 2", 3)], 0),
    ],
)
def test_any_other_input_is_another_batch(predictor, samples, seed, tmp_path):
    stored_predictions(NoisePredictor(), SAMPLES, 0, tmp_path)
    stored_predictions(predictor, samples, seed, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_two_folders_hold_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        stored_predictions(NoisePredictor(), SAMPLES, 0, tmp_path / name)
    one, two = sorted(tmp_path.glob("*/*.tar"))
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_a_failed_prediction_leaves_nothing(tmp_path):
    with pytest.raises(PredictionError):
        stored_predictions(Answering([]), SAMPLES, 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncate", "replace", "picture"])
def test_a_torn_or_foreign_batch_is_refused_by_name(damage, tmp_path):
    stored_predictions(NoisePredictor(), SAMPLES, 0, tmp_path)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 3])
    elif damage == "replace":
        path.write_bytes(b"something else")
    else:
        path.write_bytes(data.replace(b"IDAT", b"IDAX"))
    with pytest.raises(ShardError, match=rf"{path.name} is torn or foreign .* delete it"):
        stored_predictions(NoisePredictor(), SAMPLES, 0, tmp_path)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([SAMPLES[0].source] * 2, r"3 pairs need as many predictions\. Got 2"),
        ([SAMPLES[0].source[:8]] * 3, r"pair 0 must be uint8 of shape \(32, 32, 3\).* Got uint8 of shape \(8, 32, 3\)"),
        ([np.full((32, 32, 3), np.nan)] * 3, "Got float64 .* with values that are not finite"),
        ([np.zeros((32, 32, 3))] * 3, r"Got float64 of shape \(32, 32, 3\)$"),
    ],
)
def test_bad_answers_are_one_sentence(answers, message):
    with pytest.raises(PredictionError, match=message):
        predict(Answering(answers), SAMPLES, 0)
