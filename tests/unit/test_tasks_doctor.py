"""The doctor: embedded backends know their facts, tiny checkpoints pass what is of form, each wrong file is named."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints.blip2 import save_blip2
from checkpoints.chat_model import save_chat_model
from checkpoints.files import cache_as_hub_repository, truncate
from checkpoints.lama import save_tiny_lama
from checkpoints.open_clip import save_open_clip
from checkpoints.paint_by_example import save_paint_by_example
from huggingface_hub import constants
from safetensors.torch import save_file

from catalog.command_line import run
from tasks.backends.laion_heads import MLP_WIDTHS
from tasks.backends.protocols import InstructionRequest
from tasks.commands import main
from tasks.doctor import examine
from tasks.doctor_facts import FACTS, FactError, noise, read_photos
from tasks.doctor_files import PUBLISHED, check_files
from tasks.profiles import find_profile, read_profile

INFRA = Path(__file__).parents[2] / "infra"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Tiny checkpoints of every real backend that loads weights, and the MD5 of the tiny LaMa."""
    folder = tmp_path_factory.mktemp("weights")
    md5 = save_tiny_lama(folder / "big-lama.pt")
    save_paint_by_example(folder / "paint-by-example")
    save_open_clip(folder / "clip", quick_gelu=True)
    save_blip2(folder / "blip2")
    save_chat_model(folder / "chat")
    tensors = {}
    widths = (32, *MLP_WIDTHS)
    for layer, inputs, outputs in zip((0, 2, 4, 6, 7), widths[:-1], widths[1:], strict=True):
        tensors[f"layers.{layer}.weight"] = torch.randn(outputs, inputs)
        tensors[f"layers.{layer}.bias"] = torch.randn(outputs)
    save_file(tensors, folder / "head.safetensors")
    return folder, md5


def profile_file(folder: Path, md5: str) -> Path:
    """A profile of real backends on the tiny checkpoints of a folder."""
    text = f"""
name = "tiny"
[[source]]
dataset = "sample"
reader = "sample"
[backends]
inpainter = "lama"
replacer = "paint-by-example"
embedder = "open-clip"
index = "faiss-auto"
captioner = "blip2"
instructor = "transformers"
aesthetic_scorer = "laion-mlp"
quality_scorer = "knn-giqa"
pair_similarity = "open-clip"
[backends.options]
inpainter = {{ weights = "{folder}/big-lama.pt", md5 = "{md5}" }}
replacer = {{ weights = "{folder}/paint-by-example", steps = 2, size = 64 }}
embedder = {{ weights = "{folder}/clip" }}
captioner = {{ weights = "{folder}/blip2", max_new_tokens = 4 }}
instructor = {{ weights = "{folder}/chat", max_new_tokens = 4 }}
aesthetic_scorer = {{ weights = "{folder}/clip", head = "{folder}/head.safetensors" }}
pair_similarity = {{ weights = "{folder}/clip" }}
"""
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def test_the_embedded_backends_know_their_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    facts = {one["role"]: one["outcome"] for one in found if one["check"] == "known fact"}
    assert facts == dict.fromkeys(FACTS, "ok")


