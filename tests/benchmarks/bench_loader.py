"""The loader (decode, resize, render, collate) against decoding alone and against other loaders, by CPU time.

Pairs of 512-pixel JPEGs (packaged photos, quality 90) become pairs of 256 pixels in batches of 16. Bare decoding reads
the same bytes and does nothing but decode and resize, by Pillow, OpenCV and simplejpeg, whole and reduced; the fastest
counts. WebDataset reads a tar of the same pairs and mosaicml-streaming a folder of its shards; both decode as their
users do (Pillow, then its Lanczos), and once more with the loader's own decoder. The trainer adds noise and digests to
each sample: its rate is stated, not judged. Of a large mix: how fast it opens, what a far seek costs, and what a
worker's memory does over many samples.
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from benchmark_record import CannotRunHere, Record
from loader_pairs import BATCH, DECODERS, NUM_PAIRS, SIZE, Pairs, decode_pillow, decode_simplejpeg

from catalog.parquet_streams import Layout, write_stream
from catalog.roots import Roots
from catalog.schema import MIX
from trainer.batches import MicroBatches, make_loader
from trainer.data import TrainingSamples
from trainer.plan import TrainingPlan
from trainer.recipes import make_config

REPOSITORY = Path(__file__).resolve().parents[2]
DECODE_GOAL, PEER_GOAL = 0.9, 3.0
LARGE, ROW_GROUP = 10_000_000, 4096
OPEN_GOAL, MEMORY_GOAL, GROWTH_GOAL = 1.0, 500.0, 1.1  # seconds; MiB; memory at the end over that in the middle


def bench_loader_vs_decode() -> Record:
    """The loader's rate over that of the fastest bare decoding and resizing."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = Pairs(Path(folder))
        actions = {name: (lambda decode=decode: pairs.bare(decode)) for name, decode in DECODERS.items()}
        rates = pairs.rates({**actions, "loader": pairs.loader, "trainer": pairs.trainer})
    loader, trainer = rates.pop("loader"), rates.pop("trainer")
    fastest = max(rates, key=lambda name: rates[name])
    value = loader / rates[fastest]
    listed = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
    return Record(
        name="loader_vs_decode",
        value=value,
        unit="ratio",
        against=f"pairs per CPU second: loader {loader:.0f} (trainer's noise and digests too: {trainer:.0f}); {listed}",
        goal=f">= {DECODE_GOAL:g}",
        holds=value >= DECODE_GOAL,
    )


