"""Weights by path and by hub id; digests that follow the bytes; loading that refuses what is not whole."""

import os
from pathlib import Path

import pytest
import torch
from checkpoints.files import cache_as_hub_repository
from huggingface_hub import constants

from catalog.errors import BackendError
from tasks.backends.batches import run_in_batches
from tasks.backends.weights import check_device, check_loaded, first_line, resolve_weights, weights_digest

WHAT = "replacer 'x'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "unet" / "model.safetensors").write_bytes(b"weights")
    return folder


def test_a_path_that_exists_is_taken(folder: Path) -> None:
    file = folder / "unet" / "config.json"
    assert resolve_weights(str(folder), what=WHAT, files=["unet/config.json", "unet/*.safetensors"]) == folder
    assert resolve_weights(f"local-dir:{folder}", what=WHAT) == folder
    assert resolve_weights(str(file), what=WHAT) == file


def test_a_hub_id_is_taken_from_the_cache_when_offline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_as_hub_repository(folder, tmp_path / "hub", "owner/name")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("owner/name", "hf-hub:owner/name", "owner/name@main"):
        found = resolve_weights(name, what=WHAT, files=["unet/config.json"])
        assert (found / "unet" / "model.safetensors").read_bytes() == b"weights"
    with pytest.raises(BackendError, match=r"replacer 'x': weights must be a local path or a hub id .*owner/other"):
        resolve_weights("owner/other", what=WHAT)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "needs the option weights"),
        (7, "needs the option weights"),
        ("/no/such/folder", "there is no /no/such/folder"),
        ("weights/big.pt", "there is no weights/big.pt"),
        ("local-dir:owner/name", "there is no owner/name"),
        ("tests/missing", "there is no tests/missing"),
        ("hf-hub:name", "a hub id is OWNER/NAME"),
        ("hf-hub:../../etc", "a hub id is OWNER/NAME"),
    ],
)
def test_what_is_not_there_is_refused(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    with pytest.raises(BackendError, match=f"replacer 'x'.*{message}"):
        resolve_weights(name, what=WHAT)


def test_a_folder_that_lacks_a_file_is_refused(folder: Path) -> None:
    with pytest.raises(BackendError, match=r"folder that holds vae/config.json, but .* has no such file"):
        resolve_weights(str(folder), what=WHAT, files=["vae/config.json"])
    with pytest.raises(BackendError, match="is a file"):
        resolve_weights(str(folder / "unet" / "config.json"), what=WHAT, files=["*.json"])


def test_the_digest_follows_names_and_bytes(folder: Path) -> None:
    before = weights_digest(folder)
    assert len(before) == 64 and weights_digest(folder) == before
    only = weights_digest(folder, ["*.json"])
    file = folder / "unet" / "model.safetensors"
    file.write_bytes(b"others!")  # as many bytes
    os.utime(file, ns=(1, 1))
    assert weights_digest(folder) != before
    assert weights_digest(folder, ["*.json"]) == only
    changed = weights_digest(folder)
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("hidden")
    assert weights_digest(folder) == changed
    file.rename(file.with_name("other.safetensors"))
    assert weights_digest(folder) != changed
    with pytest.raises(BackendError, match="must be readable"):
        weights_digest(folder / "none")


@pytest.mark.parametrize("problem", ["missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"])
def test_a_tensor_too_few_or_too_many_is_refused(problem: str) -> None:
    with pytest.raises(BackendError, match=f"has {problem.replace('_', ' ')}: a.weight and 1 more; download it again"):
        check_loaded({problem: ["b.weight", ("a.weight", (1,), (2,))]}, Path("x"), what=WHAT)


def test_buffers_that_libraries_compute_are_no_tensors() -> None:
    check_loaded({"unexpected_keys": ["model.embeddings.position_ids"]}, Path("x"), what=WHAT)


def test_devices() -> None:
    assert check_device("cpu", what=WHAT) == "cpu"
    with pytest.raises(BackendError, match="must be 'cpu' or 'cuda'"):
        check_device("cuda:1", what=WHAT)
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="sees no CUDA device"):
            check_device("cuda", what=WHAT)


def test_an_error_is_one_line() -> None:
    assert first_line(ValueError("what\nwhere")) == "what"
    assert first_line(RuntimeError("Error(s) in loading:\n\tMissing\n")) == "Error(s) in loading: Missing"
    assert first_line(KeyError()) == "KeyError"


def test_batches_on_cuda_have_one_shape_and_on_a_cpu_one_item() -> None:
    seen: list[list[int]] = []

    def forward(part):  # type: ignore[no-untyped-def]
        seen.append(list(part))
        return [10 * item for item in part]

    assert run_in_batches(forward, [1, 2, 3, 4, 5], 3, "cuda") == [10, 20, 30, 40, 50]
    assert seen == [[1, 2, 3], [4, 5, 5]]
    seen.clear()
    assert run_in_batches(forward, [1, 2], 3, "cpu") == [10, 20]
    assert seen == [[1], [2]]
    assert run_in_batches(forward, [], 3, "cuda") == []
