"""Photo and result: known shifts, scales, crops, turns and colours are recovered within a pixel, the rest refused."""

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog.errors import RowRejected
from catalog.images import decode_image, probe_image
from catalog.reasons import Reason
from tasks.photo_requests.alignment import find_frame
from tasks.photo_requests.crawl_settings import MatchParameters
from tasks.photo_requests.fingerprints import Fingerprint
from tasks.photo_requests.matching import RequestPhotos, alike_share
from tasks.photo_requests.near_duplicates import Candidate, NearDuplicates
from tasks.photo_requests.registration import Registration, apply, corners, find_features, invert, register
from tasks.readers.sample import find_photos_root, read_photos

PARAMETERS = MatchParameters()
KINDS = ("shift", "scale", "crop", "turn", "cast")


def shrink(pixels: np.ndarray, longest: int = 448) -> np.ndarray:
    scale = min(1.0, longest / max(pixels.shape[:2]))
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))


@pytest.fixture(scope="module")
def photos() -> dict[str, np.ndarray]:
    root = find_photos_root()
    return {Path(one["file"]).stem: shrink(decode_image((root / one["file"]).read_bytes())) for one in read_photos()}


def disturb(photo: np.ndarray, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An edited, recompressed copy under a known transform, and that transform from copy to photo."""
    height, width = photo.shape[:2]
    if kind == "shift":
        x, y = int(rng.integers(1, width // 6)), int(rng.integers(1, height // 6))
        result, matrix = photo[y:, x:].copy(), np.array([[1, 0, x], [0, 1, y]], float)
    elif kind == "turn":
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-30, 30)), 1)
        result, matrix = cv2.warpAffine(photo, turn, (width, height), flags=cv2.INTER_CUBIC), invert(turn)
    elif kind == "cast":
        result = np.clip(photo * np.array([1.2, 0.9, 0.6]) + 10, 0, 255).astype(np.uint8)
        matrix = np.array([[1, 0, 0], [0, 1, 0]], float)
    else:
        share = 1.0 if kind == "scale" else 0.7
        x, y = (int(rng.integers(0, 1 + side * (1 - share))) for side in (width, height))
        cut = photo[y : y + round(height * share), x : x + round(width * share)]
        factor = float(rng.uniform(0.5, 1.6))
        size = (round(cut.shape[1] * factor), round(cut.shape[0] * factor))
        result = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
        a, d = cut.shape[1] / size[0], cut.shape[0] / size[1]
        matrix = np.array([[a, 0, x + (a - 1) / 2], [0, d, y + (d - 1) / 2]])
    high, wide = result.shape[:2]
    result[high // 3 : high // 2, wide // 3 : wide // 2] = (200, 30, 30)
    data = cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)), matrix


def errors(photo: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """By kind: how far, in pixels of the photo, a corner of the copy comes out; infinity where it is refused."""
    matcher, found = RequestPhotos([photo]), {}
    for kind in KINDS:
        result, matrix = disturb(photo, kind, rng)
        outline = corners(result.shape[1], result.shape[0])
        try:
            registration = matcher.match(result, PARAMETERS).registration
            found[kind] = float(np.abs(apply(registration.matrix, outline) - apply(matrix, outline)).max())
        except RowRejected:
            found[kind] = np.inf
    return found


def probe(data: bytes) -> tuple[int, int]:
    """Width and height; (0, 0) where there is no whole picture."""
    try:
        return probe_image(data)
    except RowRejected:
        return 0, 0


def report(name: str, found: list[dict[str, float]]) -> float:
    """Print the rate of copies within a pixel, by kind, and return it over all."""
    for kind in KINDS:
        values = np.array([one[kind] for one in found])
        print(f"\n{name}, {kind}: {np.mean(values < 1):.1%} of {len(values)} within 1 px", end=", ")
        print(f"median {np.median(values):.3f}, worst {values.max():.3f}", end="")
    return float(np.mean([value < 1 for one in found for value in one.values()]))


def count_accepted(pictures: list[np.ndarray]) -> tuple[int, int]:
    """Pairs of different pictures, and how many of them pass for photo and edit."""
    matchers, accepted, total = [RequestPhotos([one]) for one in pictures], 0, 0
    for one, two in combinations(range(len(pictures)), 2):
        total += 1
        try:
            matchers[one].match(pictures[two], PARAMETERS)
            accepted += 1
        except RowRejected as rejected:
            assert rejected.reason in (Reason.UNRELATED_RESULT, Reason.DISTORTED_RESULT, Reason.SMALL_COMMON_FRAME)
    return accepted, total


def test_known_transforms_of_packaged_photos(photos):
    chosen = [photos[name] for name in ("astronaut", "coffee", "chelsea", "coins")]
    found = [errors(photo, np.random.default_rng(number)) for number, photo in enumerate(chosen)]
    assert report("packaged photos", found) == 1.0


def test_a_photo_without_sharp_edges_is_placed_about_right_or_refused(photos):
    """Blurred by motion, it has two dozen features: none of the copies may end far off."""
    found = errors(photos["clock_motion"], np.random.default_rng(10))
    report("a blurred photo", [found])
    assert all(value < 2 or value == np.inf for value in found.values())
    assert sum(value < 1 for value in found.values()) >= 3


def test_unrelated_packaged_photos_are_refused(photos):
    accepted, total = count_accepted([shrink(photo, 256) for photo in photos.values()][:6])
    print(f"\n{accepted} of {total} unrelated pairs accepted")
    assert accepted == 0


def test_real_samples(shared_data):
    """Photos of the real samples, one of a folder: within a pixel, and none taken for another."""
    pictures = []
    folders = {path.parent for path in shared_data.rglob("*.jpg") if "derived" not in str(path)}  # the same photos
    for folder in sorted(folders):
        for path in sorted(folder.glob("*.jpg")):
            data = path.read_bytes()
            if min(probe(data)) >= 200 and "mask" not in path.name:
                pictures.append(shrink(decode_image(data), 320))
                break
    assert len(pictures) >= 8
    chosen = pictures[:6]
    assert report("real samples", [errors(one, np.random.default_rng(n)) for n, one in enumerate(chosen)]) == 1.0
    accepted, total = count_accepted([shrink(one, 224) for one in chosen[:5]])
    print(f"\n{accepted} of {total} unrelated pairs of real samples accepted")
    assert accepted == 0


def test_real_edits_are_taken_for_edits(shared_data):
    """Pairs that people and models made (the samples of editing sets): most register, with their photo and no other."""
    folder = next(path for path in shared_data.glob("*anyedit*/images"))
    pairs = [
        (path, path.with_name(path.name.replace("_origin", "_edit")))
        for path in sorted(folder.glob("*_origin.*"))
        if path.with_name(path.name.replace("_origin", "_edit")).is_file()
    ][:8]
    ended = {}
    for photo, result in pairs:
        pictures = [shrink(decode_image(path.read_bytes()), 384) for path in (photo, result)]
        try:
            RequestPhotos([pictures[0]]).match(pictures[1], PARAMETERS)
            ended[photo.stem] = "pair"
        except RowRejected as rejected:
            ended[photo.stem] = str(rejected.reason)
    print("\n", ended)
    assert sum(one == "pair" for one in ended.values()) >= len(pairs) // 2


def test_a_result_goes_to_the_photo_that_it_is_of(photos):
    names = ["coffee", "chelsea", "rocket"]
    matcher = RequestPhotos([photos[name] for name in names])
    for index, name in enumerate(names):
        result, _ = disturb(photos[name], "crop", np.random.default_rng(index))
        assert matcher.match(result, PARAMETERS).photo == index


def test_frames_keep_the_coarser_picture_as_it_is(photos):
    photo = photos["coffee"]
    height, width = photo.shape[:2]
    small = cv2.resize(photo, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    frame = RequestPhotos([photo]).match(paint(small), PARAMETERS).frame
    assert np.array_equal(frame.target, paint(small)) and frame.target_is_whole and not frame.source_is_whole
    assert np.abs(frame.source.astype(int) - small).mean() < 2 and frame.share > 0.99
    large = cv2.resize(photo, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)
    frame = RequestPhotos([photo]).match(paint(large), PARAMETERS).frame
    assert np.array_equal(frame.source, photo) and frame.source_is_whole
    assert np.abs(frame.target.astype(int) - paint(photo)).mean() < 4


def test_a_crop_by_whole_pixels_copies_pixels(photos):
    photo = photos["coffee"]
    result = paint(photo)[11:-7, 23:-5]
    frame = RequestPhotos([photo]).match(result, PARAMETERS).frame
    assert np.array_equal(frame.target, result) and np.array_equal(frame.source, photo[11:-7, 23:-5])


def test_a_border_around_the_photo_is_cut_off(photos):
    photo = photos["chelsea"]
    framed = cv2.copyMakeBorder(paint(photo), 30, 50, 20, 20, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    frame = RequestPhotos([photo]).match(framed, PARAMETERS).frame
    assert np.array_equal(frame.source, photo) and np.array_equal(frame.target, paint(photo))


def paint(photo: np.ndarray) -> np.ndarray:
    result = photo.copy()
    height, width = photo.shape[:2]
    result[height // 3 : height // 2, width // 3 : width // 2] = (20, 200, 60)
    return result


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda photo: photo[:, ::-1].copy(), Reason.MIRRORED_RESULT),
        (lambda photo: cv2.resize(photo, (photo.shape[1], photo.shape[0] // 2)), Reason.DISTORTED_RESULT),
        (lambda photo: photo[: photo.shape[0] // 3, : photo.shape[1] // 3].copy(), Reason.SMALL_COMMON_FRAME),
        (lambda photo: cv2.imdecode(cv2.imencode(".jpg", photo, [1, 60])[1], 1), Reason.NO_CHANGE),
        (lambda photo: np.random.default_rng(0).integers(0, 255, photo.shape, np.uint8), Reason.UNRELATED_RESULT),
        (lambda photo: np.full_like(photo, 255), Reason.UNRELATED_RESULT),
    ],
)
def test_each_reason(photos, change, reason):
    photo = photos["coffee"]
    with pytest.raises(RowRejected) as rejected:
        RequestPhotos([photo]).match(change(photo), PARAMETERS)
    assert rejected.value.reason is reason


def test_sharpening_and_blurring_are_changes(photos):
    photo = photos["coffee"]
    for result in (
        cv2.GaussianBlur(photo, (0, 0), 1.5),
        cv2.addWeighted(photo, 2, cv2.GaussianBlur(photo, (0, 0), 2), -1, 0),
    ):
        assert RequestPhotos([photo]).match(result, PARAMETERS).frame.source_is_whole


def test_flat_pictures_match_by_size_alone():
    ramp = np.tile(np.linspace(20, 230, 256, dtype=np.uint8)[None, :, None], (192, 1, 3))
    painted = ramp.copy()
    painted[60:90, 60:90] = (250, 20, 20)
    match = RequestPhotos([ramp]).match(painted, PARAMETERS)
    assert match.registration.num_inliers == 0 or match.frame.source_is_whole
    assert alike_share(ramp, painted) > 0.5


def test_pictures_without_a_feature_do_not_register():
    flat = find_features(np.full((64, 64, 3), 128, np.uint8))
    assert len(flat.points) == 0 and register(flat, flat) is None


@pytest.mark.parametrize("angle", [3, 17, 45, 90, 180, 271])
def test_the_common_box_lies_inside_both(angle):
    photo, result = np.zeros((120, 200, 3), np.uint8), np.full((110, 180, 3), 255, np.uint8)
    matrix = cv2.getRotationMatrix2D((90, 55), angle, 0.9)
    matrix[:, 2] += (10, 5)
    frame = find_frame(photo, result, Registration(matrix, 50, 50))
    assert frame is not None and frame.target.min() > 200, "no pixel from outside the result"
    assert frame.share > 0.19


def test_near_duplicates_and_several_results(photos):
    base = photos["coffee"]
    edits = {f"edit{n}": paint_at(base, n) for n in range(3)}
    pictures = {
        "photo": base,
        "other": photos["chelsea"],
        **edits,
        "repost": shrink(base, 300),
        "repost-edit0": cv2.imdecode(cv2.imencode(".jpg", shrink(edits["edit0"], 300), [1, 80])[1], 1),
    }
    prints = {name: Fingerprint.of(cv2.imencode(".png", one[..., ::-1])[1].tobytes()) for name, one in pictures.items()}
    found = NearDuplicates(prints.get)
    rows = [Candidate(name, ("photo",), name) for name in edits]
    assert found.find(rows) == {}, "three results of one photo are three pairs"
    again = [
        Candidate("x", ("repost",), "repost-edit0"),
        Candidate("y", ("other",), "edit0"),
        Candidate("z", ("other", "photo"), "edit1"),
        Candidate("w", ("other",), "edit0"),
    ]
    assert found.find(again) == {0: "edit0", 2: "edit1", 3: "y"}


def paint_at(photo: np.ndarray, number: int) -> np.ndarray:
    result = photo.copy()
    result[40 + 50 * number : 80 + 50 * number, 60:110] = (220, 30, 30)
    return result
