"""Names of metrics, their units, and the scale that the paper prints them on."""

UNITS = {
    "ap": "share",
    "ap50": "share",
    "ap75": "share",
    "ciou": "share",
    "giou": "share",
    "miou": "share",
    "n_acc": "share",
    "t_acc": "share",
    "pr70": "share",
    "pr80": "share",
    "pr90": "share",
    "psnr": "dB",
    "ssim": "share",
    "capped_share": "share",
    "text_similarity": "cosine",
    "direction_similarity": "cosine",
    "source_similarity": "cosine",
    "target_similarity": "cosine",
    "aesthetic": "score",
    "feature_similarity": "cosine",
    "source_feature_similarity": "cosine",
    "perceptual_distance": "distance",
    "source_perceptual_distance": "distance",
    "judge_following": "points of 10",
    "judge_keeping": "points of 10",
    "judge_quality": "points of 10",
    "judge_unanswered": "share",
    "l1": "share of 255",
    "l2": "share of 255 squared",
    "inside_difference": "levels of 255",
    "outside_difference": "levels of 255",
    "outside_changed_share": "share",
    "unchanged_share": "share",
    "accuracy": "share",
    "verification_accuracy": "share",
    "chance": "share",
    "nme": "share",
    "failure_rate": "share",
    "found_share": "share",
    "rows_left_out": "rows",
    "photos_left_out": "photos",
}
"""Unit of each metric in the metric rows. A share is in [0, 1] where the paper prints percent."""

_PSNR = ("psnr", "capped_share")
METRICS_OF = {
    "keypoint_detection": ("ap", "ap50", "ap75"),
    "segmentation": ("ciou", "giou", "miou", "n_acc", "t_acc", "pr70", "pr80", "pr90"),
    "image_enhancement": (*_PSNR, "ssim"),
    "image_editing": (
        *("text_similarity", "direction_similarity", "source_similarity", "target_similarity", "aesthetic"),
        *("feature_similarity", "source_feature_similarity", "perceptual_distance", "source_perceptual_distance"),
        *("l1", "l2", "inside_difference", "outside_difference", "outside_changed_share", "unchanged_share"),
        *_PSNR,
    ),
}
"""Metrics by vision task, in the order of the rows."""

JUDGE_METRICS = ("judge_following", "judge_keeping", "judge_quality", "judge_unanswered")
"""Of edits, where a judge is given: after the others."""

SEMANTIC_METRICS = ("miou", "ciou")
"""Of protocol ``semantic``."""

TURN_METRICS = ("l1", "l2", "target_similarity", "feature_similarity", "text_similarity")
"""Of protocols ``turns`` and ``sessions``: MagicBrush's L1, L2, CLIP-I, DINO and CLIP-T."""

NO_TARGET_PIXELS = (0, 10, 25, 50, 100, 200, 400)
"""No-target rules that are swept: a mask of fewer pixels, on a picture of 480 x 480, says that nothing is there."""

SWEPT_METRICS = ("ciou", "giou", "n_acc", "t_acc")
"""Metrics that depend on the no-target rule; rows of the sweep are called ``giou@50px``."""


def unit_of(metric: str) -> str:
    """Unit of a metric in the rows, of a sweep's too."""
    return UNITS[metric.partition("@")[0]]


def to_paper_scale(metric: str, value: float) -> float:
    """A row's value as the paper prints it: percent for shares, 100 times the cosine for CLIP-Sim."""
    return 100 * value if unit_of(metric) in ("share", "cosine") else value
