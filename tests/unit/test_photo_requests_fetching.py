"""Fetching: addresses that are checked, hosts that are spared, an archive that remembers."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpcore
import pytest
from photo_site import Page, Site, make_fetcher, picture, redirect

from catalog.errors import ConfigError, RowRejected
from catalog.reasons import Reason
from tasks.photo_requests import addresses
from tasks.photo_requests.addresses import CheckedNetwork, Deadline, is_public, parse_url
from tasks.photo_requests.fetch_queue import fetch_all
from tasks.photo_requests.opt_outs import read_opt_outs
from tasks.photo_requests.robots import RobotsRules, find_reservation


@pytest.fixture
def site():
    with Site() as site:
        yield site


@pytest.mark.parametrize(
    "address",
    """127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 255.255.255.255 224.0.0.1 192.0.2.1
    198.18.0.1 240.0.0.1 ::1 :: fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1
    2002:7f00:1:: 2001:0:0:0:0:0:80ff:fffe 2001:db8::1 fec0::1 64:ff9b:1::7f00:1 ::127.0.0.1 not-an-address""".split(),
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "151.101.1.140", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_addresses_that_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.test/a",
        "file:///etc/passwd",
        "//x.test/a",
        "http://",
        "http://x.test:22/a",
        "http://user@x.test/",
        "http://x.test/\r\nHost: y",
        "http://x.test/ a",
        "http://[::1",
        "http://x.test:99999/",
        "gopher://x",
        "x" * 3000,
        "http://x.test/\ud800",
        "http://" + "a" * 300 + ".test/",
    ],
)
def test_urls_that_are_refused_by_their_looks(url):
    with pytest.raises(RowRejected) as rejected:
        CheckedNetwork(Deadline()).check(parse_url(url).host, 80)
    assert rejected.value.reason in (Reason.BAD_ADDRESS, Reason.UNKNOWN_HOST)


def test_urls_in_their_normal_form():
    assert str(parse_url("HTTP://Ex-Ample.test/ä?b=ü#part")) == "http://ex-ample.test/%C3%A4?b=%C3%BC"
    assert parse_url("https://bücher.test/").raw_host == b"xn--bcher-kva.test"


def test_a_name_is_looked_up_once_and_the_checked_address_is_connected(site, tmp_path):
    """A name that answers with an allowed address first and a private one afterwards gets nobody inside."""
    site.pages |= {"/robots.txt": Page(b"# all of it"), "/a.png": Page(picture())}
    looked_up = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["127.0.0.9"]

    fetcher = make_fetcher(tmp_path, site, resolve=resolve)
    assert fetcher.fetch(site.url("/a.png", "rebinding.test")).reason is None
    assert looked_up == ["rebinding.test"], "one connection, one look-up, and the second request goes over it"
    fetcher._pool.close()
    again = make_fetcher(tmp_path, site, resolve=resolve).fetch(site.url("/b.png", "rebinding.test"))
    assert again.reason == Reason.PRIVATE_ADDRESS


def test_every_address_of_a_name_must_be_public():
    network = CheckedNetwork(Deadline(), (), lambda *_: ["8.8.8.8", "10.0.0.1"])
    with pytest.raises(RowRejected) as rejected:
        network.connect_tcp("mixed.test", 80, 1.0)
    assert rejected.value.reason is Reason.PRIVATE_ADDRESS


def test_a_name_that_nobody_answers_for_ends_in_time(monkeypatch):
    """A resolver may take minutes: the thread that fetches does not wait for it."""
    monkeypatch.setattr(addresses, "_LOOK_UP", 0.2)
    asleep = threading.Event()
    network = CheckedNetwork(Deadline(), (), lambda *_: [str(asleep.wait(30))])
    start = time.monotonic()
    with pytest.raises(RowRejected, match=r"not looked up within") as rejected:
        network.connect_tcp("silent.test", 80, 5.0)
    asleep.set()
    assert rejected.value.reason is Reason.TIMED_OUT and time.monotonic() - start < 5


def test_a_deadline_ends_every_wait():
    deadline = Deadline()
    deadline.at = time.monotonic() - 1
    with pytest.raises(httpcore.ReadTimeout):
        deadline.left(5)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(deadline.left, 5).result() == 5, "another thread has its own"


@pytest.mark.parametrize(
    ("rules", "allowed", "forbidden"),
    [
        (b"", ["/a"], []),
        (b"User-agent: *\nDisallow: /", [], ["/a", "/"]),
        (b"User-agent: *\nDisallow: /\n\nUser-agent: ieiw\nAllow: /", ["/a"], []),
        (b"User-agent: ieiw\nDisallow: /*.jpg$\nAllow: /free", ["/a.png", "/free/b.png"], ["/x.jpg"]),
        (b"User-agent: other\nDisallow: /", ["/a"], []),
        (b"User-agent: *\nDisallow: /private\nAllow: /private/open", ["/private/open/x"], ["/private/x"]),
        (b"\xff\xfe broken \x00 lines\nUser-agent: *\nDisallow: /b", ["/a"], ["/b"]),
    ],
)
def test_robots_rules(rules, allowed, forbidden):
    parsed = RobotsRules.parse("ieiw", rules)
    assert all(parsed.allows(f"https://x.test{path}") for path in allowed)
    assert not any(parsed.allows(f"https://x.test{path}") for path in forbidden)


def test_robots_delays():
    assert RobotsRules.parse("ieiw", b"User-agent: *\nCrawl-delay: 2.5").delay == 2.5
    assert RobotsRules.parse("ieiw", b"User-agent: *\nRequest-rate: 1/10s").delay == 10
    assert RobotsRules.parse("ieiw", b"User-agent: *\nCrawl-delay: 99999").delay == 60
    assert RobotsRules("ieiw").delay == 0


@pytest.mark.parametrize(
    ("name", "value", "reserves"),
    [
        ("X-Robots-Tag", "noai", True),
        ("x-robots-tag", "nofollow, NoImageAI", True),
        ("X-Robots-Tag", "noindex", True),
        ("X-Robots-Tag", "none", True),
        ("X-Robots-Tag", "ieiw: noai", True),
        ("X-Robots-Tag", "otherbot: noai, noindex", False),
        ("X-Robots-Tag", "nofollow", False),
        ("X-Robots-Tag", "max-snippet: 5, noimageindex", True),
        ("X-Robots-Tag", "unavailable_after: 25 Jun 2030 15:00:00 PST", False),
        ("TDM-Reservation", "1", True),
        ("TDM-Reservation", "0", False),
        ("X-Other", "noai", False),
    ],
)
def test_headers_that_reserve(name, value, reserves):
    assert (find_reservation([(name.encode(), value.encode())], "ieiw") is not None) is reserves


def test_opt_out_lists(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"# names\nExample.com\nhttps://host.test/album/7/\n/u/Some_One # asked by mail\n{'AB' * 32}\n")
    found = read_opt_outs(path)
    for url in (
        "http://example.com/x",
        "https://a.b.example.com:8443/",
        "https://host.test/album/7",
        "http://host.test/album/7/x.jpg",
    ):
        assert found.name_url(url), url
    for url in ("http://notexample.com/", "http://example.com.evil.test/", "https://host.test/album/77", "http://[bad"):
        assert not found.name_url(url), url
    assert found.name_author("some_one") and not found.name_author("someone") and not found.name_author(None)
    assert found.digests == {"ab" * 32}
    path.write_text("good.test\nwhat is this\n")
    with pytest.raises(ConfigError, match="line 2"):
        read_opt_outs(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_opt_outs(tmp_path / "none.txt")


def test_a_host_is_asked_no_faster_and_no_wider_than_allowed(site, tmp_path):
    """Measured on the site's side: at most 3 at a time, at most 10 in any second, for each of two hosts."""
    site.pages |= {f"/{n}.png": Page(picture(n), delay=0.25) for n in range(14)} | {"/robots.txt": Page(status=404)}
    fetcher = make_fetcher(tmp_path, site, host_connections=3, host_rate=10.0, timeout=20.0)
    wanted = [site.url(f"/{n}.png", host) for n in range(14) for host in ("one.test", "two.test")]
    answers = fetch_all(fetcher.fetch, wanted, 16, 3, lambda done, total: None)
    assert all(answer.reason is None for answer in answers.values()) and len(answers) == 28
    for host in ("one.test", "two.test"):
        times = sorted(at for name, _, at in site.asked if name == host)
        assert len(times) == 15
        fastest = max(sum(start <= at < start + 1 for at in times) for start in times)
        print(f"\n{host}: at most {site.most_open[host]} at a time, {fastest} in a second")
        assert site.most_open[host] <= 3 and fastest <= 10
    assert times[-1] - times[0] < 6, "and not much slower either"


