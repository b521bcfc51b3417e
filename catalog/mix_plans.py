"""Mix files: which pairs train, and how often. ``infra/mixes/*.toml``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

from catalog.digests import value_digest
from catalog.duplicates import read_barred
from catalog.errors import MixError
from catalog.schema import VISION_TASKS
from catalog.strict_toml import Fields, read_toml

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
_MAX_WEIGHT = 1000.0
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
    allow_empty: bool = False
    """Whether the mix may be made although this source has no pair to train on."""

    @property
    def passes(self) -> int:
        """Whole passes over the source's training pairs."""
        return floor(self.weight)

    def remainder(self, num_pairs: int) -> int:
        """Pairs drawn once more: the weight's fraction of them, rounded (half to even, the weight as written)."""
        return round(Fraction(str(self.weight)) % 1 * num_pairs)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values; filters only where given."""
        filters = {key: value for key in _FILTERS if (value := getattr(self, key)) is not None}
        return {"name": self.name, **filters, "weight": self.weight, "allow_empty": self.allow_empty}


@dataclass(frozen=True, kw_only=True)
class MixPlan:
    """A mix file."""

    name: str
    seed: int
    """Decides the remainders and the order."""
    sources: tuple[MixSource, ...]
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
        barred = read_barred(path.parent / fields.text("barred")) if fields.has("barred") else {}
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
        held_out = fields.flag("held_out", False)
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
        hashes = barred if isinstance(barred, Mapping) else {}
        looks = sorted((value, digest) for digest, value in hashes.items() if value is not None)
        return cls(
            name=name,
            seed=seed,
            sources=sources,
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
        held_out = {"held_out": True} if self.held_out else {}
        return {"name": self.name, "seed": self.seed, "sources": sources, "barred": barred, **held_out}


def _parse_source(fields: Fields) -> MixSource:
    name = fields.text("name")
    fields.where = f"{fields.where} ({name})"
    filters = {key: fields.optional_text(key) for key in _FILTERS}
    weight = fields.number("weight")
    allow_empty = fields.flag("allow_empty", False)
    fields.finish()
    if filters["vision_task"] not in (None, *VISION_TASKS):
        raise fields.wrong(
            f"names an unknown vision_task {filters['vision_task']!r}. Known ones: {', '.join(VISION_TASKS)}"
        )
    if not 0 <= weight <= _MAX_WEIGHT:
        raise fields.wrong(f"needs a weight from 0 to {_MAX_WEIGHT:g}. Got {weight:g}")
    return MixSource(name=name, weight=weight, allow_empty=allow_empty, **filters)
