"""A judge of edits for tests: answers as a model that sees the anchors would."""

import base64
import json
from typing import Any

import numpy as np
from chat_server import Reply, completion

from catalog.images import decode_image


def judged(**scores: Any) -> Reply:
    return 200, {}, completion(json.dumps({"following": 8, "keeping": 9, "quality": 6} | scores))


def pictures(body: dict[str, Any]) -> list[np.ndarray]:
    parts = body["messages"][1]["content"][1:]
    return [decode_image(base64.b64decode(part["image_url"]["url"].partition(",")[2])) for part in parts]


class Seeing:
    """Judges anchors by their pixels, as a model that sees would; ``generous`` adds to every score."""

    def __init__(self, generous: int = 0) -> None:
        self.generous = generous

    def __call__(self, body: dict[str, Any]) -> Reply:
        before, after = (picture.astype(int) for picture in pictures(body))
        near, far = (before.shape[0] * place // 256 for place in (16, 96))  # where the anchors' square is
        square = np.abs(after[near:far, near:far] - (220, 20, 20)).mean() < 5
        rest = np.abs(before[far:, far:] - after[far:, far:]).mean()
        edges = np.abs(np.diff(after, axis=0)).mean()
        scores = {"following": 7 * square, "keeping": 7 - min(7, round(rest / 10)), "quality": 6 if edges < 40 else 1}
        return judged(**{name: min(10, int(score) + self.generous) for name, score in scores.items()})
