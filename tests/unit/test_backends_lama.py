"""LaMa from a TorchScript file: it does what its own predictor does, and takes no file but the pinned one."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints.lama import TinyLama, file_md5, save_script, save_tiny_lama
from huggingface_hub import constants

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends import lama
from tasks.backends.calls import call_batch
from tasks.backends.lama import BIG_LAMA_MD5, LamaInpainter
from tasks.backends.registry import load_backend

SIZES = ((40, 56), (61, 47), (64, 48), (33, 97))  # the second and third are one size when padded


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with big-lama.pt, and the file's MD5."""
    folder = tmp_path_factory.mktemp("lama")
    return folder, save_tiny_lama(folder / "big-lama.pt")


@pytest.fixture(scope="module")
def inpainter(weights: tuple[Path, str]) -> Any:
    return load_backend("inpainter", "lama", weights=str(weights[0]), md5=weights[1])


@pytest.fixture(scope="module")
def photos() -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    masks = [random.random(size) < 0.2 for size in SIZES]
    masks[2][:, :30] = True
    return images, masks


def _as_lamas_predictor_does(model: torch.nn.Module, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The recipe written out by index, in float64 where it can be."""
    height, width = mask.shape
    rows = [row if row < height else 2 * height - 1 - row for row in range(-(-height // 8) * 8)]
    columns = [column if column < width else 2 * width - 1 - column for column in range(-(-width // 8) * 8)]
    pixels = torch.tensor(image[rows][:, columns].transpose(2, 0, 1)[None] / 255.0, dtype=torch.float32)
    holes = torch.tensor((mask[rows][:, columns] > 0) * 1)[None, None]
    with torch.no_grad():
        output = model(pixels, holes)[0].numpy().transpose(1, 2, 0)[:height, :width]
    return np.where(mask[..., None], np.round(np.clip(output * 255.0, 0, 255)), image).astype(np.uint8)


def test_it_does_what_lamas_predictor_does(inpainter: Any, weights: tuple[Path, str], photos: Any) -> None:
    model = torch.jit.load(str(weights[0] / "big-lama.pt"))
    for image, mask, result in zip(*photos, inpainter.inpaint(*photos), strict=True):
        np.testing.assert_array_equal(result, _as_lamas_predictor_does(model, image, mask))
        np.testing.assert_array_equal(result[~mask], image[~mask])
        assert (result[mask] != image[mask]).any()


def test_every_call_and_every_batch_gives_the_same(inpainter: Any, photos: Any) -> None:
    """TorchScript compiles anew after its second call; that must not show."""
    first = inpainter.inpaint(*photos)
    for _ in range(3):
        again = inpainter.inpaint(photos[0][::-1], photos[1][::-1])[::-1]
        alone = [inpainter.inpaint([image], [mask])[0] for image, mask in zip(*photos, strict=True)]
        for one, two, three in zip(first, again, alone, strict=True):
            np.testing.assert_array_equal(one, two)
            np.testing.assert_array_equal(one, three)


def test_masks_without_a_hole_or_without_a_rim(inpainter: Any) -> None:
    image = np.full((40, 40, 3), 7, np.uint8)
    empty = np.zeros((40, 40), bool)
    np.testing.assert_array_equal(inpainter.inpaint([image], [empty])[0], image)
    for mask, message in ((~empty, "covers the whole image"), (empty[:30], "one size")):
        with pytest.raises(ValueError, match=message):
            inpainter.inpaint([image], [mask])


@pytest.mark.parametrize("form", ["file", "folder", "hub id"])
def test_file_folder_and_hub_id_are_one(
    form: str, weights: tuple[Path, str], inpainter: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--owner--tiny-lama"
    commit = "0123456789" * 4
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    shutil.copy(weights[0] / "big-lama.pt", repository / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    given = {"file": str(weights[0] / "big-lama.pt"), "folder": str(weights[0]), "hub id": "owner/tiny-lama"}[form]
    loaded = load_backend("inpainter", "lama", weights=given, md5=weights[1].upper())
    assert loaded.revision == inpainter.revision
    assert torch.__version__ in loaded.revision


def test_another_file_is_another_revision(inpainter: Any, tmp_path: Path) -> None:
    md5 = save_tiny_lama(tmp_path / "other.pt", seed=1)
    other = LamaInpainter(str(tmp_path), file="other.pt", md5=md5)
    assert other.revision != inpainter.revision


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"md5": BIG_LAMA_MD5}, f"must be {BIG_LAMA_MD5}, but it is .* name its MD5 in the option md5"),
        ({"md5": ""}, "md5 must be the 32 hexadecimal characters"),
        ({"md5": None}, "md5 must be the 32 hexadecimal characters"),
        ({"weights": ""}, "needs the option weights"),
        ({"weights": "nowhere/big-lama.pt"}, "there is no nowhere/big-lama.pt: download"),
        ({"file": "small-lama.pt"}, "folder that holds small-lama.pt"),
        ({"file": "../big-lama.pt"}, "file must be a plain file name"),
        ({"device": "tpu"}, "device must be 'cpu' or 'cuda'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to 1024. Got 0"),
    ],
)
def test_wrong_options_are_one_sentence(weights: tuple[Path, str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=f"inpainter 'lama'.*{message}"):
        LamaInpainter(**{"weights": str(weights[0]), "md5": weights[1]} | options)


def test_the_published_file_is_asked_for_by_default(weights: tuple[Path, str]) -> None:
    with pytest.raises(BackendError, match=BIG_LAMA_MD5):
        LamaInpainter(str(weights[0]))


class _NoMask(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image


class _Half(torch.nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image[:, :, ::2]


class _Overflow(torch.nn.Module):
    """Not finite where a pixel is white."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image / (1 - image)


class _Attack:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.path,)


