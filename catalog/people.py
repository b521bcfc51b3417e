"""People who answer: the names under which choices, labels and confirmations are kept."""

import unicodedata

from catalog.errors import ConfigError

MAX_NAME = 80
"""Characters of a person's name."""


def trim_name(name: str) -> str:
    """A name as `check_person` keeps it, or as it is looked for; it may be empty."""
    return unicodedata.normalize("NFC", name).strip()


def check_person(name: str) -> str:
    """A name under which answers are kept: trimmed, in Unicode's composed form.

    Raises:
        ConfigError: empty, longer than `MAX_NAME`, or with characters that cannot be printed.
    """
    trimmed = trim_name(name)
    if not trimmed or len(trimmed) > MAX_NAME or not trimmed.isprintable():
        raise ConfigError(f"a person's name must be 1 to {MAX_NAME} printable characters. Got {name!r:.100}: change it")
    return trimmed
