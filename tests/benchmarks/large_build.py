"""Builds of many millions of rows for benchmarks, written by DuckDB: six pairs of a photo, all ids and digests differ.

Columns of pictures, regions and words are filled as a build fills them; masks, captions and lists of classes are not:
rows are narrow, which makes a bare scan of them quick. Every 20th pair is unusable.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from catalog.manifests import Manifest, list_manifests, read_manifest, write_manifest
from catalog.schema import PAIRS, SCHEMA_VERSION, SCORE_NAMES, SCORES
from catalog.store import METADATA_KEY, Shard, read_entry, shard_key
from catalog.workspace import Workspace

ROW_GROUP = 65_536
_EDITS = "['object_removal', 'object_addition', 'object_replacement'][1 + i % 3]"
_DATASETS = {"openimages": "image_editing", "coco_stuff": "segmentation", "mpii": "keypoint_detection"}
_TASK = " ".join(f"WHEN '{name}' THEN '{task}'" for name, task in _DATASETS.items())
_IMAGE = (
    "{{'root': {root}, 'path': {path}, 'offset': (i * 53211) % 200000000, 'length': 30000 + i % 9000, "
    "'sha256': {sha256}, 'width': 512, 'height': 512}}"
)
_DONOR = ", ".join(
    f"'{field.name}': {'d' if field.name == 'group_id' else 'NULL'}" for field in PAIRS.field("donor").type
)
_PAIR = {
    "pair_id": "md5(i::VARCHAR)",
    "vision_task": f"CASE dataset {_TASK} END",
    "edit_type": f"CASE WHEN t IS NOT NULL THEN {_EDITS} END",
    "region_id": "dataset || '/' || substr(g, 1, 16) || '/' || (i % 6)",
    "group_id": "g",
    "dataset": "dataset",
    "split": "CASE photo % 1000 WHEN 7 THEN 'test' WHEN 8 THEN 'val' ELSE 'train' END",
    "licence": "'CC-BY-2.0'",
    "source_image": _IMAGE.format(root="dataset", path="'train/' || substr(g, 1, 16) || '.jpg'", sha256="g"),
    "target_image": "CASE WHEN t IS NOT NULL THEN "
    + _IMAGE.format(root="'store'", path="'edits/' || (i // 4096) || '.tar'", sha256="t")
    + " END",
    "phrase": "['the bird', 'pink hat', 'a man in a red shirt', 'table', 'left car', 'dog on the sofa'][1 + i % 6]",
    "label": "['bird', 'hat', 'person', 'table', 'car', 'dog'][1 + i % 6]",
    "bbox": "[i % 300, i % 200, 40 + i % 77, 50 + i % 91]",
    "instruction": "CASE WHEN t IS NOT NULL THEN ['remove the bird', 'add a pink hat', 'more light'][1 + i % 3] END",
    "donor": f"CASE WHEN t IS NOT NULL AND i % 3 = 2 THEN {{{_DONOR}}} END",
    "reason": "CASE WHEN i % 20 = 5 THEN 'no_change' END",
}
_ROWS = """(
    SELECT *, md5('g' || photo) || md5('h' || photo) AS g,
        md5('g' || (photo + 1000)) || md5('h' || (photo + 1000)) AS d,
        CASE WHEN dataset = 'openimages' THEN md5('t' || i) || md5('u' || i) END AS t
    FROM (SELECT i, i // 6 AS photo, {dataset} AS dataset FROM range({first}, {last}) AS numbers (i))
)"""
_MIXED = (
    "['openimages', 'openimages', 'openimages', 'openimages', 'openimages', 'openimages', 'coco_stuff', 'coco_stuff', "
    "'coco_stuff', 'mpii'][1 + i // 6 % 10]"
)


def write_build(
    workspace: Workspace, num_pairs: int, num_shards: int, scored: bool, row_group: int = ROW_GROUP
) -> Manifest:
    """A build of ``num_pairs`` pairs; ``scored``: all of them edits, and the usable ones have scores.

    A build or a shard that is there already is taken as it is, so that a broken run goes on.
    """
    if "large" in list_manifests(workspace):
        return read_manifest(workspace, "large")
    dataset = "'openimages'" if scored else _MIXED
    tables: dict[str, list[Shard]] = {"pairs": []} | ({"scores": []} if scored else {})
    with duckdb.connect(config={"memory_limit": "3GB"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        for number in range(num_shards):
            first, last = (num_pairs * place // num_shards for place in (number, number + 1))
            rows = _ROWS.format(first=first, last=last, dataset=dataset)
            about = {"rows": [first, last], "scored": scored, "row_group": row_group}
            tables["pairs"].append(_write(connection, workspace, "pairs", _PAIR, rows, about, []))
            if scored:
                inputs = [tables["pairs"][-1].sha256]
                rows = f"{rows} WHERE i % 20 <> 5"
                tables["scores"].append(_write(connection, workspace, "scores", _score(), rows, about, inputs))
    manifest = Manifest(name="large", parameters={}, tables=tables)
    write_manifest(workspace, manifest)
    return manifest


@contextmanager
def large_workspace(name: str) -> Iterator[Workspace]:
    """A folder for a large build, removed afterwards; or ``IEIW_BENCH_FOLDER``/NAME, which stays."""
    kept = os.environ.get("IEIW_BENCH_FOLDER")
    if kept:
        yield Workspace(Path(kept).absolute() / name)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Workspace(Path(folder))


def scan(paths: Sequence[Path], columns: Sequence[str], threads: int) -> tuple[float, float]:
    """CPU seconds and seconds to read columns of Parquet files by DuckDB and do nothing with them; the best of two.

    Each column is summed up, texts and lists by their lengths: DuckDB does not read what nobody asks for.
    """
    with duckdb.connect(config={"threads": threads, "memory_limit": "3GB"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.from_parquet([str(path) for path in paths]).create_view("scanned")
        types = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE scanned)").fetchall())
        sums = ", ".join(one for name in columns for one in _sums(connection, name, types))
        times = []
        for _ in range(2):
            start, cpu = time.perf_counter(), time.process_time()
            connection.execute(f"SELECT {sums} FROM scanned").fetchall()
            times.append((time.process_time() - cpu, time.perf_counter() - start))
    return min(times)


def _sums(connection: duckdb.DuckDBPyConnection, name: str, types: dict[str, str]) -> list[str]:
    kind = types.get(name) or str(connection.execute(f"SELECT typeof({name}) FROM scanned LIMIT 1").fetchall()[0][0])
    if kind.endswith("[]"):
        return [f"sum(len({name}))"]
    if kind.startswith("STRUCT"):
        found = connection.execute(f"SELECT one.* FROM (SELECT {name} AS one FROM scanned) LIMIT 0")
        fields = found.description or []
        return [one for (field, *_) in fields for one in _sums(connection, f"{name}.{field}", types)]
    if kind == "VARCHAR":
        return [f"sum(strlen({name}))"]
    return [f"count(*) FILTER ({name})" if kind == "BOOLEAN" else f"sum({name}::DOUBLE)"]


def _score() -> dict[str, str]:
    """Numbers in the ranges that LAION's and CLIP's scores have."""
    ranges = {"aesthetic": (4.0, 3.0), "quality": (0.0, 0.02), "similarity": (0.0, 1.0), "share": (0.0, 0.4)}
    found = {"pair_id": "md5(i::VARCHAR)"}
    for place, name in enumerate(SCORE_NAMES):
        start, width = ranges[name.rpartition("_")[2]]
        found[name] = f"{start} + {width} * ((hash(i * 16 + {place}) % 1000003) / 1000003.0)"
    return found


def _write(
    connection: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    table: str,
    given: dict[str, str],
    rows: str,
    about: dict[str, object],
    inputs: list[str],
) -> Shard:
    schema = {"pairs": PAIRS, "scores": SCORES}[table]
    key = shard_key("by DuckDB", {"table": table, **about}, [], inputs)
    path: Path = workspace.table_path(table, key)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        connection.register("shape", schema.empty_table())
        types = dict(connection.execute("SELECT column_name, column_type FROM (DESCRIBE shape)").fetchall())
        columns = ", ".join(f"({given.get(name, 'NULL')})::{types[name]} AS {name}" for name in schema.names)
        count = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0]
        footer = {"step": "by DuckDB", "table": table, "schema_version": SCHEMA_VERSION, "inputs": inputs}
        footer |= {"num_rows": count, "num_usable": count, "reasons": {}}
        metadata = json.dumps(footer, sort_keys=True)
        part = path.with_suffix(".part")
        connection.execute(
            f"COPY (SELECT {columns} FROM {rows}) TO '{part}' (FORMAT parquet, COMPRESSION zstd, "
            f"ROW_GROUP_SIZE {about['row_group']}, KV_METADATA {{{METADATA_KEY.decode()}: '{metadata}'}})"
        )
        assert pq.ParquetFile(part).metadata.num_rows == count
        part.rename(path)
    return read_entry(workspace, table, key)
