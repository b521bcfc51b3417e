"""Inpainters behind HTTP: a lama-cleaner 1.2.5 or IOPaint server that the user runs, on this machine or another.

Whatever model the server was started with fills the holes: LaMa, MAT, cv2 and so on. Only loopback traffic is
assumed to be private; photos are sent as they are. Answers are as little trusted as files from the web.
"""

import base64
import json
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np

from catalog.errors import BackendError, RowRejected
from catalog.image_headers import MAX_BYTES, MIN_SIDE
from catalog.images import decode_image, encode_png, probe_image
from catalog.reasons import Reason
from tasks.backends.http_endpoint import Answer, Endpoint
from tasks.backends.protocols import Image, Mask, library_revision
from tasks.phrases import one_line

DEFAULT_URL = "http://127.0.0.1:8080"

_ROWS_OWN = (400, 413, 422, 500)
"""Answers that one image can cause: wrong or too large for the server, or its model failed on it."""
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_NAME_BYTES = 1 << 16  # of the description of a model


class _ServerInpainter(ABC):
    """What both servers share: concurrency, retries, checks of the answer."""

    name: ClassVar[str]
    product: ClassVar[str]
    start_command: ClassVar[str]
    model_path: ClassVar[str]  # where it says which model it runs
    device = "cpu"  # of this process: whatever the server uses is not ours to share out

    def __init__(
        self,
        url: str = DEFAULT_URL,
        concurrency: int = 4,
        timeout: float = 120.0,
        retries: int = 5,
        label: str = "",
    ) -> None:
        """Ask the server which model it runs.

        Args:
            url: where the server listens, http or https.
            concurrency: requests at the same time, from 1 to 64, of all workers of this process together.
            timeout: seconds that one request may take.
            retries: further attempts after a lost connection or an answer 429 or 5xx; the pause starts at half a
                second and doubles, up to 30 seconds.
            label: anything that tells this server's results from another's of the same model name, such as the
                digest of its weights, which it does not say; enters the revision.

        Raises:
            BackendError: an option out of range, no server, or not this one.
        """
        what = f"inpainter {self.name!r}"
        _check_options(what, label, concurrency)
        remedy = f"start it with `{self.start_command}`, or set the option url"
        self._endpoint = Endpoint(url, what=what, remedy=remedy, timeout=timeout, retries=retries, limit=concurrency)
        self._concurrency = concurrency
        self._model = self._ask_model(retry=False)
        options = {"model": re.sub(r"[^A-Za-z0-9._/-]", "_", self._model)} | ({"label": label} if label else {})
        self.revision = library_revision(1, options)

    def inpaint(self, images: Sequence[Image], masks: Sequence[Mask]) -> list[Image]:
        """See `protocols.Inpainter`.

        Raises:
            RowRejected: the server refused one image, failed on it or sent something that is no such image.
            BackendError: the server cannot be reached any more, or now runs another model.
        """
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            results = list(pool.map(self._fill, images, masks))
        finally:
            pool.shutdown(cancel_futures=True)
        if (model := self._ask_model()) != self._model:
            raise BackendError(
                f"inpainter {self.name!r}: the server at {self._endpoint.url} must keep its model while a build runs, "
                f"but it changed from {self._model!r} to {model!r}: start the build again"
            )
        return results

    def _fill(self, image: Image, mask: Mask) -> Image:
        if image.shape[:2] != mask.shape:
            raise ValueError(f"image and mask must have one size. Got {image.shape[:2]} and {mask.shape}")
        if mask.all():
            raise ValueError("the mask covers the whole image: nothing is left to fill it from")
        if not mask.any():
            return image.copy()
        rows, columns = (max(MIN_SIDE - extent, 0) for extent in mask.shape)  # answers below it are not decoded
        padded = np.pad(image, ((0, rows), (0, columns), (0, 0)), mode="symmetric")
        hole = np.pad(mask, ((0, rows), (0, columns)), mode="symmetric")
        answer = self._post(encode_png(padded), encode_png(hole))
        if answer.status != 200:
            self._refuse(answer)
        if not answer.whole:
            raise RowRejected(Reason.BAD_OUTPUT, f"the server's answer has more than {MAX_BYTES} bytes")
        fill = _decode(answer.body, padded.shape)[: mask.shape[0], : mask.shape[1]]
        return np.where(mask[..., None], fill, image)

    def _refuse(self, answer: Answer) -> None:
        text = one_line(answer.body[:2000].decode("utf-8", "replace"))[:200]
        if answer.status in _ROWS_OWN:
            raise RowRejected(Reason.BACKEND_FAILED, f"the server answered {answer.status}: {text}")
        raise BackendError(
            f"inpainter {self.name!r}: {self._endpoint.url} must be a {self.product} server, but it answered "
            f"{answer.status} to an image ({text}): {self._endpoint.remedy}"
        )

    def _ask_model(self, retry: bool = True) -> str:
        answer = self._endpoint.request("GET", self.model_path, max_bytes=_MAX_NAME_BYTES, retry=retry)
        model = self._model_name(answer.body) if answer.status == 200 else None
        if model is None or not 0 < len(model) <= 200 or not model.isprintable():
            raise BackendError(
                f"inpainter {self.name!r}: {self._endpoint.url} must be a {self.product} server, but GET "
                f"{self.model_path} answered {answer.status} and no model's name: {self._endpoint.remedy}"
            )
        return model

    @abstractmethod
    def _model_name(self, body: bytes) -> str | None:
        """The name in an answer to GET `model_path`; None where it holds none."""

    @abstractmethod
    def _post(self, image: bytes, mask: bytes) -> Answer:
        """Send a photo and its mask, both PNG, in the server's own form."""


