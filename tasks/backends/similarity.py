"""Embedded pair similarity: CLIP-Sim-shaped numbers from colours, which words and pixels share without a model."""

import re
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.backends.embedding import HistogramEmbedder
from tasks.backends.protocols import PAIR_SIMILARITIES, Image, library_revision

_SIDE = 96  # pixels; every image is seen at this size

# Typical sRGB values of the eleven basic colour terms of English (Berlin and Kay, 1969).
_PROTOTYPES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "black": ((15, 15, 15),),
    "white": ((245, 245, 245),),
    "grey": ((128, 128, 128), (75, 75, 75), (185, 185, 185)),
    "red": ((200, 25, 30), (140, 15, 25)),
    "orange": ((240, 130, 25), (215, 100, 25)),
    "yellow": ((245, 220, 50), (210, 180, 50)),
    "green": ((40, 150, 60), (30, 85, 40), (120, 180, 80), (85, 105, 55)),
    "blue": ((40, 80, 190), (110, 165, 225), (20, 30, 80), (30, 120, 150)),
    "purple": ((125, 50, 150), (160, 120, 195)),
    "pink": ((240, 140, 180), (230, 180, 190)),
    "brown": ((110, 70, 40), (160, 120, 80), (70, 45, 30)),
}
_NAMES = tuple(_PROTOTYPES)
_SYNONYMS = {
    **{name: name for name in _NAMES},
    **dict.fromkeys(("gray", "silver"), "grey"),
    **dict.fromkeys(("maroon", "crimson", "scarlet"), "red"),
    **dict.fromkeys(("gold", "golden", "blond", "blonde"), "yellow"),
    **dict.fromkeys(("navy", "cyan", "turquoise", "teal"), "blue"),
    **dict.fromkeys(("violet", "lavender", "lilac"), "purple"),
    **dict.fromkeys(("magenta", "fuchsia"), "pink"),
    **dict.fromkeys(("tan", "beige", "wooden"), "brown"),
}


class HistogramSimilarity:
    """CLIP-Sim-shaped, embedded: images by histograms, texts by the colours they name; NaN where none is named.

    Image similarity is the cosine of `HistogramEmbedder` vectors. An image against a text is the cosine of the
    shares of the eleven basic colours in it and the colours that the text names. The direction is the cosine of
    both changes from source to target in that space, 0 where the image has none. Not comparable with CLIP's numbers.
    """

    name = "histogram"
    device = "cpu"

    def __init__(self) -> None:
        self._embedder = HistogramEmbedder()
        self.revision = library_revision(2, opencv=cv2.__version__, numpy=np.__version__)

    def similarity(
        self,
        sources: Sequence[Image],
        targets: Sequence[Image],
        source_captions: Sequence[str | None],
        target_captions: Sequence[str | None],
    ) -> Mapping[str, NDArray[np.float64]]:
        """See `protocols.PairSimilarity`."""
        before, after = self._embedder.embed(sources), self._embedder.embed(targets)
        columns = [
            (_cosine(first, second), *_text_similarities(*pair))
            for first, second, *pair in zip(
                before, after, sources, targets, source_captions, target_captions, strict=True
            )
        ]
        table = np.array(columns, np.float64).reshape(-1, len(PAIR_SIMILARITIES))
        return {name: table[:, column] for column, name in enumerate(PAIR_SIMILARITIES)}


def _text_similarities(
    source: Image, target: Image, source_caption: str | None, target_caption: str | None
) -> tuple[float, float, float]:
    images = colour_shares(source), colour_shares(target)
    texts = named_colours(source_caption), named_colours(target_caption)
    measured = [_cosine(image, text) for image, text in zip(images, texts, strict=True)]
    # A caption without a colour says nothing, so neither does the change from or to it.
    known = all(text.any() for text in texts)
    change = images[1] - images[0], texts[1] - texts[0]
    # 0 where no pixel changed its colour, as in InstructPix2Pix's code: a picture left as it is has a number, too.
    direction = 0.0 if known and not change[0].any() and change[1].any() else _cosine(*change) if known else np.nan
    return measured[0], measured[1], direction


def colour_shares(image: Image) -> NDArray[np.float64]:
    """Float64 (11,): the share of pixels nearest to each basic colour, by distance in CIE L*a*b*; sums to 1."""
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    pixels = _to_lab(small.reshape(-1, 3))
    prototypes = _to_lab(np.array([value for values in _PROTOTYPES.values() for value in values], np.uint8))
    owner = np.repeat(np.arange(len(_NAMES)), [len(values) for values in _PROTOTYPES.values()])
    distance = ((pixels[:, None] - prototypes) ** 2).sum(axis=2)
    shares: NDArray[np.float64] = np.bincount(owner[distance.argmin(axis=1)], minlength=len(_NAMES)) / len(pixels)
    return shares


def named_colours(text: str | None) -> NDArray[np.float64]:
    """Float64 (11,): how often each basic colour is named, as shares; zeros where none is."""
    words = re.findall(r"[a-z]+", (text or "").lower())
    counts = np.array([sum(_SYNONYMS.get(word) == name for word in words) for name in _NAMES], np.float64)
    shares: NDArray[np.float64] = counts / max(counts.sum(), 1)
    return shares


def _to_lab(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    scaled = colours.astype(np.float32)[None] / 255
    lab: NDArray[np.float32] = cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB)[0]
    return lab


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine in [-1, 1]; NaN where a vector is zero."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    length = np.sqrt((first @ first) * (second @ second))
    return float(np.clip(first @ second / length, -1, 1)) if length > 0 else float("nan")
