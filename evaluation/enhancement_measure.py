"""Closeness to the true picture (paper section 4.4)."""

from collections.abc import Sequence

from evaluation.cases import Case
from evaluation.measured import Metric, Values, image_of
from evaluation.metrics import PSNR_CAP, Image, psnr, ssim
from evaluation.tiles import TileCanvas


class PsnrValues:
    """PSNR of each sample, and the share of samples at its cap."""

    def __init__(self) -> None:
        self._values, self._capped = Values(), Values()

    def add(self, image: str, prediction: Image, truth: Image) -> None:
        """Take in one sample."""
        value = psnr(prediction, truth)
        self._values.add(image, value)
        self._capped.add(image, float(value >= PSNR_CAP))

    def metrics(self) -> list[Metric]:
        """Both means."""
        return [self._values.metric("psnr"), self._capped.metric("capped_share")]


class EnhancementMeasure:
    """PSNR and SSIM of what was shown to the model."""

    def __init__(self) -> None:
        self._psnr, self._ssim = PsnrValues(), Values()

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Compare each prediction with its target."""
        for case, prediction in zip(cases, predictions, strict=True):
            self.compare(image_of(case), prediction, case.sample.target)

    def compare(self, image: str, prediction: Image, truth: Image) -> None:
        """Take in one picture and the true one."""
        self._psnr.add(image, prediction, truth)
        self._ssim.add(image, ssim(prediction, truth))

    def metrics(self) -> list[Metric]:
        """Means of PSNR and SSIM, and the share of samples whose PSNR is capped."""
        return [*self._psnr.metrics(), self._ssim.metric("ssim")]


class TiledMeasure:
    """Whole pictures, put together from their tiles: one PSNR per picture, not per tile."""

    def __init__(self) -> None:
        self._whole = EnhancementMeasure()
        self._pair_id: str | None = None
        self._image = ""
        self._canvases: tuple[TileCanvas, TileCanvas] | None = None

    def observe(self, cases: Sequence[Case], predictions: Sequence[Image]) -> None:
        """Put each tile in its place; tiles of one picture come one after the other."""
        for case, prediction in zip(cases, predictions, strict=True):
            if case.sample.pair_id != self._pair_id:
                self._finish()
                height, width = (case.row["source_image"][side] for side in ("height", "width"))
                self._pair_id = case.sample.pair_id
                self._image = image_of(case)
                self._canvases = TileCanvas(height, width), TileCanvas(height, width)
            assert self._canvases is not None
            for canvas, tile in zip(self._canvases, (prediction, case.sample.target), strict=True):
                canvas.put(case.sample.view, tile)

    def metrics(self) -> list[Metric]:
        """As `EnhancementMeasure.metrics`, over pictures."""
        self._finish()
        return self._whole.metrics()

    def _finish(self) -> None:
        if self._canvases is not None:
            self._whole.compare(self._image, *(canvas.picture() for canvas in self._canvases))
        self._pair_id = self._canvases = None