def _write_text(path: Path) -> None:
    path.write_text("<html>not found</html>")


def _write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Attack(path.with_name("attacked"))))


def _write_checkpoint(path: Path) -> None:
    torch.save({"state_dict": TinyLama().state_dict(), "more": _Attack(path.with_name("attacked"))}, path)


def _write_torn(path: Path) -> None:
    save_tiny_lama(path)
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize("write", [_write_text, _write_pickle, _write_checkpoint, _write_torn])
def test_what_is_no_torchscript_is_refused_and_not_run(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "big-lama.pt"
    write(path)
    with pytest.raises(BackendError, match=r"must be a TorchScript file such as big-lama.pt"):
        LamaInpainter(str(path), md5=file_md5(path))
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize("module", [_NoMask(), _Half()])
def test_torchscript_that_is_no_inpainter_is_refused(module: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "big-lama.pt"
    with pytest.raises(BackendError, match=r"on a trial it failed: .* give an exported LaMa"):
        LamaInpainter(str(path), md5=save_script(module, path))


def test_empty_and_huge_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big-lama.pt"
    path.touch()
    with pytest.raises(BackendError, match=r"but .* has 0: download it again"):
        LamaInpainter(str(path))
    path.write_bytes(bytes(101))
    monkeypatch.setattr(lama, "MAX_WEIGHT_BYTES", 100)
    with pytest.raises(BackendError, match=r"must have 1 to 100 bytes, but .* has 101"):
        LamaInpainter(str(path))


def test_a_fill_that_is_not_finite_is_that_rows_reason(tmp_path: Path) -> None:
    path = tmp_path / "big-lama.pt"
    inpainter = LamaInpainter(str(path), md5=save_script(_Overflow(), path))
    images = [np.full((40, 40, 3), value, np.uint8) for value in (100, 255)]
    masks = [np.eye(40, dtype=bool)] * 2
    fine, bad = call_batch("inpainter", inpainter, images, masks)
    assert isinstance(fine, np.ndarray)
    assert isinstance(bad, RowRejected) and bad.reason is Reason.BAD_OUTPUT
