"""Scores: photos above their damaged versions, KNN-GIQA against its definition, colour similarity by examples."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from catalog.errors import BackendError
from tasks.backends.aesthetics import ImageStatisticsScorer
from tasks.backends.embedding import HistogramEmbedder
from tasks.backends.giqa import KnnGiqaScorer
from tasks.backends.l1_search import L1Index, nearest_by_comparison
from tasks.backends.protocols import PAIR_SIMILARITIES
from tasks.backends.similarity import HistogramSimilarity, colour_shares, named_colours


def _photos() -> dict[str, np.ndarray]:
    return {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}


def _noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_a_photo_scores_above_its_damaged_versions(name: str) -> None:
    photo = _photos()[name]
    damaged = [
        *(cv2.GaussianBlur(photo, (0, 0), sigma) for sigma in (1, 2, 4)),
        *(_noisy(photo, sigma) for sigma in (10, 40)),
        (photo * 0.2).astype(np.uint8),  # under-exposed
        (photo * 0.3 + 90).astype(np.uint8),  # washed out
        np.full_like(photo, photo.mean()),
    ]
    best, *others = ImageStatisticsScorer().score([photo, *damaged])
    assert 6 < best <= 10
    assert max(others) < best - 0.4
    assert min(others) >= 1


def test_pictures_of_nothing_score_lowest() -> None:
    random = np.random.default_rng(0)
    pictures = [
        np.zeros((64, 64, 3), np.uint8),
        np.full((300, 200, 3), 128, np.uint8),
        random.integers(0, 256, (256, 256, 3), np.uint8),
        np.zeros((1, 5, 3), np.uint8),
    ]
    assert ImageStatisticsScorer().score(pictures).max() < 1.5
    assert ImageStatisticsScorer().score([]).shape == (0,)


def _naive_giqa(embeddings: np.ndarray, references: np.ndarray, k: int, exclude: list[list[int]]) -> list[float]:
    """The definition, distance by distance, with the official code's own distance function."""
    scores = []
    for item, left_out in zip(embeddings, exclude, strict=True):
        kept = [row for number, row in enumerate(references) if number not in left_out]
        distances = sorted(
            torch.nn.functional.pairwise_distance(
                torch.from_numpy(item[None].astype(np.float64)),
                torch.from_numpy(row[None].astype(np.float64)),
                p=1,
                eps=1e-6,
            ).item()
            for row in kept
        )
        scores.append(sum(1 / distance for distance in distances[:k]) if len(kept) >= k else float("nan"))
    return scores


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_giqa_is_its_definition(k: int, many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    _small_blocks(monkeypatch, many)
    random = np.random.default_rng(k)
    embeddings, references = (random.normal(size=(size, 16)).astype(np.float32) for size in (6, 31))
    references.setflags(write=False)
    embeddings[2] = references[9]  # at distance zero but for epsilon
    exclude: list[list[int]] = [[], [0, 30], [9], [], [5, 6, 7, 8], list(range(31))]
    expected = _naive_giqa(embeddings, references, k, exclude)
    got = KnnGiqaScorer(k).score(embeddings, references, exclude)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert np.isnan(got[5])
    np.testing.assert_allclose(
        KnnGiqaScorer(k).score(embeddings, references), _naive_giqa(embeddings, references, k, [[]] * 6), rtol=1e-9
    )


def _small_blocks(monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
    """Several blocks, tiles and passes, the last ones short; the indexed search even for few references."""
    for name, value in {"_BLOCK": 7, "_TILE": 5, "_KEPT": 2, "_QUERIES": 4, "_CHUNK": 3, "_SAMPLE": 11}.items():
        monkeypatch.setattr(f"tasks.backends.l1_search.{name}", value)
    if many:
        monkeypatch.setattr("tasks.backends.giqa._FEW_REFERENCES", 0)
        monkeypatch.setattr("tasks.backends.giqa._FEW_IMAGES", 0)


def _spread(name: str, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(queries (9, 12), rows (83, 12)) that try the bounds of the search."""
    queries, rows = (random.normal(size=(size, 12)) for size in (9, 83))
    if name == "rectified":
        queries, rows = np.maximum(queries - 0.5, 0), np.maximum(rows - 0.5, 0)
    if name == "outliers":  # far beyond what a byte serves, in rows and in queries
        rows[::7, 3] *= 1e6
        queries[::2, 5] -= 1e5
    if name == "ties":
        rows[1::2] = rows[::2][: len(rows[1::2])]
        queries[:4] = rows[:4]
    if name == "constant":
        rows[:] = 0.25
    if name == "shells":  # all nearly equally far: every tile hides rows that may be the nearest
        rows /= np.abs(rows).sum(axis=1, keepdims=True)
        queries *= 1e-6
    if name == "tiny":
        queries, rows = queries * 1e-30, rows * 1e-30
    return queries.astype(np.float32), rows.astype(np.float32)


@pytest.mark.parametrize("name", ["normal", "rectified", "outliers", "ties", "constant", "shells", "tiny"])
@pytest.mark.parametrize("k", [1, 4, 90])
def test_indexed_search_is_comparison_with_each_row_bit_for_bit(
    name: str, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _small_blocks(monkeypatch, many=True)
    random = np.random.default_rng(k)
    queries, rows = _spread(name, random)
    exclude = [random.choice(83, size=random.integers(0, 83), replace=False).tolist() for _ in queries]
    index = L1Index(rows)
    for left_out in (None, exclude):
        expected = nearest_by_comparison(queries, rows, k, left_out)
        np.testing.assert_array_equal(index.nearest(queries, k, left_out), expected)


def test_indexed_search_at_its_own_block_sizes() -> None:
    """Thousands of rows, also a number that leaves the last tile with one."""
    random = np.random.default_rng(0)
    loadings = random.normal(size=(8, 64))
    rows, queries = (np.maximum(random.normal(size=(size, 8)) @ loadings, 0).astype(np.float32) for size in (4865, 70))
    found = L1Index(rows).nearest(queries, 3)
    np.testing.assert_array_equal(found, nearest_by_comparison(queries, rows, 3))


def test_read_only_references_are_prepared_once_and_others_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _small_blocks(monkeypatch, many=True)
    prepared = []
    monkeypatch.setattr("tasks.backends.giqa.L1Index", lambda rows: prepared.append(rows) or L1Index(rows))
    random = np.random.default_rng(0)
    embeddings, references = (random.normal(size=(size, 8)).astype(np.float32) for size in (3, 40))
    scorer = KnnGiqaScorer()
    first = scorer.score(embeddings, references)
    references += 1  # still writable: must be noticed
    assert not np.array_equal(scorer.score(embeddings, references), first)
    assert len(prepared) == 2
    references.setflags(write=False)
    second = scorer.score(embeddings, references.reshape(-1, 8))
    np.testing.assert_array_equal(scorer.score(embeddings[:1], references.reshape(-1, 8)), second[:1])
    assert len(prepared) == 3
    other = references + 1
    other.setflags(write=False)
    assert not np.array_equal(scorer.score(embeddings, other), second)
    assert len(prepared) == 4


def test_giqa_refuses_what_it_cannot_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.zeros((2, 3), np.float32)
    with pytest.raises(BackendError, match="k must be a positive integer"):
        KnnGiqaScorer(0)
    with pytest.raises(ValueError, match=r"\(N, D\) and \(M, D\)"):
        KnnGiqaScorer().score(vectors, np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="one entry per embedding"):
        KnnGiqaScorer().score(vectors, vectors, [[]])
    assert np.isnan(KnnGiqaScorer().score(vectors, vectors[:0])).all()
    broken = np.array([[0, np.nan, 0]], np.float32)
    with pytest.raises(ValueError, match="embeddings must be finite"):
        KnnGiqaScorer().score(broken, vectors)
    for many in (False, True):
        _small_blocks(monkeypatch, many)
        with pytest.raises(ValueError, match="references must be finite"):
            KnnGiqaScorer().score(vectors, np.concatenate([vectors, broken]))


def test_embeddings_know_a_photo_again() -> None:
    """A crop and a brighter version are nearer to a photo than any other photo is."""
    photos = list(_photos().values())
    changed = [np.clip(photo[8:-8, 8:-8].astype(int) + 10, 0, 255).astype(np.uint8) for photo in photos]
    vectors, others = HistogramEmbedder().embed(photos), HistogramEmbedder().embed(changed)
    assert vectors.dtype == np.float32 and vectors.shape == (4, 180)
    np.testing.assert_array_equal((others @ vectors.T).argmax(axis=1), np.arange(4))
    assert HistogramEmbedder().embed([]).shape == (0, 180)
    assert np.isfinite(HistogramEmbedder().embed([np.zeros((1, 1, 3), np.uint8)])).all()


def _plain(*colour: int) -> np.ndarray:
    return np.full((20, 30, 3), colour, np.uint8)


def test_colours_of_images_and_words_agree() -> None:
    values = {"red": (200, 30, 30), "green": (40, 140, 60), "blue": (50, 90, 200), "black": (8, 8, 8)}
    for name, value in values.items():
        np.testing.assert_array_equal(colour_shares(_plain(*value)), named_colours(f"a {name} thing"))
    np.testing.assert_array_equal(named_colours("Gray, grey or SILVER"), named_colours("grey"))
    assert not named_colours("a redwood table").any()
    assert not named_colours(None).any()


def test_pair_similarity_follows_the_colours() -> None:
    red, blue = _plain(200, 30, 30), _plain(50, 90, 200)
    captions = "a red wall", "a blue wall"
    got = HistogramSimilarity().similarity(
        [red, red, red], [blue, red, blue], [captions[0]] * 3, [captions[1]] * 2 + [None]
    )
    assert tuple(got) == PAIR_SIMILARITIES
    assert got["image_similarity"][1] == pytest.approx(1, abs=1e-6) and got["image_similarity"][0] < 0.9
    np.testing.assert_allclose(got["source_text_similarity"], 1)
    np.testing.assert_allclose(got["target_text_similarity"], [1, 0, np.nan])
    np.testing.assert_allclose(got["direction_similarity"], [1, 0, np.nan])


def test_direction_is_negative_for_the_opposite_edit() -> None:
    red, blue = _plain(200, 30, 30), _plain(50, 90, 200)
    got = HistogramSimilarity().similarity([blue], [red], ["a red wall"], ["a blue wall"])
    assert got["direction_similarity"][0] == pytest.approx(-1)
    assert all(len(values) == 0 for values in HistogramSimilarity().similarity([], [], [], []).values())
