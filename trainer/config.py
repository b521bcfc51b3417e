"""Everything that decides a training run, in one frozen value. Named runs are in `trainer.recipes`.

Units: images in pixels, lengths in optimizer steps, amounts of data in samples.
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from catalog.errors import ConfigError
from catalog.render_styles import RenderStyle
from trainer.overrides import flat_values, override

TINY_MODEL = "tiny"
"""Value of ``model`` that makes a tiny, randomly initialised checkpoint instead of loading one."""

TOKENIZER = "openai/clip-vit-large-patch14"
"""Hub id of Stable Diffusion v1's tokenizer, which single files do not hold."""

Stage = Literal["pretraining_adaptation", "task_training", "human_alignment"]

LATENT_STRIDE = 8
"""Pixels per latent pixel and side: Stable Diffusion's autoencoder."""

MIN_IMAGE_SIZE = 32
"""Pixels; below it, colours and discs cannot be told apart (`catalog.samples`)."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """One training run of the generalist. Defaults are the paper's where it gives a number."""

    recipe: str
    """Name of the recipe that this configuration comes from."""

    model: str
    """Where training starts: a diffusers folder, a .safetensors or .ckpt file in Stable Diffusion v1's original layout,
    another run's folder or checkpoint, a hub id, or "tiny" (random weights, made on the spot)."""

    tokenizer: str = TOKENIZER
    """Folder or hub id of the tokenizer, where ``model`` is a single file; others bring their own."""

    stage: Stage = "task_training"
    """Paper section 3.3: "pretraining_adaptation" trains text-to-image on drawn masks and joints, "task_training" and
    "human_alignment" edit the source image by instruction."""

    plain_share: float = 0.5
    """Stage pretraining_adaptation: share of mask and joint rows whose photo and caption stay as they are, so that
    text-to-image generation survives. The paper gives no number."""

    suffixes: str = ""
    """Stage pretraining_adaptation: folder with segmentation.txt and keypoint_detection.txt, your own wordings of
    what was drawn; empty = those in trainer/suffixes."""

    image_size: int = 256
    """Side of the square training images, pixels (paper section 4.1)."""

    render: RenderStyle = dataclasses.field(default_factory=RenderStyle)
    """How samples are drawn, at ``image_size``; ``--set render.crop=square`` changes one of its fields."""

    conditioning_dropout: Literal["paper", "official"] = "paper"
    """How conditions are dropped for classifier-free guidance: "paper" follows InstructPix2Pix (5 % text, 5 %
    image, 5 % both), "official" the released code (7.5 % text, 7.5 % image, never both)."""

    num_steps: int
    """Optimizer steps of the whole run. May grow when a run is resumed."""

    global_batch_size: int = 3072
    """Samples per optimizer step, over all ranks (paper section 4.1)."""

    micro_batch_size: int = 64
    """Samples per forward pass and rank; the rest of the global batch is accumulated (official code: 64). 0 = the
    largest power of two that fits into memory, found by trying at the start; a resumed run keeps what was found."""

    learning_rate: float = 1e-4
    """Constant learning rate (paper section 4.1)."""

    adam_beta1: float = 0.9
    """AdamW, decay of the first moment (official code)."""

    adam_beta2: float = 0.999
    """AdamW, decay of the second moment (official code)."""

    adam_epsilon: float = 1e-8
    """AdamW, added to the denominator (official code)."""

    weight_decay: float = 0.01
    """AdamW, decoupled weight decay (official code)."""

    max_grad_norm: float = 0.0
    """Gradients are scaled down to this norm; 0 = no clipping (official code)."""

    ema_decay: float = 0.9999
    """Decay of the moving average of the weights after its warm-up (paper section 4.1)."""

    latents: Literal["off", "use"] = "off"
    """Take latents and text states of rows that look the same each time from the cache that ``python -m
    trainer.encode`` made ("use"), or encode every row in every step."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the forward and backward pass. Weights, optimizer and moving average are always float32."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Several ranks: each holds all weights and states ("ddp"), or each a part of them ("fsdp", PyTorch's FSDP2)."""

    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time."""

    channels_last: bool = False
    """Keep convolutions' tensors as NHWC, which GPUs' tensor cores like."""

    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    """Mode of torch.compile for the UNet and the autoencoder's encoder; "reduce-overhead" replays CUDA graphs."""

    fused_optimizer: bool = False
    """AdamW as one kernel."""

    seed: int = 0
    """Of everything random. A sample depends on (seed, sample index) and on nothing else."""

    on_bad_row: Literal["stop", "skip"] = "stop"
    """A mix row that cannot be rendered ends the run, or is logged and counts nothing in its step."""

    on_bad_step: Literal["stop", "skip"] = "stop"
    """A step whose loss or gradient is not finite, or leaps (``spike_factor``), ends the run, or is left out: the
    weights stay as they were before it. Either way its pairs are named."""

    spike_factor: float = 0.0
    """A step leaps when its loss or gradient norm is over this many times the median of 50 steps before; 0 = never."""

    deterministic: bool = True
    """Use only operations that give the same bits every time, so that resuming is bit-exact."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; "auto" takes the GPU where there is one."""

    num_threads: int = 1
    """CPU threads per rank; fixed, as sums depend on it in the last bit."""

    num_workers: int = 0
    """Processes per rank that render samples; 0 = in the training process. Does not change any sample."""

    checkpoint_every: int = 1000
    """Steps between checkpoints; the last step always has one."""

    keep_last: int = 2
    """Newest checkpoints to keep."""

    keep_every: int = 0
    """Also keep the checkpoints after every so many steps, for good; 0 = none."""

    pictures_every: int = 0
    """Steps between sample pictures: held-out rows of the mix edited by the moving average; 0 = none."""

    num_pictures: int = 4
    """Rows in each sample picture."""

    log_every: int = 10
    """Steps between progress lines where the output is no terminal; the Parquet log has every step."""

    wandb: str = ""
    """Project of Weights & Biases that gets the log's figures and pictures, too (``pip install 'ieiw[wandb]'``; its own
    variables say where: WANDB_MODE=offline keeps them in the run's folder); empty = nothing is sent."""

    peak_tflops: float = 0.0
    """Peak of one device in 10^12 operations/s, for the log's MFU; 0 = the data sheet's value, where it is known."""

    rank_timeout: float = 600.0
    """Seconds that ranks wait for each other before the job ends."""

    def __post_init__(self) -> None:
        for rule, holds, field, remedy in _rules(self):
            if not holds:
                raise ConfigError(f"{field} must be {rule}, got {getattr(self, field)!r}: {remedy}")

    @property
    def image_condition(self) -> bool:
        """Whether the UNet gets the source image: in all stages but the first."""
        return self.stage != "pretraining_adaptation"

    def with_overrides(self, assignments: Iterable[str]) -> "TrainingConfig":
        """This configuration with ``field=value`` texts applied, as given to ``--set``.

        Raises:
            ConfigError: no ``=``, an unknown field, a value of another type or out of range.
        """
        return override(self, assignments)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dataclasses.asdict(self)


