"""The training loop: one step after the other, from a mix to a pipeline folder.

Determinism: sample i depends on (seed, i) alone, so a run is resumed by one integer, and with the same number
of ranks, threads and the same micro-batches it goes on bit for bit as if it had never stopped.
"""

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from catalog.durable import sweep
from catalog.errors import CheckpointError, ConfigError
from catalog.roots import Roots
from trainer.checkpoint import (
    Identity,
    check_checkpoint,
    list_checkpoints,
    load_checkpoint,
    remove_rests,
    save_checkpoint,
)
from trainer.config import LATENT_STRIDE, TINY_MODEL, TrainingConfig
from trainer.data import MicroBatches, TrainingSamples, make_loader
from trainer.learner import Learner
from trainer.models import frozen_digest, load_models
from trainer.pipeline_folder import write_pipeline
from trainer.plan import TrainingPlan
from trainer.ranks import Ranks, start_ranks
from trainer.run_folder import Finished, RunFolder
from trainer.step_tally import StepFigures, StepTally
from trainer.training_log import TrainingLog, mean_losses


def train(config: TrainingConfig, mix: Path, folder: RunFolder, *, may_resume: bool = True) -> Finished | None:
    """Train to the last step and export; None on other ranks, and where SIGTERM stopped it after a checkpoint.

    Raises:
        ConfigError, MixError, CheckpointError, TrainingError: one clear sentence, the same on every rank.
    """
    plan = TrainingPlan(mix, () if config.image_condition else ("source_caption", "target_caption"))
    roots = Roots.read(mix.parent / "roots.json")
    with start_ranks(config.device) as ranks, exact_arithmetic(config), StopRequest() as stop:
        # Networks, optimizer and moving average, as they were after the newest checkpoint.
        _check_batch(config, ranks)
        checkpoint = _choose_checkpoint(folder, config, plan.sha256, may_resume=may_resume)
        if ranks.is_first:
            _prepare(folder, config, is_new=checkpoint is None)
        ranks.wait()
        start = str(folder.tiny_model) if config.model == TINY_MODEL else config.model
        models = load_models(start, image_condition=config.image_condition, tokenizer=config.tokenizer)
        learner = Learner(models.to(ranks.device), config, ranks)
        identity = Identity(config.to_json(), plan.sha256, frozen_digest(learner.models))
        first_step = 0
        if checkpoint is not None:
            state = load_checkpoint(checkpoint, identity)
            learner.restore(state, checkpoint)
            first_step = state.samples_seen // config.global_batch_size

        # The micro-batches of this rank, from the first sample that was not yet seen.
        batches = MicroBatches(
            first_step=first_step,
            last_step=config.num_steps,
            global_batch_size=config.global_batch_size,
            micro_batch_size=config.micro_batch_size,
            rank=ranks.rank,
            world_size=ranks.size,
        )
        stream = iter(make_loader(TrainingSamples(plan, roots, config), batches, config.num_workers))
        log = None
        if ranks.is_first:
            folder.start(config, plan.path, plan.sha256)
            log = TrainingLog(folder, first_step, first_step * config.global_batch_size)

        step, stopped = first_step, False
        while step < config.num_steps and not stopped:
            step += 1
            started, waited = time.perf_counter(), 0.0
            tally = StepTally(ranks, config.global_batch_size)

            # Gradient of the global batch, micro-batch by micro-batch.
            for micro in range(batches.per_step):
                asked = time.perf_counter()
                batch = next(stream)
                waited += time.perf_counter() - asked
                tally.add(batch, learner.accumulate(batch, is_last=micro + 1 == batches.per_step))
            grad_norm = float(learner.clip())

            # The one place where the ranks agree on what happened, before the weights are changed by it.
            wait_share = waited / (time.perf_counter() - started)
            figures = tally.reduce(wait_share=wait_share, stop=stop.requested)
            rejected = tally.rejected_rows() if figures.num_rejected else []
            tally.check_rejected(rejected, config.on_bad_row)
            tally.check_finite(step, figures, grad_norm)

            learner.update(step)

            stopped = figures.stop
            if log is not None:
                seconds = time.perf_counter() - started
                log.rejected += [vars(row) for row in rejected]
                log.add(_log_row(step, figures, grad_norm, seconds, config, ranks))
                if step % config.log_every == 0 or step in (1, config.num_steps):
                    _show_progress(log, step, config)
                if step % config.checkpoint_every == 0 or step == config.num_steps or stopped:
                    log.flush()
                    state = learner.state(step * config.global_batch_size)
                    save_checkpoint(folder.checkpoints, step, state, identity, config.keep_last)

        finished = None
        if log is not None:
            log.close()
            if step == config.num_steps:
                finished = _finish(learner, log, folder, config, plan.sha256)
        ranks.wait()
        return finished


