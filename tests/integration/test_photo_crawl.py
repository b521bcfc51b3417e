"""Crawls of photo requests killed, repeated, offline and asked for in a wrong way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from photo_crawls import (
    TEXT,
    Crawled,
    edited,
    jpeg,
    photos,
    simple_site,
)
from photo_site import Page, Site, redirect
from reddit_posts import comment, dump, media, post

from catalog.command_line import run
from catalog.images import encode_png
from catalog.manifests import Manifest, write_manifest
from catalog.workspace import Workspace
from tasks import commands
from tasks.photo_requests.archive import Answer, Archive


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
        killed.crawl()
        fetched = Counter(path for _, path, _ in site.asked if path != "/robots.txt")
        committed = sum(count == 1 for count in fetched.values())
        print(f"\n{committed} of {len(fetched)} files asked for once; the others were on their way when a kill came")
        assert len(fetched) == 48 and max(fetched.values()) <= 2
        assert 48 - committed <= 2 * killed.settings["fetch.host_connections"]
        asked = len(site.asked)
        killed.crawl()
        assert len(site.asked) == asked and killed.collection.counts["fetched"] == 0
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


def test_a_reddit_dump_ends_as_pairs_of_its_galleries_and_rows_with_reasons(tmp_path):
    """Asks nobody: the archive has the pictures of i.redd.it, as an earlier crawl would have left them."""
    taken, archive = photos(), Archive(Workspace(tmp_path / "home"))
    pictures = {name: taken[name] for name in ("coffee", "chelsea")}
    pictures |= {f"{name}2": edited(photo) for name, photo in pictures.items()} | {
        "third": edited(taken["coffee"], at=0.6)
    }
    for name, pixels in pictures.items():
        address = f"https://i.redd.it/{name}.png"
        sha256, length = archive.store(address, [encode_png(pixels)])
        archive.keep(Answer(address=address, final_url=address, status=200, sha256=sha256, length=length))
    gallery = {"items": [{"media_id": "coffee"}, {"media_id": "chelsea"}]}
    posts = [
        post(
            "gallery",
            is_gallery=True,
            gallery_data=gallery,
            media_metadata=media("coffee", "chelsea", kind="image/png"),
        ),
        post("lost", is_gallery=True, url="https://www.reddit.com/gallery/lost", media_metadata=None),
        post("deleted", selftext="[deleted]", author="[deleted]"),
        post("several", url="https://i.redd.it/coffee.png"),
        post("silent", url="https://i.redd.it/coffee.png"),
    ]
    comments = [
        comment("gallery", "", media_metadata=media("chelsea2", "coffee2", kind="image/png")),
        comment("lost", "https://i.redd.it/coffee2.png"),
        comment("deleted", "https://i.redd.it/coffee2.png"),
        comment("several", "https://i.redd.it/third.png and https://imgur.com/a/album https://i.redd.it/nowhere.png"),
    ]
    dump(tmp_path / "PhotoshopRequest_comments.zst", comments)
    crawled = Crawled(tmp_path)
    crawled.list_file = dump(tmp_path / "PhotoshopRequest_submissions.zst", posts)
    crawled.crawl(offline=True)
    rows = {row["result_id"]: row for row in crawled.rows()}
    assert {name: row["reason"] for name, row in rows.items()} == {
        "gallery-1": None,
        "gallery-2": None,
        "lost-1": "page_link",
        "deleted-0": "deleted_post",
        "several-1": None,
        "several-2": "page_link",
        "several-3": "not_fetched",
        "silent-0": "no_result",
    }
    assert [rows[f"gallery-{n}"]["photo"] for n in (1, 2)] == [
        f"https://i.redd.it/{n}.png" for n in ("chelsea", "coffee")
    ]
    assert rows["deleted-0"]["request_text"] is None and rows["several-1"]["instruction"] == "Please remove the car"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["none.jsonl"], "no list of photo requests at"),
        (["list.jsonl", "--set", "fetch.host_rate=fast"], "must be of type float"),
        (["list.jsonl", "--set", "fetch.speed=1"], "has no entry 'speed'"),
        (["list.jsonl", "--set", "subreddits=x"], "subreddits must be of type list"),
        (["list.jsonl", "--opt-out", "none.txt"], "opt-out list"),
        (["list.jsonl", "--offline", "--again", "all"], "asks nobody"),
        (["list.jsonl", "--name", "A B"], "a build's name is"),
        (["list.jsonl", "--comments", "x.zst"], "comments belong to a Reddit dump"),
        (["list.jsonl", "--name", "a-build"], "'a-build' is the name of a build"),
        (["list.jsonl"], "list.jsonl holds no request"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.setenv("IEIW_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.jsonl").write_text("")
    write_manifest(Workspace(tmp_path / "home"), Manifest(name="a-build", tables={"pairs": []}))
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


def unusable(number: int, **more) -> bytes:
    row = {"id": str(number), "page": "p", "before": "a.png", "after": "b.png", "text": TEXT}
    return json.dumps(row | more).encode() + b"\n"


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        ([unusable(0)[:40], unusable(1)[:40]], "has no row that can be used (malformed_record 1;"),
        ([bytes(range(255, 0, -1)), b"\n\x00\xff\n"], "malformed_record"),
        ([unusable(0, before=7), unusable(1, after={"a": 1}), unusable(2, text=[1])], "malformed_record 3;"),
        ([unusable(0, before="../a.png"), unusable(1, after="/etc/passwd")], "path_escape 2;"),
        ([unusable(0, before="torn.png")], "not_an_image 1;"),
        ([unusable(0, before="nowhere.png"), unusable(1, before=[])], "missing_file 1, no_photo 1;"),
        ([unusable(0, text="Thanks!\n"), unusable(1, before="line\nbreak")], "empty_request 1"),
        ([unusable(0, after="ftp://a.test/x.png")], "bad_address 1;"),
    ],
)
def test_a_list_without_one_usable_row_is_one_sentence_and_no_crawl(tmp_path, lines, counts):
    photo = next(iter(photos().values()))
    (tmp_path / "a.png").write_bytes(encode_png(photo))
    (tmp_path / "b.png").write_bytes(encode_png(edited(photo)))
    (tmp_path / "torn.png").write_bytes(b"no picture at all")
    (tmp_path / "list.jsonl").write_bytes(b"".join(lines))
    done = subprocess.run(
        [sys.executable, "-m", "tasks", "crawl", str(tmp_path / "list.jsonl")],
        env={**os.environ, "IEIW_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'list.jsonl'} has no row") and done.stderr.count("\n") == 1
    assert counts in done.stderr and "mend the list" in done.stderr
    assert not Workspace(tmp_path / "home").manifest_path("crawl-requests").exists()


@pytest.mark.parametrize(
    ("answer", "reason"), [(Page(status=503, headers={}), "server_error"), (Page(status=404), "gone")]
)
def test_a_list_whose_pictures_cannot_be_had_is_a_crawl(tmp_path, answer, reason):
    with Site() as site:
        crawled = Crawled(tmp_path, site)
        crawled.write([*simple_site(site, 1), {"id": "x", "before": "../a.png", "after": "b.png", "text": TEXT}])
        site.pages["/simple/0/result.jpg"] = answer
        for again in ("never", "failed"):
            crawled.crawl(again=again)
            assert [row["reason"] for row in crawled.rows()] == [reason, "path_escape"]


def test_pairs_that_were_taken_back_leave_a_crawl_without_any(tmp_path):
    photo = next(iter(photos().values()))
    (tmp_path / "a.jpg").write_bytes(jpeg(photo))
    (tmp_path / "b.jpg").write_bytes(jpeg(edited(photo)))
    crawled = Crawled(tmp_path)
    crawled.write([{"id": "1", "page": "p", "before": "a.jpg", "after": "b.jpg", "text": TEXT, "author": "ann"}])
    crawled.crawl(offline=True)
    assert [row["reason"] for row in crawled.rows()] == [None]
    (tmp_path / "out.txt").write_text("u/ann\n")
    crawled.crawl(offline=True, opt_out=tmp_path / "out.txt")
    assert [row["reason"] for row in crawled.rows()] == ["opted_out"]
