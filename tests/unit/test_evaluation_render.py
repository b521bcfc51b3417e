"""Every field of the render style reaches the samples: of training by ``--set``, of evaluation by its options."""

import io
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from catalog import command_line
from catalog.digests import bytes_digest
from catalog.errors import ConfigError
from catalog.images import encode_png
from catalog.masks import encode_mask
from catalog.render_styles import RenderOptions, RenderStyle, as_evaluated
from catalog.roots import Roots
from catalog.samples import Sample, render_sample
from catalog.schema import MIX
from evaluation.commands import main
from evaluation.helper_models import HelperModels
from evaluation.run import EvaluationOptions, evaluate
from tasks.backends.registry import load_backend
from trainer.data import TrainingSamples
from trainer.overrides import override
from trainer.plan import TrainingPlan
from trainer.recipes import make_config
from trainer.tiny import make_tiny_checkpoint

OTHERS: dict[str, Any] = {
    "crop": "paper",
    "referent": "official",
    "decoding": "whole",
    "alpha": 1.0,
    "radius": 20.0,
    "max_keypoints": 1,
    "person_scale": 2.5,
    "colors": "official",
    "flip_probability": 1.0,
    "disc_centers": "official",
    "joint_names": "official",
    "joint_sentences": "official",
    "wording": "written",
}
"""A value of each field that is not its default."""
TRAINED: dict[str, Any] = {
    "asked_joints": "official",
    "augmentation": "corrected",
    "absent_classes": "paper",
    "absent_probability": 1.0,
}
"""The same for what only training does."""
MIRRORED: dict[str, Any] = {"sided_words": "official"}
"""The same for what matters to mirrored samples alone."""
NUM_ROWS = 24
WIDTH, HEIGHT = 256, 160


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide photos with a region near an end, and with a person; all in training and once more in split val."""
    home, rng, data, rows = tmp_path_factory.mktemp("home"), np.random.default_rng(0), b"", []
    for number in range(NUM_ROWS):
        pixels = rng.integers(40, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        photo = encode_png(pixels) if number < 4 else jpeg(pixels)
        place = {"root": "made", "path": "images.bin", "offset": len(data), "length": len(photo)}
        data += photo
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[30:60, 8:40] = True
        points = {"head": (60, 40), "left hip": (75, 70), "right hip": (85, 70), "left knee": (75, 85)}
        row: dict[str, Any] = dict.fromkeys(MIX.names)
        row |= {
            "pair_id": f"pair {number:02d}",
            "group_id": f"group {number}",
            "dataset": "made",
            "mix_source": "all",
            "repeat": 0,
            "source_image": place | {"sha256": bytes_digest(photo), "width": WIDTH, "height": HEIGHT},
        }
        if number % 2:
            row |= {"vision_task": "segmentation", "mask": encode_mask(mask), "phrase": "the red bird"}
            row |= {"phrase": "the left bird"} if number % 4 == 1 else {}
            row |= {"class_names": ["bird", "boat", "car", "sky"], "present_classes": ["bird"]}
        else:
            named = [{"name": n, "x": float(x), "y": float(y), "visibility": 2} for n, (x, y) in points.items()]
            named += [{"name": "right ankle", "x": 0.0, "y": 0.0, "visibility": 0}]
            row |= {"vision_task": "keypoint_detection", "keypoints": named, "bbox": [50.0, 30.0, 50.0, 60.0]}
        rows.append(row)
    both = [row | {"split": "train", "position": place} for place, row in enumerate(rows)]
    both += [row | {"split": "val", "pair_id": row["pair_id"] + " val"} for row in rows]
    (home / "images.bin").write_bytes(data)
    (home / "roots.json").write_text(json.dumps({"made": "."}))
    pq.write_table(pa.Table.from_pylist(both, schema=MIX), home / "mix.parquet")
    return home / "mix.parquet"


def pictures(samples: Sequence[Any]) -> list[tuple[bytes, bytes, str]]:
    return [(one.source.tobytes(), one.target.tobytes(), one.instruction) for one in samples]


def test_every_field_has_another_value_here() -> None:
    default = RenderStyle()
    assert {*OTHERS, *TRAINED, *MIRRORED} == {field.name for field in fields(RenderStyle)}
    assert all(getattr(default, name) != value for name, value in {**OTHERS, **TRAINED, **MIRRORED}.items())


@pytest.mark.parametrize("name", [*OTHERS, *TRAINED, *MIRRORED])
def test_a_field_set_for_training_reaches_its_samples(mix: Path, name: str) -> None:
    roots, base = Roots.read(mix.parent / "roots.json"), make_config("demo")

    def drawn(*assignments: str) -> list[tuple[bytes, bytes, str]]:
        samples = TrainingSamples(TrainingPlan(mix), roots, base.with_overrides(assignments))
        kept = [samples[index] for index in range(NUM_ROWS)]
        return pictures([one for one in kept if one.rejected is None and one.instruction])

    value = {**OTHERS, **TRAINED, **MIRRORED}[name]
    mirrored = {"flip_probability": 1.0} if name in MIRRORED else {}
    base = base.with_overrides([f"render.{field}={chance}" for field, chance in mirrored.items()])
    plan, options = TrainingPlan(mix), RenderOptions(size=base.image_size, **{name: value, **mirrored})
    expected = [
        render_sample(plan.row(index), roots, seed=base.seed, index=index, options=options)
        for index in range(NUM_ROWS)
        if TrainingSamples(plan, roots, base)[index].instruction  # the others' text was dropped
    ]
    assert drawn(f"render.{name}={text(value)}") == pictures(expected) != drawn()


class Recorder:
    """Answers with the target, and keeps the samples that it saw."""

    checkpoint_sha256: str | None = None

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.samples: list[Sample] = []

    def predict(self, samples: Sequence[Sample], seeds: Sequence[int]) -> list[np.ndarray]:
        self.samples += samples
        return [sample.target for sample in samples]


@pytest.fixture(scope="module")
def helpers() -> HelperModels:
    return HelperModels(
        load_backend("pair_similarity", "histogram"), load_backend("aesthetic_scorer", "image-statistics")
    )


@pytest.mark.parametrize("name", OTHERS)
def test_a_field_set_for_evaluation_reaches_its_samples(
    mix: Path, name: str, helpers: HelperModels, tmp_path: Path
) -> None:
    def seen(style: RenderStyle, folder: str) -> dict[str, tuple[bytes, bytes, str]]:
        recorder = Recorder()
        options = EvaluationOptions(size=64, render=style)
        rows = evaluate(recorder, mix, tmp_path / folder, helpers, options)
        assert json.loads(rows[0]["config"])["render"][name] == getattr(style, name)
        places = [f"{one.pair_id} {one.joints}" for one in recorder.samples]
        return dict(zip(places, pictures(recorder.samples), strict=True))

    style = override(RenderStyle(), [f"render.{name}={text(OTHERS[name])}"], prefix="render.")
    assert style == RenderStyle(**{name: OTHERS[name]})
    plain, changed = seen(RenderStyle(), "plain"), seen(style, "changed")
    assert plain != changed
    roots = Roots.read(mix.parent / "roots.json")
    rows = [row for row in pq.read_table(mix).to_pylist() if row["split"] == "val"]
    for index, row in enumerate(rows):
        if row["vision_task"] == "segmentation" and f"{row['pair_id']} ()" in changed:
            sample = render_sample(row, roots, seed=0, index=index, options=as_evaluated(style.at_size(64)))
            assert changed[f"{row['pair_id']} ()"] == pictures([sample])[0]


def test_the_evaluations_command_takes_fields_of_the_style_only(mix: Path, tmp_path: Path, capsys: Any) -> None:
    make_tiny_checkpoint(tmp_path / "tiny", seed=0)
    arguments = ["run", "--checkpoint", str(tmp_path / "tiny"), "--mix", str(mix), "--output", str(tmp_path / "out")]
    arguments += ["--steps", "1", "--limit", "1"]
    assert command_line.run(main, [*arguments, "--set", "render.crop=round"]) == 2
    assert "crop must be one of official, paper, square. Got 'round'" in capsys.readouterr().err
    assert command_line.run(main, [*arguments, "--set", "seed=3"]) == 2
    assert "render.crop" in capsys.readouterr().err
    assert command_line.run(main, [*arguments, "--set", "render.crop=square", "--set", "render.alpha=0.75"]) == 0
    (row, *_) = pq.read_table(tmp_path / "out" / "metrics.parquet").to_pylist()
    render = json.loads(row["config"])["render"]
    assert (render["crop"], render["alpha"]) == ("square", 0.75)


@pytest.mark.parametrize("name", TRAINED)
def test_an_evaluation_refuses_what_only_training_does(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is for training"):
        EvaluationOptions(render=RenderStyle(**{name: TRAINED[name]}))


def test_a_value_out_of_range_is_refused_by_the_prefix_form_too() -> None:
    with pytest.raises(ConfigError, match="must name a field"):
        override(RenderStyle(), ["alpha=0.5"], prefix="render.")
