"""One number about a benchmark, with its interval; and what collects them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from evaluation.cases import Case
from evaluation.intervals import Interval, Share, ratio_interval
from evaluation.metrics import Image, mean


class Metric(NamedTuple):
    """One number about a benchmark."""

    name: str
    value: float | None
    """None where nothing could be measured."""
    num_samples: int
    """Samples that went into the value."""
    backend: str | None = None
    """``role=name@revision`` of the helper model behind it; None for a pure one."""
    interval: Interval | None = None
    """95 %: `evaluation.intervals`."""


class Measure(Protocol):
    """Collects observations, then turns them into metrics."""

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Take in one batch."""
        ...

    def metrics(self) -> list[Metric]:
        """All metrics of what was observed."""
        ...


class Values:
    """Numbers of one kind, each with the source image that it is of."""

    def __init__(self) -> None:
        self._shares: list[Share] = []

    def add(self, image: str, value: float) -> None:
        """Take in the number of one sample."""
        self._shares.append(Share(image, value))

    def metric(self, name: str, backend: str | None = None) -> Metric:
        """Their mean."""
        value = mean(share.part for share in self._shares)
        return Metric(name, value, len(self._shares), backend, ratio_interval(self._shares))


def image_of(case: Case) -> str:
    """Digest of the source image: samples of one image are not independent of each other."""
    digest: str = case.row["source_image"]["sha256"]
    return digest
