"""Mix files: which pairs train, and how often. ``infra/mixes/*.toml``.

A source says how often by one of three keys: ``weight`` (draws per training pair), ``count`` (samples), ``share`` (part
of the file's ``num_samples``). ``[[quota]]`` tables fix the samples of a whole vision task, in the proportion that its
sources have; ``epochs`` repeats the whole, the remainders with other pairs.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.digests import value_digest
from catalog.duplicates import read_barred
from catalog.errors import MixError
from catalog.schema import VISION_TASKS
from catalog.strict_toml import Fields, read_toml

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
MAX_WEIGHT = 1000.0
MAX_SEED = 2**63
_MAX_COUNT = 10**12
_FILTERS = ("dataset", "vision_task", "edit_type")


@dataclass(frozen=True, kw_only=True)
class MixSource:
    """One line of the mix: a filter and a weight. A pair belongs to the first source whose filter it matches."""

    name: str
    dataset: str | None = None
    """Value of the column that a pair must have; None: any. So for the next two."""
    vision_task: str | None = None
    edit_type: str | None = None
    weight: float = 1.0
    """Draws per training pair: 2.3 draws each pair twice and 30 % of the pairs once more. 0: val and test only."""
    count: int | None = None
    """Samples of an epoch, instead of a weight."""
    share: float | None = None
    """Part of the plan's ``num_samples``, (0, 1], instead of a weight."""
    allow_empty: bool = False
    """Whether the mix may be made although this source has no pair to train on."""

    @property
    def draws(self) -> bool:
        """Whether anything of the source is to train."""
        return bool(self.weight) if self.count is None else self.count > 0

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values; filters only where given."""
        filters = {key: value for key in _FILTERS if (value := getattr(self, key)) is not None}
        amount = {key: value for key in ("count", "share") if (value := getattr(self, key)) is not None}
        return {"name": self.name, **filters, **(amount or {"weight": self.weight}), "allow_empty": self.allow_empty}


@dataclass(frozen=True, kw_only=True)
class MixPlan:
    """A mix file."""

    name: str
    seed: int
    """Decides the remainders and the order."""
    sources: tuple[MixSource, ...]
    num_samples: int | None = None
    """Training samples of an epoch that shares are parts of."""
    epochs: int = 1
    """Of the whole mix, shuffled as one."""
    quotas: tuple[tuple[str, int], ...] = ()
    """Vision task and its training samples of an epoch; tasks without one follow from their sources."""
    held_out: bool = False
    """A plan to evaluate on, not to train on: it may be without a training sample, but not without any row."""
    barred: tuple[str, ...] = ()
    """SHA-256 of images that must not train (benchmark images), sorted."""
    barred_looks: tuple[tuple[int, str], ...] = ()
    """Perceptual hash and SHA-256 of those of them that must not train as another file either, sorted."""

    @classmethod
    def read(cls, path: Path) -> "MixPlan":
        """Read a mix file. Its ``barred``, if any, is a text file beside it with an image per line: its SHA-256 and,
        as ``python -m catalog duplicates --list-images`` writes it, its perceptual hash.

        Raises:
            MixError: missing or malformed.
        """
        values = read_toml(path, MixError)
        fields = Fields(values, str(path), MixError)
        name = fields.optional_text("barred")
        barred = {} if name is None else read_barred(path.parent / name)
        return cls.parse({key: value for key, value in values.items() if key != "barred"}, str(path), barred)

    @classmethod
    def parse(cls, values: Any, where: str, barred: Iterable[str] | Mapping[str, int | None] = ()) -> "MixPlan":
        """A plan from the values of its file; ``where`` names the file in errors.

        ``barred`` are SHA-256, or SHA-256 to perceptual hash.
        """
        fields = Fields(values, where, MixError)
        name = fields.text("name")
        if not _NAME.fullmatch(name):
            raise fields.wrong(f"needs a name of lower-case letters, digits, '-' and '_'. Got {name!r}")
        seed = fields.integer("seed", 0)
        if not 0 <= seed < MAX_SEED:
            raise fields.wrong(f"needs a seed of 0 to 2^63 - 1. Got {seed}")
        held_out = fields.flag("held_out", False)
        epochs = _whole(fields, "epochs", 1)
        num_samples = _whole(fields, "num_samples") if fields.has("num_samples") else None
        quotas = _parse_quotas(fields.tables("quota"), where)
        tables = fields.tables("source")
        fields.finish()
        if not tables:
            raise fields.wrong("has no [[source]]: add at least one")
        sources = tuple(
            _parse_source(Fields(table, f"{where}, source {number}", MixError))
            for number, table in enumerate(tables, start=1)
        )
        names = [source.name for source in sources]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise fields.wrong(f"names two sources alike ({', '.join(twice)}): rename one")
        _check_amounts(fields, sources, num_samples, quotas)
        hashes = barred if isinstance(barred, Mapping) else {}
        looks = sorted((value, digest) for digest, value in hashes.items() if value is not None)
        return cls(
            name=name,
            seed=seed,
            sources=sources,
            num_samples=num_samples,
            epochs=epochs,
            quotas=quotas,
            held_out=held_out,
            barred=tuple(sorted(barred)),
            barred_looks=tuple(looks),
        )

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON values, without comments and layout of its file."""
        barred: dict[str, Any] = {"num_images": len(self.barred), "sha256": value_digest(list(self.barred))}
        if self.barred_looks:
            barred |= {"num_looks": len(self.barred_looks), "looks_sha256": value_digest(self.barred_looks)}
        sources = [source.as_dict() for source in self.sources]
        more: dict[str, Any] = {"held_out": True} if self.held_out else {}
        more |= {"num_samples": self.num_samples} if self.num_samples is not None else {}
        more |= {"epochs": self.epochs} if self.epochs > 1 else {}
        more |= {"quotas": [list(quota) for quota in self.quotas]} if self.quotas else {}
        return {"name": self.name, "seed": self.seed, "sources": sources, "barred": barred, **more}


