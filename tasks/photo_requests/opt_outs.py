"""Those who want no part in it: hosts, addresses, authors and pictures, one a line.

::

    example.com                      a host and everything below it
    https://example.com/album/7      an address and everything below it
    u/name                           an author, as asker or as maker of results
    3f2a...                          SHA-256 of a picture's bytes, 64 hexadecimal digits
    # a comment
"""

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from catalog.errors import ConfigError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}|\d+(?:\.\d+){3}")
_AUTHOR = re.compile(r"/?u/([\w-]{1,64})")


@dataclass(frozen=True)
class OptOuts:
    """Who is on the list."""

    hosts: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    """"host/path", without scheme."""
    authors: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()

    def name_url(self, url: httpx.URL | str) -> str | None:
        """The entry that a URL falls under, None where there is none."""
        if isinstance(url, str):
            try:
                url = httpx.URL(url)
            except (httpx.InvalidURL, ValueError):
                return None
        host = url.host.lower().rstrip(".")
        labels = host.split(".")
        for start in range(len(labels)):
            if (parent := ".".join(labels[start:])) in self.hosts:
                return parent
        place = host + url.raw_path.decode("ascii", "replace")
        return next((prefix for prefix in self.prefixes if _is_below(place, prefix)), None)

    def name_author(self, author: str | None) -> str | None:
        """The entry for an author."""
        return author if author and author.lower() in self.authors else None


def read_opt_outs(path: Path | None) -> OptOuts:
    """Read a list; none where there is no path.

    Raises:
        ConfigError: no such file, or a line that is none of the four kinds. A line is never passed over.
    """
    if path is None:
        return OptOuts()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the opt-out list {path} cannot be read ({error}): give a text file") from error
    hosts, prefixes, authors, digests = set(), [], set(), set()
    for number, line in enumerate(lines, start=1):
        entry = line.partition(" #")[0].strip() if not line.lstrip().startswith("#") else ""
        if not entry:
            continue
        if _SHA256.fullmatch(entry.lower()):
            digests.add(entry.lower())
        elif author := _AUTHOR.fullmatch(entry):
            authors.add(author[1].lower())
        elif entry.lower().startswith(("http://", "https://")):
            prefixes.append(_prefix(entry, path, number))
        elif _HOST.fullmatch(entry.lower()):
            hosts.add(entry.lower())
        else:
            raise ConfigError(
                f"{path}, line {number}: an entry is a host, a URL, u/NAME or a SHA-256. Got {entry[:80]!r}"
            )
    return OptOuts(frozenset(hosts), tuple(prefixes), frozenset(authors), frozenset(digests))


def _prefix(entry: str, path: Path, number: int) -> str:
    try:
        url = httpx.URL(entry)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConfigError(f"{path}, line {number}: {entry[:80]!r} is no URL ({error})") from error
    return url.host.lower() + url.raw_path.decode("ascii", "replace").rstrip("/")


def _is_below(place: str, prefix: str) -> bool:
    return place == prefix or (place.startswith(prefix) and place[len(prefix)] in "/?")
