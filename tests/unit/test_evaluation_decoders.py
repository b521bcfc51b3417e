"""Masks and joints read back: through JPEG, a real autoencoder, spoiled drawings; training and its files."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from checkpoints.taesd import load_taesd
from safetensors.torch import save_file
from skimage import data

from catalog import command_line
from catalog.digests import bytes_digest
from catalog.errors import CheckpointError, ConfigError, MixError
from catalog.images import encode_png, resize_image
from catalog.masks import encode_mask
from catalog.render_styles import RenderStyle
from catalog.samples import Sample
from catalog.schema import MIX
from catalog.targets import render_keypoints, render_mask
from catalog.views import whole_view
from evaluation.artefacts import spoil, through_jpeg
from evaluation.commands import main
from evaluation.decoder_examples import ExampleSource
from evaluation.decoder_training import DecoderTraining, train_decoder
from evaluation.decoders import ColorDecoder
from evaluation.generated_outputs import generate_outputs
from evaluation.heatmaps import draw_heatmap, find_peak
from evaluation.metrics import cumulative_iou, mask_overlap
from evaluation.network_decoder import NetworkDecoder, load_network_decoder
from evaluation.postprocessor import Postprocessor, network_inputs

SIDE = 256
COLORS = (("red", (255, 0, 0)), ("blue", (0, 0, 255)), ("green", (0, 255, 0)), ("magenta", (255, 0, 255)))
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
UNTRAINED = NetworkDecoder(Postprocessor(8), "untrained")
"""Starts from the colour distances: reads as the baseline does."""


def photo(name: str, side: int = SIDE) -> np.ndarray:
    return resize_image(np.ascontiguousarray(getattr(data, name)()[..., :3]), side, side)


def ellipse(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    rows, columns = np.ogrid[:side, :side]
    (y, x), (height, width) = rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0.1, 0.3, 2) * side
    return np.asarray(((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1)


def mask_sample(place: int) -> Sample:
    source, mask = photo(PHOTOS[place % 4]), ellipse(np.random.default_rng(place))
    color = COLORS[place % len(COLORS)]
    target = render_mask(source, mask, color[1])
    view = whole_view(SIDE, SIDE, SIDE)
    return Sample(pair_id="p", instruction="x", source=source, target=target, view=view, colors=(color,), mask=mask)


def joint_sample(place: int) -> Sample:
    """Four discs at fractions of pixels, apart from each other."""
    source, rng = photo(PHOTOS[place % 4]), np.random.default_rng(place)
    points = np.array([(60, 60), (180, 70), (70, 190), (190, 180)]) + rng.uniform(-20, 20, (4, 2))
    target = render_keypoints(source, points, [rgb for _, rgb in COLORS])
    names = ("nose", "left hip", "right hip", "left knee")
    given = {"source": source, "target": target, "view": whole_view(SIDE, SIDE, SIDE), "colors": COLORS}
    return Sample(pair_id="p", instruction="x", joints=names, keypoints=points, **given)


@pytest.fixture(scope="session")
def autoencoder(shared_data: Path):
    """TAESD: a real autoencoder for Stable Diffusion's latents."""
    folder = shared_data.parent / "weights" / "taesd"
    if not folder.is_dir():
        pytest.skip("no TAESD weights here")
    model = load_taesd(folder)

    def reconstruct(image: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            decoded = model.decode(model.encode(pixels).latents).sample
        return ((decoded[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()

    return reconstruct


def mask_iou(decoder, change) -> float:
    samples = [mask_sample(place) for place in range(4)]
    return cumulative_iou(mask_overlap(decoder.read_mask(one, change(one.target)) > 0.5, one.mask) for one in samples)


def joint_errors(decoder, change) -> np.ndarray:
    samples = [joint_sample(place) for place in range(4)]
    found = [decoder.read_keypoints(one, change(one.target))[0] - one.keypoints for one in samples]
    return np.linalg.norm(np.concatenate(found), axis=1)


def as_drawn(image):
    return image


@pytest.mark.parametrize("decoder", [ColorDecoder(0.5), UNTRAINED], ids=["color", "u-net"])
@pytest.mark.parametrize(
    ("change", "least_iou", "most_error"),
    [(as_drawn, 0.99, 0.5), (lambda image: through_jpeg(image, 75), 0.99, 1.0)],
    ids=["as drawn", "JPEG 75"],
)
def test_round_trips_on_photos_keep_the_bounds(decoder, change, least_iou, most_error):
    assert mask_iou(decoder, change) >= least_iou
    assert joint_errors(decoder, change).max() <= most_error


@pytest.mark.parametrize("decoder", [ColorDecoder(0.5), UNTRAINED], ids=["color", "u-net"])
def test_round_trips_through_a_real_autoencoder_keep_the_bounds(decoder, autoencoder):
    """TAESD leaves about 24 dB: more harm than Stable Diffusion's own autoencoder does."""
    assert mask_iou(decoder, autoencoder) >= 0.9
    assert joint_errors(decoder, autoencoder).max() <= 1.5


@pytest.mark.parametrize("point", [(31.0, 20.0), (31.5, 20.25), (30.73, 47.11), (0.4, 33.3), (63.0, 63.0)])
def test_peaks_are_found_to_a_tenth_of_a_pixel(point):
    for sigma in (2.0, 5.0):
        place, height = find_peak(draw_heatmap(point, 64, 64, sigma), sigma)
        assert height > 0.9
        assert np.hypot(place[0] - point[0], place[1] - point[1]) < 0.1
    assert find_peak(draw_heatmap(None, 64, 64, 2.0), 2.0) == (None, 0.0)


def test_spoiling_is_a_function_of_its_seed_and_of_its_strength():
    one = mask_sample(0)

    def spoiled(seed, strength):
        return spoil(one.target, one.source, (255, 0, 0), np.random.default_rng(seed), strength)

    assert np.array_equal(spoiled(1, 1.0), spoiled(1, 1.0))
    assert not np.array_equal(spoiled(1, 1.0), spoiled(2, 1.0))
    assert np.array_equal(spoiled(1, 0.0), one.target)
    change = [np.abs(spoiled(3, strength).astype(int) - one.target).mean() for strength in (0.2, 1.0)]
    assert 0 < change[0] < change[1] < 40


def write_mix(folder: Path, split: str = "train") -> Path:
    """Photos with a region and with joints, 96 pixels a side."""
    blob, rows = b"", []
    for place, name in enumerate(PHOTOS * 2):
        image = encode_png(photo(name, 96))
        row = dict.fromkeys(MIX.names)
        row["source_image"] = {"root": "made", "path": "images.bin", "offset": len(blob), "length": len(image)}
        row["source_image"] |= {"sha256": bytes_digest(image), "width": 96, "height": 96}
        blob += image
        row |= {"split": split, "position": place, "pair_id": f"pair {place}", "dataset": "made"}
        if place % 2:
            mask = encode_mask(ellipse(np.random.default_rng(place), 96))
            row |= {"vision_task": "segmentation", "mask": mask, "phrase": "thing"}
        else:
            joints = [
                {"name": name, "x": x, "y": y, "visibility": 2}
                for name, x, y in (("nose", 30.0, 30.0), ("left hip", 60.0, 40.0), ("left knee", 40.0, 70.0))
            ]
            row |= {"vision_task": "keypoint_detection", "keypoints": joints, "bbox": [10.0, 10.0, 70.0, 70.0]}
        rows.append(row)
    folder.mkdir(exist_ok=True)
    (folder / "images.bin").write_bytes(blob)
    (folder / "roots.json").write_text(json.dumps({"made": "."}))
    pq.write_table(pa.Table.from_pylist(rows, schema=MIX), folder / "mix.parquet")
    return folder / "mix.parquet"


SHORT = DecoderTraining(num_steps=40, batch_size=4, size=96, width=8, learning_rate=3e-3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    losses = train_decoder(write_mix(folder / "data"), folder / "decoder.safetensors", SHORT, RenderStyle())
    return folder / "decoder.safetensors", losses


def test_training_brings_scores_of_spoiled_drawings_closer_to_the_truth(trained):
    """On photos at a size and places that it was not trained on; exact discs are still read to a pixel."""
    path, losses = trained
    assert np.mean(losses[-20:]) < np.mean(losses[:20])

    def error(decoder):
        errors = []
        for place in range(4):
            one, rng = mask_sample(100 + place), np.random.default_rng(place)
            output = spoil(one.target, one.source, one.colors[0][1], rng)
            errors.append(np.square(decoder.read_mask(one, output) - one.mask).mean())
        return np.mean(errors)

    decoder = load_network_decoder(path)
    assert error(decoder) < error(UNTRAINED)
    assert joint_errors(decoder, as_drawn).max() <= 1.0


def test_the_same_training_gives_the_same_file(trained, tmp_path):
    path, losses = trained
    few = DecoderTraining(num_steps=3, batch_size=2, size=96, width=8)
    first, second = (
        train_decoder(write_mix(tmp_path / "data"), tmp_path / name, few, RenderStyle())
        for name in ("a.safetensors", "b.safetensors")
    )
    assert first == second
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["losses"] == losses and facts["alpha"] == 0.5


class Drawing:
    """Answers with the target, brighter: what a checkpoint might draw."""

    checkpoint_sha256 = "8" * 64
    options = {"made": "drawing"}  # noqa: RUF012

    def __init__(self):
        self.num_asked = 0

    def predict(self, samples, seeds):
        self.num_asked += len(samples)
        return [np.clip(sample.target.astype(int) + 20, 0, 255).astype(np.uint8) for sample in samples]


def test_a_checkpoints_own_outputs_are_learned_from_and_made_once(tmp_path):
    mix, first, again = write_mix(tmp_path / "data"), Drawing(), Drawing()
    given = {"count": 6, "style": RenderStyle(), "size": 96}
    outputs = generate_outputs(first, mix, tmp_path / "outputs", **given)
    assert len(outputs) == first.num_asked == 6
    assert {sample.mask is None for sample, _ in outputs} == {True, False}
    same = generate_outputs(again, mix, tmp_path / "outputs", **given)
    assert again.num_asked == 0 and all(np.array_equal(a[1], b[1]) for a, b in zip(outputs, same, strict=True))
    few = DecoderTraining(num_steps=2, batch_size=2, size=96, width=8, generated_share=1.0)
    losses = [
        train_decoder(mix, tmp_path / f"{name}.safetensors", few, RenderStyle(), generated=made)
        for name, made in (("own", outputs), ("same", same), ("none", ()))
    ]
    assert losses[0] == losses[1] != losses[2]
    facts = json.loads((tmp_path / "own.json").read_text())
    assert (facts["num_generated"], facts["generated_share"]) == (6, 1.0)
    assert json.loads((tmp_path / "none.json").read_text())["generated_share"] == 0.0
    with pytest.raises(ConfigError, match=r"at least 1\. Got 0"):
        generate_outputs(first, mix, tmp_path / "outputs", 0, RenderStyle(), 96)


@pytest.mark.parametrize("task", ["segmentation", "keypoint_detection"])
def test_an_example_of_an_output_has_its_truth_or_asks_in_vain(tmp_path, task):
    outputs = generate_outputs(Drawing(), write_mix(tmp_path / "data"), tmp_path / "out", 8, RenderStyle(), 96)
    of_task = [one for one in outputs if (one[0].mask is None) == (task == "keypoint_detection")]
    given = {"rows": (), "roots": None, "style": RenderStyle(), "size": 96, "strength": 1.0, "seed": 0}
    source = ExampleSource(**given, generated=of_task[:1], generated_share=1.0)
    channel, answers = (0 if task == "segmentation" else 1), []
    for number in range(40):
        inputs, targets, weights = source.example(number)
        assert inputs.shape == (1, 11, 96, 96) and weights[0, 1 - channel].sum() == 0
        answers.append(float(targets[0, channel].max()))
    assert 0 < sum(answer == 0 for answer in answers) < 20
    if task == "segmentation":
        full = next(source.example(number)[1] for number in range(40) if answers[number])
        assert np.array_equal(full[0, 0].numpy() > 0, of_task[0][0].mask)


def test_training_and_reading_on_the_command_line(tmp_path, capsys, trained):
    mix, output = write_mix(tmp_path / "data"), tmp_path / "decoder.safetensors"
    arguments = ["train-decoder", "--mix", str(mix), "--output", str(output)]
    assert command_line.run(main, [*arguments, "--steps", "2", "--batch-size", "1", "--size", "96"]) == 0
    assert str(output) in capsys.readouterr().out
    held_out = write_mix(tmp_path / "held out", split="val")
    run = ["run", "--control", "oracle", "--mix", str(held_out), "--size", "96", "--output", str(tmp_path / "out")]
    assert command_line.run(main, [*run, "--decoder", str(trained[0])]) == 0
    rows = pq.read_table(tmp_path / "out" / "metrics.parquet").to_pylist()
    assert json.loads(rows[0]["config"])["decoder"].startswith("u-net@1+")
    assert next(row for row in rows if row["metric"] == "ciou")["value"] > 0.95


def test_bad_input_is_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match="must be a whole post-processor file"):
        load_network_decoder(tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(1)}, foreign)
    with pytest.raises(CheckpointError, match="another model's file"):
        load_network_decoder(foreign)
    foreign.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="train or copy it again"):
        load_network_decoder(foreign)
    with pytest.raises(MixError, match="there is no mix at"):
        train_decoder(tmp_path / "none.parquet", foreign, SHORT, RenderStyle())
    with pytest.raises(MixError, match="must have training rows of segmentation or keypoint detection"):
        train_decoder(write_mix(tmp_path / "val", split="val"), foreign, SHORT, RenderStyle())
    for wrong in (
        {"num_steps": 0},
        {"size": 100},
        {"width": 6},
        {"strength": 2.0},
        {"learning_rate": 0.0},
        {"generated_share": 1.5},
    ):
        with pytest.raises(ConfigError, match=r"Got "):
            DecoderTraining(**wrong)


def test_an_untrained_network_gives_the_colour_distances():
    one = mask_sample(0)
    way = ColorDecoder(0.5).read_mask(one, one.target)
    with torch.no_grad():
        logits = Postprocessor(8)(network_inputs(one.source, one.target, [one.colors[0][1]], 0.5, 10.0))
    assert logits[0, 0].numpy() == pytest.approx(8 * (way - 0.5), abs=1e-4)
