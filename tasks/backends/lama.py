"""LaMa: a network of Fourier convolutions fills holes of any size, from its published TorchScript file.

Suvorov et al., "Resolution-robust Large Mask Inpainting with Fourier Convolutions" (WACV 2022); the paper's
inpainter (section 3.2). Preparation as in LaMa's own predictor: image RGB in [0, 1], mask above 0, both mirrored at
the bottom and right border up to a multiple of 8, the whole image at once.
"""

import hashlib
import re
import threading
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import BackendError, RowRejected
from catalog.reasons import Reason
from tasks.backends.batches import run_in_batches
from tasks.backends.protocols import Image, Mask, library_revision
from tasks.backends.weights import check_device, first_line, resolve_weights

BIG_LAMA_MD5 = "e3aa4aaa15225a33ec84f9f4bc47e500"
"""Of the published big-lama.pt, the file that lama-cleaner and IOPaint use."""

MAX_WEIGHT_BYTES = 1 << 30  # big-lama.pt has a fifth of that

_WHAT = "inpainter 'lama'"
_MULTIPLE = 8  # pixels: three halvings
_PROBE_SIDE = 64  # pixels
_CHUNK = 1 << 20

_Item = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Image (3, H, W) in [0, 1] and mask (1, H, W), 0 or 1; H and W multiples of 8."""


class LamaInpainter:
    """LaMa on the TorchScript file big-lama.pt, whose MD5 is pinned: continues structures and texture into holes.

    Images of one padded size share a batch on CUDA; on a CPU they go one by one.
    """

    name = "lama"

    def __init__(
        self,
        weights: str = "",
        file: str = "big-lama.pt",
        md5: str = BIG_LAMA_MD5,
        device: str = "cpu",
        batch_size: int = 8,
    ) -> None:
        """Load the TorchScript file.

        Args:
            weights: the file, a folder that holds it, or a hub id such as owner/name.
            file: the file's name in that folder or repository.
            md5: 32 hexadecimal characters that the file's MD5 must be; another file than big-lama.pt needs its own.
            device: "cpu" or "cuda".
            batch_size: images of one size per call on CUDA; enters the revision there.

        Raises:
            BackendError: an option out of range, no such file, another MD5, no TorchScript, or no inpainter.
        """
        _check_options(file, md5, batch_size)
        self.device = check_device(device, what=_WHAT)
        path = _find(weights, file)
        sha256 = _check_file(path, md5)
        self._model = _load(path, device)
        self._batch_size = batch_size
        self._lock = threading.Lock()  # one forward pass at a time bounds the memory, whatever the number of workers
        _probe(self._run, path)
        self.revision = _revision(sha256, device, batch_size)

    def inpaint(self, images: Sequence[Image], masks: Sequence[Mask]) -> list[Image]:
        """See `protocols.Inpainter`.

        Raises:
            RowRejected: BAD_OUTPUT for values that are not finite.
        """
        results = [image.copy() for image in images]
        by_size: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        items: dict[int, _Item] = {}
        for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
            if image.shape[:2] != mask.shape:
                raise ValueError(f"image and mask must have one size. Got {image.shape[:2]} and {mask.shape}")
            if mask.all():
                raise ValueError("the mask covers the whole image: nothing is left to fill it from")
            if mask.any():
                items[index] = _prepare(image, mask)
                by_size[items[index][1].shape].append(index)
        for indices in by_size.values():
            fills = run_in_batches(self._run, [items[index] for index in indices], self._batch_size, self.device)
            for index, fill in zip(indices, fills, strict=True):
                height, width = masks[index].shape
                results[index] = np.where(masks[index][..., None], fill[:height, :width], images[index])
        return results

    def _run(self, items: Sequence[_Item]) -> list[Image]:
        """Forward pass of items of one size."""
        import torch

        images, masks = (torch.from_numpy(np.stack(column)) for column in zip(*items, strict=True))
        with self._lock, torch.inference_mode(), _same_every_time():
            output = self._model(images.to(self.device), masks.to(self.device))
            if not isinstance(output, torch.Tensor) or output.shape != images.shape:
                shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise RowRejected(Reason.BAD_OUTPUT, f"want values of shape {tuple(images.shape)}, got {shape}")
            values = output.float().permute(0, 2, 3, 1).cpu().numpy()  # (B, H, W, 3) in about [0, 1]
        if not np.isfinite(values).all():
            raise RowRejected(Reason.BAD_OUTPUT, "the fill is not finite")
        return [np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8) for image in values]


def _prepare(image: Image, mask: Mask) -> _Item:
    """Mirror both at the bottom and right border, the border pixel repeated, up to a multiple of 8."""
    rows, columns = (-extent % _MULTIPLE for extent in mask.shape)
    padded = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")
    hole = np.pad(mask, ((0, rows), (0, columns)), mode="symmetric")
    return padded.transpose(2, 0, 1).astype(np.float32) / np.float32(255), hole[None].astype(np.float32)


@contextmanager
def _same_every_time() -> Iterator[None]:
    """The third call must give what the first gives: no profiling compiler, no search for faster kernels."""
    import torch

    flags = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    with torch.jit.optimized_execution(False), flags:  # type: ignore[attr-defined]
        yield


def _check_options(file: str, md5: str, batch_size: int) -> None:
    if not isinstance(file, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file):
        raise BackendError(f"{_WHAT}: file must be a plain file name such as big-lama.pt. Got {file!r}")
    if not isinstance(md5, str) or not re.fullmatch(r"[0-9a-fA-F]{32}", md5):
        raise BackendError(
            f"{_WHAT}: md5 must be the 32 hexadecimal characters that `md5sum` prints for your file. Got {md5!r}"
        )
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or not 1 <= batch_size <= 1024:
        raise BackendError(f"{_WHAT}: batch_size must be a whole number from 1 to 1024. Got {batch_size!r}")


def _find(weights: str, file: str) -> Path:
    """The local path of the TorchScript file."""
    is_file = isinstance(weights, str) and Path(weights).expanduser().is_file()
    place = resolve_weights(weights, what=_WHAT, files=None if is_file else [file])
    return place if is_file else place / file


def _check_file(path: Path, md5: str) -> str:
    """SHA-256 of a file of plausible size and the right MD5."""
    digests = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_WEIGHT_BYTES:
            raise BackendError(
                f"{_WHAT}: weights must have 1 to {MAX_WEIGHT_BYTES} bytes, but {path} has {size}: download it again"
            )
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                for digest in digests:
                    digest.update(chunk)
    except OSError as error:
        raise BackendError(f"{_WHAT}: weights at {path} must be readable: {error.strerror}") from error
    found = digests[0].hexdigest()
    if found != md5.lower():
        raise BackendError(
            f"{_WHAT}: the MD5 of {path} must be {md5.lower()}, but it is {found}: download it again, or, if you "
            "trust this file, name its MD5 in the option md5"
        )
    return digests[1].hexdigest()


def _load(path: Path, device: str) -> Any:
    """The TorchScript module. PyTorch reads such a file by its own restricted reader; nothing is unpickled."""
    import torch

    try:
        with warnings.catch_warnings():  # LaMa is published as TorchScript and in no form that PyTorch prefers today
            warnings.filterwarnings("ignore", message=r"`torch\.jit", category=FutureWarning)
            warnings.filterwarnings("ignore", message=r"`torch\.jit", category=DeprecationWarning)
            return torch.jit.load(str(path), map_location=device).eval()
    except Exception as error:  # the reader raises RuntimeError, and others for damaged archives
        raise BackendError(
            f"{_WHAT}: {path} must be a TorchScript file such as big-lama.pt: {first_line(error)}"
        ) from error


def _probe(run: Any, path: Path) -> None:
    """Refuse a TorchScript file that is no inpainter before it meets the first photo."""
    image = np.full((_PROBE_SIDE, _PROBE_SIDE, 3), 128, np.uint8)
    mask = np.zeros((_PROBE_SIDE, _PROBE_SIDE), bool)
    mask[: _PROBE_SIDE // 2, : _PROBE_SIDE // 2] = True
    try:
        run([_prepare(image, mask)])
    except Exception as error:  # foreign code: whatever it raises, it is not LaMa
        raise BackendError(
            f"{_WHAT}: {path} must take images (N, 3, H, W) and masks (N, 1, H, W) and return images, but on a "
            f"trial it failed: {first_line(error)}; give an exported LaMa such as big-lama.pt"
        ) from error


def _revision(sha256: str, device: str, batch_size: int) -> str:
    import torch

    options: dict[str, Any] = {"sha256": sha256[:16], "device": device}
    options |= {"batch": batch_size} if device == "cuda" else {}
    return library_revision(1, options, torch=str(torch.__version__))