def bench_loader_vs_webdataset() -> Record:
    """The loader's rate over WebDataset's with its usual decoding; with the same decoder it must not be slower."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = Pairs(Path(folder))
        actions = {
            "usual": lambda: pairs.webdataset(decode_pillow),
            "same": lambda: pairs.webdataset(decode_simplejpeg),
            "loader": pairs.loader,
        }
        rates = pairs.rates(actions)
    return _against_peer("loader_vs_webdataset", "WebDataset", rates)


def bench_loader_vs_streaming() -> Record:
    """Likewise over mosaicml-streaming's, which runs in an environment of its own (its pins are older than ours)."""
    python = REPOSITORY / ".venv-streaming" / "bin" / "python"
    if not python.exists():
        raise CannotRunHere("mosaicml-streaming is not installed: run `make streaming` first")
    with tempfile.TemporaryDirectory() as folder:
        pairs = Pairs(Path(folder))
        reader = [str(python), str(Path(__file__).with_name("streaming_reader.py")), folder]
        paths = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
        before = pairs.rates({"loader": pairs.loader})["loader"]
        done = subprocess.run(reader, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
        if done.returncode:
            raise CannotRunHere(f"mosaicml-streaming fails: {done.stderr.strip().splitlines()[-1]}")
        rates = json.loads(done.stdout.splitlines()[-1])
        rates["loader"] = max(before, pairs.rates({"loader": pairs.loader})["loader"])
    return _against_peer("loader_vs_streaming", "mosaicml-streaming", rates)


def _against_peer(name: str, peer: str, rates: dict[str, float]) -> Record:
    loader, usual, same = rates["loader"], rates["usual"], rates["same"]
    value = loader / usual
    return Record(
        name=name,
        value=value,
        unit="ratio",
        against=(
            f"pairs per CPU second: loader {loader:.0f}, {peer} {usual:.0f} with Pillow and {same:.0f} with the "
            f"loader's decoder ({loader / same:.2f}, goal >= 1)"
        ),
        goal=f">= {PEER_GOAL:g}",
        holds=value >= PEER_GOAL and loader >= same,
    )


def bench_loader_opening() -> Record:
    """Seconds until the first row of a mix of 10 million rows is there; and what a row far away costs."""
    with tempfile.TemporaryDirectory() as folder:
        mix = _write_large_mix(Pairs(Path(folder)), Path(folder) / "large.parquet")
        start = time.perf_counter()
        plan = TrainingPlan(mix)
        plan.row(0)
        opening = time.perf_counter() - start
        seeks = []
        for place in range(1, 21):
            start = time.perf_counter()
            index = place * LARGE // 21
            assert plan.row(index)["position"] == index
            seeks.append(time.perf_counter() - start)
    early, late = statistics.median(seeks[:10]), statistics.median(seeks[10:])
    return Record(
        name="loader_opening",
        value=opening,
        unit="seconds",
        against=f"{LARGE:,} rows; a seek takes {1e3 * early:.0f} ms in the first half, {1e3 * late:.0f} in the other",
        goal=f"<= {OPEN_GOAL:g}, and seeks alike everywhere (2x)",
        holds=opening <= OPEN_GOAL and late <= 2 * early,
    )


def bench_loader_memory() -> Record:
    """MiB of a loader's worker process that it does not share, after many batches from a mix of 10 million rows."""
    config = make_config("demo").with_overrides([f"image_size={SIZE}"])
    with tempfile.TemporaryDirectory() as folder:
        mix = _write_large_mix(Pairs(Path(folder)), Path(folder) / "large.parquet")
        samples = TrainingSamples(TrainingPlan(mix), Roots.read(Path(folder) / "roots.json"), config)
        # Each step lies in another row group: the worst that a worker meets.
        steps = MicroBatches(0, 10 * NUM_PAIRS // BATCH, BATCH, BATCH, 0, 1)
        far = [[(number * 61 * ROW_GROUP + place) % LARGE for place in batch] for number, batch in enumerate(steps)]
        loader = iter(make_loader(samples, far, 1))
        sizes = []
        for _ in far:
            next(loader)
            sizes.append(_mebibytes(loader._workers[0].pid, "Private_"))
        resident = _mebibytes(loader._workers[0].pid, "Rss:")
    middle, last = max(sizes[: len(sizes) // 2]), max(sizes[len(sizes) // 2 :])
    return Record(
        name="loader_memory",
        value=last,
        unit="MiB",
        against=(
            f"{len(far) * BATCH} samples, each batch from another row group; {middle:.0f} in the first half; with what "
            f"it shares with its parent {resident:.0f}"
        ),
        goal=f"<= {MEMORY_GOAL:g}, and at most {GROWTH_GOAL:g} times that of the first half",
        holds=last <= MEMORY_GOAL and last <= GROWTH_GOAL * middle,
    )


def _mebibytes(pid: int, kind: str) -> float:
    """Memory of a process: Private_, that no other one shares with it, or Rss:, all of it."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def _write_large_mix(pairs: Pairs, path: Path) -> Path:
    """The same pairs again and again, up to ten million rows."""
    table = pa.Table.from_pylist(pairs.rows * (ROW_GROUP // NUM_PAIRS), schema=MIX)
    place = MIX.get_field_index("position")

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, LARGE, ROW_GROUP):
            count = min(ROW_GROUP, LARGE - start)
            positions = pa.array(range(start, start + count), pa.int64())
            yield from table.slice(0, count).set_column(place, MIX.field(place), positions).to_batches()

    write_stream(path, "mix", MIX, batches(), {"num_train": LARGE}, ROW_GROUP, Layout(statistics=["position"]))
    return path
