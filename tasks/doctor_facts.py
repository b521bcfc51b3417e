"""Facts that a working helper model cannot get wrong, on the packaged photos: one function per role.

Each returns what it measured, as a sentence, and raises `FactError` where the fact does not hold. The bounds are wide:
they catch a wrong checkpoint, a wrong preprocessing or swapped channels, not a slightly worse model.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from catalog.errors import RowRejected, UserError
from catalog.images import decode_image
from tasks.backends.calls import call_batch
from tasks.backends.embedding import HistogramEmbedder
from tasks.backends.protocols import Image, InstructionRequest
from tasks.readers.sample import find_photos_root

PHOTOS = {
    "cat": "skimage/data/chelsea.png",
    "woman": "skimage/data/astronaut.png",
    "coffee": "skimage/data/coffee.png",
    "rocket": "skimage/data/rocket.jpg",
}
_OTHERS = ("a photo of a dog", "a photo of a car", "a photo of a plate of food", "a photo of a house")
_MOST_FILL_ERROR = 0.6
"""Of the error that one colour, the photo's mean, makes in the same holes. OpenCV's inpainting and an exemplar fill
have about 0.4; a network that works has less."""


class FactError(UserError):
    """A known fact does not hold."""


@cache
def read_photos() -> dict[str, Image]:
    """The packaged photos by what they show: uint8 (H, W, 3), at most 320 pixels a side."""
    root = find_photos_root()
    return {name: _small(decode_image((root / file).read_bytes())) for name, file in PHOTOS.items()}


def noise() -> Image:
    """Uniform noise of a photo's size."""
    return np.random.default_rng(0).integers(0, 256, (256, 320, 3), dtype=np.uint8)


