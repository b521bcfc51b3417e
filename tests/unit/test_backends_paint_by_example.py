"""Paint-by-Example on a tiny checkpoint: against the pipeline called by hand, and by what must be refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints.files import cache_as_hub_repository, drop_tensor, rename_tensor, truncate
from checkpoints.paint_by_example import pickle_weights, publish, save_paint_by_example
from huggingface_hub import constants
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends.calls import call_batch
from tasks.backends.paint_by_example import PaintByExampleReplacer
from tasks.backends.square_crops import SquareCrop, resize_mask, square_around

SMALL: dict[str, Any] = {"size": 64, "steps": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_paint_by_example(tmp_path_factory.mktemp("weights") / "paint-by-example")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def replacer(folder: Path) -> PaintByExampleReplacer:
    return PaintByExampleReplacer(weights=str(folder), **SMALL)


def _item(seed: int = 0, size: tuple[int, int] = (64, 64)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    image, exemplar = (random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in (size, (40, 30)))
    mask = np.zeros(size, bool)
    mask[20:52, 8:44] = True
    return image, mask, exemplar


def test_the_result_is_the_pipelines_own_inside_the_mask(replacer: PaintByExampleReplacer) -> None:
    """At the model's size the crop is the image, so the whole of the adapter can be written out."""
    from tasks.backends.paint_by_example import _content_seed
    from tasks.backends.square_crops import resize_picture

    image, mask, exemplar = _item()
    by_hand = replacer._pipeline(
        image=Image.fromarray(image),
        mask_image=Image.fromarray(mask.astype(np.uint8) * 255),
        example_image=Image.fromarray(resize_picture(exemplar, 32)),
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(_content_seed(0, image, mask, exemplar)),
        output_type="np",
    ).images[0]
    got = replacer.replace([image], [mask], [exemplar])[0]
    np.testing.assert_array_equal(got[~mask], image[~mask])
    assert np.abs(got[mask].astype(int) - np.rint(by_hand[mask] * 255)).max() <= 1
    assert (got[mask] != image[mask]).mean() > 0.9


def test_the_published_form_gives_the_same_bytes(replacer: PaintByExampleReplacer, copy: Path) -> None:
    """Old key names, a position_ids buffer and a CLIPFeatureExtractor, as the hub's files have them."""
    publish(copy)
    published = PaintByExampleReplacer(weights=str(copy), **SMALL)
    stored = load_file(copy / "image_encoder" / "model.safetensors")
    loaded = published._pipeline.image_encoder.state_dict()
    assert len(stored) == len(loaded) + 1  # position_ids
    for name, tensor in loaded.items():
        assert torch.equal(
            tensor,
            stored[name.replace("model.", "model.vision_model.", 1)] if name.startswith("model.") else stored[name],
        )
    item = _item()
    np.testing.assert_array_equal(*(r.replace(*([part] for part in item))[0] for r in (published, replacer)))
    assert published.revision != replacer.revision


@pytest.mark.parametrize("part", ["vae", "unet", "image_encoder"])
def test_every_tensor_is_the_files(replacer: PaintByExampleReplacer, folder: Path, part: str) -> None:
    stored = load_file(next((folder / part).glob("*.safetensors")))
    loaded = getattr(replacer._pipeline, part).state_dict()
    assert stored.keys() == loaded.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)


def test_a_hub_id_is_loaded_from_the_cache(
    replacer: PaintByExampleReplacer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_as_hub_repository(folder, tmp_path / "hub", "owner/paint")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert PaintByExampleReplacer(weights="owner/paint", **SMALL).revision == replacer.revision


def test_old_pytorch_files_only_on_request(replacer: PaintByExampleReplacer, copy: Path) -> None:
    pickle_weights(copy)
    with pytest.raises(BackendError, match="as safetensors"):
        PaintByExampleReplacer(weights=str(copy), **SMALL)
    old = PaintByExampleReplacer(weights=str(copy), use_safetensors=False, **SMALL)
    item = _item()
    np.testing.assert_array_equal(*(r.replace(*([part] for part in item))[0] for r in (old, replacer)))


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        ("image_encoder", "uncond_vector"),
        ("image_encoder", "mapper.blocks.0.attn1.to_q.weight"),
        ("image_encoder", "model.encoder.layers.3.mlp.fc1.weight"),
        ("unet", "conv_in.bias"),
        ("vae", "decoder.conv_out.weight"),
    ],
)
def test_a_tensor_that_is_missing_or_renamed_is_refused(copy: Path, part: str, tensor: str) -> None:
    file = next((copy / part).glob("*.safetensors"))
    rename_tensor(file, tensor, f"{tensor}_old")
    with pytest.raises(BackendError, match=rf"{part} must hold .*keys: {tensor}"):
        PaintByExampleReplacer(weights=str(copy), **SMALL)
    drop_tensor(file, f"{tensor}_old")
    with pytest.raises(BackendError, match=rf"{part} must hold .*missing keys: {tensor}"):
        PaintByExampleReplacer(weights=str(copy), **SMALL)


@pytest.mark.parametrize("part", ["image_encoder", "unet", "vae"])
def test_a_torn_file_is_refused(copy: Path, part: str) -> None:
    truncate(next((copy / part).glob("*.safetensors")))
    with pytest.raises(BackendError, match=f"{part} must hold a whole") as caught:
        PaintByExampleReplacer(weights=str(copy), **SMALL)
    assert "\n" not in str(caught.value)


