"""Reads the loader benchmarks' pairs with mosaicml-streaming; run by its own environment (``make streaming``).

``python streaming_reader.py FOLDER``: writes the pairs of FOLDER/pairs.tar as shards of its own format, reads them with
Pillow and with simplejpeg, and prints the pairs per CPU second of both as JSON.
"""

import json
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from loader_pairs import BATCH, NUM_PAIRS, REPEATS, collate, cpu_seconds, decode_pillow, decode_simplejpeg
from streaming import MDSWriter, StreamingDataset

COLUMNS = {"source": "bytes", "target": "bytes", "text": "str"}


def write_shards(tar: Path, folder: Path) -> None:
    """The pairs of a tar, their bytes as they are."""
    with tarfile.open(tar) as members, MDSWriter(out=str(folder), columns=COLUMNS) as writer:
        names = members.getnames()
        for source, target, facts in zip(*[iter(names)] * 3, strict=True):
            source, target, facts = (members.extractfile(name).read() for name in (source, target, facts))
            writer.write({"source": source, "target": target, "text": json.loads(facts)["instruction"]})


def main(folder: Path) -> None:
    """See the module's docstring."""
    write_shards(folder / "pairs.tar", folder / "streaming")
    dataset = StreamingDataset(local=str(folder / "streaming"), shuffle=False, batch_size=BATCH)

    def pairs(decode: Callable[[bytes], np.ndarray]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for one in dataset:
            yield one["text"], decode(one["source"]), decode(one["target"])

    best = {}
    for _ in range(REPEATS):
        for name, decode in (("usual", decode_pillow), ("same", decode_simplejpeg)):
            seconds = cpu_seconds(lambda decode=decode: collate(pairs(decode)))
            best[name] = min(best.get(name, seconds), seconds)
    print(json.dumps({name: NUM_PAIRS / seconds for name, seconds in best.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
