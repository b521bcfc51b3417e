"""A crawl of photo requests against a real web site on the loopback: every page ends as the right pair or as a row
with its own reason, within the limits, and nothing is fetched twice.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_site import Page, Site, redirect
from PIL import Image
from plain_build import build

from catalog.command_line import run
from catalog.counts import count_build
from catalog.images import decode_image, encode_png
from catalog.manifests import Manifest
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.store import read_rows
from catalog.verification import verify
from catalog.workspace import Workspace
from tasks import commands
from tasks.photo_requests.addresses import resolve_host
from tasks.photo_requests.collection import Collection, CrawlRequest
from tasks.photo_requests.crawl_settings import read_settings
from tasks.profiles import read_profile
from tasks.readers.sample import find_photos_root, read_photos

PROFILE = Path(__file__).parents[2] / "infra" / "profiles" / "embedded.toml"
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

    def __init__(self, home: Path, site: Site) -> None:
        self.workspace, self.site = Workspace(home / "home"), site
        self.list_file = home / "requests.jsonl"
        self.settings = {
            "fetch.host_rate": 1000.0,
            "fetch.host_connections": 8,
            "fetch.timeout": 1.5,
            "fetch.max_bytes": 1 << 20,
            "fetch.max_redirects": 4,
            "fetch.ports": [80, 443, site.port, CLOSED_PORT],
            "fetch.private_hosts": [f"127.0.0.1:{site.port}", f"127.0.0.1:{CLOSED_PORT}"],
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


@pytest.fixture(scope="module")
def site():
    with Site() as site:
        site.pages["/robots.txt"] = Page(act=robots)
        site.pages["/moved.jpg"] = redirect("/new/place.jpg", 301)
        site.pages["/new/place.jpg"] = Page(jpeg(next(iter(photos().values()))))
        site.pages["/loop-a"], site.pages["/loop-b"] = redirect("/loop-b"), redirect("/loop-a")
        site.pages["/to-removed.png"] = redirect("/removed.png")
        site.pages["/removed.png"] = Page(b"x")
        site.pages |= {f"/hop-{n}": redirect(f"/hop-{n + 1}") for n in range(9)}
        yield site


@pytest.fixture(scope="module")
def crawled(tmp_path_factory, site):
    home = tmp_path_factory.mktemp("crawl")
    made = Crawled(home, site)
    (home / "opt-out.txt").write_text("# people who want no part in it\noptout.test\n")
    made.cases = {case.name: case for case in cases(site)}
    made.cases["moved"].results = (Page(jpeg(edited(next(iter(photos().values()))))),)
    requests = []
    for case in made.cases.values():
        results = [put(site, f"/{case.name}/{n}.jpg", page) for n, page in enumerate(case.results)]
        requests.append(
            {
                "id": case.name,
                "page": f"https://forum.test/{case.name}",
                "before": put(site, f"/{case.name}/photo.jpg", case.photo),
                "after": results,
                "text": case.text,
                "licence": "CC0",
            }
        )
    made.write(requests)
    with Site(PRIVATE, site.port) as secret:
        made.secret = secret
        made.crawl(opt_out=home / "opt-out.txt")
    return made


def test_every_page_ends_as_the_right_pair_or_with_its_own_reason(crawled, site):
    rows = crawled.rows()
    ended = {row["result_id"]: row["reason"] for row in rows}
    expected = {}
    for case in crawled.cases.values():
        count = len(case.results) if case.reason not in (Reason.NO_RESULT, Reason.EMPTY_REQUEST) else 0
        for number in range(1, count + 1) if count else (0,):
            expected[f"{case.name}-{number}"] = case.reason and str(case.reason)
    assert ended == expected
    assert len(site.pages) >= 80 and len({reason for reason in ended.values() if reason}) >= 28
    print("\nrows by reason:", dict(Counter(str(reason) for reason in ended.values()).most_common()))
    for row in rows:
        assert row["page"] == f"https://forum.test/{row['request_id']}" and row["licence"] == "CC0"
        if row["reason"] is not None:
            assert row["detail"] and row["source_image"] is None and row["target_image"] is None


def test_pairs_show_photo_and_result_in_one_frame(crawled):
    usable = {row["result_id"]: row for row in crawled.rows() if row["reason"] is None}
    assert len(usable) == 14
    for row in usable.values():
        source, target = crawled.pixels(row["source_image"]), crawled.pixels(row["target_image"])
        assert source.shape == target.shape and row["instruction"] == WISH
        size = crawled.cases[row["request_id"]].size
        if size is not None:
            assert (source.shape[1], source.shape[0]) == size, row["result_id"]
        grey = [cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(float) for one in (source, target)]
        outside = np.abs(grey[0] - grey[1])
        assert np.median(outside) < (30 if row["request_id"] in ("cast", "grey") else 6), row["result_id"]
        assert np.mean(np.abs(source.astype(int) - target).max(axis=2) > 40) > 0.02, row["result_id"]


def test_what_needs_no_cutting_stays_as_it_was_fetched(crawled, site):
    rows = {row["result_id"]: row for row in crawled.rows()}
    good = rows["good-1"]
    roots = Roots.read(crawled.workspace.roots_path)
    assert read_image_bytes(roots, good["source_image"]) == site.pages["/good/photo.jpg"].body
    assert read_image_bytes(roots, good["target_image"]) == site.pages["/good/0.jpg"].body
    cropped = rows["cropped-1"]
    assert np.array_equal(
        crawled.pixels(cropped["source_image"]), decode_image(site.pages["/cropped/photo.jpg"].body)[20:-40, 30:-10]
    )
    assert np.array_equal(crawled.pixels(cropped["target_image"]), decode_image(site.pages["/cropped/0.jpg"].body))


def test_nobody_inside_was_asked_and_no_forbidden_page(crawled, site):
    assert crawled.secret.asked == []
    hosts = {host for host, _, _ in site.asked}
    assert hosts == {"127.0.0.1", "down.test"}
    paths = {path for _, path, _ in site.asked}
    assert not any(path.startswith("/closed") or path == "/secret" for path in paths)
    assert ("down.test", "/x.jpg") not in {(host, path) for host, path, _ in site.asked}
    assert all(headers["User-Agent"] == "ieiw/0.1" for headers in site.headers.values())


def test_a_second_run_asks_nobody_and_makes_the_same_bytes(crawled, site):
    shards = {path: path.read_bytes() for path in (crawled.workspace.catalog / "tables").rglob("*.parquet")}
    asked, manifest = len(site.asked), crawled.manifest
    again = crawled.crawl(opt_out=crawled.list_file.with_name("opt-out.txt"))
    assert len(site.asked) == asked and again == manifest
    assert {path: path.read_bytes() for path in (crawled.workspace.catalog / "tables").rglob("*.parquet")} == shards


def test_the_build_takes_the_pairs(crawled):
    source = {"dataset": "photo_request", "reader": "photo_requests", "root": str(crawled.workspace.home)}
    profile = read_profile(PROFILE, {"name": "with-requests", "source": [source], "images_per_shard": 6})
    manifest = build(crawled.workspace, profile, workers=2)
    pairs = [row for path in manifest.paths(crawled.workspace, "pairs") for row in read_rows(path)]
    usable = {row["result_id"]: row for row in crawled.rows() if row["reason"] is None}
    assert {row["region_id"].partition("/")[2] for row in pairs} == set(usable)
    for pair in pairs:
        row = usable[pair["region_id"].partition("/")[2]]
        assert (
            pair["reason"] is None and pair["edit_type"] == "photo_request" and pair["vision_task"] == "image_editing"
        )
        assert pair["group_id"] == row["photo_image"]["sha256"] and pair["licence"] == "CC0"
        for side in ("source_image", "target_image"):
            place = {"root": "photo_request", "path": f"data/{row[side]['path']}"}
            assert pair[side] == {**row[side], **place}, "referenced where it is"
    assert len({pair["split"] for pair in pairs if "several" in pair["region_id"]}) == 1
    assert not crawled.workspace.tar_path("pairs", manifest.tables["pairs"][0].key).exists(), "no image is copied"
    counts = count_build(crawled.workspace, "crawl-requests")
    assert counts.tables[0]["table"] == "requests" and counts.tables[0]["num_usable"] == len(usable)
    assert verify(crawled.workspace, deep=True).problems == []


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


def test_after_a_kill_nothing_is_fetched_twice(tmp_path):
    """A crawl killed again and again, at any moment, ends with the shards of an undisturbed one."""
    with Site() as site:
        requests = simple_site(site, 24)
        undisturbed, killed = Crawled(tmp_path / "a", site), Crawled(tmp_path / "b", site)
        for one in (undisturbed, killed):
            one.list_file.parent.mkdir()
            one.write(requests)
        settings = [f"{name}={json.dumps(value)}" for name, value in undisturbed.settings.items()]
        light = "import sys; from tasks.photo_requests.crawl_command import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", light, str(killed.list_file)]
        command += [part for setting in settings for part in ("--set", setting)]
        environment = {**os.environ, "IEIW_HOME": str(killed.workspace.home)}
        killed.workspace.home.mkdir()
        for enough in (8, 30):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(site.asked) < enough and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        fetched = Counter(path for _, path, _ in site.asked if path != "/robots.txt")
        committed = sum(count == 1 for count in fetched.values())
        print(f"\n{committed} of {len(fetched)} files asked for once; the others were on their way when a kill came")
        assert len(fetched) == 48 and max(fetched.values()) <= 2
        assert 48 - committed <= 2 * killed.settings["fetch.host_connections"]
        asked = len(site.asked)
        again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert again.returncode == 0 and len(site.asked) == asked and "0 addresses fetched now" in again.stdout
        undisturbed.crawl()
        tables = [
            {path.name: path.read_bytes() for path in (one.workspace.catalog / "tables" / "requests").glob("*")}
            for one in (undisturbed, killed)
        ]
        assert tables[0] == tables[1] and len(tables[0]) == 2


def test_who_opts_out_later_is_left_out_also_behind_a_redirect(tmp_path):
    with Site() as site:
        crawled = Crawled(tmp_path, site)
        requests = simple_site(site, 1)
        site.pages["/moved.jpg"] = redirect(site.url("/simple/0/result.jpg", "host.test"))
        crawled.write([{**requests[0], "after": site.url("/moved.jpg")}])
        crawled.settings["fetch.private_hosts"].append(f"host.test:{site.port}")
        crawled.crawl()
        assert [row["reason"] for row in crawled.rows()] == [None]
        (tmp_path / "out.txt").write_text("host.test\n")
        asked = len(site.asked)
        crawled.crawl(opt_out=tmp_path / "out.txt")
        assert [row["reason"] for row in crawled.rows()] == ["opted_out"] and len(site.asked) == asked


def test_failures_are_tried_again_only_when_asked(tmp_path):
    with Site() as site:
        crawled = Crawled(tmp_path, site)
        crawled.write(simple_site(site, 2))
        good = site.pages["/simple/0/result.jpg"]
        site.pages["/simple/0/result.jpg"] = Page(status=503, headers={})
        site.pages["/simple/1/result.jpg"] = Page(status=404)
        crawled.crawl()
        assert [row["reason"] for row in crawled.rows()] == ["server_error", "gone"]
        site.pages["/simple/0/result.jpg"] = good
        crawled.crawl()
        assert [row["reason"] for row in crawled.rows()] == ["server_error", "gone"]
        crawled.crawl(again="failed")
        assert [row["reason"] for row in crawled.rows()] == [None, "gone"]
        assert site.count("/simple/1/result.jpg") == 1, "what is gone stays gone"
        asked = len(site.asked)
        crawled.crawl(again="all")
        assert [row["reason"] for row in crawled.rows()] == [None, "gone"]
        site.pages["/simple/0/photo.jpg"] = Page(status=503, headers={})
        crawled.crawl(again="all")
        assert [row["reason"] for row in crawled.rows()] == [None, "gone"], "what a host gave before stays"
        asked += 5
        assert len(site.asked) == asked + 1 + 4 and site.headers["/simple/0/photo.jpg"]["If-None-Match"] == '"0"'


def test_local_files_need_no_network_and_the_build_takes_them(tmp_path):
    with Site() as site:
        crawled = Crawled(tmp_path, site)
        photo = next(iter(photos().values()))
        for name, pixels in (("a", photo), ("b", edited(photo)), ("c", edited(photo, at=0.5))):
            (tmp_path / f"{name}.jpg").write_bytes(jpeg(pixels))
        row = {"page": "p", "text": TEXT, "licence": "CC0"}
        crawled.write(
            [
                {**row, "id": "1", "before": "a.jpg", "after": ["b.jpg", "c.jpg", site.url("/never.jpg")]},
                {**row, "id": "1", "before": "a.jpg", "after": "b.jpg"},
                {**row, "id": "3", "before": "a.jpg", "after": "b.jpg"},
                {**row, "id": "4", "before": "/etc/passwd", "after": "b.jpg"},
                {**row, "id": "5", "before": "a.jpg", "after": "b.jpg", "author": "ann"},
            ]
        )
        (tmp_path / "out.txt").write_text("u/Ann\n")
        crawled.crawl(offline=True, opt_out=tmp_path / "out.txt")
        assert {row["result_id"]: row["reason"] for row in crawled.rows()} == {
            "1-1": None,
            "1-2": None,
            "1-3": "not_fetched",
            "1~2-0": "duplicate_id",
            "3-1": "near_duplicate",
            "4-1": "path_escape",
            "5-0": "opted_out",
        }
        assert site.asked == []
        taken_back = crawled.rows()[-1]
        assert taken_back["request_text"] is taken_back["photo_image"] is None
        (tmp_path / "b.jpg").unlink()
        crawled.crawl(offline=True, opt_out=tmp_path / "out.txt")
        assert {row["reason"] for row in crawled.rows() if row["result_id"] in ("1-1", "3-1")} == {"missing_file"}
        digest = crawled.rows()[1]["photo_image"]["sha256"]
        (tmp_path / "out.txt").write_text(digest)
        crawled.crawl(offline=True, opt_out=tmp_path / "out.txt")
        assert {row["reason"] for row in crawled.rows() if row["result_id"] == "1-2"} == {"opted_out"}


def test_a_gallery_goes_by_the_photo_that_each_result_is_of(tmp_path):
    with Site() as site:
        crawled, taken = Crawled(tmp_path, site), photos()
        names = ("coffee", "chelsea")
        for name in names:
            site.pages[f"/{name}.jpg"] = Page(jpeg(taken[name]))
            site.pages[f"/{name}-edit.jpg"] = Page(jpeg(edited(taken[name])))
        before = [site.url(f"/{name}.jpg") for name in names] + [site.url("/lost.jpg")]
        after = [site.url(f"/{name}-edit.jpg") for name in reversed(names)]
        crawled.write([{"id": "g", "page": "p", "before": before, "after": after, "text": TEXT}])
        crawled.crawl()
        rows = crawled.rows()
        assert [row["reason"] for row in rows] == [None, None]
        assert [row["photo"] for row in rows] == [before[1], before[0]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.jsonl"], "no list of photo requests at"),
        (["list.jsonl", "--set", "fetch.host_rate=fast"], "must be of type float"),
        (["list.jsonl", "--set", "fetch.speed=1"], "has no entry 'speed'"),
        (["list.jsonl", "--opt-out", "none.txt"], "opt-out list"),
        (["list.jsonl", "--offline", "--again", "all"], "asks nobody"),
        (["list.jsonl", "--name", "A B"], "a build's name is"),
        (["list.jsonl", "--comments", "x.zst"], "comments belong to a Reddit dump"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.setenv("IEIW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.jsonl").write_text("")
    assert run(commands.main, ["crawl", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and sentence in error


def test_the_command_says_what_became_of_the_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IEIW_HOME", str(tmp_path / "home"))
    photo = next(iter(photos().values()))
    (tmp_path / "a.png").write_bytes(encode_png(photo))
    (tmp_path / "b.png").write_bytes(encode_png(edited(photo)))
    row = {"page": "p", "before": "a.png", "after": ["b.png", "a.png", "c.png"], "text": TEXT}
    (tmp_path / "list.jsonl").write_text(json.dumps(row) + "\nbroken\n")
    assert run(commands.main, ["crawl", str(tmp_path / "list.jsonl")]) == 0
    printed = capsys.readouterr().out
    for outcome in ("pair", "no_change", "missing_file", "malformed_record"):
        assert outcome in printed
    assert "0 addresses fetched now, 0 known before, 3 local files" in printed
