"""A profile says which sources are built, with which backends and parameters. One TOML file, plus overrides."""

import json
import math
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

_Parameters = TypeVar("_Parameters")
_PACKAGED = Path(__file__).parents[1] / "infra" / "profiles"
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _require_positive(value: Any, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1. Got {value!r}")


def _require_range(name: str, value: float, low: float, high: float) -> None:
    if not (low <= value <= high and math.isfinite(value)):
        raise ConfigError(f"{name} must be a finite number in [{low:g}, {high:g}]. Got {value!r}")


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}. Got {value!r}")


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
    require_phrase: bool = True
    """False keeps regions that no phrase refers to (SA-1B, OpenImages): they can be replaced, when a captioner words
    them, and serve as donors. A removal needs a phrase, and says so in its row."""

    def __post_init__(self) -> None:
        _require_positive(self.max_phrase_length, "max_phrase_length of [ingest]")


@dataclass(frozen=True, kw_only=True)
class RemovalParameters:
    """How a region becomes a hole. The paper gives no number (section 3.2)."""

    enabled: bool = True
    min_area_share: float = 0.0005
    """Smallest region, share of the image."""
    max_area_share: float = 0.5
    """Largest region, share of the image: beyond it an inpainter has nothing to go by."""
    dilation: float = 8.0
    """Pixels at a shorter side of 512, scaled with the image: LaMa leaves rims and shadows under a tight mask. Of a
    region under a third of the image; larger ones below. (AnyEdit, which erases with LaMa too, takes 8, 15 and 20.)"""
    feather: float = 4.0
    """Width of the blend around the dilated region, pixels at a shorter side of 512."""
    batch_size: int = 8
    """Images handed to the inpainter at once."""
    medium_dilation: float = 15.0
    """The same for a region from 0.33 to 0.66 of the image."""
    large_dilation: float = 20.0
    """The same for a region above 0.66 of the image."""
    max_remaining: float = 0.5
    """How far the filled region may look, to the embedder, from its surroundings (0) towards the object (1): half the
    way tells the two apart on rendered scenes; 1000 rejects nothing."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_area_share < self.max_area_share <= 1:
            shares = f"{self.min_area_share} and {self.max_area_share}"
            raise ConfigError(f"min_area_share must be below max_area_share, both in [0, 1]. Got {shares}")
        lengths = (self.dilation, self.medium_dilation, self.large_dilation, self.feather)
        if not all(0 <= length < math.inf for length in lengths):
            raise ConfigError(f"dilations and feather must be finite and not negative. Got {lengths}")
        if not 0 < self.max_remaining < math.inf:
            raise ConfigError(f"max_remaining must be finite and above 0. Got {self.max_remaining}")
        _require_positive(self.batch_size, "batch_size of [remove_object]")


@dataclass(frozen=True, kw_only=True)
class GalleryParameters:
    """Which regions become patches that may take another region's place. The paper gives no number (section 3.2)."""

    min_side: int = 32
    """Pixels, shorter side of the region's box: an exemplar is looked at with 224."""
    max_aspect: float = 3.0
    """Longer over shorter side of the box."""
    max_area_share: float = 0.5
    """Largest box, share of the image: beyond it the patch is a scene."""
    margin: float = 0.05
    """Added around the box, share of its longer side. Paint-by-Example was trained with up to 10 pixels."""
    batch_size: int = 32
    """Crops handed to the embedder at once."""

    def __post_init__(self) -> None:
        _require_positive(self.min_side, "min_side of [gallery]")
        _require_positive(self.batch_size, "batch_size of [gallery]")
        _require_range("max_aspect of [gallery]", self.max_aspect, 1, math.inf)
        _require_range("max_area_share of [gallery]", self.max_area_share, 0, 1)
        _require_range("margin of [gallery]", self.margin, 0, 1)


@dataclass(frozen=True, kw_only=True)
class GalleryIndexParameters:
    """How much of a build's patches can be retrieved."""

    max_patches: int = 10_000_000
    """Of more patches about so many are taken, by the hash of their region: SA-1B alone has 1.1 billion masks, and a
    gallery takes about 0.5 KiB of memory per patch beside its index."""

    def __post_init__(self) -> None:
        _require_positive(self.max_patches, "max_patches of [gallery_index]")


