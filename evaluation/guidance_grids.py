"""Guidance grids: the settings under which an alignment item is sampled. ``infra/guidance/*.toml``."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from catalog.errors import ConfigError
from catalog.strict_toml import Fields, read_toml

MAX_SCALE = 100.0
MAX_VARIANTS = 100
_RULES = ("ip2p", "official")
_SAMPLERS = ("euler_ancestral", "ddim", "dpm_solver")


class Setting(NamedTuple):
    """One variant's scales."""

    text_guidance: float
    image_guidance: float


@dataclass(frozen=True, kw_only=True)
class GuidanceGrid:
    """How the variants of an item are sampled."""

    name: str
    guidance: str
    """Rule that combines the network's predictions: see `trainer.inference`."""
    sampler: str
    num_steps: int
    text_guidance: tuple[float, ...]
    """Scales of the instruction."""
    image_guidance: tuple[float, ...]
    """Scales of the source image; each goes with each of the instruction."""

    @classmethod
    def read(cls, path: Path) -> "GuidanceGrid":
        """Read a grid file.

        Raises:
            ConfigError: missing or malformed.
        """
        fields = Fields(read_toml(path, ConfigError), str(path), ConfigError)
        choices = {"guidance": _RULES, "sampler": _SAMPLERS}
        words = {key: fields.text(key) for key in ("name", *choices)}
        num_steps = fields.integer("num_steps")
        scales = {key: _scales(fields, key) for key in ("text_guidance", "image_guidance")}
        fields.finish()
        for key, known in choices.items():
            if words[key] not in known:
                raise fields.wrong(f"needs {key!r} to be one of {', '.join(known)}. Got {words[key]!r}")
        if not 1 <= num_steps <= 1000:
            raise fields.wrong(f"needs 'num_steps' to be from 1 to 1000. Got {num_steps}")
        grid = cls(**words, num_steps=num_steps, **scales)  # type: ignore[arg-type]
        if not 1 < len(grid) <= MAX_VARIANTS:
            raise fields.wrong(f"needs 2 to {MAX_VARIANTS} settings to choose among. Got {len(grid)}")
        return grid

    def __len__(self) -> int:
        return len(self.text_guidance) * len(self.image_guidance)

    def settings(self) -> Iterator[Setting]:
        """The scales of variant 0, 1, ...: those of the image change first."""
        for text, image in product(self.text_guidance, self.image_guidance):
            yield Setting(text, image)

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values, without comments and layout of the file."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _scales(fields: Fields, key: str) -> tuple[float, ...]:
    values = fields.numbers(key)
    if not all(0 <= value <= MAX_SCALE for value in values) or len(set(values)) < len(values):
        raise fields.wrong(f"needs {key!r} to be different scales from 0 to {MAX_SCALE:g}. Got {list(values)}")
    return values