class LamaCleanerInpainter(_ServerInpainter):
    """A running lama-cleaner 1.2.5 server, with the model it was started with (``make lama-cleaner`` sets one up).

    The image is handled whole (hdStrategy Original), as LaMa's own predictor does, not cut into crops.
    """

    name = "lama-cleaner"
    product = "lama-cleaner 1.2.5"
    start_command = ".venv-lama-cleaner/bin/lama-cleaner --model lama --port 8080"
    model_path = "/model"

    def _model_name(self, body: bytes) -> str | None:
        text = body.decode("utf-8", "replace").strip()
        return None if text.startswith("<") else text

    def _post(self, image: bytes, mask: bytes) -> Answer:
        body, content_type = _multipart(_LAMA_CLEANER_FIELDS, {"image": image, "mask": mask})
        return self._endpoint.request("POST", "/inpaint", body, content_type)


class IOPaintInpainter(_ServerInpainter):
    """A running IOPaint 1.6 server, with the model it was started with (``make iopaint`` sets one up).

    The image is handled whole (hd_strategy Original), as LaMa's own predictor does, not cut into crops.
    """

    name = "iopaint"
    product = "IOPaint 1.6"
    start_command = ".venv-iopaint/bin/iopaint start --model lama --port 8080"
    model_path = "/api/v1/model"

    def _model_name(self, body: bytes) -> str | None:
        try:
            name = json.loads(body)["name"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        return name if isinstance(name, str) else None

    def _post(self, image: bytes, mask: bytes) -> Answer:
        value = {
            "image": base64.b64encode(image).decode(),
            "mask": base64.b64encode(mask).decode(),
            "hd_strategy": "Original",
            "sd_seed": 42,
            "sd_keep_unmasked_area": True,
        }
        return self._endpoint.request("POST", "/api/v1/inpaint", json.dumps(value).encode(), "application/json")


_LAMA_CLEANER_FIELDS: Mapping[str, str | int | float] = {
    "ldmSteps": 25,
    "ldmSampler": "plms",
    "hdStrategy": "Original",
    "hdStrategyCropMargin": 128,
    "hdStrategyCropTrigerSize": 800,  # the server's own spelling
    "hdStrategyResizeLimit": 2048,
    "zitsWireframe": "true",
    "prompt": "",
    "negativePrompt": "",
    "useCroper": "false",
    "croperX": 0,
    "croperY": 0,
    "croperWidth": 512,
    "croperHeight": 512,
    "sdScale": 1.0,
    "sdMaskBlur": 0,
    "sdStrength": 0.75,
    "sdSteps": 50,
    "sdGuidanceScale": 7.5,
    "sdSampler": "uni_pc",
    "sdSeed": 42,
    "sdMatchHistograms": "false",
    "cv2Flag": "INPAINT_TELEA",
    "cv2Radius": 5,
    "paintByExampleSteps": 50,
    "paintByExampleGuidanceScale": 5.0,
    "paintByExampleMaskBlur": 0,
    "paintByExampleSeed": 42,
    "paintByExampleMatchHistograms": "false",
    "p2pSteps": 50,
    "p2pImageGuidanceScale": 1.5,
    "p2pGuidanceScale": 7.5,
    "controlnet_conditioning_scale": 0.4,
    "controlnet_method": "control_v11p_sd15_canny",
}
"""Every field is mandatory, whichever model runs; LaMa heeds hdStrategy alone. (lama_cleaner/server.py, 1.2.5)"""


def _multipart(fields: Mapping[str, str | int | float], files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Body and content type of a form with PNG files (RFC 7578)."""
    boundary = secrets.token_hex(16)
    parts = []
    for name, value in fields.items():
        parts.append(f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode())
    for name, data in files.items():
        head = (
            f'Content-Disposition: form-data; name="{name}"; filename="{name}.png"\r\nContent-Type: image/png\r\n\r\n'
        )
        parts.append(head.encode() + data)
    body = b"".join(f"--{boundary}\r\n".encode() + part + b"\r\n" for part in parts)
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def _decode(body: bytes, shape: tuple[int, ...]) -> Image:
    """The PNG in an answer, of the size that was sent; its header is held against every limit before its pixels."""
    if not body.startswith(_PNG):
        raise RowRejected(Reason.BAD_OUTPUT, f"want a PNG, got {len(body)} bytes that start with {body[:8]!r}")
    try:
        width, height = probe_image(body)
        if (height, width) != shape[:2]:
            raise RowRejected(Reason.BAD_OUTPUT, f"want {shape[1]} x {shape[0]} pixels, got {width} x {height}")
        return decode_image(body)
    except RowRejected as rejected:
        raise RowRejected(Reason.BAD_OUTPUT, f"the server's answer: {rejected.detail}") from rejected


def _check_options(what: str, label: str, concurrency: int) -> None:
    if not isinstance(label, str) or not re.fullmatch(r"[A-Za-z0-9._/-]{0,100}", label):
        raise BackendError(f"{what}: label must be at most 100 letters, digits, '.', '_', '/' or '-'. Got {label!r}")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 64:
        raise BackendError(f"{what}: concurrency must be a whole number from 1 to 64. Got {concurrency!r}")
