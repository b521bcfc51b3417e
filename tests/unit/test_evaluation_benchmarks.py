"""The table of benchmarks: the paper's values as printed, and names that the metric rows use."""

import json
from pathlib import Path

import pytest

from catalog.errors import ConfigError
from catalog.schema import VISION_TASKS
from catalog.splits import parse_split
from evaluation.benchmarks import MIX_SPLITS, OTHERS, PAPER, PAPER_BENCHMARKS, find_benchmark, paper_range
from evaluation.commands import main
from evaluation.metric_names import METRICS_OF, UNITS
from tasks.profiles import read_profile
from tasks.readers.registry import make_reader

PROFILE = Path(__file__).parents[2] / "infra" / "profiles" / "benchmarks.toml"


def test_every_value_of_the_papers_tables_is_there():
    """Tables 2 to 5, rows "Ours": 3 AP, 14 cIoU, 6 mIoU, 3 x 2 editing scores, 3 PSNR."""
    assert [sum(row.table == table for row in PAPER) for table in (2, 3, 4, 5)] == [3, 14, 6, 9]
    assert sum(row.paper_value for row in PAPER if row.table == 3) == pytest.approx(747.24)
    assert sum(row.paper_value for row in PAPER if row.table == 4) == pytest.approx(266.31)
    bounds = {row.title: (row.paper_value, row.paper_bound) for row in PAPER if row.paper_bound}
    assert bounds == {
        "GoPro deblur": (23.58, 29.54),
        "SIDD denoise": (34.26, 36.56),
        "CLWD watermark removal": (23.60, 24.80),
    }
    assert {(row.table, row.page) for row in PAPER} == {(2, 6), (3, 8), (4, 8), (5, 9)}


def test_names_are_those_of_the_catalog():
    assert set(METRICS_OF) == set(VISION_TASKS)
    assert {metric for metrics in METRICS_OF.values() for metric in metrics} <= set(UNITS)
    assert {row.metric for row in PAPER} <= set(UNITS)
    assert all(row.paper_value is None for row in MIX_SPLITS)


def test_every_benchmark_but_the_editing_one_has_a_source_whose_options_its_reader_takes():
    sources = {source.dataset: source for source in read_profile(PROFILE).sources}
    assert PAPER_BENCHMARKS.keys() - sources.keys() == {"edits_1000"}
    for key, source in sources.items():
        reader = make_reader(source.reader, key, Path(source.root), source.options)
        if "split" in reader.options:
            assert parse_split(reader.options["split"]) == PAPER_BENCHMARKS[key].split


def test_an_unknown_benchmark_is_one_sentence():
    with pytest.raises(ConfigError, match=r"a benchmark is one of coco_val2017, .*Got 'coco'"):
        find_benchmark("coco")


@pytest.mark.parametrize(
    ("vision_task", "edit_type", "metric", "expected"),
    [
        ("segmentation", None, "ciou", "Table 3: 39.04-67.36 %"),
        ("image_enhancement", "denoising", "psnr", "Table 5: 34.26 dB"),
        ("image_editing", "object_removal", "aesthetic", "Table 5: 4.65 score"),
        ("image_editing", "photo_request", "aesthetic", ""),
        ("image_editing", "object_removal", "psnr", ""),
    ],
)
def test_paper_range(vision_task, edit_type, metric, expected):
    assert paper_range(vision_task, edit_type, metric) == expected


def test_benchmarks_as_json(capsys):
    assert main(["benchmarks", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(MIX_SPLITS) + len(PAPER) + len(OTHERS)
    assert {"name", "table", "page", "split", "metric", "paper_value", "protocol", "present"} <= set(rows[0])
    assert {row["data"] for row in rows} <= {"built", "on disk", "absent"}
    assert main(["benchmarks"]) == 0
    assert "COCO val2017" in capsys.readouterr().out
