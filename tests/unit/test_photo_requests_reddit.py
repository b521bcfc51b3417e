"""Reddit dumps: what their posts and comments say, streamed."""

import tracemalloc
from pathlib import Path

import pytest
from reddit_posts import comment, dump, media, post

from catalog.errors import SourceError
from catalog.reasons import Reason
from tasks.photo_requests.crawl_settings import read_settings
from tasks.photo_requests.records import parse_time
from tasks.photo_requests.reddit_links import direct_link, is_page, text_links
from tasks.photo_requests.request_lists import read_list

SETTINGS = read_settings(None)


def read(path: Path, comments: Path | None = None, **settings) -> list:
    return list(read_list(path, comments, read_settings(settings)))


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
        "plain",
        "Mine https://preview.redd.it/a-title-v0-two.jpg?width=640&amp;format=pjpg&amp;s=abc, tips welcome",
        score=9,
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
    assert results(plain) == ["https://i.redd.it/two.jpg", "https://i.imgur.com/one1111.png"]
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
