"""Photo requests for tests: pictures, a site with everything that a list can lead to, and a crawl of it."""

import json
import socket
import time
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from photo_site import Page, Site, redirect
from PIL import Image

from catalog.images import decode_image
from catalog.manifests import Manifest
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.store import read_rows
from catalog.workspace import Workspace
from tasks.photo_requests.addresses import resolve_host
from tasks.photo_requests.collection import Collection, CrawlRequest
from tasks.photo_requests.crawl_settings import read_settings
from tasks.readers.sample import find_photos_root, read_photos

PROFILE = Path(__file__).parents[1] / "infra" / "profiles" / "embedded.toml"
TEXT = "Can someone please make the square in this photo red? Thanks!"
WISH = "Make the square in this photo red"
CLOSED_PORT = 9  # "discard", which nobody listens on
PRIVATE = "127.0.0.7"  # a loopback address that nobody allowed


def photos() -> dict[str, np.ndarray]:
    """Real photos, the longer side at most 360 pixels, by a short name."""
    root, found = find_photos_root(), {}
    for photo in read_photos():
        pixels = decode_image((root / photo["file"]).read_bytes())
        scale = min(1.0, 360 / max(pixels.shape[:2]))
        size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
        found[Path(photo["file"]).stem] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return found


def edited(photo: np.ndarray, color=(220, 20, 20), at: float = 0.3) -> np.ndarray:
    """A square of one colour on the photo."""
    result = photo.copy()
    height, width = photo.shape[:2]
    result[round(at * height) : round((at + 0.2) * height), round(at * width) : round((at + 0.2) * width)] = color
    return result


def jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@dataclass
class Case:
    """One request of the list, and how it must end."""

    name: str
    reason: Reason | None
    photo: Page | str
    results: tuple[Page | str, ...]
    """Pages of the site, or addresses as they are."""
    text: str = TEXT
    size: tuple[int, int] | None = None
    """Width and height of the pair, where it must have one."""


class Crawled:
    """A site, a list, and what a crawl made of them."""

    def __init__(self, home: Path, site: Site | None = None) -> None:
        self.workspace, self.site, port = Workspace(home / "home"), site, 1 if site is None else site.port
        self.list_file = home / "requests.jsonl"
        self.settings = {
            "fetch.host_rate": 1000.0,
            "fetch.host_connections": 8,
            "fetch.timeout": 1.5,
            "fetch.max_bytes": 1 << 20,
            "fetch.max_redirects": 4,
            "fetch.ports": [80, 443, port, CLOSED_PORT],
            "fetch.private_hosts": [f"127.0.0.1:{port}", f"127.0.0.1:{CLOSED_PORT}"],
            "requests_per_shard": 16,
        }

    def resolve(self, host: str, port: int) -> list[str]:
        if host.endswith("gone.test"):
            raise OSError("no such host")
        if host == "inside.test":
            return [PRIVATE]
        if host == "both.test":
            return ["127.0.0.1", PRIVATE]
        return ["127.0.0.1"] if host.endswith(".test") else resolve_host(host, port)

    def write(self, requests: list[dict]) -> None:
        self.list_file.write_text("".join(json.dumps(one) + "\n" for one in requests))

    def crawl(self, resolve=None, **changes) -> Manifest:
        settings = read_settings({**self.settings, **changes.pop("settings", {})})
        request = CrawlRequest(name="crawl-requests", list_file=self.list_file, settings=settings, **changes)
        self.collection = Collection(self.workspace, request, resolve=resolve or self.resolve)
        shards = [self.collection.match(rows) for rows in self.collection.chunks()]
        self.manifest = self.collection.finish(shards)
        return self.manifest

    def rows(self) -> list[dict]:
        return [row for path in self.manifest.paths(self.workspace, "requests") for row in read_rows(path)]

    def pixels(self, image: dict) -> np.ndarray:
        return decode_image(read_image_bytes(Roots.read(self.workspace.roots_path), image))


