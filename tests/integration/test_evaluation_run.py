"""Evaluation of a small mix of all vision tasks, end to end: controls, completeness, determinism, bad input."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import command_line
from catalog.digests import bytes_digest, file_digest
from catalog.errors import ConfigError, MixError, PredictionError
from catalog.images import encode_png
from catalog.masks import encode_mask
from catalog.model_tables import METRICS
from catalog.parquet_streams import mix_digest
from catalog.schema import MIX
from evaluation.commands import main
from evaluation.helper_models import HelperModels
from evaluation.metric_names import METRICS_OF
from evaluation.predictions import NoOpPredictor, OraclePredictor
from evaluation.run import EvaluationOptions, evaluate
from tasks.backends.registry import load_backend

SIDE = 160
OPTIONS = EvaluationOptions(size=128, batch_size=3)
NOISE = 10  # levels between source and target of the enhancement pairs
JOINTS = {"nose": (60, 50), "left shoulder": (80, 75), "right shoulder": (45, 76), "left hip": (75, 110)}


class Images:
    """Pictures in one file, as a shard's tar holds them."""

    def __init__(self, folder):
        self._path = folder / "images.bin"
        self._data = b""

    def add(self, picture):
        data = encode_png(picture)
        place = {"root": "made", "path": "images.bin", "offset": len(self._data), "length": len(data)}
        self._data += data
        self._path.write_bytes(self._data)
        height, width = picture.shape[:2]
        return {**place, "sha256": bytes_digest(data), "width": width, "height": height}


def texture(rng, low=60, high=120):
    """A picture of dull levels, far from every colour that is drawn."""
    return rng.integers(low, high, (SIDE, SIDE, 3), dtype=np.uint8)