def _parse_source(fields: Fields) -> MixSource:
    name = fields.text("name")
    fields.where = f"{fields.where} ({name})"
    filters = {key: fields.optional_text(key) for key in _FILTERS}
    given = [key for key in ("weight", "count", "share") if fields.has(key)]
    if len(given) > 1:
        raise fields.wrong(f"has {' and '.join(given)}: keep one of them")
    count = _whole(fields, "count", least=0) if fields.has("count") else None
    share = fields.number("share") if fields.has("share") else None
    weight = fields.number("weight") if count is None and share is None else 1.0
    allow_empty = fields.flag("allow_empty", False)
    fields.finish()
    if filters["vision_task"] not in (None, *VISION_TASKS):
        raise fields.wrong(
            f"names an unknown vision_task {filters['vision_task']!r}. Known ones: {', '.join(VISION_TASKS)}"
        )
    if not 0 <= weight <= MAX_WEIGHT:
        raise fields.wrong(f"needs a weight from 0 to {MAX_WEIGHT:g}. Got {weight:g}")
    if share is not None and not 0 < share <= 1:
        raise fields.wrong(f"needs a share above 0 and at most 1. Got {share:g}")
    return MixSource(name=name, weight=weight, count=count, share=share, allow_empty=allow_empty, **filters)


def _parse_quotas(tables: list[Any], where: str) -> tuple[tuple[str, int], ...]:
    quotas: dict[str, int] = {}
    for number, table in enumerate(tables, start=1):
        fields = Fields(table, f"{where}, quota {number}", MixError)
        task, count = fields.text("vision_task"), _whole(fields, "count")
        fields.finish()
        if task not in VISION_TASKS or task in quotas:
            raise fields.wrong(f"needs a vision_task, each once, of {', '.join(VISION_TASKS)}. Got {task!r}")
        quotas[task] = count
    return tuple(quotas.items())


def _check_amounts(
    fields: Fields, sources: Iterable[MixSource], num_samples: int | None, quotas: tuple[tuple[str, int], ...]
) -> None:
    shares = [source.share for source in sources if source.share is not None]
    if bool(shares) != (num_samples is not None):
        raise fields.wrong("needs num_samples if a source has a share, and only then: add or remove it")
    if sum(shares) > 1 + 1e-9:
        raise fields.wrong(f"needs shares that sum to at most 1. Got {sum(shares):g}: lower some")
    for task, _ in quotas:
        if not any(source.vision_task == task for source in sources):
            raise fields.wrong(f"has a quota of {task} and no source of that vision_task: add one or drop the quota")


def _whole(fields: Fields, key: str, default: int | None = None, least: int = 1) -> int:
    value = fields.integer(key, default)
    if not least <= value <= _MAX_COUNT:
        raise fields.wrong(f"needs {key!r} to be from {least} to {_MAX_COUNT}. Got {value}")
    return value
