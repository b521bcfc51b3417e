"""A profile says which sources are built, with which backends and parameters. One TOML file, plus overrides."""

import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_origin

from catalog.errors import ConfigError
from catalog.manifests import Manifest, check_build_name
from catalog.splits import SplitRule
from catalog.store import STORE_ROOT
from catalog.strict_toml import read_toml
from tasks.backends.registry import ROLES
from tasks.parameters import (
    AnnotationParameters,
    GalleryIndexParameters,
    GalleryParameters,
    IngestParameters,
    RemovalParameters,
    ReplacementParameters,
    ScoreParameters,
    require_positive,
)

_Parameters = TypeVar("_Parameters")
_PACKAGED = Path(__file__).parents[1] / "infra" / "profiles"
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
    gallery: GalleryParameters = field(default_factory=GalleryParameters)
    gallery_index: GalleryIndexParameters = field(default_factory=GalleryIndexParameters)
    replace_object: ReplacementParameters = field(default_factory=ReplacementParameters)
    annotate: AnnotationParameters = field(default_factory=AnnotationParameters)
    score: ScoreParameters = field(default_factory=ScoreParameters)


_TABLES: dict[str, type] = {
    "split": SplitRule,
    "ingest": IngestParameters,
    "remove_object": RemovalParameters,
    "gallery": GalleryParameters,
    "gallery_index": GalleryIndexParameters,
    "replace_object": ReplacementParameters,
    "annotate": AnnotationParameters,
    "score": ScoreParameters,
}


_MAX_NUMBER = 2**31 - 1  # TOML and JSON have whole numbers of any size


def read_profile(path: Path, overrides: Mapping[str, Any] | None = None) -> Profile:
    """Read a profile.

    Args:
        path: the TOML file.
        overrides: values by dotted name, such as ``{"backends.inpainter": "opencv", "source.coco.root": "/data"}``.

    Raises:
        ConfigError: no such file, not TOML, an unknown name or a value out of range.
    """
    value = read_toml(path, ConfigError)
    for name, new in (overrides or {}).items():
        _override(value, name, new)
    return _parse(value, str(path))


def find_profile(name: str) -> Path:
    """The file behind a profile's path, or its name in ``infra/profiles``. Raises ConfigError."""
    path = Path(name)
    packaged = _PACKAGED / f"{name}.toml"
    if path.suffix == ".toml" or path.is_file():
        return path
    if not packaged.is_file():
        known = ", ".join(sorted(one.stem for one in _PACKAGED.glob("*.toml")))
        raise ConfigError(f"a profile is a TOML file or one of {known}. Got {name!r}")
    return packaged


def profile_of_build(manifest: Manifest, overrides: Mapping[str, Any] | None = None) -> Profile:
    """The profile that a build was made with, from its manifest; sources have no folders.

    Raises:
        ConfigError: the build has none, or an override that `read_profile` would refuse.
    """
    if "backends" not in manifest.parameters:
        raise ConfigError(f"{manifest.name!r} was not built from a profile: there is nothing to make it again with")
    value = json.loads(json.dumps(manifest.parameters))
    value["source"] = value.pop("sources")
    value["backends"] |= {"options": value.pop("backend_options")}
    for name, new in (overrides or {}).items():
        _override(value, name, new)
    return _parse(value, f"build {manifest.name!r}")


def _override(value: dict[str, Any], name: str, new: Any) -> None:
    """Set one value by its dotted name; a source is found by its dataset: ``source.phrasecut.root``."""
    *folders, last = name.split(".")
    place: Any = value
    for folder in folders:
        if isinstance(place, list):
            place = next((item for item in place if isinstance(item, dict) and item.get("dataset") == folder), None)
        else:
            place = place.setdefault(folder, {})
        if not isinstance(place, dict | list):
            raise ConfigError(f"override {name!r} goes through {folder!r}, which is no table and no dataset here")
    if isinstance(place, list):
        raise ConfigError(f"override {name!r} must go on with a field of that dataset, such as {name}.root")
    place[last] = new


