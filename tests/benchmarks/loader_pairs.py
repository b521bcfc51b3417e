"""What the loader's benchmarks read: pairs of JPEGs as a mix and as a tar, decoders, and how time is taken."""

import io
import json
import multiprocessing
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import simplejpeg
import skimage.data
import torch
import webdataset
from PIL import Image

from catalog.digests import bytes_digest
from catalog.parquet_streams import Layout, write_stream
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
REPEATS = 7
_FORKS = multiprocessing.get_context("fork")  # actions cannot be pickled


def decode_pillow(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def decode_draft(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (SIZE, SIZE))
    return np.asarray(picture.convert("RGB").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def decode_opencv(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def decode_opencv_reduced(data: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_2), cv2.COLOR_BGR2RGB)


def decode_simplejpeg(data: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(data, min_width=SIZE, min_height=SIZE)


DECODERS: dict[str, Callable[[bytes], np.ndarray]] = {
    "Pillow": decode_pillow,
    "Pillow draft": decode_draft,
    "OpenCV": decode_opencv,
    "OpenCV reduced": decode_opencv_reduced,
    "simplejpeg reduced": decode_simplejpeg,
}


class Pairs:
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
        write_stream(
            folder / "mix.parquet", "mix", MIX, batches, {"num_train": NUM_PAIRS}, 4096, Layout(statistics=["position"])
        )
        self._write_tar(folder / "pairs.tar")
        self.plan, self.roots = TrainingPlan(folder / "mix.parquet"), Roots.read(folder / "roots.json")

    def rates(self, actions: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Pairs per second of CPU time of each action, the best of some passes, taken by turns: what else the machine
        does changes from one moment to the next. Each has a process of its own, so that none finds the memory as
        another one has left it.
        """
        best = dict.fromkeys(actions, float("inf"))
        with ExitStack() as stack:
            clocks = {name: stack.enter_context(_clock(action)) for name, action in actions.items()}
            for _ in range(REPEATS):
                for name, seconds in clocks.items():
                    best[name] = min(best[name], seconds())
        return {name: NUM_PAIRS / seconds for name, seconds in best.items()}

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

        collate(samples())

    def trainer(self) -> None:
        samples = TrainingSamples(self.plan, self.roots, make_config("demo").with_overrides([f"image_size={SIZE}"]))
        for batch in make_loader(samples, MicroBatches(0, NUM_PAIRS // BATCH, BATCH, BATCH, 0, 1), 0):
            assert not batch.rejected

    def webdataset(self, decode: Callable[[bytes], np.ndarray]) -> None:
        dataset = webdataset.WebDataset(str(self.folder / "pairs.tar"), shardshuffle=False)
        entries = ((one["json"], decode(one["source.jpg"]), decode(one["target.jpg"])) for one in dataset)
        collate((json.loads(text)["instruction"], source, target) for text, source, target in entries)

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


@contextmanager
def _clock(action: Callable[[], object]) -> Iterator[Callable[[], float]]:
    """What runs ``action`` once more, in a process that does nothing else, and gives the CPU seconds that it took."""
    here, there = _FORKS.Pipe()
    process = _FORKS.Process(target=_serve, args=(action, there), daemon=True)
    process.start()
    there.close()

    def seconds() -> float:
        here.send(True)
        return float(here.recv())

    try:
        yield seconds
    finally:
        here.send(False)
        process.join()


def _serve(action: Callable[[], object], pipe: Connection) -> None:
    while pipe.recv():
        pipe.send(cpu_seconds(action))


def cpu_seconds(action: Callable[[], object]) -> float:
    """CPU time of this process, all its threads, for one call."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    start = time.process_time()
    action()
    return time.process_time() - start


def collate(samples: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Stack all pairs into tensors, batch by batch."""
    batch, count = [], 0
    for sample in samples:
        batch.append(sample)
        if len(batch) == BATCH:
            for side in (1, 2):
                assert torch.from_numpy(np.stack([one[side] for one in batch])).shape == (BATCH, SIZE, SIZE, 3)
            batch, count = [], count + BATCH
    assert count == NUM_PAIRS
