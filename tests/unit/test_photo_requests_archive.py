"""The archive: what was fetched stays, is asked for again only to learn whether it has changed, and fills no memory."""

import time
import tracemalloc

import numpy as np
import pytest
from photo_site import Page, Site, make_fetcher, picture

from catalog.errors import ConfigError
from catalog.images import encode_png
from catalog.reasons import Reason
from catalog.workspace import Workspace
from tasks.photo_requests.archive import Archive
from tasks.photo_requests.fetch_queue import fetch_all


@pytest.fixture
def site():
    with Site() as site:
        yield site


def test_what_has_not_changed_is_not_sent_again(site, tmp_path):
    headers = {"Content-Type": "image/png", "ETag": '"v1"', "Last-Modified": "Tue, 01 Aug 2023 10:00:00 GMT"}
    site.pages["/a.png"] = Page(picture(), headers=headers)
    fetcher, archive = make_fetcher(tmp_path, site), Archive(Workspace(tmp_path))
    first = fetcher.fetch(site.url("/a.png"))
    assert first.reason is None and first.etag == '"v1"' and archive.find(first.address) == first
    again = fetcher.fetch(first.address, first)
    assert site.headers["/a.png"]["If-None-Match"] == '"v1"' and "If-Modified-Since" in site.headers["/a.png"]
    assert (again.status, again.sha256, again.image) == (304, first.sha256, first.image)
    assert archive.read(again.sha256) == picture()
    site.pages["/a.png"] = Page(picture(1), headers={**headers, "ETag": '"v2"'})
    changed = fetcher.fetch(first.address, again)
    assert changed.reason is None and changed.sha256 != first.sha256 and archive.read(changed.sha256) == picture(1)
    site.pages["/a.png"] = Page(status=304, headers={})
    assert make_fetcher(tmp_path / "other", site).fetch(first.address).reason == Reason.HTTP_ERROR


def test_what_was_whole_stays_when_half_of_it_comes(site, tmp_path):
    """Without a Content-Length nobody but the decoder can tell."""
    site.pages["/a.png"] = Page(picture(), headers={"Content-Type": "image/png"})
    fetcher, archive = make_fetcher(tmp_path, site), Archive(Workspace(tmp_path))
    first = fetcher.fetch(site.url("/a.png"))
    site.pages["/a.png"] = Page(picture()[:1500], headers={"Content-Type": "image/png"})
    assert fetcher.fetch(first.address, first) == first and archive.find(first.address) == first
    assert make_fetcher(tmp_path / "other", site).fetch(first.address).reason == Reason.TRUNCATED_IMAGE


def test_an_etag_beyond_ascii_goes_back_as_it_came(site, tmp_path):
    site.pages["/a.png"] = Page(picture(), headers={"Content-Type": "image/png", "ETag": '"\xe9\xfc"'})
    fetcher = make_fetcher(tmp_path, site)
    first = fetcher.fetch(site.url("/a.png"))
    assert first.etag == '"\xe9\xfc"' and fetcher.fetch(first.address, first).status == 304


def test_no_picture_stays_in_memory(tmp_path, site):
    """300 pictures of 100 kB each, fetched and looked at: the peak is that of a few (bench_crawl measures 1,000)."""
    large = encode_png(np.random.default_rng(0).integers(0, 255, (180, 190, 3), np.uint8))
    site.pages |= {f"/{number}.png": Page(large) for number in range(300)}
    fetcher = make_fetcher(tmp_path, site, timeout=60.0)
    tracemalloc.start()
    try:
        fetch_all(fetcher.fetch, [site.url(f"/{n}.png") for n in range(300)], 4, 4, lambda done, total: None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert site.count("/299.png") == 1 and peak < 12 << 20 < 300 * len(large) / 2, f"{peak} bytes at the peak"


def test_the_archive_is_held_by_one_and_forgets_what_was_not_committed(site, tmp_path):
    archive = Archive(Workspace(tmp_path))
    with archive.hold(), pytest.raises(ConfigError, match="another crawl"), Archive(Workspace(tmp_path)).hold():
        pass
    site.pages["/a.png"] = Page(picture())
    answer = make_fetcher(tmp_path, site).fetch(site.url("/a.png"))
    (tmp_path / "data" / answer.image["path"]).unlink()
    assert archive.find(answer.address) is None, "without its bytes an answer is none"
    torn = archive.folder / "incoming" / "x.tmp"
    torn.write_bytes(b"half")
    with archive.hold():
        assert not torn.exists()


def test_a_crawl_that_is_stopped_waits_for_nobody_and_records_nothing_of_it(site, tmp_path):
    """Ctrl-C while one host is silent and another has asked for a pause."""
    pause = {"Retry-After": "20"}
    site.pages |= {"/silent.png": Page(picture(), delay=20), "/paused.png": Page(status=503, headers=pause)}
    site.pages["/quick.png"] = Page(picture(), delay=0.5)
    fetcher, archive = make_fetcher(tmp_path, site, timeout=60.0), Archive(Workspace(tmp_path))
    hosts = {"silent": "a.test", "paused": "b.test", "quick": "c.test"}
    wanted = {name: site.url(f"/{name}.png", host) for name, host in hosts.items()}

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch_all(fetcher.fetch, wanted.values(), 3, 1, interrupt, fetcher.stop)
    assert time.monotonic() - start < 8
    assert {name: archive.find(address) is not None for name, address in wanted.items()} == {
        "silent": False,
        "paused": False,
        "quick": True,
    }