def hole(photo: Image) -> np.ndarray:
    """A square hole of an eighth of the shorter side, left of the middle: bool (H, W)."""
    height, width = photo.shape[:2]
    half = min(height, width) // 16
    mask = np.zeros((height, width), bool)
    mask[height // 2 - half : height // 2 + half, width // 4 - half : width // 4 + half] = True
    return mask


def check_inpainter(backend: Any, _: Any) -> str:
    """Holes in photos are filled better than by one colour."""
    photos = list(read_photos().values())
    masks = [hole(photo) for photo in photos]
    fills = answers("inpainter", backend, photos, masks)
    error = _error(photos, fills, masks)
    means = [np.broadcast_to(photo[~mask].mean(axis=0), photo.shape) for photo, mask in zip(photos, masks, strict=True)]
    share = error / _error(photos, means, masks)
    found = f"fill error {error:.1f} grey levels, {share:.2f} of one colour's"
    _must(share <= _MOST_FILL_ERROR, f"{found}; at most {_MOST_FILL_ERROR} is expected")
    return found


def check_replacer(backend: Any, _: Any) -> str:
    """Where the hole was, the picture looks more like the exemplar than before."""
    coffee, cat = read_photos()["coffee"], read_photos()["cat"]
    height, width = coffee.shape[:2]
    place = (slice(height // 3, 2 * height // 3), slice(width // 3, 2 * width // 3))
    mask = np.zeros((height, width), bool)
    mask[place] = True
    (made,) = answers("replacer", backend, [coffee], [mask], [cat])
    before, after, exemplar = HistogramEmbedder().embed(
        [np.ascontiguousarray(coffee[place]), np.ascontiguousarray(made[place]), cat]
    )
    found = f"likeness to the exemplar from {before @ exemplar:.2f} to {after @ exemplar:.2f}"
    _must(after @ exemplar > before @ exemplar, f"{found}; it must rise")
    return found


def check_embedder(backend: Any, _: Any) -> str:
    """A smaller, recompressed copy of a photo is nearest to that photo."""
    photos = list(read_photos().values())
    likeness = np.stack(answers("embedder", backend, [_copy(photo) for photo in photos]))
    likeness = likeness @ np.stack(answers("embedder", backend, photos)).T
    own = likeness.argmax(axis=1)
    _must(bool((own == np.arange(len(photos))).all()), f"copies are nearest to photos {own.tolist()}, not to their own")
    return f"each copy is nearest to its photo, by {np.diag(likeness).min():.3f} at least"


def check_pair_similarity(backend: Any, _: Any) -> str:
    """The cat photo is nearer "a photo of a cat" than four other captions; a red wall nearer red than blue."""
    cat, wall = read_photos()["cat"], np.full((96, 96, 3), (200, 25, 30), np.uint8)
    similarity = answers("pair_similarity", backend, [wall] * 2, [wall] * 2, *[["a red wall", "a blue wall"]] * 2)
    red, blue = (one["source_text_similarity"] for one in similarity)
    _must(red > blue, f"a red wall is nearer 'a blue wall' ({blue:.3f}) than 'a red wall' ({red:.3f})")
    if backend.name == "histogram":
        return f"red wall: {red:.2f} for 'a red wall', {blue:.2f} for 'a blue wall'"
    texts = ["a photo of a cat", *_OTHERS]
    found = answers("pair_similarity", backend, [cat] * 5, [cat] * 5, texts, texts)
    values = [one["source_text_similarity"] for one in found]
    _must(max(values[1:]) < values[0], f"the cat photo: {dict(zip(texts, np.round(values, 3).tolist(), strict=True))}")
    return f"cat photo: {values[0]:.3f} for 'a photo of a cat', at most {max(values[1:]):.3f} for four others"


def check_aesthetic_scorer(backend: Any, _: Any) -> str:
    """Every photo scores above noise."""
    *photos, bare = answers("aesthetic_scorer", backend, [*read_photos().values(), noise()])
    _must(min(photos) > bare, f"noise scores {bare:.2f}, a photo {min(photos):.2f}: photos must score higher")
    return f"photos from {min(photos):.2f}, noise {bare:.2f}"


def check_caption_editor(backend: Any, _: Any) -> str:
    """What was removed is gone from the caption, what was added is in it."""
    removed, added = answers(
        "caption_editor",
        backend,
        ["a photo of a dog and a bench", "a photo of a table"],
        ["remove the dog", "add a red cup"],
    )
    found = f"{removed!r} after the dog was removed, {added!r} after a red cup was added"
    _must("dog" not in removed and "bench" in removed and "cup" in added and "table" in added, found)
    return found


def check_feature_similarity(backend: Any, _: Any) -> str:
    """A recompressed copy of a photo is nearer to it than another photo is."""
    one, other = list(read_photos().values())[:2]
    copy, stranger = answers("feature_similarity", backend, [_alike(one), _sized(other, one)], [one, one])
    _must(copy > stranger, f"a copy is at {copy:.3f}, another photo at {stranger:.3f}: the copy must be nearer")
    return f"copy {copy:.3f}, another photo {stranger:.3f}"


def check_perceptual_distance(backend: Any, _: Any) -> str:
    """Equal photos are at 0, a recompressed copy is nearer than another photo."""
    one, other = list(read_photos().values())[:2]
    pictures = [one, _alike(one), _sized(other, one)]
    same, copy, stranger = answers("perceptual_distance", backend, pictures, [one] * 3)
    found = f"itself {same:.3f}, copy {copy:.3f}, another photo {stranger:.3f}"
    _must(same < 1e-6 and same < copy < stranger, f"{found}: the distances must rise from 0")
    return found


def check_quality_scorer(backend: Any, embedder: Any) -> str:
    """A copy of a photo scores above noise, by the profile's embedder."""
    photos = list(read_photos().values())
    features = np.stack(answers("embedder", embedder, [*photos, _copy(photos[0]), noise()]))
    copy, bare = answers(
        "quality_scorer", backend, features[-2:], shared={"references": np.ascontiguousarray(features[:-2])}
    )
    _must(copy > bare, f"noise scores {bare:.4f}, a copy of a reference {copy:.4f}: it must score higher")
    return f"copy {copy:.3f}, noise {bare:.3f}"


def check_captioner(backend: Any, _: Any) -> str:
    """The cat photo's caption names a cat."""
    (caption,) = answers("captioner", backend, [read_photos()["cat"]], [["cat"]], [[]])
    words = ("cat", "kitten", "kitty", "tabby")
    _must(any(word in caption.lower() for word in words), f"the cat photo is called {caption!r}")
    return f"the cat photo: {caption!r}"


def check_instructor(backend: Any, _: Any) -> str:
    """The instruction of a removal names the object."""
    request = InstructionRequest(
        edit_type="object_removal", phrase="blue bird on top of the tree", label="bird", attributes=("blue",)
    )
    (text,) = answers("instructor", backend, [request])
    _must("bird" in text.lower(), f"the removal of a blue bird is worded {text!r}")
    return repr(text)


def check_index(backend: Any, _: Any) -> str:
    """Each of 500 vectors finds itself."""
    vectors = np.random.default_rng(0).standard_normal((500, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = backend.empty()
    index.expect(len(vectors), vectors[:0])
    index.add(vectors)
    _, ids = index.search(vectors, 1)
    share = float((ids[:, 0] == np.arange(len(vectors))).mean())
    _must(share == 1, f"{share:.1%} of 500 vectors find themselves")
    return "each of 500 vectors finds itself"


FACTS: dict[str, Callable[[Any, Any], str]] = {
    "inpainter": check_inpainter,
    "replacer": check_replacer,
    "embedder": check_embedder,
    "index": check_index,
    "captioner": check_captioner,
    "instructor": check_instructor,
    "aesthetic_scorer": check_aesthetic_scorer,
    "quality_scorer": check_quality_scorer,
    "pair_similarity": check_pair_similarity,
    "caption_editor": check_caption_editor,
    "feature_similarity": check_feature_similarity,
    "perceptual_distance": check_perceptual_distance,
}
"""Role to its fact: called with the backend and the profile's embedder."""


def answers(role: str, backend: Any, *columns: Any, **shared: Any) -> list[Any]:
    """The role's method on some items. Raises FactError for an item that it cannot do."""
    found = call_batch(role, backend, *columns, **shared)
    for one in found:
        if isinstance(one, RowRejected):
            raise FactError(str(one))
    return found


def _must(holds: bool, sentence: str) -> None:
    if not holds:
        raise FactError(sentence)


def _error(photos: Sequence[Image], fills: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    parts = zip(photos, fills, masks, strict=True)
    return float(np.mean([np.abs(photo[mask].astype(float) - fill[mask]).mean() for photo, fill, mask in parts]))


def _copy(photo: Image) -> Image:
    small = cv2.resize(photo, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    return decode_image(data.tobytes())


def _alike(photo: Image) -> Image:
    """A recompressed copy of the same size."""
    return _sized(_copy(photo), photo)


def _sized(photo: Image, like: Image) -> Image:
    sized: Image = cv2.resize(photo, (like.shape[1], like.shape[0]), interpolation=cv2.INTER_AREA)
    return sized


def _small(photo: Image) -> Image:
    scale = min(1.0, 320 / max(photo.shape[:2]))
    small: Image = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return small