def _check_batch(config: TrainingConfig, ranks: Ranks) -> None:
    if config.global_batch_size % ranks.size:
        raise ConfigError(
            f"global_batch_size must be a multiple of the number of ranks, got {config.global_batch_size} on "
            f"{ranks.size}: use {config.global_batch_size // ranks.size * ranks.size or ranks.size}"
        )


def _choose_checkpoint(folder: RunFolder, config: TrainingConfig, mix_sha256: str, *, may_resume: bool) -> Path | None:
    """The newest checkpoint, checked before minutes go into loading networks; None at the start of a run."""
    checkpoints = list_checkpoints(folder.checkpoints)
    if not checkpoints:
        return None
    newest = checkpoints[-1]
    if not may_resume:
        raise CheckpointError(
            f"with --resume never, --output must hold no checkpoint, but {newest} is there: "
            "choose another --output or leave --resume away"
        )
    done = check_checkpoint(newest, config.to_json(), mix_sha256)["step"]
    if done > config.num_steps:
        raise ConfigError(
            f"num_steps must be at least the {done} steps of {newest}, got {config.num_steps}: "
            "raise it or choose another --output"
        )
    return newest


def _prepare(folder: RunFolder, config: TrainingConfig, *, is_new: bool) -> None:
    """Clean up after a killed run and make the tiny starting point."""
    folder.path.mkdir(parents=True, exist_ok=True)
    remove_rests(folder.path)
    remove_rests(folder.checkpoints)
    sweep(folder.path)
    if config.model == TINY_MODEL and (is_new or not folder.tiny_model.is_dir()):
        from trainer.tiny import make_tiny_checkpoint

        make_tiny_checkpoint(folder.tiny_model, config.seed)


def _finish(learner: Learner, log: TrainingLog, folder: RunFolder, config: TrainingConfig, mix_sha256: str) -> Finished:
    """Export the moving average and write the run's figures."""
    unet = learner.models.unet
    unet.load_state_dict(learner.averages)
    unet.register_to_config(sample_size=config.image_size // LATENT_STRIDE)  # the size it was trained at
    write_pipeline(folder.pipeline, learner.models)
    loss_first, loss_last = mean_losses(log.rows)
    figures = Finished(
        steps=config.num_steps,
        samples_seen=config.num_steps * config.global_batch_size,
        loss_first=loss_first,
        loss_last=loss_last,
        seconds=sum(row["seconds"] for row in log.rows),
    )
    folder.write_finished(figures, config, mix_sha256)
    return figures


def _log_row(
    step: int, figures: StepFigures, grad_norm: float, seconds: float, config: TrainingConfig, ranks: Ranks
) -> dict[str, object]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if ranks.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    return {
        "step": step,
        "samples_seen": step * config.global_batch_size,
        "loss": figures.loss,
        **{f"loss_{task}": loss for task, loss in figures.task_losses.items()},
        "learning_rate": config.learning_rate,
        "grad_norm": grad_norm,
        "num_rejected": figures.num_rejected,
        "samples_digest": figures.samples_digest,
        "samples_per_s": config.global_batch_size / seconds,
        "data_wait_share": figures.data_wait_share,
        "memory_mib": memory,
        "seconds": seconds,
    }


def _show_progress(log: TrainingLog, step: int, config: TrainingConfig) -> None:
    recent = log.rows[-config.log_every :]
    loss = sum(row["loss"] for row in recent) / len(recent)
    pace = sum(row["seconds"] for row in recent) / len(recent)
    sys.stdout.write(
        f"step {step}/{config.num_steps}  loss {loss:.4f}  {config.global_batch_size / pace:.1f} samples/s  "
        f"data wait {recent[-1]['data_wait_share']:.0%}  about {(config.num_steps - step) * pace:.0f} s left\n"
    )
    sys.stdout.flush()


@contextmanager
def exact_arithmetic(config: TrainingConfig) -> Iterator[None]:
    """Threads and algorithms that give the same bits each time, where the configuration asks for it."""
    threads, algorithms = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.set_num_threads(config.num_threads)
    torch.use_deterministic_algorithms(config.deterministic)
    memory.fill_uninitialized_memory = False  # nothing here reads memory it did not write
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(algorithms)
        memory.fill_uninitialized_memory = fill


class StopRequest:
    """Turns SIGTERM into a wish that the loop grants after the step at hand."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "StopRequest":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
