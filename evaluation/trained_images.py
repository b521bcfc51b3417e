"""Whether what is measured was trained on: images of a benchmark, against the mixes that a checkpoint saw."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from catalog.errors import CheckpointError, MixError, RowRejected
from catalog.images import decode_image
from catalog.parquet_streams import mix_digest, reading_mix
from catalog.perceptual_hash import difference_hash
from catalog.roots import Roots, read_image_bytes
from catalog.store import STORE_ROOT
from catalog.workspace import Workspace

_SIDES = ("source_image", "target_image")
_COLUMNS = ["group_id", "source_image", "target_image"]
_CONFIG = "config.json"
_LEVELS = 3
"""Folders above a checkpoint in which its run's config.json may lie: runs/NAME/checkpoints/step-... is the deepest."""


def image_digests(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    """Digests of the sources, targets and photos (``group_id``) of rows of a mix."""
    found: set[str | None] = set()
    for row in rows:
        found |= {row["group_id"], *(row[side]["sha256"] for side in _SIDES if row[side] is not None)}
    return {digest for digest in found if digest}


def find_trained(mix: Path, digests: set[str]) -> list[str]:
    """Which of some digests a mix trains on, as source, target or photo; sorted.

    Raises:
        MixError: no such mix, or a torn one.
    """
    with reading_mix(mix):
        table = pq.read_table(mix, columns=_COLUMNS, filters=[("split", "=", "train")])
    own = set(table["group_id"].to_pylist())
    for side in _SIDES:
        own |= {image["sha256"] for image in table[side].to_pylist() if image is not None}
    return sorted(own & digests)


def refuse_trained_checkpoint(workspace: Workspace, checkpoint: Path, benchmark: Path) -> bool:
    """See that a checkpoint trained on no image of a benchmark, by digest.

    The mixes are those that the run's ``config.json`` names, and those of the runs that it started from.

    Args:
        workspace: relative names of starting models are looked for below its home, too.
        checkpoint: an exported pipeline, a checkpoint of a run, or a single file.
        benchmark: the benchmark's mix.

    Returns:
        Whether all of these mixes could be looked at. False: nobody knows what it saw, as for foreign checkpoints.

    Raises:
        MixError: it trained on some, or a mix is torn.
        CheckpointError: a run's config.json is damaged.
    """
    with reading_mix(benchmark):
        digests = image_digests(pq.read_table(benchmark, columns=_COLUMNS).to_pylist())
    known = True
    for mix in _training_mixes(workspace, checkpoint):
        if mix is None:
            known = False
            continue
        if shared := find_trained(mix, digests):
            raise MixError(
                f"a benchmark must hold no image that the checkpoint trained on, but {mix} trains on {len(shared)} of "
                f"{benchmark} (the first: {shared[0]:.16}): bar them from the mix (`barred`, README) and train anew, "
                "or measure on another benchmark"
            )
    return known


def _training_mixes(workspace: Workspace, checkpoint: Path) -> Iterator[Path | None]:
    """The mixes of a run and of those before it; None for each that is not here as it was."""
    seen: set[Path] = set()
    place: Path | None = checkpoint
    while place is not None:
        config = _find_config(place)
        if config is None or config in seen:
            if not seen:
                yield None  # a model without a run: of other people's training data nothing is known
            return
        seen.add(config)
        try:
            value = json.loads(config.read_text(encoding="utf-8"))
            mix, sha256, model = Path(value["catalog"]), str(value["mix_sha256"]), str(value["config"]["model"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{config} is not what a training run writes ({error}): restore it") from error
        yield mix if mix.is_file() and mix_digest(mix) == sha256 else None
        nearby = (Path(model).expanduser(), workspace.home / model)  # as the trainer looks for it
        place = next((one for one in nearby if one.exists()), None)


def _find_config(place: Path) -> Path | None:
    """The config.json of the run that a checkpoint belongs to: one that names a mix."""
    for folder in [place.resolve(), *place.resolve().parents][: _LEVELS + 1]:
        config = folder / _CONFIG
        if config.is_file() and (folder / "checkpoints").is_dir():
            return config
    return None


def list_barred_rows(workspace: Workspace, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines of a mix's ``barred`` list (`catalog.duplicates.read_barred`) that keeps rows out of training.

    A line per image with digest, perceptual hash and path; a line with the digest alone per photo that is no image of
    the rows itself, as where both pictures were cut.

    Raises:
        MixError: an image cannot be read.
        ShardError: its root is not known on this machine.
    """
    known = Roots.read(workspace.roots_path).folders if workspace.roots_path.exists() else {}
    roots = Roots({STORE_ROOT: workspace.data, **known})
    lines: dict[str, str] = {}
    rows = list(rows)
    for image in (row[side] for row in rows for side in _SIDES):
        if image["sha256"] in lines:
            continue
        try:
            value = difference_hash(decode_image(read_image_bytes(roots, image)))
        except RowRejected as rejected:
            raise MixError(
                f"every picture of a benchmark must be readable, but {image['path']!r:.200} is not ({rejected}): "
                "bring it back, or build and propose again"
            ) from rejected
        lines[image["sha256"]] = f"{image['sha256']} {value:016x} {image['path'].encode('unicode_escape').decode()}"
    for row in (row for row in rows if row["group_id"]):
        lines.setdefault(row["group_id"], f"{row['group_id']} # photo of {row['pair_id']}")
    return [lines[digest] for digest in sorted(lines)]
