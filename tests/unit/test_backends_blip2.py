"""BLIP-2 captioner on a tiny model: against transformers called by hand, and by what must be refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints.blip2 import save_blip2
from checkpoints.chat_model import save_chat_model
from checkpoints.files import cache_as_hub_repository, drop_tensor, rename_tensor, truncate
from huggingface_hub import constants
from PIL import Image
from transformers import AutoProcessor, Blip2ForConditionalGeneration

from catalog.errors import BackendError, RowRejected
from tasks.backends.blip2 import Blip2Captioner
from tasks.backends.calls import call_batch
from tasks.phrases import one_line

TOKENS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blip2(tmp_path_factory.mktemp("weights") / "blip2")


@pytest.fixture(scope="module")
def captioner(folder: Path) -> Blip2Captioner:
    return Blip2Captioner(str(folder), max_new_tokens=TOKENS)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def _images() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    sizes = ((40, 60), (1, 1), (3, 3), (3, 90), (64, 64))
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def _captions(captioner: Blip2Captioner, images: list[np.ndarray]) -> list[str]:
    return captioner.caption(images, [["dog"]] * len(images), [["a dog"]] * len(images))


@pytest.mark.parametrize("prompt", ["", "a photo of", "Question: what is in the image? Answer:"])
def test_captions_are_those_of_transformers(folder: Path, prompt: str) -> None:
    """The whole decoded text begins with the prompt; the caption is the rest."""
    model, processor = (
        Blip2ForConditionalGeneration.from_pretrained(folder).eval(),
        AutoProcessor.from_pretrained(folder),
    )
    expected = []
    for image in _images():
        inputs = processor(images=Image.fromarray(image), text=prompt or None, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=TOKENS, do_sample=False, num_beams=1)
        text = processor.batch_decode(tokens, skip_special_tokens=True)[0]
        assert text.startswith(prompt)
        expected.append(one_line(text.removeprefix(prompt)))
    captioner = Blip2Captioner(str(folder), max_new_tokens=TOKENS, prompt=prompt)
    assert _captions(captioner, _images()) == expected
    assert len(set(expected)) == len(expected)  # the pixels count


def test_captions_are_one_line_of_text_or_a_reason(captioner: Blip2Captioner) -> None:
    images = _images()
    for outcome in call_batch("captioner", captioner, images, [[]] * len(images), [[]] * len(images)):
        assert isinstance(outcome, RowRejected) or (outcome.isprintable() and outcome.strip())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(folder: Path, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Float16 is refused on a CPU because it is slow there; its path, with the Q-Former in float32, is the same."""
    monkeypatch.setattr("tasks.backends.blip2.check_generation", lambda *_: None)
    captioner = Blip2Captioner(str(folder), max_new_tokens=TOKENS, dtype=dtype)
    assert captioner._model.vision_model.dtype == getattr(torch, dtype)
    assert len(set(_captions(captioner, _images()))) > 1


def test_the_checkpoints_own_habits_do_not_count(captioner: Blip2Captioner, copy: Path) -> None:
    file = copy / "generation_config.json"
    habits = {"num_beams": 3, "repetition_penalty": 5.0, "do_sample": True, "temperature": 2.0, "max_length": 9}
    file.write_text(json.dumps(json.loads(file.read_text()) | habits))
    assert _captions(Blip2Captioner(str(copy), max_new_tokens=TOKENS), _images()) == _captions(captioner, _images())


def test_a_hub_id_is_loaded_from_the_cache(
    captioner: Blip2Captioner, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_as_hub_repository(folder, tmp_path / "hub", "owner/blip2")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    from_hub = Blip2Captioner("owner/blip2", max_new_tokens=TOKENS)
    assert from_hub.revision == captioner.revision
    assert _captions(from_hub, _images()) == _captions(captioner, _images())


def test_every_tensor_comes_from_the_file(copy: Path) -> None:
    drop_tensor(copy / "model.safetensors", "query_tokens")
    with pytest.raises(BackendError, match="missing keys: query_tokens"):
        Blip2Captioner(str(copy))


def test_a_renamed_tensor_is_refused(copy: Path) -> None:
    rename_tensor(copy / "model.safetensors", "language_projection.weight", "projection.weight")
    with pytest.raises(BackendError, match=r"must hold exactly the tensors"):
        Blip2Captioner(str(copy))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_torn_file_is_refused(copy: Path, name: str) -> None:
    truncate(copy / name)
    with pytest.raises(BackendError, match="must hold a whole"):
        Blip2Captioner(str(copy))


def test_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"give one of BLIP-2|must hold a whole"):
        Blip2Captioner(str(save_chat_model(tmp_path / "chat")))


def test_the_revision_says_what_results_depend_on(captioner: Blip2Captioner, folder: Path, tmp_path: Path) -> None:
    other = save_blip2(tmp_path / "other", seed=1)
    revisions = {
        captioner.revision,
        Blip2Captioner(str(folder)).revision,
        Blip2Captioner(str(folder), max_new_tokens=TOKENS, prompt="a photo of").revision,
        Blip2Captioner(str(folder), max_new_tokens=TOKENS, dtype="bfloat16").revision,
        Blip2Captioner(str(other), max_new_tokens=TOKENS).revision,
    }
    assert len(revisions) == 5
    assert Blip2Captioner(str(folder), max_new_tokens=TOKENS, batch_size=2).revision == captioner.revision


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dtype": "int8"}, "dtype must be one of"),
        ({"dtype": "float16"}, "float16 only on CUDA"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"max_new_tokens": True}, "max_new_tokens must be"),
        ({"device": "tpu"}, "device must be"),
        ({"weights": ""}, "needs the option weights"),
    ],
)
def test_wrong_options_are_refused(folder: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(BackendError, match=match):
        Blip2Captioner(**({"weights": str(folder)} | options))
