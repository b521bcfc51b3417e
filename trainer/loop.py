"""The training loop: one step after the other, from a mix to a pipeline folder.

Determinism: sample i depends on (seed, i) alone, so a run is resumed by one integer, and with the same number
of ranks, threads and the same micro-batches it goes on bit for bit as if it had never stopped.
"""

import resource
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from catalog.durable import sweep
from catalog.errors import CheckpointError, ConfigError
from catalog.roots import Roots
from catalog.workspace import Workspace
from trainer.batches import MicroBatches, make_loader
from trainer.checkpoint import (
    Identity,
    check_checkpoint,
    list_checkpoints,
    load_checkpoint,
    remove_rests,
)
from trainer.checkpoint_writer import CheckpointWriter
from trainer.config import LATENT_STRIDE, TINY_MODEL, TrainingConfig
from trainer.data import TrainingSamples
from trainer.latent_cache import LatentCache, cache_key
from trainer.learner import Learner
from trainer.micro_batch import find_micro_batch
from trainer.models import Models, frozen_digest, load_models
from trainer.pictures import SamplePictures, write_picture
from trainer.pipeline_folder import write_pipeline
from trainer.plan import TrainingPlan
from trainer.progress import TrainingProgress
from trainer.ranks import Ranks, start_ranks
from trainer.run_conditions import StopRequest, exact_arithmetic
from trainer.run_folder import Finished, RunFolder
from trainer.step_tally import Leaps, StepFigures, StepTally, check_fault
from trainer.throughput import Throughput
from trainer.training_log import BIN_LOSSES, TrainingLog, mean_losses


def train(config: TrainingConfig, mix: Path, folder: RunFolder, *, may_resume: bool = True) -> Finished | None:
    """Train to the last step and export; None on other ranks, and where SIGTERM stopped it after a checkpoint.

    Raises:
        ConfigError, MixError, CheckpointError, TrainingError: one clear sentence, the same on every rank.
    """
    plan = TrainingPlan(mix, () if config.image_condition else ("source_caption", "target_caption"))
    roots = Roots.read(mix.parent / "roots.json")
    ranks_of_run = start_ranks(config.device, config.rank_timeout)
    with (
        ranks_of_run as ranks,
        exact_arithmetic(config),
        StopRequest() as stop,
        CheckpointWriter(ranks, config.rank_timeout) as writer,
    ):
        # Networks, optimizer and moving average, as they were after the newest checkpoint.
        _check_batch(config, ranks)
        checkpoint = _choose_checkpoint(folder, config, plan.sha256, may_resume=may_resume)
        if ranks.is_first:
            _prepare(folder, config, is_new=checkpoint is None)
        ranks.wait()
        start = str(folder.tiny_model) if config.model == TINY_MODEL else config.model
        models = load_models(start, image_condition=config.image_condition, tokenizer=config.tokenizer)
        throughput = Throughput(models.to(ranks.device), config) if ranks.is_first else None
        learner = Learner(models, config, ranks)
        frozen = frozen_digest(models)
        identity = Identity(config.to_json(), plan.sha256, frozen)
        cache = LatentCache(Workspace.default(), cache_key(models, frozen, config)) if config.latents == "use" else None
        first_step = 0
        if checkpoint is not None:
            saved = load_checkpoint(checkpoint, identity)
            learner.restore(saved, checkpoint)
            first_step = saved.samples_seen // config.global_batch_size
        config = _choose_micro_batch(config, learner, ranks, folder, checkpoint)

        # The micro-batches of this rank, from the first sample that was not yet seen.
        batches = MicroBatches(
            first_step=first_step,
            last_step=config.num_steps,
            global_batch_size=config.global_batch_size,
            micro_batch_size=config.micro_batch_size,
            rank=ranks.rank,
            world_size=ranks.size,
        )
        samples, on_gpu = TrainingSamples(plan, roots, config, cache), ranks.device.type == "cuda"
        stream = iter(make_loader(samples, batches, config.num_workers, pin_memory=on_gpu))
        pictures = SamplePictures(mix, roots, config) if config.pictures_every else None
        log = progress = None
        if ranks.is_first:
            folder.start(config, plan.path, plan.sha256)
            log = TrainingLog(folder, config, first_step)
            progress = TrainingProgress(config, first_step)
        leaps = Leaps(config.spike_factor, ranks.gather(log.history() if log is not None else [])[0])

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
            fault = tally.find_fault(step, figures, grad_norm, leaps)
            if fault is None:
                learner.update(step)
                leaps.note(figures.loss, grad_norm)
            else:
                check_fault(fault, config.on_bad_step)
                learner.forget_gradient()

            stopped = figures.stop
            seconds = time.perf_counter() - started
            is_due = step % config.checkpoint_every == 0 or step == config.num_steps or stopped
            if log is not None and progress is not None and throughput is not None:
                log.rejected += [vars(row) for row in rejected]
                row = _log_row(step, figures, grad_norm, seconds, config, ranks, throughput)
                log.add(row | {"skipped": fault is not None})
                progress.show(step, log.rows)
                if fault is not None:
                    progress.warn(f"step {step} is left out, as {fault}")
                if is_due:
                    log.flush()
            if is_due:
                state = learner.state(step * config.global_batch_size)
                keep = {"keep_last": config.keep_last, "keep_every": config.keep_every}
                writer.save(folder.checkpoints, step, state, identity, **keep)
            if pictures is not None and (step % config.pictures_every == 0 or step == config.num_steps):
                with learner.averaged() as averaged:
                    picture = pictures.make(averaged)
                if log is not None:
                    write_picture(folder.picture(step), picture)
                    log.add_picture(step, picture)

        writer.wait()
        averages = learner.averages() if step == config.num_steps else {}
        finished = None
        if log is not None and progress is not None:
            log.close()
            progress.close()
            if averages:
                finished = _finish(models, averages, log, folder, config, plan.sha256)
        ranks.wait()
        return finished


