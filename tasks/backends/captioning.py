"""Embedded captioner: what the dataset itself says about the image."""

from collections.abc import Sequence

from tasks.backends.protocols import Image, library_revision
from tasks.nouns import counted, joined
from tasks.phrases import one_line


class LabelCaptioner:
    """The dataset's first caption; without one, its labels in words: "a photo of two coins and a cup"."""

    name = "labels"
    device = "cpu"

    def __init__(self) -> None:
        self.revision = library_revision(2)

    def caption(
        self, images: Sequence[Image], labels: Sequence[Sequence[str]], captions: Sequence[Sequence[str]]
    ) -> list[str]:
        """See `protocols.Captioner`. An image without labels is "a photo"."""
        return [
            _caption(own_labels, own_captions)
            for _, own_labels, own_captions in zip(images, labels, captions, strict=True)
        ]


def _caption(labels: Sequence[str], captions: Sequence[str]) -> str:
    for caption in captions:
        if words := one_line(caption):
            return words
    counts: dict[str, int] = {}
    for label in labels:
        if words := one_line(label):
            counts[words] = counts.get(words, 0) + 1
    if not counts:
        return "a photo"
    return "a photo of " + joined([counted(label, count) for label, count in counts.items()])
