"""Lists of photo requests: JSON lines, Parquet and Reddit dumps, streamed; what is wrong with a row is its fault."""

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from catalog.errors import ConfigError, SourceError
from catalog.reasons import Reason
from tasks.photo_requests.crawl_settings import read_settings
from tasks.photo_requests.records import MAX_LINE, PhotoResult, parse_time
from tasks.photo_requests.reddit_links import direct_link, is_page, text_links
from tasks.photo_requests.request_lists import read_list

SETTINGS = read_settings(None)
ROW = {"page": "https://f.test/1", "before": "https://i.test/a.jpg", "after": ["https://i.test/b.jpg"], "text": "x"}


def write_lines(path: Path, rows: list) -> Path:
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))
    return path


def read(path: Path, comments: Path | None = None, **settings) -> list:
    return list(read_list(path, comments, read_settings(settings)))


def test_json_lines_and_parquet_say_the_same(tmp_path):
    rows = [
        {**ROW, "id": "one", "licence": "CC0", "author": "ann", "created_utc": 1400000000},
        {**ROW, "id": "two", "before": ["a.jpg", "b.jpg"], "after": ["c.jpg", "d.jpg", "c.jpg"]},
        {**ROW, "id": "three", "after": []},
    ]
    lines = read(write_lines(tmp_path / "list.jsonl", rows))
    table = [{**row, "before": row["before"] if isinstance(row["before"], list) else [row["before"]]} for row in rows]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "list.parquet")
    assert read(tmp_path / "list.parquet") == lines
    assert lines[0].author == "ann" and lines[0].created_utc == 1400000000 and lines[0].licence == "CC0"
    assert lines[1].photos == ("a.jpg", "b.jpg") and [one.address for one in lines[1].results] == ["c.jpg", "d.jpg"]
    assert lines[2].results == () and all(one.fault is None for one in lines)


def test_other_names_of_columns_and_authors_of_results(tmp_path):
    row = {"Page_URL": "p", "before_url": "a", "after_urls": [{"url": "b", "author": "bob"}], "request": "wish"}
    (found,) = read(write_lines(tmp_path / "list.jsonl", [row]))
    assert (found.page, found.photos, found.text) == ("p", ("a",), "wish")
    assert found.results == (PhotoResult(address="b", author="bob"),) and len(found.request_id) == 16
    (again,) = read(write_lines(tmp_path / "other.jsonl", [row]))
    assert again.request_id == found.request_id, "an id depends on page and photo alone"


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        (b"{not json}\n", "no JSON object"),
        (b"[1, 2]\n", "no JSON object"),
        (b"[" * 100_000 + b"\n", "no JSON object"),
        ({**ROW, "before": 7}, "before must be text"),
        ({**ROW, "after": [["x"]]}, "after must be text"),
        ({**ROW, "after": [""]}, "empty address"),
        ({**ROW, "after": ["x"] * 101}, "101 pictures; at most 100"),
        ({**ROW, "page": 5}, "page must be text"),
        ({**ROW, "text": "x" * 100_001}, "100001 characters"),
        (b"x" * (MAX_LINE + 10) + b"\n", "longer than"),
    ],
)
def test_a_row_that_is_not_so_is_a_fault_with_its_line(tmp_path, row, detail):
    before, broken, after = read(write_lines(tmp_path / "list.jsonl", [ROW, row, ROW]))
    assert broken.fault is not None and broken.fault[0] is Reason.MALFORMED_RECORD
    assert broken.fault[1].startswith("line 2: ") and detail in broken.fault[1]
    assert before.fault is None and after.fault is None


@pytest.mark.parametrize(
    ("name", "message"), [("no.jsonl", "no list"), ("list.txt", "is a .jsonl"), ("bad.parquet", "not readable Parquet")]
)
def test_a_list_that_is_none_is_one_sentence(tmp_path, name, message):
    if name != "no.jsonl":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=message):
        read(tmp_path / name)


def test_settings_that_are_wrong_are_one_sentence():
    for name, value in (
        ("fetch.host_rate", 0),
        ("fetch.host_rat", 1),
        ("fetch", {}),
        ("fetch.ports", [0]),
        ("fetch.contact", "a b"),
        ("match.min_alike_share", 2.0),
        ("requests_per_shard", 0),
        ("fetch.timeout", float("inf")),
        ("fetch.connections", True),
    ):
        with pytest.raises(ConfigError):
            read_settings({name: value})


# Reddit


def dump(path: Path, lines: list, level: int = 3) -> Path:
    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=31, enable_ldm=False)
    with path.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as writer:
        for line in lines:
            writer.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    return path


