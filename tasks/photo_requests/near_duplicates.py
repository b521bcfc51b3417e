"""Rows that were there before: photo and result both look like those of an earlier row.

Difference hashes find candidates, thumbnails decide: several results of one photo have near hashes, and differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from catalog.duplicates import NEAR_BITS
from catalog.perceptual_hash import near_hashes
from tasks.photo_requests.fingerprints import Fingerprint


@dataclass(frozen=True)
class Candidate:
    """A row as far as it can repeat another."""

    result_id: str
    photos: tuple[str, ...]
    """Addresses."""
    result: str


class NearDuplicates:
    """The rows seen so far, some 200 bytes each: fingerprints stay where they are and are looked up again."""

    def __init__(self, look: Callable[[str], Fingerprint | None]) -> None:
        """``look`` gives the fingerprint of an address."""
        self._look = look
        self._seen: list[Candidate] = []
        self._hashes = np.empty(0, np.uint64)

    def find(self, rows: Sequence[Candidate]) -> dict[int, str]:
        """Of rows in order: which repeat an earlier one, by their position, and the id of that one."""
        prints = [self._look(row.result) for row in rows]
        new = np.array([0 if one is None else one.hash for one in prints], np.uint64)
        offset = len(self._seen)
        self._seen += rows
        self._hashes = np.concatenate([self._hashes, new])
        repeats: dict[int, str] = {}
        for here, there in near_hashes(new, self._hashes, NEAR_BITS).tolist():
            if there < offset + here and here not in repeats and self._same(rows[here], self._seen[there]):
                repeats[here] = self._seen[there].result_id
        return repeats

    def _same(self, one: Candidate, other: Candidate) -> bool:
        return self._shows_same(one.result, other.result) and any(
            self._shows_same(photo, its) for photo in one.photos for its in other.photos
        )

    def _shows_same(self, one: str, other: str) -> bool:
        if one == other:
            return True
        first, second = self._look(one), self._look(other)
        return first is not None and second is not None and first.shows_same(second)
