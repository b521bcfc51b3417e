"""No image that a benchmark measures is trained on: the splits of profiles, the list of `finish`, the refusal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalog.digests import bytes_digest
from catalog.duplicates import read_barred
from catalog.edit_benchmarks import (
    CANDIDATES,
    CLASSES,
    candidates_path,
    proposal_digest,
    read_candidates,
    record_confirmation,
)
from catalog.errors import CheckpointError, ConfigError, MixError
from catalog.images import encode_png
from catalog.mix_plans import MixPlan
from catalog.parquet_streams import mix_digest, write_stream
from catalog.perceptual_hash import difference_hash
from catalog.roots import record_root
from catalog.schema import MIX
from catalog.splits import assign_split
from catalog.workspace import Workspace
from evaluation.cases import HeldOutRow
from evaluation.edit_benchmark_mix import FinishedBenchmark, finish
from evaluation.measured_edits import refuse_trained
from evaluation.reports import caption
from evaluation.trained_images import refuse_trained_checkpoint
from tasks.profiles import read_profile

PROFILES = Path(__file__).parents[2] / "infra" / "profiles"


def test_no_photo_of_the_edit_benchmark_is_of_the_training_builds_train_split() -> None:
    benchmark, training = (read_profile(PROFILES / name) for name in ("edit_benchmark.toml", "datasets.toml"))
    photos = [bytes_digest(str(number).encode()) for number in range(3000)]
    held_out = [photo for photo in photos if assign_split(photo, benchmark.split) != "train"]
    assert len(held_out) > 500
    assert {assign_split(photo, training.split) for photo in held_out} == {"val", "test"}
    pair = (benchmark, training)
    ours, theirs = ([(s.reader, s.root, s.options) for s in made.sources if s.dataset == "gier"] for made in pair)
    assert ours == theirs and len(ours) == 1


# -- a benchmark of three edits ----------------------------------------------------------------------------------------


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)


def candidate(folder: Path, number: int) -> dict[str, Any]:
    row = dict.fromkeys(CANDIDATES.names) | {"pair_id": f"pair-{number}", "dataset": "made", "instruction": "go"}
    row |= {"vision_task": "image_editing", "split": "test", "source_caption": "a", "target_caption": "b"}
    row |= {"proposed_class": CLASSES[number], "why": "by its verb", "group_id": f"{number}" * 64}
    for place, side in enumerate(("source_image", "target_image")):
        data = encode_png(picture(2 * number + place))
        (folder / f"{number}-{side}.png").write_bytes(data)
        row[side] = {"root": "made", "path": f"{number}-{side}.png", "offset": 0, "length": len(data)}
        row[side] |= {"sha256": bytes_digest(data), "width": 48, "height": 40}
    return row | {"proposal": proposal_digest(row)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    folder = workspace.home / "made"
    folder.mkdir()
    record_root(workspace, "made", folder)
    table = pa.Table.from_pylist([candidate(folder, number) for number in range(3)], schema=CANDIDATES)
    path = candidates_path(workspace, "edits")
    write_stream(path, "edit_candidates", CANDIDATES, table.to_batches(), {"num_rows": 3, "num_usable": 3}, 3)
    return workspace


@pytest.fixture
def benchmark(workspace: Workspace) -> FinishedBenchmark:
    return finish(workspace, "edits", 3, "rule")


def write_mix(path: Path, rows: list[dict[str, Any]]) -> Path:
    rows = [{name: row.get(name) for name in MIX.names} for row in rows]
    write_stream(path, "mix", MIX, pa.Table.from_pylist(rows, schema=MIX).to_batches(), {"num_rows": len(rows)}, 8)
    return path


def training_row(**given: Any) -> dict[str, Any]:
    image = {"root": "made", "path": "x", "offset": 0, "length": 1, "width": 8, "height": 8}
    row = {"split": "train", "pair_id": "one", "group_id": "a" * 64, "source_image": image | {"sha256": "b" * 64}}
    return row | {"target_image": image | {"sha256": "c" * 64}} | given


def test_finish_writes_the_list_that_a_mix_takes(workspace: Workspace, benchmark: FinishedBenchmark) -> None:
    assert benchmark.barred == benchmark.path.with_name("edits_1000.barred.txt")
    barred = read_barred(benchmark.barred)
    hashes = {bytes_digest(encode_png(picture(seed))): difference_hash(picture(seed)) for seed in range(6)}
    assert barred == hashes | {f"{number}" * 64: None for number in range(3)}
    mix = workspace.home / "mix.toml"
    mix.write_text('name = "m"\nbarred = "edits_1000.barred.txt"\n[[source]]\nname = "all"\nweight = 1.0\n')
    (workspace.home / "edits_1000.barred.txt").write_bytes(benchmark.barred.read_bytes())
    plan = MixPlan.read(mix)
    assert set(plan.barred) == set(barred) and {digest for _, digest in plan.barred_looks} == set(hashes)


def test_a_picture_that_is_gone_ends_it_in_a_sentence(workspace: Workspace) -> None:
    (workspace.home / "made" / "0-source_image.png").unlink()
    with pytest.raises(MixError, match=r"every picture of a benchmark must be readable, but '0-source_image.png' is"):
        finish(workspace, "edits", 3, "rule")
    assert not (workspace.catalog / "benchmarks" / "edits_1000.parquet").exists()


# -- what a checkpoint saw ---------------------------------------------------------------------------------------------


def leave_run(workspace: Workspace, name: str, mix: Path, model: str = "tiny", sha256: str | None = None) -> Path:
    folder = workspace.runs / name
    for part in ("checkpoints/step-00000004", "pipeline"):
        (folder / part).mkdir(parents=True)
    value = {"config": {"model": model}, "catalog": str(mix), "mix_sha256": sha256 or mix_digest(mix)}
    (folder / "config.json").write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize("side", ["group_id", "source_image", "target_image"])
def test_a_checkpoint_that_saw_the_benchmark_is_refused(
    workspace: Workspace, benchmark: FinishedBenchmark, side: str
) -> None:
    seen = candidate(workspace.home / "made", 1)[side]
    mix = write_mix(workspace.home / "seen.parquet", [training_row(), training_row(**{side: seen})])
    run = leave_run(workspace, "seen", mix)
    clean = write_mix(workspace.home / "clean.parquet", [training_row(), training_row(**{side: seen, "split": "val"})])
    later = leave_run(workspace, "later", clean, model="runs/seen/pipeline")  # an earlier stage counts
    for checkpoint in (run / "pipeline", run / "checkpoints" / "step-00000004", later / "pipeline"):
        with pytest.raises(MixError, match=r"seen\.parquet trains on 1 of .*bar them from the mix"):
            refuse_trained_checkpoint(workspace, checkpoint, benchmark.path)
    with pytest.raises(MixError, match="photos that are measured must not train"):
        refuse_trained(mix, [HeldOutRow(0, candidate(workspace.home / "made", 1))])
    refuse_trained(clean, [HeldOutRow(0, candidate(workspace.home / "made", 1))])
    alone = leave_run(workspace, "alone", clean)
    assert refuse_trained_checkpoint(workspace, alone / "pipeline", benchmark.path)


def test_what_nobody_knows_is_said(workspace: Workspace, benchmark: FinishedBenchmark) -> None:
    mix = write_mix(workspace.home / "mix.parquet", [training_row()])
    changed = leave_run(workspace, "changed", mix, sha256="0" * 64)
    for checkpoint in (changed / "pipeline", workspace.home / "official.ckpt"):
        assert not refuse_trained_checkpoint(workspace, checkpoint, benchmark.path)
    row = {"checkpoint_sha256": None, "mix_sha256": "0", "seed": 0, "code_version": "1"}
    for known in (True, False):
        text = caption([row | {"config": json.dumps({"training_known": known})}])
        assert ("TRAINING DATA NOT KNOWN" in text) is not known
    (changed / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not what a training run writes"):
        refuse_trained_checkpoint(workspace, changed / "pipeline", benchmark.path)


def test_a_trial_does_not_replace_what_people_confirmed(workspace: Workspace, benchmark: FinishedBenchmark) -> None:
    for row in read_candidates(workspace, "edits"):
        record_confirmation(workspace, "edits", row, row["proposed_class"], "anna")
    assert finish(workspace, "edits", 3).path == benchmark.path  # a trial's place may be taken
    kept = benchmark.path.read_bytes()
    with pytest.raises(ConfigError, match="a trial by rule must not replace what people confirmed"):
        finish(workspace, "edits", 3, "rule")
    assert benchmark.path.read_bytes() == kept
