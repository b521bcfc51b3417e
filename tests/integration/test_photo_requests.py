"""A crawl of photo requests against a real web site on the loopback: every page ends as the right pair or as a row
with its own reason, within the limits, and nothing is fetched twice.
"""

from collections import Counter

import cv2
import numpy as np
import pytest
from photo_crawls import PRIVATE, PROFILE, TEXT, WISH, Crawled, cases, edited, jpeg, photos, put, robots
from photo_site import Page, Site, redirect
from plain_build import build

from catalog.counts import count_build
from catalog.errors import SourceError
from catalog.explanation import explain
from catalog.explanation_words import in_words
from catalog.images import decode_image
from catalog.lineage import Lineage
from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.reasons import Reason
from catalog.roots import Roots, read_image_bytes
from catalog.store import STORE_ROOT, read_rows
from catalog.verification import verify
from catalog.workspace import Workspace
from tasks.photo_requests import alignment
from tasks.profiles import profile_of_build, read_profile
from tasks.readers.photo_requests import PhotoRequestsReader
from tasks.replay import Replay, Replayer, with_roots


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
    request = next(row for row in usable.values() if row["request_id"] == "turned")
    turned = next(pair for pair in pairs if pair["region_id"].endswith("/turned-1"))
    explanation = explain(crawled.workspace, turned["pair_id"], manifest.name)
    assert explanation["request"]["transform"] == request["transform"]
    words = in_words(explanation)
    for text in (request["page"], request["photo"], request["result"], TEXT, "features agree"):
        assert text in words


def replay(crawled: Crawled, name: str, result_id: str) -> Replay:
    workspace, manifest = crawled.workspace, read_manifest(crawled.workspace, name)
    roots = Roots({**Roots.read(workspace.roots_path).folders, STORE_ROOT: workspace.data})
    lineage, profile = Lineage(workspace, manifest), with_roots(profile_of_build(manifest, {}), roots)
    pair = lineage.find("pairs", "region_id", f"photo_request/{result_id}")
    return Replayer(lineage, profile, roots).replay(pair.row["pair_id"])


def test_a_pair_is_matched_again_when_it_is_replayed(crawled, monkeypatch):
    """After `test_the_build_takes_the_pairs`, whose build it is: both pictures of a turned result are made anew."""
    if "with-requests" not in list_manifests(crawled.workspace):
        test_the_build_takes_the_pairs(crawled)
    again = replay(crawled, "with-requests", "turned-1")
    assert again.is_identical and again.steps[0].step == "match_requests" and again.steps[0].num_images == 2
    monkeypatch.setattr(alignment, "_GRID", 40)  # a coarser search for the frame
    (other, *rest) = replay(crawled, "with-requests", "turned-1").steps
    monkeypatch.undo()
    row = next(row for row in crawled.rows() if row["result_id"] == "turned-1")
    path = crawled.workspace.data / row["result_image"]["path"]
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    (damaged, *_) = replay(crawled, "with-requests", "turned-1").steps
    path.write_bytes(kept)
    assert [(one.what, one.now) for one in damaged.differences] == [("reason", "changed_file")]
    assert not any(step.differences for step in rest), "a difference is named where it arises"
    assert {one.what for one in other.differences} >= {"source_image", "target_image"}


def test_a_build_is_no_crawl(tmp_path):
    write_manifest(Workspace(tmp_path), Manifest(name="a-build", tables={"pairs": []}))
    with pytest.raises(SourceError, match="'a-build' is none"):
        PhotoRequestsReader(root=tmp_path, options={"crawl": "a-build"}).read()
