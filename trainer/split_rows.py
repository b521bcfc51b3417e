"""Rows of one split of a mix, in file order, a row group at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.parquet_streams import reading_mix
from catalog.samples import sample_fields


def split_rows(mix: Path, split: str) -> Iterator[dict[str, Any]]:
    """The columns that rendering needs, of each row of ``split``.

    Raises:
        MixError: missing or damaged.
    """
    with reading_mix(mix):
        file = pq.ParquetFile(mix, page_checksum_verification=True)
    for group in range(file.num_row_groups):
        with reading_mix(mix):
            splits = file.read_row_group(group, ["split"], use_threads=False).column(0)
            wanted = pc.equal(splits, split)
            if not pc.any(wanted).as_py():
                continue
            table = file.read_row_group(group, list(sample_fields()), use_threads=False)
        yield from table.filter(wanted).to_pylist()