def test_a_crawl_delay_makes_it_slower(site, tmp_path):
    site.pages |= {f"/{n}.png": Page(picture(n)) for n in range(3)}
    site.pages["/robots.txt"] = Page(b"User-agent: *\nCrawl-delay: 0.4", headers={"Content-Type": "text/plain"})
    fetcher = make_fetcher(tmp_path, site)
    for n in range(3):
        assert fetcher.fetch(site.url(f"/{n}.png")).reason is None
    times = [at for _, path, at in site.asked if path != "/robots.txt"]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 0.38


def test_robots_txt_is_asked_for_once(site, tmp_path):
    site.pages |= {f"/{n}.png": Page(picture(n)) for n in range(6)}
    fetcher = make_fetcher(tmp_path, site)
    fetch_all(fetcher.fetch, [site.url(f"/{n}.png") for n in range(6)], 6, 6, lambda done, total: None)
    assert site.count("/robots.txt") == 1


def test_a_compressed_robots_txt_counts_as_unreadable(site, tmp_path):
    site.pages |= {"/a.png": Page(picture()), "/robots.txt": Page(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})}
    assert make_fetcher(tmp_path, site).fetch(site.url("/a.png")).reason == Reason.ROBOTS_UNREADABLE


def test_a_host_that_asks_for_a_pause_gets_it_once(site, tmp_path):
    answers = iter([429, 200])

    def act(handler):
        handler.answer(Page(picture(), next(answers), {"Retry-After": "1", "Content-Type": "image/png"}))

    site.pages |= {"/a.png": Page(act=act), "/b.png": Page(status=503, headers={"Retry-After": "0"})}
    fetcher = make_fetcher(tmp_path, site, timeout=0.9)
    assert fetcher.fetch(site.url("/a.png")).reason is None, "the pause does not count against the time"
    times = [at for _, path, at in site.asked if path == "/a.png"]
    assert len(times) == 2 and times[1] - times[0] >= 0.95
    assert fetcher.fetch(site.url("/b.png")).reason == Reason.SERVER_ERROR and site.count("/b.png") == 2


