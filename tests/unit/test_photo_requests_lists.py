"""Lists of photo requests: JSON lines and Parquet; what is wrong with a row is its fault."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import ConfigError, SourceError
from catalog.reasons import Reason
from tasks.photo_requests.crawl_settings import read_settings
from tasks.photo_requests.records import MAX_LINE, PhotoResult
from tasks.photo_requests.request_lists import read_list

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


def test_a_parquet_list_that_grows_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    rows = {"page": pa.nulls(500_000, pa.string()), "text": pa.nulls(500_000, pa.string())}
    pq.write_table(pa.table(rows), tmp_path / "many.parquet")
    long = pa.table({"page": ["p"], "text": ["x" * (130 << 20)]})
    pq.write_table(long, tmp_path / "long.parquet", compression="zstd")
    for name, words in (("many", "claims 500000 rows"), ("long", "has a page of")):
        with pytest.raises(SourceError, match=words):
            read(tmp_path / f"{name}.parquet")