def test_with_everything_tiny_and_present_the_checks_of_form_pass(
    weights: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = profile_file(*weights)
    status = run(main, ["doctor", "--profile", str(path)])
    out = capsys.readouterr().out
    assert status == 0, out
    assert "none failed; 8 known facts not asked, they need real weights" in out
    lines = [line.split(maxsplit=4) for line in out.splitlines() if line.startswith(("inpainter", "captioner"))]
    assert [line[2:4] for line in lines] == [["files", "ok"], ["loads", "ok"], ["runs", "ok"], ["known", "fact"]] * 2
    assert "known facts need real weights: these have" in out and "by a known digest" in out


def damaged(weights: tuple[Path, str], tmp_path: Path) -> tuple[Path, str]:
    shutil.copytree(weights[0], tmp_path / "weights")
    return tmp_path / "weights", weights[1]


def problems(folder: Path, md5: str, role: str) -> list[str]:
    profile = read_profile(profile_file(folder, md5))
    return [one.detail for one in examine(profile, [role]) if one.outcome == "FAILED"]


@pytest.mark.parametrize(
    ("role", "files"),
    [
        ("inpainter", ["big-lama.pt"]),
        ("embedder", ["clip/open_clip_config.json", "clip/open_clip_model.safetensors"]),
        ("aesthetic_scorer", ["head.safetensors", "clip/open_clip_config.json"]),
        ("captioner", ["blip2/config.json", "blip2/tokenizer.json", "blip2/model.safetensors"]),
        ("instructor", ["chat/tokenizer_config.json", "chat/model.safetensors"]),
        (
            "replacer",
            [
                "paint-by-example/unet/config.json",
                "paint-by-example/scheduler/scheduler_config.json",
                "paint-by-example/vae/diffusion_pytorch_model.safetensors",
                "paint-by-example/image_encoder/model.safetensors",
            ],
        ),
    ],
)
def test_each_missing_file_is_named(weights: tuple[Path, str], tmp_path: Path, role: str, files: list[str]) -> None:
    folder, md5 = damaged(weights, tmp_path)
    for file in files:
        (folder / file).unlink()
    found = problems(folder, md5, role)
    assert len(found) == len(files)
    for file in files:
        assert any(str(folder / file) in one and "is missing" in one and "download" in one for one in found), file


@pytest.mark.parametrize(
    ("role", "file"),
    [
        ("embedder", "clip/open_clip_model.safetensors"),
        ("captioner", "blip2/model.safetensors"),
        ("replacer", "paint-by-example/unet/diffusion_pytorch_model.safetensors"),
        ("inpainter", "big-lama.pt"),
        ("aesthetic_scorer", "head.safetensors"),
        ("instructor", "chat/config.json"),
    ],
)
def test_a_torn_file_is_named(weights: tuple[Path, str], tmp_path: Path, role: str, file: str) -> None:
    folder, md5 = damaged(weights, tmp_path)
    truncate(folder / file)
    (found,) = problems(folder, md5, role)
    assert str(folder / file) in found and "download it again" in found


def test_a_missing_folder_is_named_with_what_it_must_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["doctor", "--profile", "paper", "--role", "replacer", "--role", "inpainter"]) == 1
    out = capsys.readouterr().out
    assert "weights/big-lama.pt is missing: download it there" in out
    assert "weights/paint-by-example is missing" in out and "vae/config.json" in out and "hf download" in out
    assert "published: `hf download Fantasy-Studio/Paint-by-Example" in out and "add_big_lama/big-lama.pt" in out
    assert "paper: 2 checks, 2 failed" in out


def test_a_quality_scorer_is_not_blamed_for_its_embedder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(main, ["doctor", "--profile", "paper", "--role", "quality_scorer"]) == 0
    assert "skipped  asked with the profile's embedder, whose files are not right" in capsys.readouterr().out


def test_a_server_that_is_down_is_asked_once(capsys: pytest.CaptureFixture[str]) -> None:
    address = "backends.options.instructor.url=http://127.0.0.1:9/v1"
    assert run(main, ["doctor", "--profile", "paper", "--role", "instructor", "--set", address]) == 1
    assert "gives no answer after 1 try" in capsys.readouterr().out


def test_published_files_are_known_by_their_digest(tmp_path: Path) -> None:
    name = "sa_0_4_vit_l_14_linear.pth"
    (tmp_path / name).write_bytes(b"another file")
    report = check_files("laion-linear", {"head": str(tmp_path / name), "weights": "none", "model": "ViT-L-14"})
    (problem,) = report.problems
    assert f"not {PUBLISHED[name]}" in problem and "download it again" in problem


def test_the_published_heads_have_these_digests() -> None:
    beside = Path(__file__).resolve().parents[3] / "shared" / "weights"
    folder = Path(os.environ.get("IEIW_WEIGHTS", beside))
    if not (folder / "aesthetic_laion_linear").is_dir():
        pytest.skip("no real heads here: set IEIW_WEIGHTS to their folder")
    for name in PUBLISHED:
        (file,) = folder.rglob(name)
        report = check_files("laion-linear", {"head": str(file), "weights": "none", "model": "ViT-L-14"})
        assert report.problems == [] and report.num_checked == 1


