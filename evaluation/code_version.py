"""Which code made a metric row."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

from catalog.digests import file_digest, value_digest

_PACKAGES = ("catalog", "evaluation", "tasks/backends", "trainer")
"""Everything that rendering, sampling, decoding and measuring go through."""


@cache
def code_version() -> str:
    """The package's version and a digest of the code itself: "0.1.0+3f2a...": no row outlives a change unseen."""
    root = Path(__file__).resolve().parents[1]
    files = sorted(path for package in _PACKAGES for path in (root / package).rglob("*") if _is_code(path))
    digests = {path.relative_to(root).as_posix(): file_digest(path) for path in files}
    return f"{version('ieiw')}+{value_digest(digests)[:12]}"


def _is_code(path: Path) -> bool:
    """Modules, and the templates that instructions are worded from."""
    return path.suffix == ".py" or (path.suffix == ".txt" and path.parent.name == "templates")
