"""Whether a list is at fault itself: not one of its rows is a request that could be fetched and matched."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import SourceError
from catalog.reasons import Reason
from tasks.photo_requests.records import is_url

_OF_ROWS = frozenset(
    {
        Reason.MALFORMED_RECORD,
        Reason.DUPLICATE_ID,
        Reason.NO_PHOTO,
        Reason.NO_RESULT,
        Reason.EMPTY_REQUEST,
        Reason.BAD_ADDRESS,
        Reason.PRIVATE_ADDRESS,
        Reason.PAGE_LINK,
        Reason.PATH_ESCAPE,
        Reason.MISSING_FILE,
    }
)
"""What only another list can mend. Not what a host answers, nor what somebody asked for: after those the crawl's
manifest must be written again, or pairs that were taken back would stay in it."""
_OF_FILES = frozenset(
    {
        Reason.EMPTY_FILE,
        Reason.FILE_TOO_LARGE,
        Reason.NOT_AN_IMAGE,
        Reason.TRUNCATED_IMAGE,
        Reason.TOO_MANY_PIXELS,
        Reason.IMAGE_TOO_SMALL,
        Reason.UNSUPPORTED_FORMAT,
        Reason.ANIMATED_IMAGE,
        Reason.UNREADABLE_FILE,
    }
)
"""The same of rows whose pictures are all local files, which lie below the list's folder."""


_LONGEST = 200  # characters of a detail, which may quote a list's own text


class ListFaults:
    """What is against the rows of one list, before matching."""

    def __init__(self) -> None:
        """No row has been seen."""
        self._counts: Counter[str] = Counter()
        self._first = ""
        self._is_usable = False

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count the rows of a chunk, each judged."""
        for row in rows:
            if not _is_of_list(row):
                self._is_usable = True
                return
            self._counts[row["reason"]] += 1
            self._first = self._first or " ".join(row["detail"].split())[:_LONGEST]

    def check(self, path: Path) -> None:
        """Pass where some row of the list at ``path`` is a request, whatever came of it.

        Raises:
            SourceError: there is none, or no row at all.
        """
        if self._is_usable:
            return
        if not self._counts:
            raise SourceError(f"{path} holds no request: give a list of at least one")
        reasons = ", ".join(f"{reason} {count}" for reason, count in self._counts.most_common())
        raise SourceError(
            f"{path} has no row that can be used ({reasons}; the first: {self._first}): mend the list, "
            "whose columns are page, before, after and text with URLs or files below its folder"
        )


def _is_of_list(row: Mapping[str, Any]) -> bool:
    if row["reason"] in _OF_FILES:
        return not any(is_url(address) for address in (*row["photos"], row["result"]))
    return row["reason"] in _OF_ROWS
