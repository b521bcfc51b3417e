"""Helper models on a GPU give what they give on the CPU."""

from pathlib import Path

import numpy as np
from checkpoints.lama import save_tiny_lama

from tasks.backends.lama import LamaInpainter

SIZES = ((40, 56), (61, 47), (64, 48), (33, 97))


def test_lama_agrees_with_the_cpu(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (*size, 3), np.uint8) for size in SIZES]
    masks = [random.random(size) < 0.2 for size in SIZES]
    md5 = save_tiny_lama(tmp_path / "big-lama.pt")
    cpu, cuda = (LamaInpainter(str(tmp_path), md5=md5, device=device, batch_size=2) for device in ("cpu", "cuda"))
    assert cuda.revision != cpu.revision
    for one, two in zip(cuda.inpaint(images, masks), cpu.inpaint(images, masks), strict=True):
        assert np.abs(one.astype(int) - two).max() <= 1
