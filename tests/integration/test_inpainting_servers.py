"""The real lama-cleaner and IOPaint servers, and a scripted one for everything that goes wrong."""

import http.server
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from checkpoints.lama import save_tiny_lama
from skimage import data as photos_of_skimage
from sklearn.datasets import load_sample_image

from catalog.errors import BackendError, RowRejected
from catalog.image_headers import MAX_BYTES
from catalog.images import encode_png
from catalog.reasons import Reason
from tasks.backends import http_endpoint
from tasks.backends.calls import call_batch
from tasks.backends.lama import LamaInpainter
from tasks.backends.registry import load_backend

REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS = {
    "lama-cleaner": (".venv-lama-cleaner/bin/lama-cleaner", ()),
    "iopaint": (".venv-iopaint/bin/iopaint", ("start",)),
}
START_SECONDS = 180


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class _Server:
    """A server of its own environment; ``weights`` is the caller's, the server is given a copy of it."""

    name: str
    model: str
    weights: Path
    folder: Path
    url: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program, words = SERVERS[self.name]
        # A server deletes a file that fails to load, and IOPaint offers lama only where it finds the file there.
        copy = self.folder / "torch" / "hub" / "checkpoints" / self.weights.name
        copy.parent.mkdir(parents=True)
        shutil.copy(self.weights, copy)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        place = ["--model", self.model, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
        self.process = subprocess.Popen(
            [REPOSITORY / program, *words, *place, "--model-dir", self.folder],
            env=os.environ | {"LAMA_MODEL_URL": str(copy), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            stdout=(self.folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self) -> None:
        assert self.process
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.url, timeout=5).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.2)

    def stop(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("weights") / "big-lama.pt"
    return path, save_tiny_lama(path)


@pytest.fixture(scope="module")
def servers(weights: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, _Server]]:
    """Every installed server with either model, started at the same time."""
    running = {
        (name, model): _Server(name, model, weights[0], tmp_path_factory.mktemp(f"{name}-{model}"))
        for name, (program, _) in SERVERS.items()
        for model in ("cv2", "lama")
        if (REPOSITORY / program).exists()
    }
    try:
        for server in running.values():
            server.start()
        for server in running.values():
            server.wait()
        yield running
    finally:
        for server in running.values():
            server.stop()


@pytest.fixture
def real(servers: dict[Any, _Server]) -> Callable[[str, str], _Server]:
    def get(name: str, model: str) -> _Server:
        if (name, model) not in servers:
            pytest.skip(f"run `make {name}` to test against the real server")
        return servers[name, model]

    return get


@pytest.fixture(scope="module")
def photos() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Real photos of several sizes, none a multiple of 8, with an ellipse and a strip to fill."""
    images = [photos_of_skimage.astronaut()[:301, 100:349], photos_of_skimage.coffee()[:250, :333]]
    images += [load_sample_image("china.jpg")[:, :636], load_sample_image("flower.jpg")[200:231, 300:347]]
    masks = []
    for image in images:
        height, width = image.shape[:2]
        mask = np.zeros((height, width), np.uint8)
        cv2.ellipse(mask, (width // 2, height // 2), (width // 6, height // 5), 30, 0, 360, 1, -1)
        mask[: height // 9, -5:] = 1  # at the border that is mirrored
        masks.append(mask.astype(bool))
    return images, masks


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_the_real_server_fills_real_photos(name: str, real: Any, photos: Any) -> None:
    """By OpenCV: the fill is that of the same library here."""
    backend = load_backend("inpainter", name, url=real(name, "cv2").url)
    results = call_batch("inpainter", backend, *photos)
    assert not [result for result in results if isinstance(result, RowRejected)]
    for image, mask, result in zip(*photos, results, strict=True):
        np.testing.assert_array_equal(result[~mask], image[~mask])
        assert (result[mask] != image[mask]).any()
        if name == "lama-cleaner" and min(mask.shape) >= 32:
            wanted = cv2.inpaint(image, mask.astype(np.uint8) * 255, 5, cv2.INPAINT_TELEA)
            assert np.abs(result.astype(int) - wanted).mean() < 1
    assert backend.revision == "1+model-cv2"


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_lama_here_and_there_agree_to_one_grey_level(
    name: str, real: Any, photos: Any, weights: tuple[Path, str]
) -> None:
    server = load_backend("inpainter", name, url=real(name, "lama").url, label="tiny")
    here = LamaInpainter(str(weights[0]), md5=weights[1])
    for one, two, image in zip(server.inpaint(*photos), here.inpaint(*photos), photos[0], strict=True):
        assert np.abs(one.astype(int) - two).max() <= 1  # the servers cut off what we round
        assert (one != image).any()
    assert server.revision == "1+model-lama+label-tiny"
    assert weights[0].exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_of_the_other_kind_is_refused(name: str, real: Any) -> None:
    other = next(kind for kind in SERVERS if kind != name)
    with pytest.raises(BackendError, match=f"must be a .* server, but GET .* answered .*: start it with `.*{name} "):
        load_backend("inpainter", name, url=real(other, "cv2").url)


@dataclass
class _Scripted:
    """A server that says what a test wants: answers in order, the last one for ever."""

    answers: list[Callable[[http.server.BaseHTTPRequestHandler], None]]
    model: str = "lama"
    requests: list[tuple[str, int]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def handle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        size = int(request.headers.get("Content-Length") or 0)
        request.rfile.read(size)
        if request.command == "GET":
            _say(200, self.model.encode())(request)
            return
        with self.lock:
            self.requests.append((request.path, size))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(request)


class _ThreadingServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the test."""


def _say(status: int, body: bytes, **headers: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., _Scripted]]:
    monkeypatch.setattr(http_endpoint, "FIRST_PAUSE", 0.01)
    started: list[_ThreadingServer] = []

    def start(*answers: Callable[..., None]) -> _Scripted:
        script = _Scripted(list(answers))

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                script.handle(self)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        server = _ThreadingServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        started.append(server)
        script.url = f"http://127.0.0.1:{server.server_port}"
        return script

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