def post(identity: str, **more) -> dict:
    return {
        "id": identity,
        "subreddit": "PhotoshopRequest",
        "author": "asker",
        "created_utc": 1700000000,
        "title": "Please remove the car",
        "selftext": "",
        "permalink": f"/r/PhotoshopRequest/comments/{identity}/x/",
        "url": f"https://i.redd.it/{identity}.jpg",
        **more,
    }


def comment(on: str, body: str, **more) -> dict:
    return {
        "id": f"c-{on}-{len(body)}",
        "subreddit": "PhotoshopRequest",
        "link_id": f"t3_{on}",
        "parent_id": f"t3_{on}",
        "author": "maker",
        "score": 1,
        "body": body,
        **more,
    }


def media(*names: str, kind: str = "image/jpg", status: str = "valid") -> dict:
    return {
        name: {"status": status, "e": "Image", "m": kind, "s": {"u": "https://preview.redd.it/x?a&amp;b"}}
        for name in names
    }


GALLERY = {"items": [{"media_id": "bbb", "id": 2}, {"media_id": "aaa", "id": 1}, {"media_id": "failed", "id": 3}]}
PARENT = post("parent", selftext="It spoils the view.", url="https://i.redd.it/parent.png")
POSTS = [
    post("plain", created_utc="1400000000"),
    post(
        "float",
        created_utc=1700000000.0,
        url="https://i.redd.it/old.jpg",
        url_overridden_by_dest="https://i.redd.it/new.jpg",
    ),
    post(
        "gallery",
        is_gallery=True,
        url="https://www.reddit.com/gallery/gallery",
        gallery_data=GALLERY,
        media_metadata={**media("aaa", "bbb"), **media("failed", status="failed"), **media("../evil")},
    ),
    post(
        "cross", title="Anybody?", url="/r/other/comments/parent/", crosspost_parent_list=[PARENT], media_metadata=None
    ),
    post("self", is_self=True, url="https://www.reddit.com/r/x", selftext="[photo](https://imgur.com/AbCdE12) thanks"),
    post("deleted", selftext="[deleted]", author="[deleted]"),
    post("removed", removed_by_category="moderator"),
    post("adult", over_18=True),
    post("bare", url=None, selftext=None, title=None, permalink=None, created_utc=None, is_gallery=None),
    post("unanswered"),
    post("other", subreddit="aww", title="not PhotoshopRequest"),
    b'{"subreddit": "PhotoshopRequest", broken\n',
    {"subreddit": "PhotoshopRequest", "title": 5},
]
COMMENTS = [
    comment("plain", "Here you go: [result](https://i.imgur.com/one1111.png)", score=2),
    comment(
        "plain", "Mine https://preview.redd.it/v0-two.jpg?width=640&amp;format=pjpg&amp;s=abc, tips welcome", score=9
    ),
    comment("plain", "https://i.imgur.com/asker11.png", author="asker", score=99),
    comment("plain", "what about https://i.imgur.com/reply11.png", parent_id="t1_abc"),
    comment("plain", "[deleted]"),
    comment("plain", "no link at all"),
    comment("float", "https://i.imgur.com/three11.jpg", score="many"),
    comment("gallery", "two results", media_metadata=media("r1", "r2", kind="image/png")),
    comment("cross", "see https://imgur.com/a/album1"),
    comment("self", "(https://i.postimg.cc/x/y.jpg)."),
    comment("other", "https://i.imgur.com/nothere.png", subreddit="aww"),
    b"PhotoshopRequest not json\n",
]


@pytest.fixture
def requests(tmp_path):
    dump(tmp_path / "PhotoshopRequest_comments.zst", COMMENTS)
    return {one.request_id: one for one in read(dump(tmp_path / "PhotoshopRequest_submissions.zst", POSTS))}


def results(request) -> list[str]:
    return [one.address for one in request.results]


def test_results_are_top_level_comments_with_pictures_best_liked_first(requests):
    plain = requests["plain"]
    assert plain.photos == ("https://i.redd.it/plain.jpg",) and plain.created_utc == 1400000000
    assert results(plain) == ["https://i.redd.it/two.jpg", "https://i.imgur.com/one1111.png"] or results(plain) == [
        "https://i.redd.it/v0-two.jpg",
        "https://i.imgur.com/one1111.png",
    ]
    assert plain.page == "https://www.reddit.com/r/PhotoshopRequest/comments/plain/x/"
    assert {one.author for one in plain.results} == {"maker"} and plain.licence


