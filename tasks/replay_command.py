"""Make a pair again and say exactly what came out otherwise.

    python -m tasks replay 7cd5fccc
    python -m tasks replay 7cd5fccc --root coco=/new/place/coco
    python -m tasks replay 7cd5fccc --set backends.options.inpainter.weights=/new/big-lama.pt

Every step from the source's record to the scores runs again on the recorded rows, with the build's own profile; every
value and the bytes of every image are compared. Exit status 0: identical; 1: something differs; 2: bad input.
`python -m catalog replay` is the same command.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from catalog.errors import ConfigError
from catalog.explanation import find_pair
from catalog.lineage import Lineage
from catalog.reports import text_table
from catalog.roots import Roots, parse_roots
from catalog.store import STORE_ROOT
from catalog.workspace import Workspace
from tasks.profiles import profile_of_build
from tasks.replay import Replay, Replayer, with_roots
from tasks.replay_comparison import Difference

_MAX_VALUE = 100  # characters of a value in a sentence


def main(arguments: Sequence[str]) -> int:
    """Replay one pair; 0 where it is identical, else 1."""
    options = _parse(arguments)
    workspace = Workspace.default()
    manifest, pair_id = find_pair(workspace, options.pair_id, options.build)
    known = Roots.read(workspace.roots_path).folders if workspace.roots_path.exists() else {}
    roots = Roots({**known, STORE_ROOT: workspace.data, **parse_roots(options.root)})
    profile = with_roots(profile_of_build(manifest, parse_settings(options.set)), roots)
    found = Replayer(Lineage(workspace, manifest), profile, roots).replay(pair_id)
    sys.stdout.write((json.dumps(found.as_dict(), indent=2) if options.json else in_words(found)) + "\n")
    return 0 if found.is_identical else 1


def in_words(found: Replay) -> str:
    """Each step with its outcome, and a sentence per difference."""
    rows = [
        [step.step, step.row, step.num_images, f"{len(step.differences)} differ" if step.differences else "same"]
        for step in found.steps
    ]
    lines = [f"{found.pair_id}  ({found.build})", "", text_table(["step", "row", "images made", "outcome"], rows), ""]
    lines += [f"{step.step}: {_sentence(one)}" for step in found.steps for one in step.differences]
    num_images = sum(step.num_images for step in found.steps)
    identical = f"identical: {len(found.steps)} rows, and {num_images} images byte for byte"
    num_different = sum(len(step.differences) for step in found.steps)
    return "\n".join([*lines, identical if found.is_identical else f"not identical: {num_different} differences"])


def parse_settings(given: Sequence[str], example: str = "--set backends.inpainter=opencv") -> dict[str, Any]:
    """``NAME=VALUE`` texts as values by name; a value is JSON where it can be read so, else text.

    Raises:
        ConfigError: no name or no value.
    """
    settings = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (name and sign):
            raise ConfigError(f"{example.partition(' ')[0]} must be NAME=VALUE, such as {example}. Got {text!r}")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def _sentence(one: Difference) -> str:
    if one.what in ("shard", "step", "row"):
        return f"{one.what} {one.now}" + (f": {one.note}" if one.note else "")
    note = f" ({one.note})" if one.note else ""
    return f"{one.what} was {_shown(one.recorded)}, is {_shown(one.now)}{note}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tasks replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pair_id", metavar="PAIR_ID", help="the id, or a beginning that no other pair has")
    parser.add_argument("--build", help="where to look (default: the first build that has it)")
    parser.add_argument(
        "--root", action="append", default=[], metavar="DATASET=FOLDER", help="where a source's folder is now"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the profile by dotted name"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args(arguments)