def rows_of(images, rng, place):
    """One pair of each vision task; positions differ from one place to the next."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[40 : 90 + 10 * place, 30:100] = True
    code = encode_mask(mask)
    photo, blank = images.add(texture(rng)), encode_mask(np.zeros((SIDE, SIDE), bool))
    clean = texture(rng)
    removed = texture(rng)
    before = removed.copy()
    before[mask] = 200
    move = 12 * place
    keypoints = [{"name": n, "x": x + move, "y": y + 0.0, "visibility": 2} for n, (x, y) in JOINTS.items()]
    yield {"vision_task": "segmentation", "source_image": photo, "mask": code, "phrase": "box", "label": "box"}
    yield {"vision_task": "segmentation", "source_image": photo, "mask": blank, "phrase": "red bird"}
    yield {
        "vision_task": "keypoint_detection",
        "source_image": images.add(texture(rng)),
        "keypoints": keypoints,
        "bbox": [30.0 + move, 35.0, 70.0, 100.0],
        "label": "person",
    }
    yield {
        "vision_task": "image_enhancement",
        "edit_type": "denoising",
        "source_image": images.add(clean + np.uint8(NOISE)),
        "target_image": images.add(clean),
    }
    for edit_type, source, target in (("object_removal", before, removed), ("object_addition", removed, before)):
        yield {
            "vision_task": "image_editing",
            "edit_type": edit_type,
            "source_image": images.add(source),
            "target_image": images.add(target),
            "edit_mask": code,
            "instruction": edit_type.replace("_", " "),
            "target_caption": "a gray wall" if edit_type == "object_removal" else None,
        }


def write_mix(path, rows):
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), path)


@pytest.fixture(scope="module")
def mix(tmp_path_factory):
    """Four pairs of each kind in split val, and a training row that no evaluation may touch."""
    folder = tmp_path_factory.mktemp("catalog")
    (folder / "data").mkdir()
    images, rng = Images(folder / "data"), np.random.default_rng(0)
    rows = []
    for place in range(4):
        for kind, row in enumerate(rows_of(images, rng, place)):
            pair_id = f"pair {kind}-{place}"
            rows.append({"split": "val", "pair_id": pair_id, "group_id": pair_id, "dataset": "made", **row})
    gone = {**rows[0]["source_image"], "path": "gone.bin"}
    training = {**rows[0], "split": "train", "position": 0, "pair_id": "training", "source_image": gone}
    write_mix(folder / "mix.parquet", [training, *rows])
    (folder / "roots.json").write_text(json.dumps({"made": "data"}))
    return folder / "mix.parquet"


@pytest.fixture(scope="module")
def helpers():
    return HelperModels(
        load_backend("pair_similarity", "histogram"),
        load_backend("aesthetic_scorer", "image-statistics"),
        load_backend("feature_similarity", "histogram"),
        load_backend("perceptual_distance", "laplacian-pyramid"),
    )


class ShuffledOracle:
    """Answers with the target of the next sample of the batch."""

    checkpoint_sha256 = "5" * 64
    options = {"made": "shuffled"}  # noqa: RUF012

    def __init__(self):
        self.num_predicted = 0
        self.fail_after = None

    def predict(self, samples, seeds):
        if self.fail_after is not None and self.num_predicted >= self.fail_after:
            raise KeyboardInterrupt
        self.num_predicted += len(samples)
        targets = [sample.target for sample in samples]
        return targets[1:] + targets[:1]


class Answering:
    """Answers every batch with what ``answer`` makes of it."""

    checkpoint_sha256 = "6" * 64

    def __init__(self, answer):
        self.options = {}
        self._answer = answer

    def predict(self, samples, seeds):
        return self._answer([sample.source for sample in samples])


def values_of(rows):
    return {(row["benchmark"], row["metric"]): row["value"] for row in rows}


@pytest.fixture(scope="module")
def shuffled(mix, helpers, tmp_path_factory):
    """Rows of the shuffled oracle, beside those of both controls."""
    return evaluate(ShuffledOracle(), mix, tmp_path_factory.mktemp("shuffled"), helpers, OPTIONS)


PERFECT = {
    ("segmentation/val", "ciou"): 1.0,
    ("segmentation/val", "giou"): 1.0,
    ("segmentation/val", "miou"): 1.0,
    ("segmentation/val", "n_acc"): 1.0,
    ("segmentation/val", "pr90"): 1.0,
    ("keypoint_detection/val", "ap"): 1.0,
    ("image_enhancement/denoising/val", "psnr"): 100.0,
    ("image_enhancement/denoising/val", "ssim"): 1.0,
    ("image_editing/object_removal/val", "psnr"): 100.0,
    ("image_editing/object_removal/val", "outside_difference"): 0.0,
    ("image_editing/object_addition/val", "outside_changed_share"): 0.0,
}

UNCHANGED = {
    ("segmentation/val", "ciou"): 0.0,  # four targets missed, four no-targets left empty
    ("segmentation/val", "giou"): 0.5,
    ("segmentation/val", "miou"): 0.0,
    ("segmentation/val", "n_acc"): 1.0,
    ("segmentation/val", "t_acc"): 0.0,
    ("keypoint_detection/val", "ap"): 0.0,
    ("image_enhancement/denoising/val", "psnr"): 20 * np.log10(255 / NOISE),
    ("image_editing/object_removal/val", "source_similarity"): 1.0,
    ("image_editing/object_removal/val", "outside_difference"): 0.0,
}


@pytest.mark.parametrize(
    ("predictor", "expected"), [(OraclePredictor(), PERFECT), (NoOpPredictor(), UNCHANGED)], ids=["oracle", "no-op"]
)
def test_controls_have_the_values_worked_out_by_hand(predictor, expected, mix, helpers, tmp_path):
    rows = evaluate(predictor, mix, tmp_path, helpers, OPTIONS)
    values = values_of(rows)
    for key, value in expected.items():
        assert values[key] == pytest.approx(value, abs=1e-6), key
    control = predictor.options["control"]
    for row in rows:  # a control gives the same as the control's row beside it
        if row["benchmark"].endswith("/val"):
            assert row["value"] == values[f"{row['benchmark']}/{control}", row["metric"]]


def test_a_shuffled_oracle_is_worse_everywhere(shuffled):
    values = values_of(shuffled)
    for (benchmark, metric), best in PERFECT.items():
        if not metric.startswith("outside"):
            assert values[benchmark, metric] < best - 0.05, (benchmark, metric)
        else:
            assert values[benchmark, metric] > 0
    for (benchmark, metric), value in PERFECT.items():
        assert values[f"{benchmark}/oracle", metric] == pytest.approx(value, abs=1e-6)


def test_rows_name_what_they_come_from(shuffled, mix):
    assert len({(row["benchmark"], row["metric"]) for row in shuffled}) == len(shuffled)
    assert {row["mix_sha256"] for row in shuffled} == {mix_digest(mix)}
    for row in shuffled:
        is_control = row["benchmark"].endswith(("/no-op", "/over-edit", "/oracle"))
        assert row["checkpoint_sha256"] == (None if is_control else "5" * 64)
        needs_helper = any(word in row["metric"] for word in ("similarity", "aesthetic", "perceptual"))
        assert (row["backend"] is not None) == needs_helper
        assert json.loads(row["config"])["split"] == "val"
    names = {name for name in METRICS_OF["image_editing"]}
    assert {row["metric"] for row in shuffled if row["benchmark"] == "image_editing/object_removal/val"} == names


def test_every_pair_is_counted(shuffled):
    counts = {(row["benchmark"], row["metric"]): row["num_samples"] for row in shuffled}
    assert counts["segmentation/val", "ciou"] == 8
    assert counts["segmentation/val", "miou"] == 4  # with a class label
    assert counts["keypoint_detection/val", "ap"] == 4
    assert counts["image_editing/object_addition/val", "psnr"] == 4
    assert counts["image_editing/object_addition/val", "text_similarity"] == 0  # no caption
    assert values_of(shuffled)["image_editing/object_addition/val", "text_similarity"] is None


def test_two_runs_give_the_same_bytes(mix, helpers, tmp_path):
    for name in ("one", "two"):
        evaluate(ShuffledOracle(), mix, tmp_path / name, helpers, OPTIONS)
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two
    assert {"metrics.parquet", "predictions.png"} <= {path.name for path in one}
    assert pq.read_schema(tmp_path / "one" / "metrics.parquet").equals(METRICS)


def test_what_is_finished_is_read_back(mix, helpers, tmp_path):
    predictor = ShuffledOracle()
    first = evaluate(predictor, mix, tmp_path, helpers, OPTIONS)
    count = predictor.num_predicted
    evaluate(NoOpPredictor(), mix, tmp_path, helpers, OPTIONS)
    assert evaluate(predictor, mix, tmp_path, helpers, OPTIONS) == first
    assert predictor.num_predicted == count
    assert pq.read_table(tmp_path / "metrics.parquet").to_pylist() == first  # the evaluation that ran last
    finished = [path.name for path in (tmp_path / "evaluations").glob("*.parquet")]
    assert len([name for name in finished if not name.endswith(".cases.parquet")]) == 2


def test_metrics_are_computed_again_without_predicting(mix, helpers, tmp_path):
    predictor = ShuffledOracle()
    first = evaluate(predictor, mix, tmp_path, helpers, OPTIONS)
    count = predictor.num_predicted
    for path in (tmp_path / "evaluations").iterdir():
        path.unlink()
    assert evaluate(predictor, mix, tmp_path, helpers, OPTIONS) == first
    assert predictor.num_predicted == count


def test_an_interrupted_run_goes_on_where_it_was(mix, helpers, tmp_path, shuffled):
    predictor = ShuffledOracle()
    predictor.fail_after = 9
    with pytest.raises(KeyboardInterrupt):
        evaluate(predictor, mix, tmp_path, helpers, OPTIONS)
    assert not (tmp_path / "metrics.parquet").exists()
    predictor.fail_after = None
    assert evaluate(predictor, mix, tmp_path, helpers, OPTIONS) == shuffled
    again = ShuffledOracle()
    evaluate(again, mix, tmp_path / "elsewhere", helpers, OPTIONS)
    assert predictor.num_predicted == again.num_predicted  # nothing was predicted twice
    assert not list(tmp_path.rglob("*.tmp"))


def test_limit_takes_some_of_each_benchmark(mix, helpers, tmp_path):
    rows = evaluate(NoOpPredictor(), mix, tmp_path, helpers, EvaluationOptions(size=128, limit=1))
    counts = {row["benchmark"]: row["num_samples"] for row in rows if row["metric"] in ("ciou", "ap", "psnr")}
    assert set(counts.values()) == {1}
    assert {name.split("/")[0] for name in counts} == set(METRICS_OF)


def test_progress_is_told(mix, helpers, tmp_path):
    seen = []
    evaluate(NoOpPredictor(), mix, tmp_path, helpers, OPTIONS, lambda *step: seen.append(step))
    assert ("keypoint_detection/val", 4, 4) in seen
    assert ("segmentation/val", 8, 8) in seen


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda sources: sources[:-1], r"3 pairs need as many predictions\. Got 2"),
        (
            lambda sources: [source[:64] for source in sources],
            r"must be uint8 of shape \(128, 128, 3\).*\(64, 128, 3\)",
        ),
        (lambda sources: [source * np.nan for source in sources], "values that are not finite"),
    ],
    ids=["missing", "wrong size", "NaN"],
)
def test_a_bad_prediction_is_an_error_not_a_smaller_mean(answer, message, mix, helpers, tmp_path):
    with pytest.raises(PredictionError, match=message):
        evaluate(Answering(answer), mix, tmp_path, helpers, OPTIONS)
    assert not (tmp_path / "metrics.parquet").exists()


class ForgetfulSimilarity:
    """Has no number for pictures brighter than the photos."""

    name, revision, device = "forgetful", "1", "cpu"

    def similarity(self, sources, targets, source_captions, target_captions):
        known = np.array([np.nan if target.mean() > 150 else 0.5 for target in targets])
        names = ("image_similarity", "source_text_similarity", "target_text_similarity", "direction_similarity")
        return dict.fromkeys(names, known)


def test_a_number_missing_for_some_predictions_is_an_error(mix, helpers, tmp_path):
    forgetful = HelperModels(ForgetfulSimilarity(), helpers.aesthetic_scorer)
    brighter = Answering(lambda sources: [source + np.uint8(100) for source in sources])
    with pytest.raises(PredictionError, match=r"text_similarity must be measured on all 4 samples\. Got 0"):
        evaluate(brighter, mix, tmp_path, forgetful, OPTIONS)


def changed_mix(mix, folder, change):
    """A copy of the mix with other validation rows."""
    (folder / "roots.json").write_text(json.dumps({"made": str(mix.parent / "data")}))
    rows = pq.read_table(mix).to_pylist()
    write_mix(folder / "mix.parquet", change(rows))
    return folder / "mix.parquet"


def test_an_image_that_is_gone_is_an_error(mix, helpers, tmp_path):
    def change(rows):
        rows[1]["source_image"]["path"] = "gone.bin"
        return rows

    with pytest.raises(MixError, match=r"pair pair 0-0 of the mix cannot be evaluated \(missing_file"):
        evaluate(NoOpPredictor(), changed_mix(mix, tmp_path, change), tmp_path / "out", helpers, OPTIONS)


def test_a_region_that_vanishes_at_this_size_is_left_out_and_counted(mix, helpers, tmp_path):
    def change(rows):
        tiny = np.zeros((SIDE, SIDE), bool)
        tiny[75, 75] = True  # at a fifth of the size, columns 2, 7, ..., 72, 77 are kept
        rows[1]["mask"] = encode_mask(tiny)
        return rows

    path = changed_mix(mix, tmp_path, change)
    values = values_of(
        evaluate(OraclePredictor(), path, tmp_path / "out", helpers, EvaluationOptions(size=32, limit=3))
    )
    assert values["segmentation/val", "rows_left_out"] == 1.0
    assert ("keypoint_detection/val", "rows_left_out") not in values


def test_a_mix_that_cannot_be_evaluated_is_one_sentence(mix, helpers, tmp_path):
    def run(path, **given):
        evaluate(NoOpPredictor(), path, tmp_path / "out", helpers, EvaluationOptions(**given))

    with pytest.raises(MixError, match="no row of split 'test'"):
        run(mix, split="test")
    with pytest.raises(MixError, match="there is no mix at"):
        run(tmp_path / "none.parquet")
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"x": [1]}), foreign)
    with pytest.raises(MixError, match="it has no column 'bbox'"):
        run(foreign)
    foreign.write_bytes(b"PAR1 torn")
    with pytest.raises(MixError, match="torn or not Parquet"):
        run(foreign)


@pytest.mark.parametrize(
    "option", [{"split": "train"}, {"size": 100}, {"limit": 0}, {"batch_size": 0}, {"seed": -1}], ids=str
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ConfigError, match=r"Got (-?\d+|'train')$"):
        EvaluationOptions(**option)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Tiny, random, with the 8 input channels of an image-editing UNet."""
    from trainer.models import load_models
    from trainer.pipeline_folder import write_pipeline
    from trainer.tiny import make_tiny_checkpoint

    folder = tmp_path_factory.mktemp("checkpoint")
    make_tiny_checkpoint(folder / "tiny", seed=0)
    write_pipeline(folder / "pipeline", load_models(folder / "tiny"))
    return folder / "pipeline"


