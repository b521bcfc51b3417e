"""How samples are drawn: every choice of `catalog.samples` as a named field, with the place it comes from.

Where the paper, the official code and a corrected reading differ, the field is a switch that names them:

    paper       what the paper says, to the letter
    official    what the released code does, its mistakes included
    corrected   what was meant

The README's table "Paper, official code, corrected" has them all, also the two that readers decide.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from catalog.drawing_colors import ColorRule, color_table
from catalog.errors import ConfigError
from catalog.targets import ALPHA, RADIUS

TEMPLATES = Path(__file__).with_name("templates")
WORDINGS = ("expanded", "written", "simple")
"""Folders of template files that ship with the code."""

Crop = Literal["official", "paper", "square"]
Decoding = Literal["reduced", "whole"]
Repair = Literal["corrected", "official"]
AbsentClasses = Literal["corrected", "official", "paper"]
Augmentation = Literal["paper", "official", "corrected"]
JointSentences = Literal["corrected", "official", "paper"]


def _require(holds: bool, rule: str, style: Any, name: str) -> None:
    if not holds:
        raise ConfigError(f"{rule}. Got {getattr(style, name)!r}")


@dataclass(frozen=True, kw_only=True)
class RenderStyle:
    """How samples are drawn, whatever their size. Defaults are the paper's; where it is silent, the official code's,
    without its mistakes.
    """

    crop: Crop = "official"
    """``paper``: the whole image, aspect not kept (section 4.1: preprocessed to 256x256); ``official``: so for image
    editing, ``size`` pixels as they are for denoising, else a random square along the long side; ``square``: that
    square for editing too. Keypoints always show the person's square."""
    decoding: Decoding = "reduced"
    """``reduced``: JPEGs are decoded at a half, a quarter or an eighth where what is left is as large as it is shown,
    39 to 47 dB from ``whole`` (official code: every pixel, then Lanczos). A pair is reduced only if both images are."""
    referent: Repair = "corrected"
    """``corrected``: squares keep the region in view; ``official``: they may cut it away, text unchanged."""
    alpha: float = ALPHA
    """Share of the colour in a mask's pixels (paper section 4.1: transparency of 0.5)."""
    radius: float = RADIUS
    """Of keypoint discs, in pixels at size 256; scales with ``size`` (official code: 10)."""
    disc_centers: Repair = "corrected"
    """``official``: the centre of a disc is a whole pixel; ``corrected``: it is the joint's place."""
    max_keypoints: int = 5
    """Joints of one sample: between 1 and this (paper section 4.1: 1 to 5)."""
    asked_joints: Repair = "corrected"
    """``corrected``: labelled joints in view, none under another's disc; ``official``: any joint of the list, also
    unlabelled ones, which stay without a disc, and those whose centre lies just outside."""
    joint_names: Repair = "corrected"
    """``corrected``: plain words; ``official``: "left_shoulder" everywhere but on COCO, "top_head" and "head_top"."""
    joint_sentences: JointSentences = "corrected"
    """``corrected``: one sentence names all joints; ``paper``: a clause of its own wording for each (Figure 3);
    ``official``: a sentence for each, strung together."""
    person_scale: float = 1.25
    """Side of the person's square over the long side of the box (official code: 1.25)."""
    augmentation: Augmentation = "paper"
    """Of a person's square. ``paper``: none is named; ``official``: size, rotation, half body of COCO's people, upper
    halves favoured; ``corrected``: half body of every dataset, both halves alike."""
    colors: ColorRule = "corrected"
    """``corrected``: one table for joints and masks; ``official``: two tables with two greens; ``fixed``: each joint
    and class always has the same one (section 4.6)."""
    absent_classes: AbsentClasses = "corrected"
    """Of class datasets. ``corrected``: an absent class is sometimes asked for, the picture stays; ``official``: its
    list of absent classes keeps some that are present; ``paper``: never."""
    absent_probability: float = 0.2
    """Chance to ask for an absent class (official code: 0.2)."""
    flip_probability: float = 0.0
    """Chance to mirror a sample; joints change sides (official code: 0.5, referring 0)."""
    sided_words: Repair = "corrected"
    """``corrected``: words that name a side are never mirrored; ``official``: they are, unchanged."""
    wording: str = "expanded"
    """Templates: ``expanded`` (section 3.1: ten by hand, multiplied), ``written`` (the ten), ``simple`` (indicators,
    section 4.6), or the path of a folder of template files."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if choices := get_args(kind):
                _require(getattr(self, name) in choices, f"{name} must be one of {', '.join(choices)}", self, name)
        _require(0 < self.alpha <= 1, "alpha must be in (0, 1]", self, "alpha")
        _require(1 <= self.radius <= 128, "radius must be in [1, 128] pixels", self, "radius")
        _require(1 <= self.person_scale <= 10, "person_scale must be in [1, 10]", self, "person_scale")
        for name in ("flip_probability", "absent_probability"):
            _require(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1]", self, name)
        most = len(color_table("keypoint_detection", self.colors))
        rule = f"max_keypoints must be 1 to {most}, one colour each"
        _require(1 <= self.max_keypoints <= most, rule, self, "max_keypoints")
        known = f"wording must be one of {', '.join(WORDINGS)}, or a folder of template files"
        _require(self.templates.is_dir(), known, self, "wording")

    @property
    def templates(self) -> Path:
        """Folder of the template files."""
        if self.wording == "written":
            return TEMPLATES
        return TEMPLATES / self.wording if self.wording in WORDINGS else Path(self.wording).expanduser()

    @property
    def names_everything(self) -> bool:
        """Whether an instruction says what it asks for. Indicators do not: all joints in view are meant."""
        return self.wording != "simple"

    def at_size(self, size: int) -> "RenderOptions":
        """This style for samples of ``size`` x ``size`` pixels."""
        return RenderOptions(size=size, **{field.name: getattr(self, field.name) for field in fields(RenderStyle)})


@dataclass(frozen=True, kw_only=True)
class RenderOptions(RenderStyle):
    """A style with all that drawing needs beside it."""

    size: int = 256
    """Side of source and target in pixels (paper section 4.1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.size >= 32, "size must be at least 32 pixels", self, "size")


OFFICIAL = RenderStyle(
    crop="official",
    decoding="whole",
    referent="official",
    disc_centers="official",
    asked_joints="official",
    joint_names="official",
    joint_sentences="official",
    augmentation="official",
    colors="official",
    absent_classes="official",
    flip_probability=0.5,
    sided_words="official",
    wording="written",
)
"""The official code's choices. (It mirrors neither referring expressions nor GIER and GQA-Inpaint: 0 there.)"""

TRAINING_ONLY = {"asked_joints": "corrected", "augmentation": "paper", "absent_classes": "paper"}
"""Fields by which a sample asks for something else than its row says, and what an evaluation puts in their place."""


def as_evaluated(options: RenderOptions) -> RenderOptions:
    """``options`` without what only training does: an evaluation asks for what its row says."""
    return replace(options, **TRAINING_ONLY)  # type: ignore[arg-type]


def refuse_training_only(style: RenderStyle) -> None:
    """See that nothing is set that an evaluation would pass over.

    Raises:
        ConfigError: a field of `TRAINING_ONLY`, or one that matters to it alone, is not its default.
    """
    default = RenderStyle()
    for name in (*TRAINING_ONLY, "absent_probability"):
        if getattr(style, name) != getattr(default, name):
            raise ConfigError(f"{name} is for training: an evaluation asks for what its rows say. Leave it out")