def _choose_micro_batch(
    config: TrainingConfig, learner: Learner, ranks: Ranks, folder: RunFolder, checkpoint: Path | None
) -> TrainingConfig:
    """Where none is set, the one that an earlier start found (sums depend on it), else one that fits."""
    if config.micro_batch_size:
        return config
    found = folder.read_micro_batch() if checkpoint is not None else None
    why = f"micro_batch_size {found}: as at the run's first start"
    if found is None:
        found, why = find_micro_batch(learner, config, ranks)
    if ranks.is_first:
        sys.stdout.write(f"{why}\n")
    return replace(config, micro_batch_size=found)


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


def _finish(
    models: Models,
    averages: Mapping[str, Tensor],
    log: TrainingLog,
    folder: RunFolder,
    config: TrainingConfig,
    mix_sha256: str,
) -> Finished:
    """Export the moving average and write the run's figures."""
    unet = _with_weights(models.unet, averages)
    unet.register_to_config(sample_size=config.image_size // LATENT_STRIDE)  # the size it was trained at
    write_pipeline(folder.pipeline, replace(models, unet=unet))
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


def _with_weights(unet: Any, weights: Mapping[str, Tensor]) -> Any:
    """A UNet of the same configuration on the CPU, whatever training made of this one: sharded, compiled."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.device("meta"):
        plain = UNet2DConditionModel.from_config(unet.config)
    on_cpu = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    plain.load_state_dict(on_cpu, assign=True)
    return plain


def _log_row(
    step: int,
    figures: StepFigures,
    grad_norm: float,
    seconds: float,
    config: TrainingConfig,
    ranks: Ranks,
    throughput: Throughput,
) -> dict[str, Any]:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if ranks.device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / 2**20
    pace = config.global_batch_size / seconds
    return {
        "step": step,
        "samples_seen": step * config.global_batch_size,
        "loss": figures.loss,
        **{f"loss_{task}": loss for task, loss in figures.task_losses.items()},
        **dict(zip(BIN_LOSSES, figures.bin_losses, strict=True)),
        "learning_rate": config.learning_rate,
        "grad_norm": grad_norm,
        "num_rejected": figures.num_rejected,
        "samples_digest": figures.samples_digest,
        "samples_per_s": pace,
        "mfu": throughput.mfu(pace, ranks.size),
        "data_wait_share": figures.data_wait_share,
        "memory_mib": memory,
        "seconds": seconds,
    }
