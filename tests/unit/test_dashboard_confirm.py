"""The page on which people confirm samples of the edit benchmark, driven through Streamlit's own test client."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from catalog.command_line import run
from catalog.digests import bytes_digest
from catalog.edit_benchmarks import (
    CANDIDATES,
    candidates_path,
    proposal_digest,
    read_candidates,
    read_confirmations,
    record_confirmation,
    settle,
)
from catalog.images import encode_png
from catalog.model_tables import METRICS
from catalog.parquet_streams import write_stream
from catalog.roots import record_root
from catalog.verification import verify
from catalog.workspace import Workspace
from evaluation.commands import main
from evaluation.edit_benchmark_mix import finish

SCRIPT = "from infra.dashboard import confirm_page\nconfirm_page.show()\n"
HOSTILE = "remove the <script>alert(1)</script> **dog** [x](javascript:1)"


def candidate(folder: Path, number: int, **given: Any) -> dict[str, Any]:
    row = dict.fromkeys(CANDIDATES.names) | {"pair_id": f"pair-{number}", "instruction": HOSTILE, "why": "by its verb"}
    row |= {"source_caption": "a dog", "target_caption": "a lawn", "proposed_class": "object_removal"}
    for place, side in enumerate(("source_image", "target_image")):
        data = encode_png(np.full((40, 48, 3), 40 * number + 10 * place, np.uint8))
        (folder / f"{number}-{side}.png").write_bytes(data)
        row[side] = {"root": "made", "path": f"{number}-{side}.png", "offset": 0, "length": len(data)}
        row[side] |= {"sha256": bytes_digest(data), "width": 48, "height": 40}
    row |= given
    return row | {"proposal": proposal_digest(row)}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("IEIW_HOME", str(tmp_path))
    monkeypatch.setenv("USER", "root")
    return Workspace(tmp_path)


def write(workspace: Workspace, num_rows: int = 2, **given: Any) -> None:
    folder = workspace.home / "made"
    folder.mkdir()
    record_root(workspace, "made", folder)
    rows = [candidate(folder, number, **given) for number in range(num_rows)]
    table = pa.Table.from_pylist(rows, schema=CANDIDATES)
    path = candidates_path(workspace, "edits")
    counts = {"num_rows": num_rows, "num_usable": 0 if given.get("reason") else num_rows}
    write_stream(path, "edit_candidates", CANDIDATES, table.to_batches(), counts, 2)


def page() -> AppTest:
    return AppTest.from_string(SCRIPT, default_timeout=60).run()


def texts(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(one.value for one in (*app.text, *app.caption, *app.info, *app.success, *app.markdown))


def test_answers_go_to_disk_one_by_one(workspace: Workspace) -> None:
    assert "There is nothing to confirm yet." in texts(page())
    write(workspace)
    app = page()
    assert "Give your name first" in texts(app) and not app.button
    app = app.text_input(key="person").input("anna").run()
    said = texts(app)
    assert HOSTILE in [one.value for one in app.text] and "By rule: Removes\nby its verb" in said
    assert not any(HOSTILE in one.value for one in app.markdown)  # text stays text
    proposal = next(one.key for one in app.text_input if one.key.startswith("caption-"))
    app = app.text_input(key=proposal).input("an empty lawn").run()
    app = app.button(key="confirm-object_replacement").click().run()
    app = app.button(key="confirm-left_out").click().run()
    assert "You have answered for every sample." in texts(app)
    given = read_confirmations(workspace, "edits")
    assert [(one.pair_id, one.answer, one.target_caption, one.person) for one in given] == [
        ("pair-0", "object_replacement", "an empty lawn", "anna"),
        ("pair-1", "left_out", None, "anna"),
    ]


def test_nobody_confirms_what_cannot_be_shown(workspace: Workspace) -> None:
    write(workspace)
    for path in (workspace.home / "made").glob("0-*.png"):
        path.unlink()
    app = page().text_input(key="person").input("anna").run()
    assert "The pictures cannot be shown." in [one.value for one in app.warning]
    assert disabled(app) == {"object_replacement", "object_removal", "object_addition"}
    app = app.button(key="confirm-left_out").click().run()
    assert not app.warning and disabled(app) == set()  # the other sample has its pictures
    given = read_confirmations(workspace, "edits")
    assert [(one.pair_id, one.answer) for one in given] == [("pair-0", "left_out")]


def disabled(app: AppTest) -> set[str]:
    return {one.key.removeprefix("confirm-") for one in app.button if one.disabled}


def test_a_workspace_with_nothing_to_confirm_says_what_makes_it(workspace: Workspace) -> None:
    app = page()
    assert not app.exception and not app.button and not app.text_input
    assert [one.value for one in app.info] == ["There is nothing to confirm yet."]
    assert [one.value for one in app.code] == ["prefect deployment run build-edit-benchmark"]
    assert not any(workspace.home.iterdir())  # looking makes nothing


def test_samples_that_cannot_be_used_are_counted_and_not_asked(workspace: Workspace) -> None:
    write(workspace, reason="no_caption")
    app = page().text_input(key="person").input("anna").run()
    assert "You have answered for every sample." in texts(app) and not app.button
    found = next(json.loads(one.proto.json) for one in app.main if "ieiw_table" in str(getattr(one, "proto", "")))
    assert {row[0]: row[1] for row in found["rows"]} == {row[0]: "0" for row in found["rows"]} | {"cannot be used": "2"}


def test_what_people_differ_on_is_answered_again(workspace: Workspace) -> None:
    write(workspace)
    for answer, who in (("object_removal", "bert"), ("object_addition", "anna")):
        record_confirmation(workspace, "edits", read_candidates(workspace, "edits")[0], answer, who)
    app = page().text_input(key="person").input("anna").run()
    app = app.toggle(key="confirm-again").set_value(True).run()
    assert "anna: adds; bert: removes" in texts(app)
    app = app.button(key="confirm-object_removal").click().run()
    assert not app.toggle and read_confirmations(workspace, "edits")[-1].answer == "object_removal"
    candidates, answers = read_candidates(workspace, "edits"), read_confirmations(workspace, "edits")
    assert settle(candidates, answers)["pair-0"].state == "confirmed"


def test_an_answer_that_cannot_be_kept_is_said_and_the_sample_stays(workspace: Workspace) -> None:
    write(workspace)
    app = page().text_input(key="person").input("anna").run()
    proposal = next(one.key for one in app.text_input if one.key.startswith("caption-"))
    app = app.text_input(key=proposal).input("  ").run()
    app = app.button(key="confirm-object_removal").click().run()
    assert "a caption is one line of 1 to 400 printable characters" in texts(app)
    assert not read_confirmations(workspace, "edits")


def test_a_finished_benchmark_is_shown_among_the_mixes_and_verified(workspace: Workspace) -> None:
    write(workspace)
    for row, answer in zip(read_candidates(workspace, "edits"), ("object_removal", "object_addition"), strict=True):
        record_confirmation(workspace, "edits", row, answer, "anna", "a lawn")
    made = finish(workspace, "edits", total=3, allow_fewer=True)
    app = AppTest.from_string(SCRIPT.replace("confirm_page", "mix_page"), default_timeout=60).run()
    texts(app)
    tiles = next(json.loads(one.proto.json) for one in app.main if "ieiw_facts" in str(getattr(one, "proto", "")))
    assert [one["value"] for one in tiles["items"]] == ["edits_1000", "2", "people"]
    shutil.copy(made.path, workspace.catalog / "mix.parquet")
    found = verify(workspace, deep=True)
    assert (found.problems, found.num_mixes) == ([], 1)


def test_who_confirmed_the_edits_stands_where_metrics_are_compared(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("people", "rule"):
        row = dict.fromkeys(METRICS.names) | {
            "benchmark": "edits_1000/object_removal/test",
            "metric": "l1",
            "value": 0.5,
        }
        row |= {"vision_task": "image_editing", "unit": "", "num_samples": 3, "mix_sha256": name, "seed": 0}
        row |= {"code_version": "1", "config": json.dumps({"confirmed_by": name, "training_known": name == "people"})}
        table = pa.Table.from_pylist([row], schema=METRICS)
        write_stream(workspace.runs / name / "metrics.parquet", "metrics", METRICS, table.to_batches(), {}, 1)
    app = AppTest.from_string("from infra.dashboard import evaluation_page\nevaluation_page.show()\n").run(timeout=60)
    app = app.selectbox(key="second").set_value("rule").run(timeout=60)
    assert not app.exception
    said = next(one.proto.json for one in app.main if "ieiw_facts" in str(getattr(one, "proto", "")))
    assert "edits confirmed by people." in said and "edits confirmed by rule. EDITS SORTED BY RULE ALONE" in said
    assert said.count("TRAINING DATA NOT KNOWN") == 1
    assert run(main, ["show", "--output", str(workspace.runs / "rule")]) == 0
    said = capsys.readouterr().out
    assert "confirmed by rule" in said and "EDITS SORTED BY RULE ALONE" in said and "TRAINING DATA NOT KNOWN" in said
