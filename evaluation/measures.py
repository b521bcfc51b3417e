"""Which measure belongs to which benchmark. A measure is fed batch by batch.

A measure keeps a few numbers per sample, never images, so a benchmark of any size fits in memory.
"""

from evaluation.benchmarks import Protocol
from evaluation.decoders import Decoder
from evaluation.editing_measure import EditingMeasure
from evaluation.enhancement_measure import EnhancementMeasure, TiledMeasure
from evaluation.helper_models import HelperModels
from evaluation.keypoint_measure import KeypointMeasure
from evaluation.measured import Measure
from evaluation.segmentation_measures import SegmentationMeasure, SemanticMeasure
from evaluation.turns_measure import TurnsMeasure


def make_measure(
    vision_task: str,
    helpers: HelperModels,
    decoder: Decoder,
    protocol: Protocol = "crops",
    no_target_pixels: int = 0,
) -> Measure:
    """The measure of a vision task, as a benchmark's protocol wants it."""
    if protocol in ("turns", "sessions"):
        return TurnsMeasure(helpers)
    if vision_task == "image_editing":
        return EditingMeasure(helpers)
    if vision_task == "keypoint_detection":
        return KeypointMeasure(decoder)
    if vision_task == "image_enhancement":
        return TiledMeasure() if protocol == "tiles" else EnhancementMeasure()
    if protocol == "semantic":
        return SemanticMeasure(decoder)
    return SegmentationMeasure(decoder, no_target_pixels, sweep=protocol == "referring")
