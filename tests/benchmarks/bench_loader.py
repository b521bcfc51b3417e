"""The loader (decode, resize, render, collate) against decoding alone and against WebDataset, by CPU time.

Pairs of 512-pixel JPEGs (packaged photos, quality 90) become pairs of 256 pixels in batches of 16. Bare decoding reads
the same bytes and does nothing but decode and resize, by Pillow, OpenCV and simplejpeg, whole and reduced; the fastest
counts. WebDataset reads a tar of the same pairs, decodes as its users do ("pil", then Pillow's Lanczos), and once more
with the loader's own decoder. The trainer adds noise and digests to each sample: its rate is stated, not judged.
"""

import io
import json
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
import skimage.data
import torch
import webdataset
from benchmark_record import Record
from PIL import Image

from catalog.digests import bytes_digest
from catalog.parquet_streams import write_stream
from catalog.roots import Roots
from catalog.samples import RenderOptions, render_sample
from catalog.schema import MIX
from trainer.batches import MicroBatches, make_loader
from trainer.data import TrainingSamples
from trainer.plan import TrainingPlan
from trainer.recipes import make_config

NUM_PAIRS = 256
BATCH = 16
SIDE, SIZE = 512, 256
REPEATS = 3
DECODE_GOAL, WEBDATASET_GOAL = 0.9, 3.0


def bench_loader_vs_decode() -> Record:
    """The loader's rate over that of the fastest bare decoding and resizing."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = _Pairs(Path(folder))
        rates = {name: pairs.rate(lambda decode=decode: pairs.bare(decode)) for name, decode in DECODERS.items()}
        loader, trainer = pairs.rate(pairs.loader), pairs.rate(pairs.trainer)
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
        pairs = _Pairs(Path(folder))
        usual = pairs.rate(lambda: pairs.webdataset(_decode_pillow))
        same = pairs.rate(lambda: pairs.webdataset(_decode_simplejpeg))
        loader = pairs.rate(pairs.loader)
    value = loader / usual
    return Record(
        name="loader_vs_webdataset",
        value=value,
        unit="ratio",
        against=(
            f"pairs per CPU second: loader {loader:.0f}, WebDataset {usual:.0f} with Pillow and {same:.0f} with the "
            f"loader's decoder ({loader / same:.2f}, goal >= 1)"
        ),
        goal=f">= {WEBDATASET_GOAL:g}",
        holds=value >= WEBDATASET_GOAL and loader >= same,
    )


def _decode_pillow(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def _decode_draft(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (SIZE, SIZE))
    return np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def _decode_opencv(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def _decode_opencv_reduced(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2), cv2.COLOR_BGR2RGB)


def _decode_simplejpeg(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, min_width=SIZE, min_height=SIZE)


DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "Pillow": _decode_pillow,
    "Pillow draft": _decode_draft,
    "OpenCV": _decode_opencv,
    "OpenCV reduced": _decode_opencv_reduced,
    "simplejpeg reduced": _decode_simplejpeg,
}


class _Pairs:
    """The same pairs as a mix over one file of images, and as a tar for WebDataset."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.blob, self.rows = folder, bytearray(), []
        photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
        squares = [Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.LANCZOS) for photo in photos]
        rng = np.random.default_rng(0)
        for number in range(NUM_PAIRS):
            source = np.roll(np.asarray(squares[number % 3]), rng.integers(0, SIDE, 2), (0, 1))
            target = source.copy()
            target[100:200, 100:200] = 128
            row: dict[str, Any] = dict.fromkeys(MIX.names)
            row |= {"position": number, "split": "train", "mix_source": "all", "repeat": 0, "pair_id": f"{number:032x}"}
            row |= {"vision_task": "image_editing", "edit_type": "object_removal", "instruction": "remove the bird"}
            row |= {"source_image": self._image(source), "target_image": self._image(target)}
            self.rows.append(row)
        (folder / "images.bin").write_bytes(self.blob)
        (folder / "roots.json").write_text(json.dumps({"store": "."}))
        batches = pa.Table.from_pylist(self.rows, schema=MIX).to_batches()
        write_stream(folder / "mix.parquet", "mix", MIX, batches, {"num_train": NUM_PAIRS}, 4096, ["position"])
        self._write_tar(folder / "pairs.tar")
        self.plan, self.roots = TrainingPlan(folder / "mix.parquet"), Roots.read(folder / "roots.json")

    def rate(self, action: Callable[[], object]) -> float:
        """Pairs per second of CPU time, the best of some passes."""
        cv2.setNumThreads(1)
        torch.set_num_threads(1)
        best = float("inf")
        for _ in range(REPEATS):
            start = time.process_time()
            action()
            best = min(best, time.process_time() - start)
        return NUM_PAIRS / best

    def bare(self, decode: Callable[[bytes], np.ndarray]) -> None:
        with (self.folder / "images.bin").open("rb", buffering=0) as file:
            for row in self.rows:
                for image in (row["source_image"], row["target_image"]):
                    file.seek(image["offset"])
                    assert decode(file.read(image["length"])).shape == (SIZE, SIZE, 3)

    def loader(self) -> None:
        options = RenderOptions(size=SIZE)

        def samples() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
            for index in range(NUM_PAIRS):
                row = self.plan.row(index)
                one = render_sample(row, self.roots, seed=0, index=index, options=options)
                yield one.instruction, one.source, one.target

        self._collate(samples())

    def trainer(self) -> None:
        samples = TrainingSamples(self.plan, self.roots, make_config("demo").with_overrides([f"image_size={SIZE}"]))
        for batch in make_loader(samples, MicroBatches(0, NUM_PAIRS // BATCH, BATCH, BATCH, 0, 1), 0):
            assert not batch.rejected

    def webdataset(self, decode: Callable[[bytes], np.ndarray]) -> None:
        dataset = webdataset.WebDataset(str(self.folder / "pairs.tar"), shardshuffle=False)
        entries = ((one["json"], decode(one["source.jpg"]), decode(one["target.jpg"])) for one in dataset)
        self._collate((json.loads(text)["instruction"], source, target) for text, source, target in entries)

    def _collate(self, samples: Iterator[tuple[str, np.ndarray, np.ndarray]]) -> None:
        batch, count = [], 0
        for sample in samples:
            batch.append(sample)
            if len(batch) == BATCH:
                for side in (1, 2):
                    assert torch.from_numpy(np.stack([one[side] for one in batch])).shape == (BATCH, SIZE, SIZE, 3)
                batch, count = [], count + BATCH
        assert count == NUM_PAIRS

    def _image(self, pixels: np.ndarray) -> dict[str, Any]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=90)
        data, offset = stream.getvalue(), len(self.blob)
        self.blob += data
        place = {"root": "store", "path": "images.bin", "offset": offset, "length": len(data)}
        return {**place, "sha256": bytes_digest(data), "width": SIDE, "height": SIDE}

    def _write_tar(self, path: Path) -> None:
        with tarfile.open(path, "w") as tar:
            for row in self.rows:
                images = {"source.jpg": row["source_image"], "target.jpg": row["target_image"]}
                parts = {name: bytes(self.blob[i["offset"] : i["offset"] + i["length"]]) for name, i in images.items()}
                parts["json"] = json.dumps({"instruction": row["instruction"]}).encode()
                for name, data in parts.items():
                    member = tarfile.TarInfo(f"{row['pair_id']}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