def run_command(mix, checkpoint, output):
    arguments = ["run", "--checkpoint", checkpoint, "--mix", mix, "--output", output, "--steps", 2, "--limit", 1]
    return command_line.run(main, [str(argument) for argument in arguments])


def test_a_checkpoint_on_the_command_line(mix, checkpoint, tmp_path, capsys):
    assert run_command(mix, checkpoint, tmp_path) == 0
    first = capsys.readouterr()
    assert "segmentation/val" in first.out
    assert str(tmp_path / "metrics.parquet") in first.out
    rows = (tmp_path / "metrics.parquet").read_bytes()
    assert run_command(mix, checkpoint, tmp_path) == 0  # finished: read back
    assert capsys.readouterr().out == first.out
    assert (tmp_path / "metrics.parquet").read_bytes() == rows
    assert json.loads(pq.read_table(tmp_path / "metrics.parquet")["config"][0].as_py())["size"] == 64
    assert command_line.run(main, ["show", "--all", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "steps 2" in shown
    assert "keypoint_detection/val" in shown


def test_a_foreign_or_broken_checkpoint_is_one_sentence(mix, checkpoint, tmp_path, capsys):
    import shutil

    from safetensors.torch import load_file, save_file

    def error():
        assert run_command(mix, checkpoint_copy, tmp_path / "out") == 2
        message = capsys.readouterr().err
        assert message.count("error: ") == 1
        return message

    checkpoint_copy = tmp_path / "nowhere"
    assert "is not a folder" in error()
    checkpoint_copy.mkdir()
    assert "has no model_index.json" in error()
    checkpoint_copy.rmdir()
    shutil.copytree(checkpoint, checkpoint_copy)
    weights = checkpoint_copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_out.bias"][0] = float("nan")
    save_file(tensors, weights)
    assert "must predict finite pixels" in error()
    weights.unlink()
    assert "unet must hold" in error()


def run_rows(mix, output, *who):
    """Values by benchmark and metric of two steps on one row of each benchmark, controls left out."""
    arguments = ["run", *who, "--mix", mix, "--output", output, "--steps", 2, "--limit", 1, "--size", 64]
    assert command_line.run(main, [str(argument) for argument in arguments]) == 0
    rows = pq.read_table(output / "metrics.parquet").to_pylist()
    return {(row["benchmark"], row["metric"]): row for row in rows if row["benchmark"].endswith("/val")}


def test_one_file_in_the_original_layout_measures_as_its_folder_does(mix, checkpoint, tmp_path):
    """The official checkpoints' form."""
    from trainer.models import load_models
    from trainer.single_file import write_single_file

    models = load_models(checkpoint)
    write_single_file(tmp_path / "one.safetensors", (models.unet, models.autoencoder, models.text_encoder))
    tokenizer = ["--tokenizer", checkpoint / "tokenizer"]
    one = run_rows(mix, tmp_path / "one", "--checkpoint", tmp_path / "one.safetensors", *tokenizer)
    folder = run_rows(mix, tmp_path / "folder", "--checkpoint", checkpoint)
    assert {key: row["value"] for key, row in one.items()} == {key: row["value"] for key, row in folder.items()}
    digests = [{row["checkpoint_sha256"] for row in rows.values()} for rows in (one, folder)]
    assert digests[0] == {file_digest(tmp_path / "one.safetensors")} != digests[1]


def test_a_diffusers_pipeline_runs_as_it_is(mix, checkpoint, tmp_path):
    import torch
    from diffusers import StableDiffusionInstructPix2PixPipeline
    from PIL import Image

    from catalog.render_styles import RenderStyle
    from catalog.roots import Roots
    from evaluation.cases import read_benchmarks, render_cases
    from evaluation.checkpoints import SamplingOptions
    from evaluation.diffusers_predictor import PipelinePredictor
    from evaluation.predictions import denoising_seed, stored_predictions

    rows = run_rows(mix, tmp_path / "out", "--pipeline", checkpoint)
    assert rows["segmentation/val", "ciou"]["value"] is not None
    assert json.loads(rows["segmentation/val", "ciou"]["config"])["predictor"]["pipeline"].endswith("Pipeline")
    assert len(list((tmp_path / "out" / "predictions").glob("*.tar"))) == len({key[0] for key in rows})
    held_out = read_benchmarks(mix, "val", 1)["image_enhancement", "denoising"][0]
    roots = Roots.read(mix.parent / "roots.json")
    (case,) = render_cases(held_out, roots, 0, RenderStyle().at_size(64))
    predictor = PipelinePredictor(checkpoint, SamplingOptions(num_steps=2))
    (image,) = stored_predictions(predictor, [case.sample], 0, tmp_path / "out" / "predictions")
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
        str(checkpoint), safety_checker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    seed = denoising_seed(0, case.sample.pair_id)
    expected = pipeline(
        case.sample.instruction,
        image=Image.fromarray(case.sample.source),
        num_inference_steps=2,
        guidance_scale=7.5,
        image_guidance_scale=1.5,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]
    assert np.array_equal(image, np.asarray(expected))


def test_a_pipeline_that_does_not_edit_is_one_sentence(mix, checkpoint, tmp_path, capsys):
    import shutil

    def error(folder):
        arguments = ["run", "--pipeline", folder, "--mix", mix, "--output", tmp_path / "out", "--size", 64]
        assert command_line.run(main, [str(argument) for argument in arguments]) == 2
        return capsys.readouterr().err

    assert "is not a folder" in error(tmp_path / "none")
    shutil.copytree(checkpoint, tmp_path / "copy")
    index = tmp_path / "copy" / "model_index.json"
    names = json.loads(index.read_text())
    index.write_text(json.dumps(names | {"_class_name": "DDPMPipeline"}))
    assert "takes no 'image': give an instruction-editing pipeline" in error(tmp_path / "copy")
    index.write_text(json.dumps(names))
    (tmp_path / "copy" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"torn")
    assert "must be a whole diffusers pipeline" in error(tmp_path / "copy")
    index.write_text("[]")
    assert "must name the pipeline's class under _class_name" in error(tmp_path / "copy")


def test_show_without_an_evaluation_is_one_sentence(tmp_path, capsys):
    assert command_line.run(main, ["show", "--output", str(tmp_path)]) == 2
    assert "holds no metrics.parquet" in capsys.readouterr().err


def test_profile_names_the_helper_models(mix, checkpoint, tmp_path, capsys):
    profile = tmp_path / "profile.toml"
    profile.write_text(
        'name = "p"\n[[source]]\ndataset = "sample"\nreader = "sample"\n[backends]\nembedder = "histogram"\n'
    )
    arguments = ["run", "--checkpoint", str(checkpoint), "--mix", str(mix), "--profile", str(profile)]
    assert command_line.run(main, [*arguments, "--output", str(tmp_path / "out")]) == 2
    assert "must name a pair_similarity under [backends]" in capsys.readouterr().err
