"""Training and sampling on a GPU: the CPU's losses, the same bits after a resume, and what makes it faster."""

import hashlib
import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from catalog.roots import Roots
from trainer import encode
from trainer.batches import Batch, MicroBatches, make_loader
from trainer.config import TrainingConfig
from trainer.data import TrainingSamples
from trainer.inference import edit
from trainer.learner import Learner
from trainer.main import main
from trainer.models import Models, load_models
from trainer.plan import TrainingPlan
from trainer.ranks import Ranks
from trainer.recipes import make_config
from trainer.tiny import make_tiny_checkpoint

make_mix = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))["make_mix"]
CONFIG = replace(make_config("demo"), global_batch_size=12, micro_batch_size=12)
SMALL = [
    "image_size=32",
    "global_batch_size=8",
    "micro_batch_size=4",
    "num_steps=6",
    "checkpoint_every=2",
    "keep_last=9",
]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # advice of torch.compile
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    make_mix(home)
    make_tiny_checkpoint(home / "tiny", seed=0)
    return home


def mix_of(home: Path) -> Path:
    return home / "catalog" / "mix.parquet"


def load_batch(home: Path) -> Batch:
    samples = TrainingSamples(TrainingPlan(mix_of(home)), Roots.read(home / "catalog" / "roots.json"), CONFIG)
    (batch,) = make_loader(samples, MicroBatches(0, 1, 12, 12, 0, 1), 0)
    return batch


def learn(home: Path, device: torch.device, **changes: object) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses of one batch before an update, and after it."""
    config: TrainingConfig = replace(CONFIG, **changes)
    learner = Learner(load_models(home / "tiny").to(device), config, Ranks(0, 1, device))
    batch = load_batch(home)
    before = learner.accumulate(batch, is_last=True)
    learner.clip()
    learner.update(1)
    with torch.no_grad():
        return before.cpu(), learner.losses(batch).cpu()


def train(home: Path, output: Path, *changes: str) -> Path:
    changes = (*SMALL, *changes)
    arguments = ["--catalog", str(mix_of(home)), "--output", str(output)]
    assert main([*arguments, *(part for change in changes for part in ("--set", change))]) == 0
    return output


def digests(output: Path) -> dict[str, str]:
    files = [*output.glob("checkpoints/step-00000006/*.safetensors"), *output.glob("pipeline/**/*.safetensors")]
    assert files
    return {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_losses_are_the_cpus(home: Path) -> None:
    for ours, theirs in zip(learn(home, CUDA), learn(home, CPU), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"fused_optimizer": True},
        {"channels_last": True},
        {"activation_checkpointing": True},
        {"compile": "default"},
        {"compile": "reduce-overhead", "channels_last": True, "fused_optimizer": True},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_what_makes_it_faster_or_smaller_learns_the_same(home: Path, changes: dict[str, object]) -> None:
    bound = 2e-2 if "precision" in changes else 1e-3
    for ours, theirs in zip(learn(home, CUDA, deterministic=False, **changes), learn(home, CPU), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=bound, atol=0)


def test_a_resumed_run_ends_bit_for_bit_the_same(home: Path, tmp_path: Path) -> None:
    straight = train(home, tmp_path / "straight")
    stopped = train(home, tmp_path / "stopped", "num_steps=4")
    assert digests(train(home, stopped)) == digests(straight)
    memory = pq.read_table(straight / "training_log.parquet", columns=["memory_mib"]).column(0).to_pylist()
    assert all(0 < mib < 2000 for mib in memory)  # the GPU's


def test_bfloat16_resumes_bit_for_bit(home: Path, tmp_path: Path) -> None:
    options = ["precision=bfloat16", "channels_last=true", "fused_optimizer=true", "num_workers=2"]
    straight = train(home, tmp_path / "straight", *options)
    stopped = train(home, tmp_path / "stopped", "num_steps=4", *options)
    assert digests(train(home, stopped, *options)) == digests(straight)


def test_a_run_of_the_cpu_goes_on_on_the_gpu(home: Path, tmp_path: Path) -> None:
    output = train(home, tmp_path / "run", "device=cpu", "num_steps=4")
    train(home, output, "device=cuda", "fused_optimizer=true")
    rows = pq.read_table(output / "training_log.parquet", columns=["step", "loss"]).to_pylist()
    cpu = train(home, tmp_path / "cpu", "device=cpu")
    theirs = pq.read_table(cpu / "training_log.parquet", columns=["step", "loss"]).to_pylist()
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in theirs], rel=1e-3)


def test_the_micro_batch_is_found_by_the_gpus_memory(home: Path, tmp_path: Path, capsys) -> None:
    train(home, tmp_path / "run", "micro_batch_size=0")
    assert "micro_batch_size 8: 0.0" in capsys.readouterr().out


def test_the_latent_cache_made_on_a_gpu_gives_the_online_losses(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IEIW_HOME", str(home))
    model = f"model={home / 'tiny'}"
    assert encode.main(["--catalog", str(mix_of(home)), "--set", model, "--set", "image_size=32"]) == 0
    runs = [train(home, tmp_path / name, model, "num_workers=1", f"latents={name}") for name in ("use", "off")]
    ours, theirs = (pq.read_table(run / "training_log.parquet", columns=["loss"]).column(0).to_pylist() for run in runs)
    assert ours != theirs
    assert ours == pytest.approx(theirs, rel=5e-3)


def test_edits_are_the_cpus(home: Path) -> None:
    def sample(models: Models) -> Sequence[np.ndarray]:
        images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
        return edit(models, list(images), ["remove the bird", "add a bird", ""], num_steps=4)

    with torch.no_grad():
        pairs = zip(sample(load_models(home / "tiny").to(CUDA)), sample(load_models(home / "tiny")), strict=True)
    for ours, theirs in pairs:
        assert np.abs(ours.astype(int) - theirs).max() <= 2