def test_parts_of_other_models_are_refused(copy: Path) -> None:
    shutil.rmtree(copy / "scheduler")
    with pytest.raises(BackendError, match=r"folder that holds scheduler/scheduler_config.json"):
        PaintByExampleReplacer(weights=str(copy), **SMALL)


def test_a_configuration_of_another_encoder_is_refused(copy: Path) -> None:
    path = copy / "image_encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 64}))
    with pytest.raises(BackendError, match="image_encoder must hold"):
        PaintByExampleReplacer(weights=str(copy), **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": ""}, "needs the option weights"),
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"dtype": "float16"}, "float16 is for CUDA"),
        ({"steps": 0}, "steps must be a whole number from"),
        ({"steps": 2.5}, "steps must be a whole number from"),
        ({"guidance_scale": 0.5}, "guidance_scale must be a number"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"seed": -1}, "seed must be"),
        ({"size": 60}, "size must be a multiple of 8"),
        ({"device": "tpu"}, "device must be"),
    ],
)
def test_options_out_of_range_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=f"replacer 'paint-by-example'.*{message}"):
        PaintByExampleReplacer(**{"weights": str(folder), **SMALL, **options})


def test_the_revision_follows_options_and_weights(
    replacer: PaintByExampleReplacer, folder: Path, tmp_path: Path
) -> None:
    changes: list[dict[str, Any]] = [
        {"steps": 4},
        {"guidance_scale": 4},
        {"seed": 1},
        {"size": 72},
        {"dtype": "bfloat16"},
    ]
    options = [{**SMALL, **change} for change in changes]
    revisions = {PaintByExampleReplacer(weights=str(folder), **given).revision for given in options}
    other = save_paint_by_example(tmp_path / "other", seed=1)
    revisions |= {replacer.revision, PaintByExampleReplacer(weights=str(other), **SMALL).revision}
    assert len(revisions) == 7
    assert PaintByExampleReplacer(weights=str(folder), batch_size=2, **SMALL).revision == replacer.revision


def test_the_seed_and_the_exemplar_change_the_picture(replacer: PaintByExampleReplacer, folder: Path) -> None:
    image, mask, exemplar = _item()
    first = replacer.replace([image], [mask], [exemplar])[0]
    assert (first != replacer.replace([image], [mask], [255 - exemplar])[0]).any()
    assert (
        first != PaintByExampleReplacer(weights=str(folder), seed=1, **SMALL).replace([image], [mask], [exemplar])[0]
    ).any()


@pytest.mark.parametrize(("factor", "message"), [(float("nan"), "not finite"), (0.0, "black")])
def test_what_half_precision_spoils_is_bad_output_of_that_item(
    folder: Path, factor: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overflow is put into the decoder's output for one of two items."""
    replacer = PaintByExampleReplacer(weights=str(folder), **SMALL)
    decode, calls = replacer._pipeline.vae.decode, []

    def overflow(latents: torch.Tensor) -> Any:
        decoded = decode(latents)
        calls.append(latents)
        if torch.equal(latents, calls[0]):
            decoded.sample = decoded.sample * 0 - 1 if factor == 0 else decoded.sample * factor
        return decoded

    monkeypatch.setattr(replacer._pipeline.vae, "decode", overflow)
    items = [_item(0), _item(1)]
    outcomes = call_batch("replacer", replacer, *(list(column) for column in zip(*items, strict=True)))
    assert isinstance(outcomes[0], RowRejected) and outcomes[0].reason == Reason.BAD_OUTPUT
    assert message in outcomes[0].detail and "use float32" in outcomes[0].detail
    assert isinstance(outcomes[1], np.ndarray)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_square_holds_the_region_and_the_way_back_is_exact(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90))
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    bottom, right = data.draw(st.integers(top + 1, height)), data.draw(st.integers(left + 1, width))
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    crop = square_around(mask, 32)
    longer = max(bottom - top, right - left)
    assert crop.side >= longer and crop.top <= top and crop.left <= left
    assert crop.top + crop.side >= bottom and crop.left + crop.side >= right
    if longer <= min(height, width):
        assert crop.top >= 0 and crop.left >= 0 and crop.top + crop.side <= height and crop.left + crop.side <= width
        assert crop.side == min(max(2 * longer, 16, longer), height, width)
    image = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    seen = crop.cut(image)
    assert seen.shape == (crop.side, crop.side, 3)
    result = np.zeros_like(image)
    crop.paste(result, mask, seen)
    np.testing.assert_array_equal(result[mask], image[mask])
    assert not result[~mask].any()


def test_outside_the_image_the_square_is_mirrored() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 6)
    seen = SquareCrop(top=-2, left=0, side=6).cut(picture)
    np.testing.assert_array_equal(seen, np.pad(picture, ((2, 2), (0, 0)), mode="symmetric"))


def test_a_thin_region_stays_when_the_mask_shrinks() -> None:
    mask = np.zeros((400, 400), bool)
    mask[:, 201] = True
    small = resize_mask(mask, 64)
    assert small.any(axis=1).all() and small.sum() <= 2 * 64
