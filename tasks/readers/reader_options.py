"""Options of a reader: JSON values by name, completed with defaults, refused where unknown or wrong."""

from collections.abc import Mapping
from typing import Any

from catalog.errors import SourceError


def complete_options(kind: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """``defaults`` overlaid with ``given``: the full set that the records depend on.

    Raises:
        SourceError: a name that the reader does not know.
    """
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise SourceError(f"Reader {kind} has the options {', '.join(sorted(defaults))}; got {', '.join(unknown)}.")
    return {**defaults, **given}


def require_choice(kind: str, name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises SourceError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise SourceError(f"Option {name} of reader {kind} must be one of {', '.join(choices)}; got {value!r}.")


def require_integer(kind: str, name: str, value: Any, minimum: int, maximum: int) -> None:
    """Raises SourceError unless ``value`` is an integer in [minimum, maximum]."""
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise SourceError(
            f"Option {name} of reader {kind} must be an integer from {minimum} to {maximum}; got {value!r}."
        )


def require_flag(kind: str, name: str, value: Any) -> None:
    """Raises SourceError unless ``value`` is true or false."""
    if not isinstance(value, bool):
        raise SourceError(f"Option {name} of reader {kind} must be true or false; got {value!r}.")


def require_text(kind: str, name: str, value: Any) -> None:
    """Raises SourceError unless ``value`` is None or a string that is not empty."""
    if value is not None and not (isinstance(value, str) and value):
        raise SourceError(f"Option {name} of reader {kind} must be a text or left out; got {value!r}.")