def test_forms_of_posts(requests):
    assert requests["float"].photos == ("https://i.redd.it/new.jpg",) and requests["float"].created_utc == 1700000000
    assert requests["gallery"].photos == ("https://i.redd.it/bbb.jpg", "https://i.redd.it/aaa.jpg")
    assert results(requests["gallery"]) == ["https://i.redd.it/r1.png", "https://i.redd.it/r2.png"]
    assert requests["cross"].photos == ("https://i.redd.it/parent.png",)
    assert requests["cross"].text == "Anybody?\n\nIt spoils the view."
    assert results(requests["cross"]) == ["https://imgur.com/a/album1"]
    assert requests["self"].photos == ("https://i.imgur.com/AbCdE12.jpg",)
    assert results(requests["self"]) == ["https://i.postimg.cc/x/y.jpg"]
    assert requests["bare"].photos == () and requests["bare"].page == "https://redd.it/bare"


def test_what_is_against_a_post_is_its_fault(requests):
    faults = {name: one.fault[0] for name, one in requests.items() if one.fault is not None}
    assert faults["deleted"] is faults["removed"] is Reason.DELETED_POST
    assert faults["adult"] is Reason.ADULT_POST
    assert sorted(faults) == sorted(["deleted", "removed", "adult", "", "PhotoshopRequest_submissions.zst:12"])
    assert "other" not in requests and requests["unanswered"].results == ()


def test_communities_and_adult_posts_are_settings(tmp_path):
    comments = dump(tmp_path / "RC_2023-06.zst", COMMENTS)
    posts = dump(tmp_path / "RS_2023-06.zst", POSTS)
    assert [one.request_id for one in read(posts, subreddits=["AWW"])] == ["other"]
    kept = {one.request_id: one for one in read(posts, comments, with_adult_posts=True)}
    assert kept["adult"].fault is None


def test_a_dump_without_comments_or_torn_is_one_sentence(tmp_path):
    posts = dump(tmp_path / "a_submissions.zst", POSTS)
    with pytest.raises(SourceError, match="no comments at"):
        read(posts)
    comments = dump(tmp_path / "a_comments.zst", COMMENTS)
    with pytest.raises(SourceError, match="cannot be told"):
        read(dump(tmp_path / "posts.zst", POSTS))
    comments.write_bytes(b"no zstandard at all")
    with pytest.raises(SourceError, match="no Zstandard dump"):
        read(posts)


def test_a_dump_cut_short_is_refused_not_taken_for_whole(tmp_path):
    posts = dump(tmp_path / "a_submissions.zst", [post(str(number)) for number in range(3000)])
    dump(tmp_path / "a_comments.zst", COMMENTS)
    posts.write_bytes(posts.read_bytes()[: posts.stat().st_size // 2])
    with pytest.raises(SourceError, match="cut short"):
        read(posts)


def test_a_long_dump_is_streamed(tmp_path):
    filler = "x" * 10_000
    posts = dump(tmp_path / "a_submissions.zst", [post(str(number), selftext=filler) for number in range(2500)], 1)
    dump(
        tmp_path / "a_comments.zst",
        [comment(str(number), "https://i.imgur.com/abcdefg.png") for number in range(2500)],
        1,
    )
    tracemalloc.start()
    try:
        count = sum(len(one.results) for one in read_list(posts, None, SETTINGS))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 2500 and peak < 8 << 20, f"{peak} bytes for 25 MB of posts"


def test_links():
    text = (
        "![x](https://i.redd.it/a_1.png) <https://imgur.com/abcde> https://i.imgur.com/q.jpeg). see http://[bad and "
        "https://example.com/page.html https://en.wikipedia.org/wiki/A_(b).jpg \ud800 https://i.redd.it/\ud800.png"
    )
    assert text_links(text) == [
        "https://i.redd.it/a_1.png",
        "https://i.imgur.com/abcde.jpg",
        "https://i.imgur.com/q.jpeg",
        "https://en.wikipedia.org/wiki/A_(b).jpg",
    ]
    assert direct_link("https://preview.redd.it/some-title-v0-abc123.png?width=1") == "https://i.redd.it/abc123.png"
    assert is_page("https://imgur.com/gallery/xyz") and is_page("https://www.reddit.com/gallery/abc")
    assert not is_page("https://i.imgur.com/x.png") and not is_page("http://[x")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1400000000", 1400000000),
        (1.5e9, 1500000000),
        (None, None),
        ("soon", None),
        (float("nan"), None),
        (1e300, None),
    ],
)
def test_times(value, seconds):
    assert parse_time(value) == seconds
