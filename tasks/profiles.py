"""A profile says which sources are built, with which backends and parameters. One TOML file, plus overrides."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from catalog.errors import ConfigError
from catalog.splits import SplitRule

_Parameters = TypeVar("_Parameters")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source dataset."""

    dataset: str
    """The ``dataset`` column, and the name of its root."""
    reader: str
    """A name of `tasks.readers.registry.READERS`."""
    root: str = ""
    """Folder; empty where the reader needs none."""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class IngestParameters:
    """How source images and regions are checked."""

    max_phrase_length: int = 200
    """Characters; a longer referring phrase is rejected."""


@dataclass(frozen=True, kw_only=True)
class RemovalParameters:
    """How a region becomes a hole. The paper gives no number (section 3.2)."""

    enabled: bool = True
    min_area_share: float = 0.0005
    """Smallest region, share of the image."""
    max_area_share: float = 0.5
    """Largest region, share of the image: beyond it an inpainter has nothing to go by."""
    dilation: float = 8.0
    """Pixels at a shorter side of 512, scaled with the image: LaMa leaves rims and shadows under a tight mask."""
    feather: float = 4.0
    """Width of the blend around the dilated region, pixels at a shorter side of 512."""
    batch_size: int = 8
    """Images handed to the inpainter at once."""


@dataclass(frozen=True, kw_only=True)
class AnnotationParameters:
    """Which pairs are drawn from annotations at load time."""

    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class ScoreParameters:
    """How pairs are scored (paper section 3.2)."""

    num_references: int = 64
    """Photos of the train split that KNN-GIQA compares with."""
    num_neighbours: int = 1
    """K of KNN-GIQA; 1 is its authors' default."""
    batch_size: int = 16


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Everything a build depends on, beside the source files themselves."""

    name: str
    sources: tuple[Source, ...]
    images_per_shard: int = 256
    split: SplitRule = field(default_factory=SplitRule)
    backends: Mapping[str, str] = field(default_factory=dict)
    """Role to backend name."""
    backend_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    ingest: IngestParameters = field(default_factory=IngestParameters)
    remove_object: RemovalParameters = field(default_factory=RemovalParameters)
    annotate: AnnotationParameters = field(default_factory=AnnotationParameters)
    score: ScoreParameters = field(default_factory=ScoreParameters)


_TABLES: dict[str, type] = {
    "split": SplitRule,
    "ingest": IngestParameters,
    "remove_object": RemovalParameters,
    "annotate": AnnotationParameters,
    "score": ScoreParameters,
}


def read_profile(path: Path, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile.

    Args:
        path: the TOML file.
        overrides: values by dotted name, such as ``{"backends.inpainter": "lama", "images_per_shard": 64}``.

    Raises:
        ConfigError: no such file, not TOML, an unknown name or a value out of range.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no profile at {path}; infra/profiles/ has those that ship") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    for name, new in (overrides or {}).items():
        _override(value, name, new)
    return _parse(value, str(path))


def _override(value: dict[str, Any], name: str, new: Any) -> None:
    *folders, last = name.split(".")
    for folder in folders:
        value = value.setdefault(folder, {})
        if not isinstance(value, dict):
            raise ConfigError(f"override {name!r} goes through {folder!r}, which is not a table")
    value[last] = new


def _parse(value: dict[str, Any], where: str) -> Profile:
    backends = dict(value.pop("backends", {}))
    options = backends.pop("options", {})
    sources = value.pop("source", [])
    if not isinstance(sources, list) or not sources:
        raise ConfigError(f"{where} needs at least one [[source]]")
    parts = {name: _build(kind, value.pop(name, {}), f"{where} [{name}]") for name, kind in _TABLES.items()}
    rest = {"name": value.pop("name", ""), "images_per_shard": value.pop("images_per_shard", 256)}
    if value:
        raise ConfigError(
            f"{where} has unknown entries {sorted(value)}; known: name, images_per_shard, source, "
            f"backends, {', '.join(_TABLES)}"
        )
    if not isinstance(rest["images_per_shard"], int) or rest["images_per_shard"] < 1:
        raise ConfigError(f"{where}: images_per_shard must be a positive integer. Got {rest['images_per_shard']!r}")
    parsed = tuple(_build(Source, source, f"{where} [[source]]") for source in sources)
    names = [source.dataset for source in parsed]
    if len(set(names)) != len(names) or "store" in names:
        raise ConfigError(f"{where}: every source needs a dataset name of its own, other than 'store'. Got {names}")
    return Profile(sources=parsed, backends=backends, backend_options=options, **parts, **rest)


def _build(kind: type[_Parameters], value: Any, where: str) -> _Parameters:
    """Make a parameter class from a TOML table, with each entry of the type that the class declares."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table. Got {value!r}")
    known = {item.name: item.type for item in fields(kind)}  # type: ignore[arg-type]
    for name, entry in value.items():
        if name not in known:
            raise ConfigError(f"{where} has no entry {name!r}; known: {', '.join(known)}")
        expected = {float: (int, float), dict[str, Any]: (dict,)}.get(known[name], (known[name],))  # type: ignore[call-overload]
        if not isinstance(entry, expected) or (isinstance(entry, bool) and bool not in expected):
            raise ConfigError(
                f"{where}: {name} must be of type {getattr(known[name], '__name__', known[name])}. Got {entry!r}"
            )
    try:
        return kind(**value)
    except TypeError as error:
        missing = [name for name in known if name not in value]
        raise ConfigError(f"{where} is incomplete: it needs {', '.join(missing)}") from error