def _parse(value: dict[str, Any], where: str) -> Profile:
    backends, options = _backends(value.pop("backends", {}), where)
    sources = value.pop("source", [])
    if not isinstance(sources, list) or not sources:
        raise ConfigError(f"{where} needs at least one [[source]]")
    parts: dict[str, Any] = {
        name: build_parameters(kind, value.pop(name, {}), f"{where} [{name}]") for name, kind in _TABLES.items()
    }
    rest = {"name": value.pop("name", ""), "images_per_shard": value.pop("images_per_shard", 256)}
    if value:
        raise ConfigError(
            f"{where} has unknown entries {sorted(value)}; known: name, images_per_shard, source, "
            f"backends, {', '.join(_TABLES)}"
        )
    require_positive(rest["images_per_shard"], f"images_per_shard of {where}")
    if rest["images_per_shard"] > _MAX_NUMBER:
        raise ConfigError(f"images_per_shard of {where} must be at most {_MAX_NUMBER}. Got a larger number")
    check_build_name(rest["name"])
    parsed = tuple(build_parameters(Source, source, f"{where} [[source]]") for source in sources)
    names = [source.dataset for source in parsed]
    if len(set(names)) != len(names) or STORE_ROOT in names:
        raise ConfigError(f"{where}: every source needs a dataset name of its own, other than 'store'. Got {names}")
    for name in names:
        if not _DATASET.fullmatch(name):
            raise ConfigError(f"{where}: a dataset's name is letters, digits, '.', '-' and '_'. Got {name!r}")
    return Profile(sources=parsed, backends=backends, backend_options=options, **parts, **rest)


def _backends(value: Any, where: str) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Backend names and options by role."""
    if not isinstance(value, dict) or not isinstance(value.get("options", {}), dict):
        raise ConfigError(f"{where}: [backends] and [backends.options] must be tables. Got {value!r}")
    names = {role: name for role, name in value.items() if role != "options"}
    options = value.get("options", {})
    for role in (*names, *options):
        if role not in ROLES:
            raise ConfigError(f"{where} [backends]: there is no role {role!r}; known: {', '.join(ROLES)}")
    for role, name in names.items():
        if not isinstance(name, str):
            raise ConfigError(f"{where} [backends]: {role} must be a backend's name. Got {name!r}")
    for role, table in options.items():
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: [backends.options.{role}] must be a table. Got {table!r}")
    return names, options


def build_parameters(kind: type[_Parameters], value: Any, where: str) -> _Parameters:
    """Make a parameter class from a TOML table, with each entry of the type that the class declares."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table. Got {value!r}")
    known: dict[str, Any] = {item.name: item.type for item in fields(kind)}  # type: ignore[arg-type]
    for name, entry in value.items():
        if name not in known:
            raise ConfigError(f"{where} has no entry {name!r}; known: {', '.join(known)}")
        expected = get_origin(known[name]) or known[name]
        fits = isinstance(entry, (int, float) if expected is float else expected)
        if not fits or (isinstance(entry, bool) and expected is not bool):
            kind_name = "list" if expected is tuple else expected.__name__  # as TOML and JSON call it
            raise ConfigError(f"{where}: {name} must be of type {kind_name}. Got {entry!r:.80}")
        if isinstance(entry, int) and abs(entry) > _MAX_NUMBER:
            raise ConfigError(f"{where}: {name} must be from -{_MAX_NUMBER} to {_MAX_NUMBER}. Got {entry!r:.80}")
    try:
        return kind(**value)
    except TypeError as error:
        required = (item for item in fields(kind) if item.default is item.default_factory is MISSING)  # type: ignore[arg-type]
        missing = [item.name for item in required if item.name not in value]
        raise ConfigError(f"{where} is incomplete: it needs {', '.join(missing)}") from error
