"""The table of benchmarks: the paper's values as printed, and names that the metric rows use."""

import json

import pytest

from catalog.schema import VISION_TASKS
from evaluation.benchmarks import METRICS_OF, MIX_SPLITS, PAPER, UNITS, paper_range
from evaluation.commands import main


def test_every_value_of_the_papers_tables_is_there():
    """Tables 2 to 5, rows "Ours": 3 AP, 14 cIoU, 6 mIoU, 3 x 2 editing scores, 3 PSNR."""
    assert [sum(row.table == table for row in PAPER) for table in (2, 3, 4, 5)] == [3, 14, 6, 9]
    assert sum(row.paper_value for row in PAPER if row.table == 3) == pytest.approx(747.24)
    assert sum(row.paper_value for row in PAPER if row.table == 4) == pytest.approx(266.31)
    bounds = {row.name: (row.paper_value, row.paper_bound) for row in PAPER if row.paper_bound}
    assert bounds == {
        "GoPro deblur": (23.58, 29.54),
        "SIDD denoise": (34.26, 36.56),
        "CLWD watermark removal": (23.60, 24.80),
    }
    assert not any(row.runnable for row in PAPER)


def test_names_are_those_of_the_catalog():
    assert set(METRICS_OF) == set(VISION_TASKS)
    assert {metric for metrics in METRICS_OF.values() for metric in metrics} <= set(UNITS)
    assert {row.metric for row in PAPER} <= set(UNITS)
    assert all(row.runnable and row.paper_value is None for row in MIX_SPLITS)


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
    assert len(rows) == len(MIX_SPLITS) + len(PAPER)
    assert {"name", "table", "metric", "paper_value", "runnable"} <= set(rows[0])
    assert main(["benchmarks"]) == 0
    assert "COCO val2017" in capsys.readouterr().out