def cases(site: Site) -> list[Case]:
    """Everything that a list can lead to. Each case has a photo of its own as far as there are some."""
    taken = photos()
    names = list(taken)
    base = taken["coffee"] if "coffee" in taken else taken[names[0]]
    height, width = base.shape[:2]
    rng = np.random.default_rng(0)
    number = iter(range(1000))

    def own() -> np.ndarray:
        """The base photo with a corner of its own, so that no two cases are near duplicates."""
        picture = base.copy()
        index = next(number)
        x, y = 24 * (index % 14), 24 * (index // 14)
        picture[y : y + 24, x : x + 24] = rng.integers(0, 255, (1, 1, 3))
        return picture

    def page(pixels: np.ndarray, **more) -> Page:
        return Page(jpeg(pixels), **more)

    def pair(name: str, change, reason=None, size=None, **more) -> Case:
        photo = own()
        return Case(name, reason, page(photo), (page(change(edited(photo))),), size=size, **more)

    def broken(name: str, reason: Reason, result: Page | str) -> Case:
        return Case(name, reason, page(own()), (result,))

    half = (width // 2, height // 2)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 7, 1)
    good = jpeg(edited(own()))
    return [
        pair("good", lambda one: one, size=(width, height)),
        pair("smaller", lambda one: cv2.resize(one, half, interpolation=cv2.INTER_AREA), size=half),
        pair("larger", lambda one: cv2.resize(one, (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC)),
        pair("cropped", lambda one: one[20:-40, 30:-10], size=(width - 40, height - 60)),
        pair("turned", lambda one: cv2.warpAffine(one, turn, (width, height), flags=cv2.INTER_CUBIC)),
        pair("sideways", lambda one: np.rot90(one), size=(width, height)),
        pair("cast", lambda one: np.clip(one * [1.15, 0.95, 0.7] + 8, 0, 255).astype(np.uint8), size=(width, height)),
        pair("grey", lambda one: np.repeat(one.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)),
        pair("mirrored", lambda one: one[:, ::-1], Reason.MIRRORED_RESULT),
        pair("sheared", lambda one: cv2.resize(one, (width, 2 * height // 3)), Reason.DISTORTED_RESULT),
        pair("cut-out", lambda one: one[: height // 3, : width // 3], Reason.SMALL_COMMON_FRAME),
        Case("unrelated", Reason.UNRELATED_RESULT, page(own()), (page(taken["rocket"]),)),
        Case("same", Reason.NO_CHANGE, page(one := own()), (Page(jpeg(one, 70)),)),
        Case("several", None, page(one := own()), tuple(page(edited(one, at=at)) for at in (0.1, 0.4, 0.7))),
        Case("no-result", Reason.NO_RESULT, page(own()), ()),
        Case("no-wish", Reason.EMPTY_REQUEST, page(own()), (page(own()),), text="Hi! Thanks in advance :)"),
        Case("local-escape", Reason.PATH_ESCAPE, "../secret.jpg", (page(own()),)),
        Case("local-missing", Reason.MISSING_FILE, "not-here.jpg", (page(own()),)),
        Case("photo-gone", Reason.GONE, "/nowhere.jpg", (page(own()),)),
        broken("gone", Reason.GONE, Page(status=410)),
        broken("removed", Reason.GONE, "/to-removed.png"),
        broken("denied", Reason.ACCESS_DENIED, Page(status=403)),
        broken("failing", Reason.SERVER_ERROR, Page(status=500)),
        broken("teapot", Reason.HTTP_ERROR, Page(status=418)),
        broken("busy", Reason.TOO_MANY_REQUESTS, Page(status=429, headers={"Retry-After": "9999"})),
        broken("html", Reason.WRONG_TYPE, Page(b"<html>", headers={"Content-Type": "text/html"})),
        broken("zipped", Reason.WRONG_TYPE, Page(good, headers={"Content-Encoding": "gzip"})),
        broken("liar", Reason.NOT_AN_IMAGE, Page(b"<html>no picture</html>" * 9)),
        broken("empty", Reason.EMPTY_FILE, Page(b"")),
        broken("half-a-file", Reason.TRUNCATED_IMAGE, Page(good[: len(good) // 2])),
        broken("cut-short", Reason.TRUNCATED_ANSWER, Page(good[:5000], length=len(good))),
        broken("huge", Reason.ANSWER_TOO_LARGE, Page(b"", length=50 << 20)),
        broken("endless", Reason.ENDLESS_ANSWER, Page(length=-1)),
        broken("dripping", Reason.TIMED_OUT, Page(good, drip=0.05)),
        broken("dripping-headers", Reason.TIMED_OUT, Page(act=drip_headers)),
        broken("silent", Reason.TIMED_OUT, Page(good, delay=4)),
        broken(
            "hangs-up",
            Reason.CONNECTION_FAILED,
            Page(act=lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)),
        ),
        broken(
            "no-http", Reason.CONNECTION_FAILED, Page(act=lambda handler: handler.wfile.write(b"SSH-2.0-x\r\n\r\n"))
        ),
        broken("refused", Reason.CONNECTION_FAILED, f"http://127.0.0.1:{CLOSED_PORT}/x.jpg"),
        broken("unknown-host", Reason.UNKNOWN_HOST, f"http://gone.test:{site.port}/x.jpg"),
        broken("loop", Reason.REDIRECT_LOOP, "/loop-a"),
        broken("on-and-on", Reason.TOO_MANY_REDIRECTS, "/hop-0"),
        broken("nowhere", Reason.HTTP_ERROR, Page(status=302, headers={})),
        broken("to-private", Reason.PRIVATE_ADDRESS, redirect(f"http://inside.test:{site.port}/secret")),
        broken("to-metadata", Reason.PRIVATE_ADDRESS, redirect("http://169.254.169.254/latest/meta-data/")),
        broken("to-file", Reason.BAD_ADDRESS, redirect("file:///etc/passwd")),
        broken("to-port", Reason.BAD_ADDRESS, redirect("http://example.com:22/")),
        broken("private", Reason.PRIVATE_ADDRESS, f"http://{PRIVATE}:{site.port}/secret"),
        broken("private-name", Reason.PRIVATE_ADDRESS, f"http://inside.test:{site.port}/secret"),
        broken("half-private", Reason.PRIVATE_ADDRESS, f"http://both.test:{site.port}/secret"),
        broken("decimal", Reason.PRIVATE_ADDRESS, "http://2130706439/secret"),
        broken("mapped", Reason.PRIVATE_ADDRESS, "http://[::ffff:127.0.0.7]/secret"),
        broken("ftp", Reason.BAD_ADDRESS, "ftp://example.com/x.jpg"),
        broken("password", Reason.BAD_ADDRESS, f"http://a:b@127.0.0.1:{site.port}/x.jpg"),
        broken("forbidden", Reason.ROBOTS_FORBID, "/closed/x.jpg"),
        broken("robots-down", Reason.ROBOTS_UNREADABLE, f"http://down.test:{site.port}/x.jpg"),
        broken("noai", Reason.NOAI, Page(good, headers={"X-Robots-Tag": "noai, noimageai"})),
        broken("reserved", Reason.NOAI, Page(good, headers={"TDM-Reservation": "1"})),
        broken("opted-out", Reason.OPTED_OUT, f"http://pictures.optout.test:{site.port}/x.jpg"),
        broken("redirected-out", Reason.OPTED_OUT, redirect(f"http://optout.test:{site.port}/x.jpg")),
        broken("album", Reason.PAGE_LINK, "https://imgur.com/a/abcde"),
        broken("bomb", Reason.TOO_MANY_PIXELS, Page(png_header(60000, 60000))),
        Case("moved", None, "/moved.jpg", (page(edited(base, (10, 200, 10), 0.6)),)),
        Case("slow", None, page(one := own(), delay=0.4), (page(edited(one), delay=0.4),)),
        Case("other-robots", None, page(one := own()), (Page(jpeg(edited(one)), headers={"X-Robots-Tag": "x: noai"}),)),
    ]


def drip_headers(handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        handler.wfile.write(f"X-{number}: y\r\n".encode())
        time.sleep(0.05)


def png_header(width: int, height: int) -> bytes:
    stream = BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data) + bytes(64)


def put(site: Site, path: str, page: Page | str) -> str:
    """Give a page its path and return the address; an address stays as it is."""
    if isinstance(page, str):
        return site.url(page) if page.startswith("/") else page
    site.pages[path] = page
    return site.url(path)


def robots(handler) -> None:
    host = (handler.headers.get("Host") or "").partition(":")[0]
    if host == "down.test":
        handler.answer(Page(status=503, headers={}))
    else:
        rules = b"User-agent: *\nDisallow: /closed/\n\nUser-agent: ieiw\nDisallow: /closed\n"
        handler.answer(Page(rules, headers={"Content-Type": "text/plain"}))


def simple_site(site: Site, number: int) -> list[dict]:
    """Requests whose pictures are all good, each its own."""
    base, requests = next(iter(photos().values()))[:120, :160], []
    for index in range(number):
        photo = base.copy()
        photo[: 8 + index, :30] = (index * 37 % 255, index * 91 % 255, index * 53 % 255)
        names = [f"/simple/{index}/{side}.jpg" for side in ("photo", "result")]
        site.pages[names[0]] = Page(jpeg(photo), headers={"Content-Type": "image/jpeg", "ETag": f'"{index}"'})
        site.pages[names[1]] = Page(jpeg(edited(photo)), delay=0.02)
        before, after = map(site.url, names)
        requests.append({"id": f"r{index}", "page": "https://f.test/", "before": before, "after": after, "text": TEXT})
    return requests
