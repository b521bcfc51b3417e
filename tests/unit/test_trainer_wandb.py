"""The real library of Weights & Biases, offline: what it kept equals the Parquet log."""

import json
import runpy
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.errors import ConfigError
from trainer.main import main

make_mix = runpy.run_path(str(Path(__file__).parents[1] / "training_mix.py"))["make_mix"]
SMALL = ["image_size=32", "global_batch_size=4", "micro_batch_size=2", "checkpoint_every=1", "wandb=generalist"]


def train(mix: Path, output: Path, *changes: str) -> int:
    arguments = ["--catalog", str(mix), "--output", str(output)]
    return main([*arguments, *(part for change in [*SMALL, *changes] for part in ("--set", change))])


def records(data: bytes) -> Iterator[bytes]:
    """Records of a file in LevelDB's log format: blocks of 32 KiB, parts of (checksum, length, kind, bytes)."""
    place, record = 7, b""  # after the file's own header
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def read_back(file: Path) -> tuple[str, dict[int, dict[str, Any]]]:
    """Id of the run and the figures of each step in a file that the library wrote."""
    from wandb.proto.wandb_internal_pb2 import Record

    run, rows = "", {}
    for data in records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        run = record.run.run_id or run
        items = {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        if items:
            rows[record.history.step.num] = items
    return run, rows


def test_a_resumed_run_goes_on_in_one_run_with_the_logs_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    mix, output = make_mix(tmp_path / "home"), tmp_path / "run"
    assert train(mix, output, "num_steps=2") == 0
    assert train(mix, output, "num_steps=3", "pictures_every=3", "num_pictures=1") == 0
    starts = [read_back(file) for file in sorted(output.glob("wandb/offline-run-*/*.wandb"))]
    assert len(starts) == 2
    assert len({run for run, _ in starts}) == 1
    figures = starts[0][1] | starts[1][1]
    for row in pq.read_table(output / "training_log.parquet").to_pylist():
        for name in ("loss", "grad_norm", "samples_seen", "learning_rate", "memory_mib"):
            assert figures[row["step"]][name] == pytest.approx(row[name], rel=1e-12), name
    assert figures[3]["edits._type"] == "image-file"
    assert list(output.glob("wandb/offline-run-*/files/media/images/*.png"))


def test_without_the_library_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'ieiw\[wandb\]'"):
        train(make_mix(tmp_path / "home"), tmp_path / "run", "num_steps=2")
