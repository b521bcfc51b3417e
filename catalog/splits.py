"""One photo, one split: the split is a function of the photo's digest, so nothing made from it can straddle."""

from dataclasses import dataclass

from catalog.digests import bytes_digest
from catalog.errors import ConfigError
from catalog.schema import SPLITS

_OWN_NAMES = {
    "validation": "val",
    "dev": "val",
    "miniv": "val",
    "testa": "test",
    "testb": "test",
    "testc": "test",
}


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Shares of photos for validation and test; the rest trains. Used where a dataset has no split of its own."""

    seed: int = 0
    val: float = 0.02
    test: float = 0.02

    def __post_init__(self) -> None:
        if not (0 <= self.val <= 1 and 0 <= self.test <= 1 and self.val + self.test <= 1):
            raise ConfigError(
                f"split shares must lie in [0, 1] and sum to at most 1. Got val {self.val}, test {self.test}"
            )


def assign_split(group_id: str, rule: SplitRule) -> str:
    """``train``, ``val`` or ``test`` by a hash of (seed, group_id): uniform, stable under appends."""
    place = int(bytes_digest(f"{rule.seed}:{group_id}".encode())[:13], 16) / 16**13
    if place < rule.test:
        return "test"
    return "val" if place < rule.test + rule.val else "train"


def parse_split(name: str) -> str:
    """A dataset's own split name as one of `schema.SPLITS`. Raises ValueError for an unknown one."""
    lower = name.strip().lower()
    split = _OWN_NAMES.get(lower, lower)
    if split not in SPLITS:
        raise ValueError(f"unknown split {name!r}; known: {', '.join((*SPLITS, *_OWN_NAMES))}")
    return split
