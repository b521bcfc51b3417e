"""Everything that decides a training run, in one frozen value. Named runs are in `trainer.recipes`.

Units: images in pixels, lengths in optimizer steps, amounts of data in samples.
"""

import ast
import dataclasses
import difflib
import inspect
import itertools
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, TypeVar

from catalog.errors import ConfigError
from catalog.render_styles import RenderStyle

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
    """Samples per forward pass and rank; the rest of the global batch is accumulated (official code: 64)."""

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

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the forward and backward pass. Weights, optimizer and moving average are always float32."""

    seed: int = 0
    """Of everything random. A sample depends on (seed, sample index) and on nothing else."""

    on_bad_row: Literal["stop", "skip"] = "stop"
    """A mix row that cannot be rendered ends the run, or is logged and counts nothing in its step."""

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

    log_every: int = 10
    """Steps between progress lines; the Parquet log has every step."""

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
        "on_bad_row",
        "device",
        "num_threads",
        "num_workers",
        "checkpoint_every",
        "keep_last",
        "log_every",
    }
)
"""Fields that a resumed run may change: how long and on what, never what is learned (up to rounding)."""


Options = TypeVar("Options")


def override(options: Options, assignments: Iterable[str], prefix: str = "") -> Options:
    """``options``, a dataclass, with ``field=value`` texts applied, as given to ``--set``.

    Args:
        options: a field that is a dataclass itself is reached by dotted names: ``render.crop``.
        assignments: the texts.
        prefix: what all names begin with where ``options`` is a part of something larger: ``render.``.

    Raises:
        ConfigError: no ``=``, an unknown field, a value of another type or out of range.
    """
    kinds = dict(_leaves(type(options), prefix))
    changes: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set takes field=value, got {assignment!r}: write --set {next(iter(kinds))}=VALUE")
        name = name.strip()
        value = _parse(kinds, name, text.strip())
        changes[name.removeprefix(prefix)] = value
    changed: Options = _replace(options, changes)
    return changed


def _replace(options: Any, changes: Mapping[str, Any]) -> Any:
    """``dataclasses.replace`` for dotted names."""
    own: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        first, dot, rest = name.partition(".")
        if dot:
            parts.setdefault(first, {})[rest] = value
        else:
            own[name] = value
    return dataclasses.replace(options, **own, **{n: _replace(getattr(options, n), part) for n, part in parts.items()})


def _leaves(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and type of each field that is no dataclass itself."""
    for name, inner in typing.get_type_hints(kind).items():
        if is_dataclass(inner):
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, inner


def field_descriptions() -> dict[str, str]:
    """What stands under each field in the sources, on one line each, by dotted name, for ``--help``."""
    return dict(_descriptions(TrainingConfig))


def _descriptions(kind: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    inner = {name: hint for name, hint in typing.get_type_hints(kind).items() if is_dataclass(hint)}
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in itertools.pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                if name in inner:
                    yield from _descriptions(inner[name], f"{prefix}{name}.")
                else:
                    yield prefix + name, " ".join(words.split())


def flat_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A configuration's JSON values by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flat_values(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


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
        ("0 or more", config.seed >= 0, "seed", "any whole number from 0 on does"),
        ("0 or more", config.num_workers >= 0, "num_workers", "0 renders in the training process"),
    ]
    counts = ["num_steps", "global_batch_size", "micro_batch_size", "num_threads"]
    counts += ["checkpoint_every", "keep_last", "log_every"]
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


def _parse(kinds: Mapping[str, Any], name: str, text: str) -> Any:
    """A field's value from the command line."""
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the fields are {', '.join(kinds)}"
        raise ConfigError(f"--set must name a field of the configuration, got {name!r}: {hint}")
    kind = kinds[name]
    if kind is bool:
        known = {"true": True, "false": False}
        if text.lower() not in known:
            raise ConfigError(f"{name} must be true or false, got {text!r}: write --set {name}=true")
        return known[text.lower()]
    if kind in (int, float):
        assert isinstance(kind, type) and not isinstance(kind, types.UnionType)
        try:
            return kind(text)
        except ValueError as error:
            what = "a whole number" if kind is int else "a number"
            raise ConfigError(f"{name} must be {what}, got {text!r}: write --set {name}=VALUE") from error
    return text
