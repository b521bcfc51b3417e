"""Step ``annotate``: regions as segmentation and keypoint pairs, whose targets are drawn at load time.

Paper section 4.1: colours, joints and wording are drawn anew each time a pair is seen, so the row keeps the
annotation, and ``instruction`` and ``target_image`` stay null.
"""

from collections.abc import Iterator
from typing import Any

from catalog.digests import value_digest
from catalog.store import ShardWriter
from tasks.steps import Row, StepContext

_CARRIED = (
    *("region_id", "group_id", "dataset", "split", "licence", "source_image"),
    *("phrase", "label", "mask", "bbox", "class_names", "present_classes"),
)


def annotate(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield a segmentation pair per region with mask and phrase, and a keypoint pair per region with joints."""
    for region in context.rows:
        if region["reason"] is None:
            if region["mask"] is not None and region["phrase"] is not None:
                yield _pair(region, "segmentation", keypoints=None)
            if region["keypoints"] is not None:
                yield _pair(region, "keypoint_detection", keypoints=region["keypoints"])


def _pair(region: Row, vision_task: str, keypoints: list[dict[str, Any]] | None) -> Row:
    return {
        "pair_id": value_digest([vision_task, region["region_id"], region["group_id"]])[:32],
        "vision_task": vision_task,
        "edit_type": vision_task,
        **{name: region[name] for name in _CARRIED},
        "keypoints": keypoints,
        "backends": [],
        "parameters": "{}",
    }