IMAGE = np.full((40, 50, 3), 9, np.uint8)
MASK = np.zeros((40, 50), bool)
MASK[10:20, 10:20] = True
FILL = np.full((40, 50, 3), 200, np.uint8)
GOOD = _say(200, encode_png(FILL))


def _fill(script: _Scripted, count: int = 1, **options: Any) -> list[Any]:
    backend = load_backend("inpainter", "lama-cleaner", url=script.url, **options)
    return call_batch("inpainter", backend, [IMAGE] * count, [MASK] * count)


def test_only_the_mask_is_taken_from_the_answer(scripted: Any) -> None:
    np.testing.assert_array_equal(_fill(scripted(GOOD))[0], np.where(MASK[..., None], FILL, IMAGE))


def test_masks_without_a_hole_are_not_sent(scripted: Any) -> None:
    script = scripted(GOOD)
    backend = load_backend("inpainter", "lama-cleaner", url=script.url)
    np.testing.assert_array_equal(backend.inpaint([IMAGE], [MASK & False])[0], IMAGE)
    for mask, message in ((MASK | True, "covers the whole image"), (MASK[:30], "one size")):
        with pytest.raises(ValueError, match=message):
            backend.inpaint([IMAGE], [mask])
    assert script.requests == []


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_server_is_asked_again(status: int, scripted: Any) -> None:
    script = scripted(_say(status, b"busy"), _say(status, b"busy"), GOOD)
    assert isinstance(_fill(script)[0], np.ndarray)
    assert len(script.requests) == 3


def _hang_up(request: http.server.BaseHTTPRequestHandler) -> None:
    _say(200, b"half of it", Content_Length="1000")(request)


def test_a_lost_connection_is_tried_again(scripted: Any) -> None:
    script = scripted(_hang_up, GOOD)
    assert isinstance(_fill(script)[0], np.ndarray)
    assert len(script.requests) == 2


@pytest.mark.parametrize("answer", [_say(503, b""), _say(429, b""), _hang_up])
def test_a_server_that_stays_away_is_one_sentence(answer: Any, scripted: Any) -> None:
    script = scripted(answer)
    with pytest.raises(BackendError, match=rf"{script.url} must answer, but after 3 attempt.* start it with `"):
        _fill(script, retries=2, concurrency=1)
    assert len(script.requests) == 3


@pytest.mark.parametrize("name", SERVERS)
def test_no_server_is_one_sentence_at_once(name: str) -> None:
    url = f"http://127.0.0.1:{_free_port()}"
    began = time.monotonic()
    with pytest.raises(BackendError, match=rf"inpainter '{name}': the server at {url} must answer.*Refused.*`.venv-"):
        load_backend("inpainter", name, url=url)
    assert time.monotonic() - began < 2


def test_a_server_that_is_too_slow_is_one_sentence(scripted: Any) -> None:
    script = scripted(lambda request: time.sleep(2))
    with pytest.raises(BackendError, match="TimeoutError"):
        _fill(script, timeout=0.3, retries=0)


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_what_one_image_causes_is_that_rows_reason(status: int, scripted: Any) -> None:
    """The first answers fail the batch of three, then the second image alone."""
    refusal = _say(status, b"Mask shape\nis wrong")
    script = scripted(GOOD, refusal, GOOD, GOOD, refusal, GOOD)
    first, second, third = _fill(script, 3, concurrency=1, retries=0)
    assert isinstance(first, np.ndarray) and isinstance(third, np.ndarray)
    assert isinstance(second, RowRejected) and second.reason is Reason.BACKEND_FAILED
    assert second.detail == f"inpainter=lama-cleaner: the server answered {status}: Mask shape is wrong"


@pytest.mark.parametrize("answer", [_say(302, b"", Location="http://127.0.0.1:1/"), _say(404, b"no"), _say(403, b"")])
def test_another_program_behind_the_address_is_one_sentence(answer: Any, scripted: Any) -> None:
    with pytest.raises(BackendError, match=r"must be a lama-cleaner 1\.2\.5 server, but it answered (302|404|403)"):
        _fill(scripted(answer))


