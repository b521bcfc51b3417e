"""Which pairs of a mix may be passed on, as far as the words of their licences say so.

A row keeps its licence as the dataset words it. What plainly allows that copies of an edited photo are passed on is
known by its words (`allows_copies`); all else, and no word at all, needs the user's own: `--licence` or `--private`.
The donor of a replacement is in the picture too, so its licence counts as much as the photo's.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from catalog.errors import ConfigError, ShardError
from catalog.manifests import read_manifest
from catalog.queries import fetch_rows, load_sql, open_database, open_table
from catalog.schema import MIX, PAIRS
from catalog.workspace import Workspace

NONE_STATED = "none stated"
"""Stands for a row without a licence."""
NOT_KNOWN = "not known here"
"""Stands for a donor's licence where the build that recorded it is not in the workspace."""

_OPEN = re.compile(
    r"\bCC0\b|\bCC[ -]BY\b|creativecommons\.org/(licenses/by|publicdomain)|^Attribution\b|public domain|\bMIT\b|\bBSD\b"
    r"|Apache|\bCDLA\b|No known copyright|United States Government Work|^generated$",
    re.IGNORECASE,
)
_RESERVED = re.compile(
    r"redistribut|none stated|not known|\bterms\b|research|agreement|strictest|NoDeriv|[- /]ND\b|/by(-nc)?-nd",
    re.IGNORECASE,
)
_NUM_NAMED = 5


def allows_copies(licence: str) -> bool:
    """Whether a licence's words allow that edited copies are passed on, under whatever other conditions it names."""
    return bool(_OPEN.search(licence)) and not _RESERVED.search(licence)


@dataclass(frozen=True)
class LicenceChoice:
    """Which licences are copied: those that match one of ``patterns``; with ``private`` all; else the open ones, and a
    mix that holds others is refused.
    """

    patterns: tuple[str, ...] = ()
    private: bool = False

    def takes(self, licences: Sequence[str]) -> bool:
        """Whether a pair of these licences, its photo's and its donor's, is copied."""
        if self.private:
            return True
        if self.patterns:
            return all(any(fnmatchcase(one, pattern) for pattern in self.patterns) for one in licences)
        return all(allows_copies(one) for one in licences)

    def check(self, counts: Mapping[tuple[str, ...], int]) -> None:
        """Hold the choice against what the mix has.

        Raises:
            ConfigError: nothing is left, or licences that nobody has vouched for would be copied.
        """
        if self.private and self.patterns:
            raise ConfigError("--private copies every licence: leave out --licence, or --private")
        if not any(self.takes(licences) for licences in counts):
            known = ", ".join(sorted({repr(one) for licences in counts for one in licences}))
            raise ConfigError(f"no pair of the mix has a licence that --licence chooses. It has: {known}")
        if self.patterns or self.private:
            return
        reserved = {licences: count for licences, count in counts.items() if not self.takes(licences)}
        if reserved:
            words = sorted({one for licences in reserved for one in licences if not allows_copies(one)})
            more = f" and {len(words) - _NUM_NAMED} more" if len(words) > _NUM_NAMED else ""
            named = ", ".join(map(repr, words[:_NUM_NAMED])) + more
            raise ConfigError(
                f"an export that may be passed on must hold pairs of open licences alone, but {sum(reserved.values())} "
                f"have {named}: choose with --licence, once for each (* stands for any text), or copy all with "
                "--private, for yourself"
            )


def licences_of(row: Mapping[str, Any], donors: Mapping[str, str]) -> tuple[str, ...]:
    """The licences that a row of the mix is under: its photo's, and its donor's where that is another."""
    own = row["licence"] or NONE_STATED
    donor = donors.get(row["pair_id"], own)
    return (own,) if donor == own else (own, donor)


def read_licences(
    workspace: Workspace, mix: Path, footer: Mapping[str, Any], repeats: bool
) -> tuple[dict[tuple[str, ...], int], dict[str, str]]:
    """What a mix's rows are under.

    Args:
        workspace: where the mix's builds are; without them the donors of replacements are `NOT_KNOWN`.
        mix: the file.
        footer: what it says of itself.
        repeats: whether every draw counts, or each pair once.

    Returns:
        Number of rows by licences, and the donor's licence of each pair where it is not the photo's.
    """
    with open_database() as connection:
        open_table(connection, "mix", [mix], MIX)
        open_table(connection, "pairs", _pair_files(workspace, footer), PAIRS)
        values: dict[str, Any] = {"none_stated": NONE_STATED, "not_known": NOT_KNOWN}
        donors = fetch_rows(connection, load_sql("other_donor_licences"), **values)
        found = {row["pair_id"]: row["donor_licence"] for row in donors}
        rows = fetch_rows(connection, load_sql("mix_licences"), none_stated=NONE_STATED, repeats=repeats)
    counts: Counter[tuple[str, ...]] = Counter({(row["licence"],): row["num_rows"] for row in rows})
    for row in donors:
        draws = row["num_draws"] if repeats else 1
        counts[(row["licence"],)] -= draws
        counts[(row["licence"], row["donor_licence"])] += draws
    return {licences: count for licences, count in counts.items() if count}, found


def _pair_files(workspace: Workspace, footer: Mapping[str, Any]) -> list[Path]:
    """Shards of pairs that the mix was made from, as far as the workspace still has them."""
    paths: dict[Path, None] = {}
    for build in footer.get("builds", []):
        try:
            manifest = read_manifest(workspace, build["name"])
        except ShardError:
            continue  # the mix may have travelled alone: its donors are then not known
        wanted = set(build["pairs"])
        paths |= {one.file(workspace): None for one in manifest.tables.get("pairs", []) if one.sha256 in wanted}
    return [path for path in paths if path.is_file()]
