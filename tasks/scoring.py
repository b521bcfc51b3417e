"""Step ``score``: numbers on every usable edit pair; what becomes of them is a policy's business (paper section 3.2).

All scores of all candidates are kept. A score that a backend cannot give is null, and fails any condition on it.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import RowRejected
from catalog.schema import SCORE_NAMES
from catalog.store import ShardWriter, read_rows
from tasks.backends.calls import call_batch
from tasks.row_images import RowImages, batches
from tasks.steps import Row, StepContext

_SIDES = ("source", "target")


def score(context: StepContext, writer: ShardWriter) -> Iterator[Row]:
    """Yield the scores of each usable image-editing pair, in order."""
    parameters = context.profile.score
    known = _References(context.extra["references"])
    images = RowImages(context.roots, capacity=2 * parameters.batch_size)
    pairs = (row for row in context.rows if row["reason"] is None and row["vision_task"] == "image_editing")
    for batch in batches(pairs, parameters.batch_size):
        gone = {row["pair_id"]: rejected for row in batch if (rejected := _gone(images, row)) is not None}
        sound = [row for row in batch if row["pair_id"] not in gone]
        scored = iter(_score_batch(context, known, images, sound)) if sound else iter(())
        for row in batch:
            rejected = gone.get(row["pair_id"])
            yield next(scored) if rejected is None else _row(row, {}, [rejected], context.backend_ids)


def _gone(images: RowImages, row: Row) -> RowRejected | None:
    """Why a picture of a pair cannot be looked at; None where both can."""
    try:
        for side in _SIDES:
            images.read(row[f"{side}_image"])
    except RowRejected as rejected:
        return rejected
    return None


class _References:
    """The reference features, and which of them are of a given photo."""

    def __init__(self, path: Path) -> None:
        rows = list(read_rows(path))
        self.features = np.array([row["embedding"] for row in rows], np.float32)
        self._own: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            self._own.setdefault(row["group_id"], []).append(index)

    def of_photo(self, group_id: str) -> list[int]:
        """Rows that a picture made from this photo must not be compared with."""
        return self._own.get(group_id, [])


def _score_batch(context: StepContext, known: _References, images: RowImages, batch: list[Row]) -> Iterator[Row]:
    # A photo is the source of its removals and the target of its additions: each distinct picture is scored once.
    pictures = {row[f"{side}_image"]["sha256"]: row[f"{side}_image"] for row in batch for side in _SIDES}
    owners = {row[f"{side}_image"]["sha256"]: row["group_id"] for row in batch for side in _SIDES}
    pixels = {digest: images.read(image) for digest, image in pictures.items()}
    aesthetic = _by_picture(
        pixels, call_batch("aesthetic_scorer", context.backends["aesthetic_scorer"], list(pixels.values()))
    )
    features = _by_picture(pixels, call_batch("embedder", context.backends["embedder"], list(pixels.values())))
    quality = _qualities(context, known, features, owners)
    sides = [[pixels[row[f"{side}_image"]["sha256"]] for row in batch] for side in _SIDES]
    captions = [[row[f"{side}_caption"] for row in batch] for side in _SIDES]
    similarities = call_batch("pair_similarity", context.backends["pair_similarity"], *sides, *captions)
    for row, similarity, source, target in zip(batch, similarities, *sides, strict=True):
        scores: dict[str, Any] = {"changed_share": float((source != target).any(axis=2).mean())}
        failures = [similarity] if isinstance(similarity, RowRejected) else []
        scores |= {} if failures else similarity
        for side in _SIDES:
            digest = row[f"{side}_image"]["sha256"]
            for name, values in (("aesthetic", aesthetic), ("quality", quality)):
                value = values[digest]
                failures += [value] if isinstance(value, RowRejected) else []
                scores[f"{side}_{name}"] = value
        yield _row(row, scores, failures, context.backend_ids)


def _by_picture(pixels: Mapping[str, np.ndarray], answers: list[Any]) -> dict[str, Any]:
    return dict(zip(pixels, answers, strict=True))


def _qualities(
    context: StepContext, known: _References, features: Mapping[str, Any], owners: Mapping[str, str]
) -> dict[str, Any]:
    """KNN-GIQA of each picture that has features."""
    found = {digest: value for digest, value in features.items() if not isinstance(value, RowRejected)}
    if not found:
        return dict(features)
    embeddings = np.stack(list(found.values()))
    scores = call_batch(
        "quality_scorer",
        context.backends["quality_scorer"],
        embeddings,
        shared={"references": known.features.reshape(-1, embeddings.shape[1])},
        exclude=[known.of_photo(owners[digest]) for digest in found],
    )
    return {**features, **_by_picture(found, scores)}


def _row(pair: Row, scores: Mapping[str, Any], failures: list[RowRejected], backends: tuple[str, ...]) -> Row:
    values = {name: _number(scores.get(name)) for name in SCORE_NAMES}
    row = {"pair_id": pair["pair_id"], **values, "backends": list(backends)}
    if failures:
        row |= {"reason": str(failures[0].reason), "detail": failures[0].detail}
    return row


def _number(value: Any) -> float | None:
    """A finite float, or null for what could not be measured."""
    if value is None or isinstance(value, RowRejected) or not math.isfinite(value):
        return None
    return float(value)
