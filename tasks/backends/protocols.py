"""What a helper model of each role takes and returns: one protocol per role, batch first, one method.

Images are uint8 (H, W, 3) RGB and masks bool (H, W); a batch is a sequence, because its images may differ in
size. Inputs are never written to. Item i of the answer depends on item i of the input alone, so a batch gives
what its items give one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PAIR_SIMILARITIES = (
    "image_similarity",
    "source_text_similarity",
    "target_text_similarity",
    "direction_similarity",
)
"""The keys of a `PairSimilarity` answer: names of ``catalog.schema.SCORE_NAMES``."""


class Backend(Protocol):
    """What every backend says about itself."""

    name: str
    """Its name in the registry: "exemplar"."""
    revision: str
    """Changes whenever its results could: own version, libraries that compute, digest of weights, options."""
    device: str
    """"cpu" or "cuda": flows limit how many backends share a GPU."""


class Inpainter(Backend, Protocol):
    """Fills holes."""

    def inpaint(self, images: Sequence[Image], masks: Sequence[Mask]) -> list[Image]:
        """Images (H, W, 3) uint8, masks (H, W) bool, True = hole -> uint8 images; nothing else changes."""
        ...


class Replacer(Backend, Protocol):
    """Puts another object in a region's place."""

    def replace(self, images: Sequence[Image], masks: Sequence[Mask], exemplars: Sequence[Image]) -> list[Image]:
        """Images, masks of the region, exemplars of any size -> uint8 images; nothing outside the mask changes."""
        ...


class Embedder(Backend, Protocol):
    """Describes images by vectors."""

    def embed(self, images: Sequence[Image]) -> NDArray[np.float32]:
        """N images -> float32 (N, D), rows of Euclidean length 1; their inner product is the similarity."""
        ...


class Index(Backend, Protocol):
    """Finds the nearest of many vectors. ``add`` may be called again; ids count up from 0 in order of adding."""

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Store float32 (N, D) vectors of length 1."""
        ...

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Queries (Q, D) -> inner products (Q, min(k, N)), descending, and ids; ties go to the lower id."""
        ...


class Captioner(Backend, Protocol):
    """Says what is in an image."""

    def caption(
        self, images: Sequence[Image], labels: Sequence[Sequence[str]], captions: Sequence[Sequence[str]]
    ) -> list[str]:
        """N images, with the dataset's own class labels (one per object) and captions -> N lines of text."""
        ...


@dataclass(frozen=True, kw_only=True)
class InstructionRequest:
    """Everything known about an edit that words could use."""

    edit_type: str
    phrase: str | None = None
    """Refers to the region in the source image; in the target image for ``object_addition``."""
    label: str | None = None
    attributes: tuple[str, ...] = ()
    relations: tuple[tuple[str, str], ...] = ()
    """(predicate, object): ("on top of", "tree")."""
    num_instances: int = 1
    """Objects that the phrase refers to."""
    source_caption: str | None = None
    target_caption: str | None = None
    replacement_phrase: str | None = None
    """What ``object_replacement`` puts in the region's place."""


class Instructor(Backend, Protocol):
    """Words the instruction of an edit."""

    def instruct(self, requests: Sequence[InstructionRequest]) -> list[str]:
        """N requests -> N one-line instructions."""
        ...


class AestheticScorer(Backend, Protocol):
    """Judges how an image looks."""

    def score(self, images: Sequence[Image]) -> NDArray[np.float64]:
        """N images -> float64 (N,), higher is better, on the backend's own scale."""
        ...


class QualityScorer(Backend, Protocol):
    """Judges how close an image is to a set of good ones."""

    def score(
        self,
        embeddings: NDArray[np.float32],
        references: NDArray[np.float32],
        exclude: Sequence[Sequence[int] | NDArray[np.integer]] | None = None,
    ) -> NDArray[np.float64]:
        """Embeddings (N, D), references (M, D) -> float64 (N,), higher is better; NaN: not measured.

        ``exclude[i]`` lists the rows of ``references`` that item i must not be compared with: those made from
        its own photo.
        """
        ...


class PairSimilarity(Backend, Protocol):
    """Compares source, target and their captions, as CLIP-Sim does."""

    def similarity(
        self,
        sources: Sequence[Image],
        targets: Sequence[Image],
        source_captions: Sequence[str | None],
        target_captions: Sequence[str | None],
    ) -> Mapping[str, NDArray[np.float64]]:
        """N pairs -> the four `PAIR_SIMILARITIES`, each float64 (N,) in [-1, 1]; NaN: not measurable."""
        ...


class CaptionEditor(Backend, Protocol):
    """Says what an image shows after an edit."""

    def edit_captions(self, captions: Sequence[str], instructions: Sequence[str]) -> list[str]:
        """N captions of images and the instructions that edit them -> N captions of the edited images, a line each."""
        ...


class FeatureSimilarity(Backend, Protocol):
    """Says whether two pictures show the same."""

    def compare(self, images: Sequence[Image], others: Sequence[Image]) -> NDArray[np.float64]:
        """N pairs of pictures -> cosines of their features, float64 (N,) in [-1, 1]."""
        ...


class PerceptualDistance(Backend, Protocol):
    """Says how unlike two pictures look."""

    def distance(self, images: Sequence[Image], others: Sequence[Image]) -> NDArray[np.float64]:
        """N pairs of pictures, each of one size -> float64 (N,), 0 for equal ones and never negative."""
        ...


METHODS = {
    "inpainter": "inpaint",
    "replacer": "replace",
    "embedder": "embed",
    "index": "search",
    "captioner": "caption",
    "instructor": "instruct",
    "aesthetic_scorer": "score",
    "quality_scorer": "score",
    "pair_similarity": "similarity",
    "caption_editor": "edit_captions",
    "feature_similarity": "compare",
    "perceptual_distance": "distance",
}
"""The one method of each role (an index is filled by ``add`` first)."""


def library_revision(own: int, options: Mapping[str, Any] | None = None, **libraries: str) -> str:
    """A revision from a backend's own version, its options and the libraries that compute.

    ``library_revision(1, {"k": 3}, opencv="5.0.0")`` is ``"1+k-3+opencv-5.0.0"``. Bump ``own`` with every
    change of the code that could change a result.
    """
    parts = {**(options or {}), **libraries}
    return "+".join([str(own), *(f"{name}-{value}" for name, value in parts.items())])
