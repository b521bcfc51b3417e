"""Parquet files that grow: refused by the headers of their pages, before anything is decoded."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_pairs import HF_IMAGE, cell, write_table

from catalog.errors import RowRejected, SourceError
from tasks.readers import parquet_limits
from tasks.readers.edit_pairs import EditPairsReader
from tasks.readers.parquet_limits import MAX_LIST_BYTES, MAX_PAGE_BYTES, _walk, safe_batch_rows
from tasks.readers.parquet_tables import ParquetPictures

CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]


def write(path: Path, **columns: Any) -> None:
    options = {
        name: columns.pop(name) for name in list(columns) if name in ("compression", "version", "use_dictionary")
    }
    rows = len(next(iter(columns.values())))
    known = {"source_img": pa.nulls(rows, HF_IMAGE), "target_img": pa.nulls(rows, HF_IMAGE)}
    pq.write_table(
        pa.table({**known, **columns}), path, dictionary_pagesize_limit=1 << 30, **{"compression": "zstd", **options}
    )


def read(root: Path) -> list[Any]:
    return list(EditPairsReader(root=root, options={"files": "*.parquet"}).read())


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("page", ["1.0", "2.0"])
def test_pages_are_what_arrow_reads(tmp_path: Path, codec: str, page: str) -> None:
    """Sums over the headers equal the footer's sizes and counts, for every codec, page version and kind of column."""
    rng = np.random.default_rng(3)
    words = [str(rng.integers(1 << 60)) * int(rng.integers(9)) for _ in range(5000)]
    table = pa.table(
        {
            "text": pa.array([*words, None]),
            "few": pa.array([f"kind {n % 3}" for n in range(5001)]),
            "lists": pa.array([words[: n % 4] for n in range(5001)]),
            "number": pa.array(range(5001)),
        }
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression=codec, data_page_version=page, data_page_size=4096, row_group_size=3000)
    file = pq.ParquetFile(path)
    with path.open("rb") as stream:
        for group in range(2):
            for index in range(4):
                chunk = file.metadata.row_group(group).column(index)
                pages = _walk(stream.fileno(), chunk, index == 2, "x")
                assert pages.num_values == chunk.num_values and pages.largest <= pages.total
                headers = chunk.total_uncompressed_size - pages.total
                assert 0 < headers < 0.1 * pages.total + 9000
                assert (pages.longest_word == max(map(len, words[:3]))) == (index == 2)
    assert safe_batch_rows(path, file, ["text", "few", "lists", "number"], 1024) == 1024


def test_a_page_that_explodes(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", instruction=["x" * (MAX_PAGE_BYTES + 1)], use_dictionary=False)
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(SourceError, match=r"a\.parquet, row group 0, column instruction has a page of 13\d+ bytes"):
        read(tmp_path)


def test_a_picture_that_explodes_is_refused_alone(tmp_path: Path) -> None:
    big = {"bytes": bytes(MAX_PAGE_BYTES + 1), "path": None}
    write_table(
        tmp_path / "a.parquet",
        {"source_img": [cell(0), big], "target_img": [cell(1), cell(2)], "instruction": ["a", "b"]},
        ("source_img", "target_img"),
        row_group_size=1,
        compression="zstd",
    )
    pairs = read(tmp_path)
    pictures = ParquetPictures()
    assert pictures.fetch(tmp_path, "a.parquet", 0, "source_img") and len(pairs) == 2
    with pytest.raises(RowRejected, match=r"unreadable_file: row 1 of .* page of"):
        pictures.fetch(tmp_path, "a.parquet", 1, "source_img")
    assert pictures.fetch(tmp_path, "a.parquet", 1, "target_img")


def test_more_rows_than_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", instruction=pa.nulls(3_000_000, pa.string()))
    with pytest.raises(SourceError, match="claims 3000000 rows in"):
        read(tmp_path)


def test_one_value_of_a_dictionary_again_and_again(tmp_path: Path) -> None:
    """A list that names a megabyte ten thousand times, and one with more values than the file has bytes."""
    word = pa.array(["x" * (1 << 20)])
    for count, message in ((10_000, f"lists of up to {10_000 << 20} bytes"), (3_000_000, "more than the file has")):
        one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), word)
        noise = np.random.default_rng(0).bytes(50_000).hex()  # so that the rows and values alone are not too many
        lists = pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), one)
        write(tmp_path / "a.parquet", instruction=lists, other=[noise])
        with pytest.raises(SourceError, match=message):
            read(tmp_path)
    assert MAX_LIST_BYTES < 10_000 << 20


PEAK = """
import resource, sys
from pathlib import Path
from tasks.readers.edit_pairs import EditPairsReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(pair.instruction) for pair in EditPairsReader(root=Path(sys.argv[1]), options={}).read())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_rows_of_large_values_are_read_few_at_a_time(tmp_path: Path) -> None:
    """200 times the same 16 megabytes, a file of a few kilobytes: read, in memory for a few of them."""
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(200, np.int32)), pa.array(["x" * (16 << 20)]))
    write(tmp_path / "a.parquet", instruction=one, other=[str(n) * 9 for n in range(200)])
    result = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], check=True, capture_output=True, text=True)
    letters, kibibytes = map(int, result.stdout.split())
    assert letters == 200 * (16 << 20) and kibibytes < 1 << 20


@settings(max_examples=60, deadline=None)
@given(place=st.integers(4, 400), value=st.integers(0, 255))
def test_any_damage_is_one_sentence(tmp_path_factory: pytest.TempPathFactory, place: int, value: int) -> None:
    """One byte changed anywhere among the pages: read, or refused by a sentence, and never a traceback."""
    root = tmp_path_factory.mktemp("damaged")
    write(root / "a.parquet", instruction=[f"make it {n}" for n in range(40)])
    data = bytearray((root / "a.parquet").read_bytes())
    data[place] = value
    (root / "a.parquet").write_bytes(data)
    try:
        read(root)
    except SourceError as error:
        assert "a.parquet" in str(error) and "\n" not in str(error)


def test_long_headers_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [chr(97 + n) * 9000 for n in range(9)]
    pq.write_table(pa.table({"text": words}), tmp_path / "a.parquet", write_page_checksum=True)
    file = pq.ParquetFile(tmp_path / "a.parquet")
    monkeypatch.setattr(parquet_limits, "_HEADER_BYTES", (1, 3, 1 << 20))
    assert safe_batch_rows(tmp_path / "a.parquet", file, ["text"], 7) == 7