RUN_ONLY_FIELDS = frozenset(
    {
        "recipe",
        "num_steps",
        "micro_batch_size",
        "parallel",
        "activation_checkpointing",
        "channels_last",
        "compile",
        "fused_optimizer",
        "on_bad_row",
        "on_bad_step",
        "spike_factor",
        "device",
        "num_threads",
        "num_workers",
        "checkpoint_every",
        "keep_last",
        "keep_every",
        "pictures_every",
        "num_pictures",
        "log_every",
        "wandb",
        "peak_tflops",
        "rank_timeout",
    }
)
"""Fields that a resumed run may change: how long and on what, never what is learned (up to rounding)."""


def changed_fields(saved: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Fields that decide what is learned and differ, each as ``name: saved -> current``."""
    defaults = {field.name: field.default for field in dataclasses.fields(TrainingConfig)}
    known = {name: value for name, value in defaults.items() if value is not dataclasses.MISSING}
    before, now = known | flat_values(saved), flat_values(current)  # fields newer than the saved run: as they were
    names = sorted((before.keys() | now.keys()) - RUN_ONLY_FIELDS)
    return [f"{n}: {before.get(n)} -> {now.get(n)}" for n in names if before.get(n) != now.get(n)]


def _rules(config: TrainingConfig) -> list[tuple[str, bool, str, str]]:
    """(what must be, whether it is, field, what to do)."""
    size = max(MIN_IMAGE_SIZE, config.image_size // LATENT_STRIDE * LATENT_STRIDE)
    rules = [
        (
            f"a multiple of {LATENT_STRIDE} from {MIN_IMAGE_SIZE} on",
            config.image_size == size,
            "image_size",
            f"use {size}",
        ),
        ("a folder, a file, a hub id or 'tiny'", bool(config.model), "model", "name one"),
        ("positive and finite", _positive(config.learning_rate), "learning_rate", "the paper's is 1e-4"),
        ("in [0, 1)", 0 <= config.adam_beta1 < 1, "adam_beta1", "the usual value is 0.9"),
        ("in [0, 1)", 0 <= config.adam_beta2 < 1, "adam_beta2", "the usual value is 0.999"),
        ("positive and finite", _positive(config.adam_epsilon), "adam_epsilon", "the usual value is 1e-8"),
        ("0 or more", _not_negative(config.weight_decay), "weight_decay", "0 turns it off"),
        ("0 or more", _not_negative(config.max_grad_norm), "max_grad_norm", "0 turns clipping off"),
        ("in [0, 1)", 0 <= config.ema_decay < 1, "ema_decay", "the paper's is 0.9999"),
        ("in [0, 1]", 0 <= config.plain_share <= 1, "plain_share", "half is the default"),
        ("a folder or a hub id", bool(config.tokenizer), "tokenizer", "leave it away for Stable Diffusion v1's"),
        (
            "0 or over 1",
            _not_negative(config.spike_factor) and not 0 < config.spike_factor <= 1,
            "spike_factor",
            "try 5",
        ),
        ("0 or more", _not_negative(config.peak_tflops), "peak_tflops", "0 takes the known value"),
        ("positive and finite", _positive(config.rank_timeout), "rank_timeout", "give seconds"),
        ("0 or more", config.seed >= 0, "seed", "any whole number from 0 on does"),
        ("0 or more", config.num_workers >= 0, "num_workers", "0 renders in the training process"),
    ]
    for name in ("micro_batch_size", "keep_every", "pictures_every"):
        rules.append(("0 or more", getattr(config, name) >= 0, name, "0 leaves it to the trainer, or turns it off"))
    pictures = not config.pictures_every or config.image_condition
    rules.append(("0 in stage pretraining_adaptation, which edits nothing", pictures, "pictures_every", "set it to 0"))
    cached = config.latents == "off" or config.image_condition
    rules.append(("off in stage pretraining_adaptation, which draws pictures anew", cached, "latents", "set it to off"))
    counts = ["num_steps", "global_batch_size", "num_threads", "checkpoint_every", "keep_last", "log_every"]
    counts.append("num_pictures")
    rules += [("1 or more", getattr(config, name) >= 1, name, "give a positive count") for name in counts]
    for name, kind in typing.get_type_hints(TrainingConfig).items():
        if typing.get_origin(kind) is Literal:
            choices = typing.get_args(kind)
            value = getattr(config, name)
            rules.append((f"one of {', '.join(choices)}", value in choices, name, "choose one of them"))
    return rules


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _not_negative(value: float) -> bool:
    return math.isfinite(value) and value >= 0