def _bomb() -> bytes:
    """A PNG that announces 60,000 x 60,000 pixels."""
    data = encode_png(FILL)
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (_say(200, b"<html>fine</html>"), "want a PNG"),
        (_say(200, b""), "want a PNG"),
        (_say(200, encode_png(FILL)[:-40]), "answer"),
        (_say(200, encode_png(FILL[:39])), "want 50 x 40 pixels, got 50 x 39"),
        (_say(200, _bomb()), "pixels"),
        (_say(200, b"x", Content_Length=str(MAX_BYTES + 1)), "more than"),
    ],
)
def test_an_answer_that_is_no_such_image_is_that_rows_reason(answer: Any, detail: str, scripted: Any) -> None:
    result = _fill(scripted(answer))[0]
    assert isinstance(result, RowRejected) and result.reason is Reason.BAD_OUTPUT
    assert detail in result.detail


def test_an_endless_answer_is_not_read_to_its_end(scripted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)  # HTTP/1.0 without a length: until the connection ends
        request.end_headers()
        for _ in range(200):
            request.wfile.write(bytes(1 << 20))

    endpoint = http_endpoint.Endpoint(
        scripted(answer).url, what="a test", remedy="none", timeout=30, retries=0, limit=1
    )
    found = endpoint.request("POST", "/", b"", max_bytes=3 << 20)
    assert not found.whole and len(found.body) == 3 << 20


def test_requests_at_the_same_time_are_bounded_over_all_workers(scripted: Any) -> None:
    running: list[int] = []
    counts: list[int] = []

    def slowly(request: http.server.BaseHTTPRequestHandler) -> None:
        running.append(1)
        counts.append(len(running))
        time.sleep(0.1)
        running.pop()  # before the answer, upon which the client may send its next request
        GOOD(request)

    script = scripted(slowly)
    backend = load_backend("inpainter", "lama-cleaner", url=script.url, concurrency=3)
    workers = [threading.Thread(target=backend.inpaint, args=([IMAGE] * 5, [MASK] * 5)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(script.requests) == 10
    assert 1 < max(counts) <= 3


def test_results_keep_the_order_of_the_images(scripted: Any) -> None:
    def slow_first(request: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        GOOD(request)

    other = np.full((32, 60, 3), 77, np.uint8)
    mask = np.eye(32, 60, dtype=bool)
    script = scripted(slow_first, _say(200, encode_png(other)))
    backend = load_backend("inpainter", "lama-cleaner", url=script.url, concurrency=1)
    first, second = backend.inpaint([IMAGE, other // 2], [MASK, mask])
    assert first[15, 15, 0] == 200 and second[5, 5, 0] == 77


def test_another_model_is_another_revision_and_ends_a_running_build(scripted: Any) -> None:
    script = scripted(GOOD)
    backend = load_backend("inpainter", "lama-cleaner", url=script.url)
    script.model = "mat"
    with pytest.raises(BackendError, match=r"must keep its model while a build runs.*from 'lama' to 'mat'"):
        backend.inpaint([IMAGE], [MASK])
    changed = load_backend("inpainter", "lama-cleaner", url=script.url).revision
    labelled = load_backend("inpainter", "lama-cleaner", url=script.url, label="2.0").revision
    assert len({backend.revision, changed, labelled}) == 3


@pytest.mark.parametrize("model", ["<html>a page</html>", "", "x" * 300, "a\nb"])
def test_what_is_no_models_name_is_refused(model: str, scripted: Any) -> None:
    script = scripted(GOOD)
    script.model = model
    with pytest.raises(BackendError, match="GET /model answered 200 and no model's name"):
        load_backend("inpainter", "lama-cleaner", url=script.url)


def test_a_models_name_cannot_break_the_revision(scripted: Any) -> None:
    script = scripted(GOOD)
    script.model = "owner/a model@1=2"
    assert load_backend("inpainter", "lama-cleaner", url=script.url).revision == "1+model-owner/a_model_1_2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "ftp://127.0.0.1"}, "url must be http"),
        ({"url": "file:///etc/passwd"}, "url must be http"),
        ({"url": "127.0.0.1:8080"}, "url must be http"),
        ({"url": "http://"}, "url must be http"),
        ({"url": "http://user:secret@127.0.0.1"}, "without a user name"),
        ({"url": "http://127.0.0.1:99999"}, "url must be http"),
        ({"url": "http://127.0.0.1:80/ a"}, "url must be http"),
        ({"url": "http://a\r\nHost: b"}, "url must be http"),
        ({"url": None}, "url must be of type str"),
        ({"concurrency": 0}, "concurrency must be a whole number from 1 to 64. Got 0"),
        ({"timeout": float("nan")}, "timeout must be above 0"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"retries": -1}, "retries must be a whole number from 0 to 20"),
        ({"label": "a b"}, "label must be"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        load_backend("inpainter", "iopaint", **options)
