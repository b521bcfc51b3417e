"""TOML files read strictly: every key is known, of the right type, and used; anything else is one clear sentence."""

import tomllib
from pathlib import Path
from typing import Any

from catalog.errors import UserError

_KINDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


def read_toml(path: Path, error: type[UserError]) -> dict[str, Any]:
    """The file as a dictionary; ``error`` is what a missing or malformed file raises."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise error(f"no file {path}: give the path of a TOML file") from missing
    except IsADirectoryError as folder:
        raise error(f"{path} is a folder: give the path of a TOML file") from folder
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as malformed:
        raise error(f"{path} is not TOML ({malformed}): mend that line") from malformed


class Fields:
    """One TOML table, read key by key. `finish` refuses the keys that nobody asked for."""

    def __init__(self, values: Any, where: str, error: type[UserError]) -> None:
        self.where = where
        self._error = error
        if not isinstance(values, dict):
            raise self.wrong(f"must be a table. Got {values!r}")
        self._values = dict(values)
        self._known: list[str] = []

    def wrong(self, sentence: str) -> UserError:
        """The error to raise, with the place named."""
        return self._error(f"{self.where} {sentence}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; required unless there is a default."""
        return self._text(key, default, may_lack=default is not None)

    def optional_text(self, key: str) -> str | None:
        """A text that is not empty, or None where the key is absent."""
        return self._text(key, None, may_lack=True) if self.has(key) else None

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._take(key, float, None)
        if not abs(value) < float("inf"):
            raise self.wrong(f"needs a finite {key!r}. Got {value}")
        return float(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        value: int = self._take(key, int, default)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value: bool = self._take(key, bool, default)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts with at least one member and no repetition."""
        values = self._take(key, list, None)
        if not values or not all(isinstance(value, str) and value.strip() for value in values):
            raise self.wrong(f"needs {key!r} to be a list of texts with at least one. Got {values!r}")
        if len(set(values)) < len(values):
            raise self.wrong(f"names a text twice in {key!r}: {values!r}")
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers with at least one member."""
        values = self._take(key, list, None)
        kinds = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if not values or not kinds or not all(abs(value) < float("inf") for value in values):
            raise self.wrong(f"needs {key!r} to be a list of numbers with at least one. Got {values!r}")
        return tuple(float(value) for value in values)

    def tables(self, key: str) -> list[Any]:
        """The ``[[key]]`` tables, in order; empty where there are none."""
        values: list[Any] = self._take(key, list, [])
        return values

    def table(self, key: str) -> dict[str, Any]:
        """The ``[key]`` table; empty where there is none."""
        values: dict[str, Any] = self._take(key, dict, {})
        return values

    def has(self, key: str) -> bool:
        """Whether the file gives the key."""
        if key not in self._known:
            self._known.append(key)
        return key in self._values

    def finish(self) -> None:
        """Refuse what was never asked for: a misspelt key must not pass for a default."""
        unknown = sorted(set(self._values) - set(self._known))
        if unknown:
            names, known = ", ".join(unknown), ", ".join(self._known)
            raise self.wrong(f"has unknown keys: {names}. Known ones: {known}; remove or rename them")

    def _text(self, key: str, default: str | None, may_lack: bool) -> str:
        value: str = self._take(key, str, default)
        if not value.strip() and value != default:
            raise self.wrong(f"has an empty {key!r}: write something{' or leave it out' if may_lack else ''}")
        return value

    def _take(self, key: str, kind: type, default: Any) -> Any:
        if not self.has(key):
            if default is None:
                raise self.wrong(f"lacks {key!r}: add it")
            return default
        value = self._values[key]
        accepted = (int, float) if kind is float else (kind,)
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(f"needs {key!r} to be {_KINDS[kind]}. Got {value!r}")
        return value