def test_a_file_of_the_hub_cache_is_known_by_its_name_there(
    weights: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder, _ = damaged(weights, tmp_path)
    file = folder / "clip" / "open_clip_model.safetensors"
    blob = tmp_path / "blobs" / ("0" * 64)
    blob.parent.mkdir()
    shutil.move(file, blob)
    file.symlink_to(blob)
    cache_as_hub_repository(folder / "clip", tmp_path / "hub", "owner/clip")
    (problem,) = check_files("open-clip", {"weights": "owner/clip"}).problems
    assert "not " + "0" * 64 in problem
    (problem,) = check_files("open-clip", {"weights": "owner/other"}).problems
    assert "owner/other is missing here, nor in the hub's cache" in problem


def test_a_part_that_an_index_names_is_missed(weights: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = damaged(weights, tmp_path)
    (folder / "chat" / "model.safetensors").unlink()
    index = folder / "chat" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    found = check_files("transformers", {"weights": str(folder / "chat")}).problems
    assert [one.partition(" ")[0] for one in found] == [str(folder / "chat" / f"model-{i}.safetensors") for i in (1, 2)]


class _Wrong:
    """A backend of any role that answers in the right form and knows nothing."""

    name, revision, device = "wrong", "1", "cpu"
    num_calls = 0

    def inpaint(self, images: Any, masks: Any) -> list[np.ndarray]:
        return [np.where(mask[..., None], noise()[:1, :1], image) for image, mask in zip(images, masks, strict=True)]

    def replace(self, images: Any, masks: Any, exemplars: Any) -> list[np.ndarray]:
        return self.inpaint(images, masks)

    def embed(self, images: Any) -> np.ndarray:
        self.num_calls += 1
        return np.roll(np.eye(len(images), dtype=np.float32), self.num_calls, axis=0)

    def caption(self, images: Any, labels: Any, captions: Any) -> list[str]:
        return ["a dog"] * len(images)

    def instruct(self, requests: list[InstructionRequest]) -> list[str]:
        return ["remove the car"] * len(requests)

    def score(self, values: Any, references: Any = None, exclude: Any = None) -> np.ndarray:
        return np.arange(len(values), dtype=np.float64)

    def similarity(self, sources: Any, targets: Any, before: Any, after: Any) -> dict[str, np.ndarray]:
        names = ("image_similarity", "source_text_similarity", "target_text_similarity", "direction_similarity")
        return {name: np.linspace(0, 0.5, len(sources)) for name in names}

    def empty(self) -> "_Wrong":
        return self

    def expect(self, count: int, sample: Any) -> None: ...

    def add(self, vectors: Any) -> None: ...

    def search(self, queries: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(queries), 1), np.float32), np.zeros((len(queries), 1), np.int64)


@pytest.mark.parametrize("role", FACTS)
def test_each_fact_can_fail(role: str) -> None:
    embedder = _Wrong() if role != "quality_scorer" else None
    if role == "quality_scorer":
        from tasks.backends.embedding import HistogramEmbedder

        embedder = HistogramEmbedder()
    with pytest.raises(FactError):
        FACTS[role](_Wrong(), embedder)


def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["doctor", "--profile", "nobody"], "a profile is a TOML file or one of "),
        (["doctor", "--profile", "absent.toml"], "absent.toml"),
        (["doctor", "--role", "painter"], "--role must be one of inpainter"),
        (["doctor", "--set", "backends.embedder"], "--set must be NAME=VALUE"),
    ):
        assert run(main, arguments) == 2
        err = capsys.readouterr().err
        assert words in err and err.count("\n") == 1
    assert find_profile("paper") == INFRA / "profiles" / "paper.toml"
    assert all(max(photo.shape) <= 320 for photo in read_photos().values())
