"""Photos of a build that look alike to an embedder: near duplicates that a perceptual hash does not see.

    python -m tasks near-duplicates
    python -m tasks near-duplicates --build phrasecut --minimum 0.95 --set backends.embedder=histogram

The features are those of the build's own embedder, or of another one by --set. Photos are compared each with each, so a
million of them take hours; `python -m catalog duplicates` finds exact and hash-alike ones in any number.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np

from catalog.duplicates import NEAR_COSINE, list_photos, near_by_features
from catalog.errors import ConfigError, RowRejected
from catalog.images import decode_image
from catalog.manifests import read_manifest
from catalog.roots import read_image_bytes
from catalog.workspace import Workspace
from tasks.backends.calls import call_batch
from tasks.profiles import profile_of_build
from tasks.replay_command import parse_settings
from tasks.step_calls import load_role

_BUILD = "build-ieiw"
_BATCH = 32


def main(arguments: Sequence[str]) -> int:
    """Print the near duplicates of a build by features."""
    options = _parse(arguments)
    if not 0 < options.minimum <= 1:
        raise ConfigError(f"--minimum must be a cosine above 0, at most 1. Got {options.minimum:g}")
    workspace = Workspace.default()
    profile = profile_of_build(read_manifest(workspace, options.build), parse_settings(options.set))
    found = find_near(workspace, options.build, load_role(profile, "embedder"), options.minimum)
    sys.stdout.write((json.dumps(found, indent=2) if options.json else _in_words(found)) + "\n")
    return 0


def find_near(workspace: Workspace, build: str, embedder: Any, minimum: float = NEAR_COSINE) -> dict[str, Any]:
    """Photos of a build whose features have a cosine of at least ``minimum``, as JSON values.

    Raises:
        ShardError: no such build, or a torn shard.
    """
    rows, roots = list_photos(workspace, [build])
    digests: list[str] = []
    features: list[np.ndarray] = []
    unread: dict[str, str] = {}
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        pictures = {}
        for row in batch:
            try:
                pictures[row["image"]["sha256"]] = decode_image(read_image_bytes(roots, row["image"]))
            except RowRejected as rejected:
                unread[row["image"]["sha256"]] = str(rejected)
        answers = call_batch("embedder", embedder, list(pictures.values()))
        for digest, answer in zip(pictures, answers, strict=True):
            if isinstance(answer, RowRejected):
                unread[digest] = str(answer)
            else:
                digests.append(digest)
                features.append(answer)
        _show(f"{len(digests) + len(unread)} of {len(rows)} photos")
    groups = {row["image"]["sha256"]: frozenset(row["groups"]) for row in rows}
    alike = near_by_features(digests, np.stack(features), minimum) if features else []
    near = [(one, two) for one, two in alike if groups[one].isdisjoint(groups[two])]
    names, places = {row["image"]["sha256"]: row["names"] for row in rows}, {one: i for i, one in enumerate(digests)}
    return {
        "num_photos": len(rows),
        "embedder": f"{embedder.name}@{embedder.revision}",
        "minimum": minimum,
        "near": [
            {
                "sha256": [one, two],
                "names": [*names[one], *names[two]],
                "cosine": float(features[places[one]] @ features[places[two]]),
            }
            for one, two in near
        ],
        "unread": unread,
    }


def _in_words(found: dict[str, Any]) -> str:
    lines = [f"{found['num_photos']} photos by {found['embedder']}, {len(found['unread'])} could not be described"]
    lines += [f"  {digest[:12]}: {why}" for digest, why in found["unread"].items()]
    lines.append(f"near duplicates, cosine at least {found['minimum']:g}: {len(found['near'])}")
    lines += [f"  {one['cosine']:.4f}  " + " = ".join(one["names"]) for one in found["near"]]
    return "\n".join(lines)


def _show(line: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K{line}")
        sys.stderr.flush()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tasks near-duplicates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--build", default=_BUILD, help="default: %(default)s")
    parser.add_argument(
        "--minimum", type=float, default=NEAR_COSINE, help="cosine of two photos' features (default: %(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a value of the build's profile by dotted name"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    return parser.parse_args(arguments)
