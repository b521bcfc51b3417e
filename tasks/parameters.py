"""The parameters of each step of a build: defaults, units, what they may be, and where they come from."""

import math
from dataclasses import dataclass
from typing import Any

from catalog.errors import ConfigError


def require_positive(value: Any, name: str) -> None:
    """Refuse what is no whole number of at least 1. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1. Got {value!r}")


def _require_range(name: str, value: float, low: float, high: float) -> None:
    if not (low <= value <= high and math.isfinite(value)):
        raise ConfigError(f"{name} must be a finite number in [{low:g}, {high:g}]. Got {value!r}")


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}. Got {value!r}")


@dataclass(frozen=True, kw_only=True)
class IngestParameters:
    """How source images and regions are checked."""

    max_phrase_length: int = 200
    """Characters; a longer referring phrase is rejected."""
    require_phrase: bool = True
    """False keeps regions that no phrase refers to (SA-1B, OpenImages): they can be replaced, when a captioner words
    them, and serve as donors. A removal needs a phrase, and says so in its row."""

    def __post_init__(self) -> None:
        require_positive(self.max_phrase_length, "max_phrase_length of [ingest]")


@dataclass(frozen=True, kw_only=True)
class RemovalParameters:
    """How a region becomes a hole. The paper gives no number (section 3.2)."""

    enabled: bool = True
    min_area_share: float = 0.0005
    """Smallest region, share of the image."""
    max_area_share: float = 0.5
    """Largest region, share of the image: beyond it an inpainter has nothing to go by."""
    dilation: float = 8.0
    """Pixels at a shorter side of 512, scaled with the image: LaMa leaves rims and shadows under a tight mask. Of a
    region under a third of the image; larger ones below. (AnyEdit, which erases with LaMa too, takes 8, 15 and 20.)"""
    feather: float = 4.0
    """Width of the blend around the dilated region, pixels at a shorter side of 512."""
    batch_size: int = 8
    """Images handed to the inpainter at once."""
    medium_dilation: float = 15.0
    """The same for a region from 0.33 to 0.66 of the image."""
    large_dilation: float = 20.0
    """The same for a region above 0.66 of the image."""
    max_remaining: float = 0.5
    """How far the filled region may look, to the embedder, from its surroundings (0) towards the object (1): half the
    way tells the two apart on rendered scenes; 1000 rejects nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_area_share < self.max_area_share <= 1:
            shares = f"{self.min_area_share} and {self.max_area_share}"
            raise ConfigError(f"min_area_share must be below max_area_share, both in [0, 1]. Got {shares}")
        lengths = (self.dilation, self.medium_dilation, self.large_dilation, self.feather)
        if not all(0 <= length < math.inf for length in lengths):
            raise ConfigError(f"dilations and feather must be finite and not negative. Got {lengths}")
        if not 0 < self.max_remaining < math.inf:
            raise ConfigError(f"max_remaining must be finite and above 0. Got {self.max_remaining}")
        require_positive(self.batch_size, "batch_size of [remove_object]")


@dataclass(frozen=True, kw_only=True)
class GalleryParameters:
    """Which regions become patches that may take another region's place. The paper gives no number (section 3.2)."""

    min_side: int = 32
    """Pixels, shorter side of the region's box: an exemplar is looked at with 224."""
    max_aspect: float = 3.0
    """Longer over shorter side of the box."""
    max_area_share: float = 0.5
    """Largest box, share of the image: beyond it the patch is a scene."""
    margin: float = 0.05
    """Added around the box, share of its longer side. Paint-by-Example was trained with up to 10 pixels."""
    batch_size: int = 32
    """Crops handed to the embedder at once."""

    def __post_init__(self) -> None:
        require_positive(self.min_side, "min_side of [gallery]")
        require_positive(self.batch_size, "batch_size of [gallery]")
        _require_range("max_aspect of [gallery]", self.max_aspect, 1, math.inf)
        _require_range("max_area_share of [gallery]", self.max_area_share, 0, 1)
        _require_range("margin of [gallery]", self.margin, 0, 1)


@dataclass(frozen=True, kw_only=True)
class GalleryIndexParameters:
    """How much of a build's patches can be retrieved."""

    max_patches: int = 10_000_000
    """Of more patches about so many are taken, by the hash of their region: SA-1B alone has 1.1 billion masks, and a
    gallery takes about 0.5 KiB of memory per patch beside its index."""

    def __post_init__(self) -> None:
        require_positive(self.max_patches, "max_patches of [gallery_index]")


@dataclass(frozen=True, kw_only=True)
class ReplacementParameters:
    """Which regions are replaced, by what, and how it goes back. The paper gives no number (section 3.2)."""

    enabled: bool = False
    """Replacement wants a data set of many objects; PhraseCut, the paper's for removal, is none of those it names."""
    seed: int = 0
    """Of the regions of a photo and of the donor among the nearest."""
    per_photo: int = 1
    """Regions replaced per photo, each in a pair of its own: "we randomly select a semantic region"."""
    min_area_share: float = 0.005
    """Smallest region, share of the image."""
    max_area_share: float = 0.3
    """Largest hole, share of the image: the region or its box, as ``hole`` says."""
    num_neighbours: int = 8
    """The donor is one of so many nearest that are eligible; 1 takes the nearest."""
    num_candidates: int = 256
    """Neighbours looked at to find those."""
    max_similarity: float = 0.97
    """Cosine above which a patch counts as a near-duplicate of the region."""
    max_aspect_ratio: float = 1.5
    """Largest ratio of the two boxes' aspects: the donor is stretched by so much at most."""
    donor_label: str = "any"
    """"any", "different" or "same" as the region's label. The paper takes the nearest patches whatever they show."""
    same_dataset: bool = False
    """Take donors from the region's own data set only: pictures of one look, or of one licence."""
    hole: str = "box"
    """What is repainted: the region's "box", which leaves room for another outline, or the "region" itself."""
    dilation: float = 8.0
    """Pixels at a shorter side of 512 by which the hole grows."""
    feather: float = 4.0
    """Width of the blend around it, pixels at a shorter side of 512."""
    min_change: float = 4.0
    """Grey levels by which the hole must change in the mean."""
    batch_size: int = 8
    """Images handed to the replacer at once."""

    def __post_init__(self) -> None:
        for name in ("per_photo", "num_neighbours", "num_candidates", "batch_size"):
            require_positive(getattr(self, name), f"{name} of [replace_object]")
        for name in ("dilation", "feather", "min_change"):
            _require_range(f"{name} of [replace_object]", getattr(self, name), 0, math.inf)
        _require_range("max_similarity of [replace_object]", self.max_similarity, -1, 1)
        _require_range("max_aspect_ratio of [replace_object]", self.max_aspect_ratio, 1, math.inf)
        _require_range("max_area_share of [replace_object]", self.max_area_share, self.min_area_share, 1)
        _require_range("min_area_share of [replace_object]", self.min_area_share, 0, 1)
        _require_choice("donor_label of [replace_object]", self.donor_label, ("any", "different", "same"))
        _require_choice("hole of [replace_object]", self.hole, ("box", "region"))


@dataclass(frozen=True, kw_only=True)
class AnnotationParameters:
    """Which pairs are drawn from annotations at load time."""

    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class ScoreParameters:
    """How pairs are scored (paper section 3.2)."""

    num_references: int = 64
    """Photos of the train split that KNN-GIQA compares with."""
    batch_size: int = 16
    """Images handed to a scorer at once."""

    def __post_init__(self) -> None:
        require_positive(self.num_references, "num_references of [score]")
        require_positive(self.batch_size, "batch_size of [score]")