@dataclass(frozen=True, kw_only=True)
class ReplacementParameters:
    """Which regions are replaced, by what, and how it goes back. The paper gives no number (section 3.2)."""

    enabled: bool = False
    """Replacement wants a data set of many objects; PhraseCut, the paper's for removal, is none of those it names."""
    seed: int = 0
    """Of the regions of a photo and of the donor among the nearest."""
    per_photo: int = 1
    """Regions replaced per photo, each in a pair of its own: "we randomly select a semantic region"."""
    min_area_share: float = 0.005
    """Smallest region, share of the image."""
    max_area_share: float = 0.3
    """Largest hole, share of the image: the region or its box, as ``hole`` says."""
    num_neighbours: int = 8
    """The donor is one of so many nearest that are eligible; 1 takes the nearest."""
    num_candidates: int = 256
    """Neighbours looked at to find those."""
    max_similarity: float = 0.97
    """Cosine above which a patch counts as a near-duplicate of the region."""
    max_aspect_ratio: float = 1.5
    """Largest ratio of the two boxes' aspects: the donor is stretched by so much at most."""
    donor_label: str = "any"
    """"any", "different" or "same" as the region's label. The paper takes the nearest patches whatever they show."""
    same_dataset: bool = False
    """Take donors from the region's own data set only: pictures of one look, or of one licence."""
    hole: str = "box"
    """What is repainted: the region's "box", which leaves room for another outline, or the "region" itself."""
    dilation: float = 8.0
    """Pixels at a shorter side of 512 by which the hole grows."""
    feather: float = 4.0
    """Width of the blend around it, pixels at a shorter side of 512."""
    min_change: float = 4.0
    """Grey levels by which the hole must change in the mean."""
    batch_size: int = 8
    """Images handed to the replacer at once."""

    def __post_init__(self) -> None:
        for name in ("per_photo", "num_neighbours", "num_candidates", "batch_size"):
            _require_positive(getattr(self, name), f"{name} of [replace_object]")
        for name in ("dilation", "feather", "min_change"):
            _require_range(f"{name} of [replace_object]", getattr(self, name), 0, math.inf)
        _require_range("max_similarity of [replace_object]", self.max_similarity, -1, 1)
        _require_range("max_aspect_ratio of [replace_object]", self.max_aspect_ratio, 1, math.inf)
        _require_range("max_area_share of [replace_object]", self.max_area_share, self.min_area_share, 1)
        _require_range("min_area_share of [replace_object]", self.min_area_share, 0, 1)
        _require_choice("donor_label of [replace_object]", self.donor_label, ("any", "different", "same"))
        _require_choice("hole of [replace_object]", self.hole, ("box", "region"))


@dataclass(frozen=True, kw_only=True)
class AnnotationParameters:
    """Which pairs are drawn from annotations at load time."""

    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class ScoreParameters:
    """How pairs are scored (paper section 3.2)."""

    num_references: int = 64
    """Photos of the train split that KNN-GIQA compares with."""
    batch_size: int = 16
    """Images handed to a scorer at once."""

    def __post_init__(self) -> None:
        _require_positive(self.num_references, "num_references of [score]")
        _require_positive(self.batch_size, "batch_size of [score]")


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
    _require_positive(rest["images_per_shard"], f"images_per_shard of {where}")
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
            raise ConfigError(f"{where}: {name} must be of type {expected.__name__}. Got {entry!r:.80}")
        if isinstance(entry, int) and abs(entry) > _MAX_NUMBER:
            raise ConfigError(f"{where}: {name} must be from -{_MAX_NUMBER} to {_MAX_NUMBER}. Got {entry!r:.80}")
    try:
        return kind(**value)
    except TypeError as error:
        required = (item for item in fields(kind) if item.default is item.default_factory is MISSING)  # type: ignore[arg-type]
        missing = [item.name for item in required if item.name not in value]
        raise ConfigError(f"{where} is incomplete: it needs {', '.join(missing)}") from error