@pytest.mark.parametrize(
    "target", ["http://[::1", "http://127.0.0.7:1/robots.txt", "file:///etc/passwd", "http://x:y/"]
)
def test_a_robots_txt_that_leads_astray_counts_as_unreadable(site, tmp_path, target):
    site.pages |= {"/a.png": Page(picture()), "/robots.txt": redirect(target)}
    assert make_fetcher(tmp_path, site).fetch(site.url("/a.png")).reason == Reason.ROBOTS_UNREADABLE
    assert site.count("/a.png") == 0


def test_a_host_that_is_gone_is_not_tried_for_each_of_its_links(tmp_path, site):
    looked_up = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        raise OSError("no such host")

    fetcher = make_fetcher(tmp_path, site, resolve=resolve)
    answers = [fetcher.fetch(f"http://gone.test:{site.port}/{number}.jpg") for number in range(6)]
    assert [one.reason for one in answers] == [Reason.UNKNOWN_HOST] * 3 + [Reason.CONNECTION_FAILED] * 3
    assert "not asked again" in answers[-1].detail and all(one.may_pass for one in answers)
    assert looked_up == ["gone.test"] * 3


def test_a_slow_host_keeps_nobody_waiting(tmp_path, site):
    site.pages |= {f"/slow/{n}.png": Page(picture(n), delay=0.4) for n in range(6)}
    site.pages |= {f"/fast/{n}.png": Page(picture(n)) for n in range(6)}
    fetcher, ended = make_fetcher(tmp_path, site, host_connections=1), []
    wanted = [site.url(f"/slow/{n}.png", "slow.test") for n in range(6)]
    wanted += [site.url(f"/fast/{n}.png", "fast.test") for n in range(6)]

    def fetch(address):
        answer = fetcher.fetch(address)
        ended.append(address)
        return answer

    fetch_all(fetch, wanted, 3, 1, lambda done, total: None)
    assert Counter("fast" in address for address in ended[:7])[True] >= 5
