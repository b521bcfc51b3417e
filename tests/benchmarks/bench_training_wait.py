"""How long a GPU waits for pictures: the whole trainer on 512-pixel JPEGs, decoded and drawn by its own processes.

Stable Diffusion v1.5's shapes with random weights, 256 x 256, bfloat16, latents encoded online, as for rows that are
drawn anew each time. ``python tests/benchmarks/bench_training_wait.py`` tries the same on a CPU with tiny networks; its
figure says nothing about a GPU and is not kept.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from benchmark_record import CannotRunHere, Record
from loader_pairs import Pairs

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS, WARM_UP = 40, 10
GOAL = 0.01


def bench_loader_wait_share_gpu() -> Record:
    """Share of a step's time that it waits for its samples, mean over steps."""
    import torch
    from bench_training import GPU_BATCH, _stable_diffusion

    from trainer.pipeline_folder import write_pipeline

    if not torch.cuda.is_available():
        raise CannotRunHere("it needs a CUDA GPU of 40 GB or more; there, the same command measures it")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        write_pipeline(model, _stable_diffusion(torch.device("cuda")).to(torch.device("cpu")))
        torch.cuda.empty_cache()
        share, pace = measure(
            Path(folder), "h200", f"model={model}", f"global_batch_size={GPU_BATCH}", f"micro_batch_size={GPU_BATCH}"
        )
    return Record(
        name="loader_wait_share_gpu",
        value=share,
        unit="share",
        against=f"{torch.cuda.get_device_name()}: {pace:.0f} samples/s, encoded online, 12 loader processes",
        goal=f"<= {GOAL}",
        holds=share <= GOAL,
    )


def measure(folder: Path, recipe: str, *changes: str) -> tuple[float, float]:
    """Share of waiting and samples per second, after the first steps."""
    mix = Pairs(folder).plan.path
    settings = [*changes, f"num_steps={STEPS}", f"checkpoint_every={STEPS}"]
    command = [sys.executable, str(REPOSITORY / "trainer" / "main.py"), "--catalog", str(mix), "--recipe", recipe]
    command += ["--output", str(folder / "run"), *(part for change in settings for part in ("--set", change))]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=sys.stderr)
    log = pq.read_table(folder / "run" / "training_log.parquet").to_pylist()[WARM_UP:]
    share = sum(row["data_wait_share"] * row["seconds"] for row in log) / sum(row["seconds"] for row in log)
    return share, sum(row["samples_per_s"] for row in log) / len(log)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        share, pace = measure(Path(home), "demo")
    sys.stdout.write(f"tiny networks on the CPU: waits {share:.1%}, {pace:.0f} samples/s\n")
